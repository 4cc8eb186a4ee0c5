"""Every published method as a point: it says what it matches, it trains, and it improves."""

from pathlib import Path

import pytest
import yaml

from trainers import train
from trainers.settings import TrialConfig

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
    base = {"multilayer": SCENES, "anchors": ANCHORS}.get(given.get("model.kind"), DIGITS)
    rates = {"optimizer.learning_rate": 3e-3, "training.batch_size": 32}  # a few dozen steps must show something
    small = {"sprites.hidden": 64} if given["sprites.kind"] == "mlp" else {}
    config = TrialConfig.from_flat({**base, **given, **CHEAP, **rates, **small})
    assert all(config.get(n) == v for n, v in given.items() if n not in {**CHEAP, **rates, **small} and v != 0)
    errors = [p.metrics[0]["train/reconstruction"] for p in train([config])]
    assert errors[-1] < 0.85 * errors[0]
