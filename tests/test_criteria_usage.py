"""Criteria of usage, by hand."""

import math

import pytest
from explained import value

from sprite_search.selection.criteria import CRITERIA


def test_the_gap_of_soft_and_hard_usage():
    """Soft (0.75, 0.25) against hard (1, 0)."""
    assert value("usage_gap", [0, 0], 2, P=[[[0.9, 0.1]], [[0.6, 0.4]]]) == pytest.approx(0.25, rel=1e-3)


def test_imbalance_is_measured_from_the_expected_entropy():
    """ψ(3) − ψ(2) = 1/2 for two sprites, ψ(4) − ψ(2) = 5/6 for three."""
    assert value("imbalance", [0, 0, 0], 2) == pytest.approx(0.5)
    assert value("imbalance", [0, 0, 1], 3) == pytest.approx(5 / 6 - (math.log(3) - 2 / 3 * math.log(2)))
    assert value("imbalance", [0, 1], 2) == 0


def test_metrics_of_reports_are_criteria_too():
    row = {"sprites.count": 16, "val/effective_sprites": 4.0, "val/used_sprites": 0.5}
    assert CRITERIA["balance"].of(row) == pytest.approx(0.5)
    assert CRITERIA["effective_sprites"].of(row) == 4 and CRITERIA["used_sprites"].of(row) == 0.5
