"""Every published method as a point: it says what it matches, it trains, and it improves."""

from pathlib import Path

import pytest
import yaml

from trainers import train
from trainers.settings import TrialConfig
from trainers.training import Trainer

POINTS = sorted((Path(__file__).parents[1] / "search_spaces" / "points").glob("*.yaml"), key=lambda p: p.stem)
SCENES = {
    "dataset.name": "multi_dsprites",
    "dataset.source": "generated",
    "dataset.images": 120,
    "dataset.size": 16,
    "dataset.objects_min": 2,
    "dataset.objects_max": 2,
    "dataset.radius_min": 0.25,
    "dataset.radius_max": 0.3,
    "model.layers": 2,
    "sprites.count": 3,
    "sprites.size": 12,
}
ANCHORS = {n: v for n, v in SCENES.items() if n != "sprites.size"} | {"model.grid": 4}
CLOUDS = {
    "dataset.name": "point_scenes",
    "dataset.images": 120,
    "dataset.points": 64,
    "dataset.shapes_max": 3,
    "model.layers": 3,
    "model.cells": 8,
    "sprites.count": 3,
    "sprites.points": 16,
}
DIGITS = {"dataset.name": "digits", "dataset.images": 300, "model.kind": "clustering", "sprites.count": 6}
CHEAP = {"encoder.kind": "conv", "encoder.width": 8, "training.epochs": 8, "training.report_every": 1}


def flatten(nested, prefix=""):
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("path", POINTS, ids=lambda p: p.stem)
def test_a_point_says_what_it_matches(path):
    text = path.read_text()
    assert yaml.safe_load(text)["about"].strip() and "# Matched:" in text


@pytest.mark.parametrize("path", POINTS, ids=lambda p: p.stem)
def test_a_point_trains_and_improves(path):
    given = dict(flatten(yaml.safe_load(path.read_text())["settings"]))
    base = {"multilayer": SCENES, "anchors": ANCHORS, "earth_parser": CLOUDS}.get(given.get("model.kind"), DIGITS)
    rates = {"optimizer.learning_rate": 3e-3, "training.batch_size": 32}  # a few dozen steps must show something
    small = {"sprites.hidden": 64} if given["sprites.kind"] == "mlp" else {}
    config = TrialConfig.from_flat({**base, **given, **CHEAP, **rates, **small})
    assert all(config.get(n) == v for n, v in given.items() if n not in {**CHEAP, **rates, **small} and v != 0)
    reports = list(train([config]))
    first, last = reports[0].metrics[0], reports[-1].metrics[0]
    for metric in ("train/reconstruction", "val/reconstruction"):  # images that it never saw too
        assert last[metric] < 0.85 * first[metric], metric
    assert last["val/hard_reconstruction"] < first["val/hard_reconstruction"]  # nor only by mixing sprites
    trainer = reports[-1].trainer
    start = Trainer([config], trainer.dataset, "cpu").stack.parameters
    learnt = {n.partition(".")[0] for n, p in trainer.stack.parameters.items() if not p.cpu().equal(start[n])}
    parts = {n.partition(".")[0] for n in start}
    assert learnt == parts, "every part of the method takes part"
