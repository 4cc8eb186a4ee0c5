"""Criteria of fit, by hand."""

import math

import numpy as np
import pytest
from explained import model, value

from sprite_search.selection.criteria import CRITERIA

HAND = {
    "composition_gap": ({"E": [0.1, 0.3], "E_hard": [0.2, 0.4]}, 0.1),
    "decision_gap": ({"A": [0, 0], "D": [[[0.2, 0.1]], [[0.3, 0.6]]]}, 0.5),  # (0.1 / 0.1 + 0) / 2
    "psnr": ({"E": [0.1, 0.001]}, 20.0),  # (10 + 30) / 2
    "ssim": ({"ssim": [0.4, 0.8]}, 0.6),
    "normalised_error": ({"E": [0.1, 0.3], "variance": [0.2, 0.0]}, 0.5),  # the flat image does not count
    "foreground_error": ({"E_foreground": [0.2, math.nan]}, 0.2),
    # residuals 0 bits as 2πe σ² = 1; 2 choices of 1 bit; ½ log₂(0.02² / 0.01²) = 1 bit of β for each of 2;
    # 2 sprites of ½ log₂ 2 bits: (0 + 2 + 2 + 1) / (2 · 4)
    "description_length": (
        {"E_hard": [1 / (2 * math.pi * math.e)] * 2, "B": [[[0.0, 7.0]], [[0.04, 7.0]]]},
        5 / 8,
    ),
    "bic": ({"E_hard": [1 / math.e] * 2}, -1 + 2 * math.log(2) / 8),
    # ln(2π σ²) = 0, and both sprites have e P / 2σ² = ln 2: −ln(½ · ½ + ½ · ½) / P
    "free_energy": (
        {
            "E_hard": [1 / (2 * math.pi)] * 2,
            "D": [[[math.log(2) / (4 * math.pi)] * 2]] * 2,
            "P": [[[0.5, 0.5]]] * 2,
        },
        math.log(2) / 4,
    ),
}


@pytest.mark.parametrize("name", HAND)
def test_by_hand(name):
    given, expected = HAND[name]
    assert value(name, [0, 1], 2, **given) == pytest.approx(expected, rel=1e-3)


def test_the_tail_is_the_worst_tenth_rounded_up():
    errors = np.arange(1, 12) / 10
    assert value("tail_error", [0, 1] * 5 + [0], 2, E_hard=errors) == pytest.approx((1.1 + 1.0) / 2)


@pytest.mark.parametrize("name", ["composition_gap", "psnr", "tail_error"])
def test_images_that_were_trained_on_do_not_count(name):
    one = value(name, [0], 2, E=[0.1], E_hard=[0.3])
    more = value(name, [0, 1], 2, E=[0.1, 5.0], E_hard=[0.3, 9.0], held_out=[True, False])
    assert one == pytest.approx(more)


@pytest.mark.parametrize("name", ["description_length", "bic"])
def test_a_sprite_that_is_not_used_costs_nothing(name):
    """Nor is one that shows fewer than 0.2/K of the images."""
    few = [0] * 10 + [1] * 10
    unused = CRITERIA[name].compute(model(few, 3))
    assert unused == pytest.approx(CRITERIA[name].compute(model(few, 2)))
    assert unused < CRITERIA[name].compute(model([0] * 9 + [1] * 9 + [2] * 2, 3))


def test_metrics_of_reports_are_criteria_too():
    row = {"val/hard_reconstruction": 0.3, "val/reconstruction": 0.2, "train/reconstruction": 0.1}
    values = {n: CRITERIA[n].of(row) for n in ("reconstruction", "soft_reconstruction", "training_reconstruction")}
    assert values == {"reconstruction": 0.3, "soft_reconstruction": 0.2, "training_reconstruction": 0.1}
    assert CRITERIA["generalisation_gap"].of(row) == pytest.approx(1.0)
    assert CRITERIA["reconstruction"].of({"val/reconstruction": 0.2}) == 0.2


def test_a_model_that_shows_nothing_has_no_decision_gap():
    assert math.isnan(value("decision_gap", [[-1, -1]], 2))


def test_structure_of_the_residual_is_the_mean_over_images():
    assert value("residual_structure", [0, 1], 2, moran=[0.2, 0.4]) == pytest.approx(0.3)
