"""Criteria of redundancy and necessity, by hand."""

import math

import numpy as np
import pytest
from explained import value

COLOURS = (255 * np.eye(3, dtype=np.uint8)).reshape(3, 3, 1, 1)


def test_three_colours_correlate_minus_a_half_and_twins_fully():
    assert value("redundancy", [0, 1, 2], 3, sprites=COLOURS) == pytest.approx(-0.5)
    twins = COLOURS[[0, 0, 1]]  # the third correlates −1 with both
    assert value("redundancy", [0, 1, 2], 3, sprites=twins) == pytest.approx((1 + 1 - 1) / 3)


def test_sprites_that_are_not_used_are_not_redundant():
    assert value("redundancy", [0, 2, 0, 2], 3, sprites=COLOURS[[0, 0, 1]]) == pytest.approx(-1.0)


def test_the_rank_of_three_colours_is_full_and_of_twins_half():
    assert value("sprite_rank", [0, 1, 2], 3, sprites=COLOURS) == pytest.approx(1.0)
    assert value("sprite_rank", [0, 1, 2], 3, sprites=COLOURS[[0, 0, 1]]) == pytest.approx(0.5)
    assert value("sprite_rank", [0, 1, 2], 3, sprites=COLOURS[[0, 0, 0]]) == 0


def test_necessity_is_what_the_next_best_sprite_loses():
    """(1 + 2) / 2 for sprite 0, (0.4 − 0.2) / 0.2 for sprite 1; the median of the two."""
    errors = [[[0.1, 0.2]], [[0.1, 0.3]], [[0.4, 0.2]]]
    assert value("necessity", [0, 0, 1], 2, D=errors) == pytest.approx(1.25, rel=1e-3)


def test_the_best_merge_by_hand():
    """σ² from 0.1 to 0.15: 2 · 4/2 · log₂ 1.5 bits more, 2 · 1 bit of choices and ½ log₂ 2 of a sprite less."""
    errors = [[[0.1, 0.2]], [[0.2, 0.1]]]
    assert value("merge_gain", [0, 1], 2, D=errors) == pytest.approx((4 * math.log2(1.5) - 2.5) / 8, rel=1e-3)
