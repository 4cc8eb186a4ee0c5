"""What the search itself costs, without any training: trials that only report made-up numbers.

    python benchmarks/scale.py --trials 1000 --at-once 8
    python benchmarks/scale.py --trials 10000 --at-once 64 --without-ray

Prints, for each quarter of the trials, the wall time per trial and what the driver itself spends on one: asking for
its configuration, hearing its reports, ending it. What grows from quarter to quarter grows with the history. Then the
memory of the driver, and what MLflow holds and how long it still had to write at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ray import tune

from sprite_search.checkpoints import WEIGHTS, open_store
from sprite_search.home import Home
from sprite_search.machine import cpus
from sprite_search.space import Space, load_space
from sprite_search.space.model import Budget, Resources
from sprite_search.study import tuning
from sprite_search.study.driver import Driver
from sprite_search.study.ledger import Ledger
from sprite_search.study.records import TrialRecord
from sprite_search.tracking import Tracker

SPACE = Path(__file__).parents[1] / "search_spaces" / "multi_dsprites.yaml"
REPORTS = 4
METRICS = ("val/reconstruction", "val/hard_reconstruction", "train/loss", "labels/accuracy")


class NoTracker:
    """A record that keeps nothing: what MLflow costs is the difference."""

    def begin(self, record: TrialRecord, seeds: Any) -> None: ...
    def log(self, record: TrialRecord, history: Any) -> None: ...
    def end(self, record: TrialRecord, history: Any) -> None: ...


class Timed(Driver):
    """A driver that notes how long each of its answers took, by trial and kind."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self.times: dict[str, list[tuple[int, float]]] = defaultdict(list)  # kind -> (trial, seconds)
        self.ends: list[float] = []  # when each trial ended

    def next(self, trial_id: str) -> dict[str, Any] | None:
        began = time.perf_counter()
        job = super().next(trial_id)
        if job is not None:
            self.times["ask"].append((job["number"], time.perf_counter() - began))
        return job

    def reported(self, trial_id: str, result: Any) -> bool:
        job, began = self.jobs.get(trial_id), time.perf_counter()
        going = super().reported(trial_id, result)
        if job is not None:
            self.times["report" if going else "end"].append((job.number, time.perf_counter() - began))
            if not going:
                self.ends.append(time.perf_counter())
        return going


def reports(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a trial would report; checkpoints are written as a real one does."""
    store, draw, history = open_store(job["checkpoints"]), random.Random(job["number"]), []
    start = abs(math.log10(job["config"].get("optimizer.learning_rate", 1e-3)) + 3) + draw.random()

    def write(folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(b"0" * 1000)

    for epoch in range(1, REPORTS + 1):
        metrics = [{name: 0.1 + start / epoch for name in METRICS} for _ in job["seeds"]]
        history.append({"epoch": epoch, "time": int(time.time() * 1000), "metrics": metrics})
        store.save(job["study"], job["number"], epoch, write, history)
        yield {**history[-1], "epochs": REPORTS, tune.result.DONE: epoch == REPORTS}


class NoOp(tune.Trainable):
    """Stands in for `SpriteTrial`."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reports = reports(config["job"])

    def step(self) -> dict[str, Any]:
        return next(self.reports)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None: ...
    def load_checkpoint(self, checkpoint: Any) -> None: ...


def alone(driver: Driver, at_once: int) -> None:
    """Runs the study in this process, `at_once` trials in turn: the driver's own cost, without Ray's."""
    running: dict[str, Iterator[dict[str, Any]]] = {}
    names = iter(range(10**9))
    while True:
        while len(running) < at_once and (job := driver.next(name := str(next(names)))) is not None:
            running[name] = reports(job)
        if not running:
            return
        for name in list(running):
            if not driver.reported(name, next(running[name])):
                del running[name]


def measure(space: Space, at_once: int, *, with_ray: bool, with_mlflow: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        home = Home(Path(folder)).create()
        store, ledger = open_store(home.checkpoints), Ledger.create(home, space)
        tracker: Any = Tracker(home, space.name, space_hash=space.hash) if with_mlflow else NoTracker()
        driver = Timed(ledger, space, home, tracker)
        if with_ray:
            with tuning.connected(home.root / "work", None):
                print(f"Ray {time.perf_counter() - BEGAN:.0f} s after the start; {at_once} trials side by side")
                began = time.perf_counter()
                tuning.run(driver, home.root / "work", trainable=NoOp)
        else:
            began = time.perf_counter()
            alone(driver, at_once)
        show(driver, began)
        if with_mlflow:
            late = time.perf_counter()
            left = tracker.close(patience=600)
            print(f"MLflow: {time.perf_counter() - late:.0f} s more to write what waited; {len(left)} trials lost")
            found = tracker.problems(ledger.records(), lambda r: store.history(space.name, r.number))
            print(f"MLflow: {found[:3] or 'every trial once, in its state, no point missing'}")
        size = sum(f.stat().st_size for f in home.root.glob("*.journal"))
        print(f"journal {size / 2**20:.1f} MiB, driver at most {peak():.0f} MiB of memory")


def show(driver: Timed, began: float) -> None:
    """Milliseconds by quarter of the trials."""
    ends = [began, *driver.ends]
    count = len(driver.ends)
    quarters = [(q * count // 4, (q + 1) * count // 4) for q in range(4)]
    print(f"{count} trials in {ends[-1] - began:.0f} s: {driver.ledger.counts()}")
    print("ms per trial" + "".join(f"{f'{a}-{b}':>14}" for a, b in quarters))
    row("wall", [1000 * (ends[b] - ends[a]) / max(1, b - a) for a, b in quarters])
    total = [0.0] * 4
    for kind in ("ask", "report", "end"):
        # by when it happened: trials end in nearly the order they were asked
        spent = [sum(s for n, s in driver.times[kind] if a <= n < b) / max(1, b - a) * 1000 for a, b in quarters]
        total = [t + s for t, s in zip(total, spent, strict=True)]
        row(f"  {kind}", spent)
    row("driver, in all", total)


def row(name: str, values: list[float]) -> None:
    print(f"{name:12}" + "".join(f"{v:14.1f}" for v in values))


def peak() -> float:
    """The most memory this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "linux" else 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--without-mlflow", action="store_true")
    given = parser.parse_args()
    space = dataclasses.replace(
        load_space(SPACE),
        budget=Budget(trials=given.trials, max_failed=given.trials),
        sampler={"name": given.sampler, "seed": 0},
        resources=Resources(cpu=min(1.0, cpus() / given.at_once), at_once=given.at_once),
    )
    print(f"{SPACE.name}: {len(space.search)} settings searched by {given.sampler}, {space.replicates} seeds", end="; ")
    print(f"{REPORTS} reports of {len(METRICS)} metrics; {cpus()} CPUs, load {os.getloadavg()[0]:.1f}")
    measure(space, given.at_once, with_ray=not given.without_ray, with_mlflow=not given.without_mlflow)


BEGAN = time.perf_counter()

if __name__ == "__main__":
    main()
