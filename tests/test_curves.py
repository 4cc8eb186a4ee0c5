"""Curves show the course of a training, seed by seed, with its gaps."""

import math

import numpy as np
import pytest
from PIL import Image

from sprite_search.curves import save_curves, ticks
from sprite_search.pictures import PALETTE


def drawn(values, folder, seed=0, name="val/reconstruction"):
    """Columns and rows that the line of a seed takes in the axes; `values` by epoch, None where it has none."""
    history = [
        {"epoch": e, "metrics": [*({} for _ in range(seed)), {} if v is None else {name: v}]}
        for e, v in enumerate(values, 1)
    ]
    with Image.open(save_curves(history, folder / "curves.png")) as image:
        pixels = np.asarray(image).astype(int)[:280]  # below are the axis and the legend
    rows, columns = np.nonzero(np.abs(pixels - PALETTE[seed + 1]).sum(-1) < 40)
    return columns, rows


def test_a_falling_error_falls_and_fills_the_axes(tmp_path):
    columns, rows = drawn([1 / e for e in range(1, 31)], tmp_path)
    assert rows[columns == columns.min()].max() < rows[columns == columns.max()].min()
    assert np.ptp(columns) > 300 and np.ptp(rows) > 200


def test_a_tenth_is_as_far_from_one_as_a_hundredth_from_it_as_errors_are_compared_by_ratio(tmp_path):
    columns, rows = drawn([1.0, 0.1, 0.01], tmp_path)
    ends = [rows[np.abs(columns - x).argsort()[:20]].mean() for x in np.linspace(columns.min(), columns.max(), 3)]
    assert ends[1] - ends[0] == pytest.approx(ends[2] - ends[1], rel=0.1)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_missing_is_a_gap(tmp_path, missing):
    columns, _ = drawn([1.0, 0.5, missing, 0.5, 0.4], tmp_path)
    whole, _ = drawn([1.0, 0.5, 0.5, 0.5, 0.4], tmp_path)
    assert np.diff(np.unique(columns)).max() > 100 and np.diff(np.unique(whole)).max() < 5


@pytest.mark.parametrize("values", [[0.0] * 20, [0.3], [-1.0, 2.0], [0.5, None, None]])
def test_whatever_the_values_they_are_drawn(tmp_path, values):
    assert drawn(values, tmp_path)[0].size


def test_a_history_without_a_value_gives_empty_axes(tmp_path):
    assert drawn([None, math.nan], tmp_path)[0].size == 0


def test_label_metrics_stand_apart(tmp_path):
    report = {"val/reconstruction": 0.1, "val/effective_sprites": 3.0}
    wide = []
    for more in ({}, {"labels/accuracy": 0.5}):
        history = [{"epoch": e, "metrics": [{**report, **more}]} for e in (1, 2)]
        with Image.open(save_curves(history, tmp_path / "curves.png")) as image:
            wide.append(image.width)
    assert wide[1] * 2 == wide[0] * 3


@pytest.mark.parametrize(
    ("low", "high", "more", "expected"),
    [
        (0.0, 1.0, {}, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1.0, 4.0, {"whole": True}, [1, 2, 3, 4]),
        (1.0, 2.0, {"whole": True}, [1, 2]),
        (0.02, 0.3, {"logarithmic": True}, [0.02, 0.05, 0.1, 0.2]),
        (1e-5, 10.0, {"logarithmic": True}, [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10]),
        (-30.0, 70.0, {}, [-20, 0, 20, 40, 60]),
    ],
)
def test_ticks_are_round(low, high, more, expected):
    assert ticks(low, high, **more) == pytest.approx(expected)
