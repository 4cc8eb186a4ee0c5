"""What the search itself costs, without any training: trials that only report made-up numbers.

    python benchmarks/scale.py --trials 1000 --at-once 8
    python benchmarks/scale.py --trials 10000 --at-once 64 --without-ray

Prints, for each tenth of the trials, the wall time per trial, what the driver itself spends on one (asking for its
configuration, hearing its reports, ending it), what writing it to MLflow takes, in a thread beside that, and the memory
of the process. On a machine that is busy compare what is told of the processor (CPU). What grows from tenth to tenth
grows with the history: were anything quadratic, it would grow in proportion to it. Then how long MLflow still had to
write at the end, and whether it holds every trial.
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
from collections.abc import Callable, Iterator
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

PARTS = 10
SPACE = Path(__file__).parents[1] / "search_spaces" / "multi_dsprites.yaml"
REPORTS = 4
METRICS = ("val/reconstruction", "val/hard_reconstruction", "train/loss", "labels/accuracy")


class NoTracker:
    """A record that keeps nothing: what MLflow costs is the difference."""

    def begin(self, record: TrialRecord, seeds: Any) -> None: ...
    def log(self, record: TrialRecord, history: Any) -> None: ...
    def end(self, record: TrialRecord, history: Any) -> None: ...


class TimedTracker(Tracker):
    """A record in MLflow that notes what each of its deliveries took: seconds, and those of the processor."""

    def __init__(self, *args: Any, **more: Any):
        self.times: list[tuple[int, float, float]] = []
        super().__init__(*args, **more)

    def _deliver(self, key: str) -> None:
        began, spent = time.perf_counter(), time.thread_time()
        super()._deliver(key)
        number = int(key.rpartition("/")[2])
        self.times.append((number, time.perf_counter() - began, time.thread_time() - spent))


class Timed(Driver):
    """A driver that notes how long each of its answers took, by trial and kind."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        #: kind -> (trial, seconds, those of the processor)
        self.times: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
        self.ends: list[float] = []  # when each trial ended
        self.memory: list[float] = []  # of the process then, in MiB

    def next(self, trial_id: str) -> dict[str, Any] | None:
        began, spent = time.perf_counter(), time.thread_time()
        job = super().next(trial_id)
        if job is not None:
            self.times["ask"].append((job["number"], time.perf_counter() - began, time.thread_time() - spent))
        return job

    def reported(self, trial_id: str, result: Any) -> bool:
        job, began, spent = self.jobs.get(trial_id), time.perf_counter(), time.thread_time()
        going = super().reported(trial_id, result)
        if job is not None:
            took = time.perf_counter() - began, time.thread_time() - spent
            self.times["report" if going else "end"].append((job.number, *took))
            if not going:
                self.ends.append(time.perf_counter())
                self.memory.append(memory())
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


def drawings(folder: Path, seeds: int) -> Callable[[TrialRecord], Path]:
    """Makes what workers would draw: sheets of each seed and, of a trial that was not pruned, its curves."""
    for state in ("complete", "pruned"):
        for seed in range(seeds):
            (folder / state / f"seed{seed}").mkdir(parents=True)
            for name in ("sprites", "reconstructions", "transformed"):
                (folder / state / f"seed{seed}" / f"{name}.png").write_bytes(os.urandom(30_000))
    (folder / "complete" / "curves.png").write_bytes(os.urandom(30_000))
    return lambda record: folder / record.state


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
        drawn = drawings(Path(folder) / "drawn", space.replicates)
        record = TimedTracker(home, space.name, space_hash=space.hash, pictures_of=drawn) if with_mlflow else None
        driver = Timed(ledger, space, home, record or NoTracker())
        if with_ray:
            with tuning.connected(home.root / "work", None):
                print(f"Ray {time.perf_counter() - BEGAN:.0f} s after the start; {at_once} trials side by side")
                began = time.perf_counter()
                tuning.run(driver, home.root / "work", trainable=NoOp)
        else:
            began = time.perf_counter()
            alone(driver, at_once)
        ended = time.perf_counter()
        if record is not None:
            left = record.close(patience=600)
            late = time.perf_counter() - ended
        show(driver, began, record)
        if record is not None:
            print(f"MLflow: {late:.0f} s more to write what waited; {len(left)} trials lost", end="; ")
            found = record.problems(ledger.records(), lambda r: store.history(space.name, r.number))
            print(found[:3] or "every trial is there once, in its state, no point missing")
        size = sum(f.stat().st_size for f in home.root.glob("*.journal"))
        print(f"journal {size / 2**20:.1f} MiB; process: {time.process_time():.0f} s of CPU, at most {peak():.0f} MiB")


def show(driver: Timed, began: float, record: TimedTracker | None) -> None:
    """Milliseconds by tenth of the trials."""
    ends = [began, *driver.ends]
    count = len(driver.ends)
    parts = [(q * count // PARTS, (q + 1) * count // PARTS) for q in range(PARTS)]
    parts = [(a, b) for a, b in parts if b > a]

    def each(kind: list[tuple[int, float, float]], *, cpu: bool) -> list[float]:
        # by number: trials end in nearly the order they were asked
        return [sum(took[cpu] for n, *took in kind if a <= n < b) / (b - a) * 1000 for a, b in parts]

    print(f"{count} trials in {ends[-1] - began:.0f} s: {driver.ledger.counts()}")
    print(f"{'ms per trial':16}" + "".join(f"{f'to {b}':>10}" for _, b in parts))
    row("wall", [1000 * (ends[b] - ends[a]) / (b - a) for a, b in parts])
    whole = [took for kind in ("ask", "report", "end") for took in driver.times[kind]]
    row("driver", each(whole, cpu=False))
    row("driver, CPU", each(whole, cpu=True))
    for kind in ("ask", "report", "end"):
        row(f"  {kind}, CPU", each(driver.times[kind], cpu=True))
    if record is not None:
        row("MLflow", each(record.times, cpu=False))
        row("MLflow, CPU", each(record.times, cpu=True))
    row("memory, MiB", [driver.memory[b - 1] for _, b in parts])


def row(name: str, values: list[float]) -> None:
    print(f"{name:16}" + "".join(f"{v:10.1f}" for v in values))


def memory() -> float:
    """What this process holds now, in MiB; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


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
