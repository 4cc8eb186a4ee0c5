"""Endpoints of one criterion: hand-computed values, perfect, inverted and constant criteria, ties."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from sprite_search.selection import endpoints as e

ACCURACY = np.array([0.8, 0.9, 0.4, 0.3, 0.6, 0.7])


def test_a_perfect_criterion_has_no_regret_and_full_correlation():
    found = e.endpoints(ACCURACY, ACCURACY)
    assert (found["regret"], found["normalised_regret"], found["top5_regret"]) == (0, 0, 0)
    assert found["top5_overlap"] == 1 and not found["harm"] and not found["constant"]
    for name in ("spearman", "kendall", "weighted_spearman", "weighted_kendall"):
        assert found[name] == pytest.approx(1)


def test_an_inverted_criterion_does_harm():
    found = e.endpoints(-ACCURACY, ACCURACY)
    assert found["harm"] and found["normalised_regret"] > 1
    assert found["regret"] == pytest.approx(0.6)
    assert found["spearman"] == pytest.approx(-1) and found["kendall"] == pytest.approx(-1)


def test_a_constant_is_a_random_pick_and_is_flagged():
    found = e.endpoints(np.ones(6), ACCURACY)
    assert found["constant"] and found["picked"] == pytest.approx(ACCURACY.mean())
    assert found["normalised_regret"] == pytest.approx(1)
    assert [found[n] for n in ("spearman", "kendall", "weighted_spearman", "weighted_kendall")] == [0, 0, 0, 0]
    assert found["top5_overlap"] == pytest.approx(found["top5_overlap_by_chance"]) == pytest.approx(5 / 6)


def test_by_hand():
    values = [4.0, 3, 2, 1, 4, 0]  # 0.8 and 0.6 share the first place
    assert e.picked(values, ACCURACY) == pytest.approx(0.7)
    assert e.regret(values, ACCURACY) == pytest.approx(0.2)
    spread = 0.9 - ACCURACY.mean()
    assert e.normalised_regret(values, ACCURACY) == pytest.approx(0.2 / spread)
    assert not e.harmful(values, ACCURACY)  # the median is 0.65
    assert e.top_regret(values, ACCURACY, 2) == pytest.approx(0.1)
    assert e.top_overlap(values, ACCURACY, 2) == pytest.approx(0.5)


def test_a_tie_for_the_last_place_at_the_top_is_averaged_over_all_ways_to_break_it():
    generator = np.random.default_rng(0)
    for _ in range(20):
        values, accuracy = generator.integers(0, 3, 7), generator.random(7)
        order = np.sort(values)[::-1]
        sure = [i for i in range(7) if values[i] > order[2]]
        tied = [i for i in range(7) if values[i] == order[2]]
        ways = [[*sure, *chosen] for chosen in itertools.combinations(tied, 3 - len(sure))]
        best = np.mean([accuracy[way].max() for way in ways])
        assert e.top_regret(values, accuracy, 3) == pytest.approx(accuracy.max() - best)
        top = set(np.argsort(-accuracy)[:3])
        overlap = np.mean([len(top.intersection(way)) / 3 for way in ways])
        assert e.top_overlap(values, accuracy, 3) == pytest.approx(overlap)


def test_nothing_to_select_below_a_point_or_twice_the_noise_of_seeds():
    assert math.isnan(e.normalised_regret([1, 2], [0.500, 0.501]))
    assert e.normalised_regret([1, 2], [0.5, 0.6]) == pytest.approx(0)
    assert math.isnan(e.normalised_regret([1, 2], [0.5, 0.6], noise=0.03))
    assert e.endpoints([1, 2], [0.500, 0.501])["normalised_regret"] is None


def test_correlations_are_scipys():
    generator = np.random.default_rng(1)
    for _ in range(10):
        v, a = generator.integers(0, 6, 12), generator.normal(size=12)
        assert e.spearman(v, a) == pytest.approx(spearmanr(v, a).statistic)
        assert e.kendall(v, a) == pytest.approx(kendalltau(v, a).statistic)
    assert math.isnan(e.spearman([1, 2], [1, 2]))


def test_weighted_spearman_by_hand():
    """v = 1 2 3, a = 1 3 2: weights (1/9, 1, 1); ranks of v 1/9, 10/9, 19/9 and of a 1/9, 19/9, 10/9."""
    x, y, w = np.array([1, 10, 19]) / 9, np.array([1, 19, 10]) / 9, np.array([1 / 9, 1, 1])
    dx, dy = x - (w @ x) / w.sum(), y - (w @ y) / w.sum()
    by_hand = (w @ (dx * dy)) / math.sqrt((w @ dx**2) * (w @ dy**2))
    assert e.weighted_spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(-5 / 14)  # a swap at the top counts: unweighted it is 0.5


def test_redraws_are_as_many_single_ones():
    generator = np.random.default_rng(2)
    v, a = generator.integers(0, 4, (8, 6)).astype(float), generator.random((8, 6))
    correlations = (e.spearman, e.kendall, e.weighted_spearman)
    for function in (e.regret, e.normalised_regret, e.top_regret, e.top_overlap, e.harmful, *correlations):
        assert function(v, a) == pytest.approx(np.array([function(*one) for one in zip(v, a, strict=True)]))


def test_noise_of_seeds_is_the_standard_error_of_a_mean():
    assert e.seed_noise([[0.1, 0.3], [0.5, 0.7]]) == pytest.approx(math.sqrt(0.02 / 2))
    assert e.seed_noise([[0.1], [0.5]]) == 0
    assert e.seed_noise([[0.1, 0.3, np.nan], [0.5, 0.7, np.nan]]) == pytest.approx(0.1)


def test_other_seeds_by_hand():
    accuracy = np.array([[0.9, 0.1], [0.5, 0.6], [0.2, 0.2]])
    found = e.on_other_seeds(accuracy, accuracy)  # on seed 1: picks the first; on seed 0: the second
    assert found["n"] == 3 and found["regret"] == pytest.approx((0.5 + 0.4) / 2)
    assert found["normalised_regret"] == pytest.approx((0.5 / (0.6 - 0.3) + 0.4 / (0.9 - accuracy[:, 0].mean())) / 2)
    assert e.on_other_seeds(accuracy[:, :1], accuracy[:, :1])["regret"] is None


def test_restart_recovers_the_gain_of_the_best_seed():
    accuracy = np.array([[0.2, 0.4, 0.9], [0.5, 0.5, 0.5], [0.3, 0.6, np.nan]])
    assert e.restart(accuracy, accuracy) == {"n": 2, "gain": 1.0}
    assert e.restart(np.zeros((3, 3)), accuracy) == {"n": 2, "gain": pytest.approx(0)}
    assert e.restart(-accuracy, accuracy)["gain"] < 0
    assert e.restart(accuracy[:, :1], accuracy[:, :1]) == {"n": 0, "gain": None}


def test_the_gain_of_restarts_in_redraws_is_that_of_each():
    generator = np.random.default_rng(3)
    v, a = generator.normal(size=(5, 4, 3)), generator.random((5, 4, 3))
    a[:, 0, 2] = np.nan
    a[4] = 0.5  # nothing to tell apart
    gains = [e.restart(*one)["gain"] for one in zip(v, a, strict=True)]
    assert e.restart_gain(v, a)[:4] == pytest.approx(np.array(gains[:4])) and gains[4] is None
    assert np.isnan(e.restart_gain(v, a)[4])


def test_regrets_leave_out_what_is_absent():
    values, accuracy = [3.0, 9, 2, 1], np.array([0.6, np.nan, 0.9, 0.3])
    assert e.regret(values, accuracy) == pytest.approx(0.3)
    assert e.normalised_regret(values, accuracy) == pytest.approx(0.3 / (0.9 - 0.6))
