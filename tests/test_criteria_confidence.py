"""Criteria of confidence, by hand."""

import math

import pytest
from explained import value

TWO = [[[0.9, 0.1]], [[0.6, 0.4]]]
SURE, EVEN = [[[1.0, 0.0]], [[0.0, 1.0]]], [[[0.5, 0.5]], [[0.5, 0.5]]]

HAND = [
    ("one_hotness", TWO, 0.75),
    ("choice_entropy", EVEN, 1.0),
    ("choice_entropy", SURE, 0.0),
    ("probability_margin", TWO, 0.5),  # (0.8 + 0.2) / 2
    ("indecision", TWO, 0.99),  # 6 (0.09 + 0.24) / 2
    ("mutual_information", SURE, 1.0),
    ("mutual_information", EVEN, 0.0),
    ("nuclear_norm", SURE, 1.0),
    ("nuclear_norm", EVEN, 0.5),  # one singular value, 1, over √4
    ("confusion", SURE, 0.0),
    ("confusion", EVEN, 0.5),
    ("calibration", EVEN, 0.0),  # the errors of both sprites are equal
    ("calibration", [[[0.9, 0.1]]] * 2, math.log(0.5 / 0.9) / 2 + math.log(0.5 / 0.1) / 2),
]


@pytest.mark.parametrize(("name", "p", "expected"), HAND, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(HAND)])
def test_by_hand(name, p, expected):
    assert value(name, [0, 1], 2, P=p, D=[[[0.2, 0.2]]] * 2) == pytest.approx(expected, abs=2e-3)


def test_density_of_equal_neighbours_is_the_entropy_of_an_even_choice_of_the_others():
    assert value("neighbourhood_density", [0, 0, 0], 2) == pytest.approx(math.log(2))


def test_the_margin_of_errors_is_relative_to_the_second_least():
    errors = [[[0.1, 0.2, 0.9]], [[0.8, 0.4, 0.3]]]
    assert value("error_margin", [0, 2], 3, D=errors) == pytest.approx((0.5 + 0.25) / 2, rel=1e-3)


@pytest.mark.parametrize("name", ["error_margin", "choice_entropy", "probability_margin", "mutual_information"])
def test_with_a_single_sprite_there_is_nothing_to_be_sure_of(name):
    assert math.isnan(value(name, [0, 0], 1))
