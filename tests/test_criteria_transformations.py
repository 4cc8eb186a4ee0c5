"""Criteria of transformations, by hand."""

import math

import pytest
from explained import value


@pytest.mark.parametrize("name", ["displacement", "torn", "outside"])
def test_means_over_what_is_shown(name):
    assert value(name, [[0, -1], [1, 0]], 2, **{name: [[0.2, 9.0], [0.4, 0.6]]}) == pytest.approx(0.4)
    assert math.isnan(value(name, [[-1, -1]], 2, **{name: [[0.0, 0.0]]}))


def test_reliance_is_a_ratio_of_held_out_errors():
    given = {"E_still": [0.4, 9.0], "E_hard": [0.1, 9.0], "held_out": [True, False]}
    assert value("transformation_reliance", [0, 1], 2, **given) == pytest.approx(4.0)


def test_pose_is_independent_when_it_varies_within_sprites_as_much_as_over_all():
    given = [[[0.0, 5.0]], [[1.0, 5.0]], [[0.0, 5.0]], [[1.0, 5.0]]]  # the second parameter never varies
    assert value("pose_independence", [0, 0, 1, 1], 2, B=given) == pytest.approx(1.0)
    assert value("pose_independence", [0, 1, 0, 1], 2, B=given) == pytest.approx(0.0)
    assert math.isnan(value("pose_independence", [0, 1], 2))
