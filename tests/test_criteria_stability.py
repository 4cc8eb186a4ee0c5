"""Criteria of stability, by hand, and the agreements they are made of."""

import math

import numpy as np
import pytest
from explained import model, value
from sklearn import metrics

from sprite_search.selection.criteria import CRITERIA
from sprite_search.selection.criteria.models import agreement
from sprite_search.selection.criteria.partitions import ami, effective, rand
from sprite_search.selection.criteria.stability import correlation, matched_sprites

A, RENAMED, CROSSED = [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]
CONSTANT = np.zeros(4, int)


def test_agreement_with_the_same_groups_is_1_and_with_crossed_ones_below_0():
    """Crossed: MI = 0; expected MI = 1/3 ln 2 (2 of the 6 ways to halve agree fully), mean entropy ln 2: −1/2."""
    a, renamed, crossed = map(np.array, (A, RENAMED, CROSSED))
    assert ami(a, renamed) == pytest.approx(1.0) and rand(a, renamed) == pytest.approx(1.0)
    assert ami(a, crossed) == pytest.approx(-0.5) and rand(a, crossed) == pytest.approx(-0.5)


def test_two_collapsed_groupings_agree_on_nothing():
    assert ami(CONSTANT, CONSTANT) == 0 and rand(CONSTANT, CONSTANT) == 0
    nearly = model([0] * 19 + [1], 2)
    assert nearly.collapsed and effective(nearly.partition) < 1.5 and agreement(nearly, nearly) == 0


def test_a_scene_that_is_mostly_background_is_no_collapsed_model():
    """Two sprites in turn on one of the 16 points of each of 20 images."""
    instances = np.zeros((20, 4, 4), int)
    instances[:, 0, 0] = 1
    found = model([[i % 2, -1] for i in range(20)], 2, M=np.zeros((20, 2, 4, 4)), instances=instances)
    assert effective(found.partition) < 1.5 and not found.collapsed
    assert agreement(found, found) == pytest.approx(1.0)


def test_agreements_are_as_scikit_learn_has_them():
    generator = np.random.default_rng(0)
    for size in (20, 200):
        for _ in range(5):
            a, b = generator.integers(0, 4, size), generator.integers(0, 6, size)
            b = np.where(generator.random(size) < 0.5, a, b)
            assert ami(a, b) == pytest.approx(metrics.adjusted_mutual_info_score(a, b), abs=1e-9)
            assert rand(a, b) == pytest.approx(metrics.adjusted_rand_score(a, b), abs=1e-9)


def test_seeds_agree_by_the_median_over_pairs():
    compute = CRITERIA["seed_agreement"].compute
    assert compute([model(c, 2) for c in (A, RENAMED, CROSSED)]) == pytest.approx(-0.5)  # 1, −1/2, −1/2
    assert compute([model(c, 2) for c in (A, CONSTANT)]) == 0
    assert math.isnan(compute([model(A, 2)]))


def stripes(*at):
    """Sprites with a bright row each."""
    pictures = np.zeros((len(at), 1, 8, 8), np.uint8)
    for sprite, row in zip(pictures, at, strict=True):
        sprite[0, row] = 255
    return pictures


def test_sprites_are_matched_in_any_order_and_unused_ones_match_nothing():
    """Of three sprites with a colour each, one more than a quarter of the side away from the others."""
    colours = np.zeros((3, 3, 1, 1), np.uint8)
    colours[range(3), range(3)] = 255
    a = model([0, 1, 2], 3, sprites=colours)
    assert matched_sprites(a, model([0, 1, 2], 3, sprites=colours[[2, 0, 1]])) == pytest.approx(1.0)
    assert CRITERIA["sprite_agreement"].compute([a, a]) == pytest.approx(1.0)
    # only two are in use: (1, −1, 0)/√2 against the centred ones of a: √3/2 each for two of three
    fewer = model([0, 1, 0], 3, sprites=colours)
    assert matched_sprites(a, fewer) == pytest.approx(2 / 3 * math.sqrt(3) / 2, rel=1e-3)
    assert matched_sprites(a, model([0, 0, 0], 3, sprites=colours)) == 0


def test_sprites_correlate_over_shifts_of_at_most_a_quarter():
    a = stripes(2).astype(float) - 255 / 8
    assert correlation(a, stripes(4) - 255 / 8)[0, 0] == pytest.approx(1.0)  # moved by 2 of 8
    # by 4 of 8, of which 2 are allowed: two different rows, (0 − 1/8) / (1 − 1/8)
    assert correlation(a, stripes(6) - 255 / 8)[0, 0] == pytest.approx(-1 / 7)


@pytest.mark.parametrize(("name", "other"), [("augmentation_agreement", "A_aug"), ("checkpoint_agreement", "A_prev")])
def test_other_choices_for_the_same_images(name, other):
    assert value(name, A, 2, **{other: RENAMED}) == pytest.approx(1.0)
    assert value(name, A, 2, **{other: CROSSED}) == pytest.approx(-0.5)
    assert value(name, CONSTANT, 2, **{other: CONSTANT}) == 0
    scenes = [[0, -1], [1, -1]]
    assert value(name, scenes, 2, **{other: scenes}) == pytest.approx(1.0)
