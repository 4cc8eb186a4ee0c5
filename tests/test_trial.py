"""A trial as a worker runs it, without Ray's actors: what each report leaves in the checkpoint store."""

import pytest
from conftest import TINY_DIGITS

from sprite_search.checkpoints import open_store
from sprite_search.trial import SpriteTrial


@pytest.fixture
def job(tmp_path):
    config = {**TINY_DIGITS, "training.epochs": 4, "training.report_every": 1}
    job = {"study": "toy", "number": 0, "config": config, "attempt": 1, "seeds": [0, 1], "cpu": 1, "gpu": 0}
    return {**job, "checkpoints": str(tmp_path / "checkpoints"), "data": str(tmp_path), "driver": 0, "rungs": [2]}


def test_a_trial_has_pictures_wherever_it_may_end(job):
    """At its rungs, where the pruner may end it, and at its end."""
    trial, store = SpriteTrial({"job": job}), open_store(job["checkpoints"])
    drawn = {}
    for epoch in range(1, 5):
        assert trial.train()["epoch"] == epoch
        folder = store.pictures("toy", 0)
        drawn[epoch] = {f.relative_to(folder).as_posix() for f in folder.rglob("*.png")} if folder else set()
    trial.stop()
    sheets = {f"seed{seed}/{name}.png" for seed in (0, 1) for name in ("sprites", "reconstructions", "transformed")}
    assert drawn == {1: set(), 2: sheets, 3: set(), 4: {*sheets, "curves.png"}}


def test_a_rung_between_two_reports_is_drawn_at_the_second(job):
    job["config"]["training.report_every"] = 2
    trial, store = SpriteTrial({"job": {**job, "rungs": [1]}}), open_store(job["checkpoints"])
    assert trial.train()["epoch"] == 2
    assert store.pictures("toy", 0) is not None
    trial.stop()
