"""Launches of a tiny study in processes that tests may kill, and the look at its books afterwards."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

from sprite_search.checkpoints import open_store
from sprite_search.home import Home
from sprite_search.study.ledger import Ledger
from sprite_search.study.records import searched

EPOCHS = 4
TINY = {
    "study": "tiny",
    "trial": {
        "dataset": {"name": "digits", "images": 80},
        "sprites": {"count": 4, "hidden": 8},
        "encoder": {"width": 4, "pool": 1},
        "transformations": {"sprite": "identity_affine", "strategy": "one-by-one", "first": 0.2, "last": 0.2},
        "training": {"epochs": EPOCHS, "batch_size": 64},
    },
    "search": {"decision.kind": ["linear", "min_loss"], "optimizer.learning_rate": {"log": [0.0001, 0.01]}},
    "pruner": {"name": "median", "startup": 3, "rungs": 2},
    "sampler": {"name": "tpe", "seed": 0, "startup": 4},
    "random_arm": 0.3,
    "budget": {"trials": 12},
}


_started: list[subprocess.Popen] = []


def space_file(folder, **changes) -> Path:
    """The tiny space as a file, with some of its sections replaced."""
    path = Path(folder) / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def start(space: Path, home: Home, *options: str, fault: str = "") -> subprocess.Popen:
    """Starts `sprite-search launch`; what it prints can be read from its `stdout`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SPRITE_FAULT": fault, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "sprite_search", "launch", str(space), "--home", str(home.root), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    _started.append(process)
    return process


def end_all() -> None:
    """Kills what a test that failed left running, which would burden and fail the next."""
    while _started:
        process = _started.pop()
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Waits for a launch: its exit status (below 0: the signal that killed it) and what it printed."""
    try:
        said, _ = process.communicate(timeout=400)
    finally:
        process.kill()
    return process.returncode, said


def launch(space: Path, home: Home, *options: str, fault: str = "") -> tuple[int, str]:
    """`start` and `finish`."""
    return finish(start(space, home, *options, fault=fault))


def wait_for(process: subprocess.Popen, text: str) -> None:
    """Reads what a launch prints until it says `text`."""
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} was never said:\n{''.join(said)}")


def records(home: Home):
    return Ledger.open(home, "tiny").records()


def check_books(home: Home, trials: int = 12, again: int = 0) -> None:
    """Every configuration ended once in every ledger, and no report is missing or counted twice.

    `again` of them were trained once more in a second stage.
    """
    found = records(home)
    first, second = searched(found), [r for r in found if r.confirms is not None]
    states = Counter(r.state for r in first)
    assert states["complete"] + states["pruned"] == trials, states
    assert set(states) <= {"complete", "pruned", "failed"}, states
    assert len({r.key for r in found}) == len(found)
    asked = {r.number: tuple(sorted(r.config.items())) for r in first}
    assert len(set(asked.values())) == len(first), "a configuration was asked twice"
    assert [r.state for r in second] == ["complete"] * again and len({r.confirms for r in second}) == again
    assert all(tuple(sorted(r.config.items())) == asked[r.confirms] for r in second)
    store = open_store(home.checkpoints)
    for record in found:
        epochs = [entry["epoch"] for entry in store.history("tiny", record.number)]
        assert epochs == list(range(1, len(epochs) + 1)), f"trial {record.number}: {epochs}"
        assert record.state != "complete" or record.epoch == len(epochs) == EPOCHS
        assert record.state != "pruned" or record.epoch < EPOCHS
        assert store.pictures("tiny", record.number) is not None or record.state == "failed"
    assert tracking_problems(home) == []


def tracking_problems(home: Home) -> list[str]:
    """Where MLflow differs from the ledger: runs, states, points."""
    from sprite_search.tracking import Tracker

    store = open_store(home.checkpoints)
    tracker = Tracker(home, "tiny", space_hash=Ledger.open(home, "tiny").space().hash)
    try:
        return tracker.problems(records(home), lambda r: store.history("tiny", r.number))
    finally:
        tracker.close()
