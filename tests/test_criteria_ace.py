"""ACE by hand: which spaces count, in which groups, and what they say of models; and the dip test it begins with."""

import itertools

import numpy as np
import pytest
from explained import model
from scipy.optimize import linprog

from sprite_search.selection.criteria import CRITERIA, Pool
from sprite_search.selection.criteria import ace as a
from sprite_search.selection.dip import dip, p_of_one_mode

RISING = np.linspace(0.1, 0.8, 8)


def test_the_group_of_the_best_scores_counts():
    """Two spaces rank the models one way, two the other way round and lower: the mean of the first two."""
    scores = np.stack([RISING, RISING + 0.1, RISING[::-1] - 0.3, RISING[::-1] - 0.2])
    assert [g.tolist() for g in a.groups(1 - a.correlations(scores)[0])] == [[0, 1], [2, 3]]
    np.testing.assert_allclose(a.combined(scores), RISING + 0.05)
    np.testing.assert_allclose(a.combined(np.concatenate([scores, np.full((1, 8), 0.9)])), RISING + 0.05)


def test_in_a_group_spaces_count_by_their_page_rank():
    """Three in a row: the middle one is like both, the outer ones not like each other beyond chance.

    PageRank with nine of ten steps along edges, of a path with equal edges: m = 0.1/3 + 0.9 · 2o, o = 0.1/3 + 0.45 m.
    """
    path = np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    middle = (0.1 / 3) * 2.8 / (1 - 0.81)
    np.testing.assert_allclose(a.page_rank(path, 0.9), [(1 - middle) / 2, middle, (1 - middle) / 2])


def test_correlations_below_chance_are_no_edges():
    values = np.stack([RISING, RISING[[1, 0, 3, 2, 5, 4, 7, 6]], RISING[::-1]])
    alike, graph = a.correlations(values)
    rho = 1 - 6 * 8 / (8 * 63)  # eight ranks off by one
    assert alike[0, 1] == pytest.approx(rho) and alike[0, 2] == pytest.approx(-1)
    assert graph[0, 1] == pytest.approx(rho) and graph[0, 2] == graph[1, 2] == graph[0, 0] == 0
    few = a.correlations(values[:, :3])[1]
    assert (few == 0).all()  # three models tell nothing


def test_many_spaces_that_rank_alike_are_divided_by_their_scores():
    near, far = RISING + 1e-3 * np.arange(3)[:, None], 5 + RISING + 1e-3 * np.arange(3)[:, None]
    assert [d.tolist() for d in a.divided(np.concatenate([near, far]))] == [[0, 1, 2], [3, 4, 5]]
    assert [d.tolist() for d in a.divided(near)] == [[0, 1, 2]]


def test_only_features_with_clusters_count_and_all_where_none_has():
    chance = np.random.default_rng(0)
    plain = [chance.normal(size=(100, 4)).astype(np.float32) for _ in range(2)]
    two = plain[0] + 8 * (np.arange(100) % 2)[:, None].astype(np.float32)
    assert a.admissible([*plain, two]).tolist() == [2] and a.admissible(plain).tolist() == [0, 1]


def test_models_are_judged_in_the_features_that_have_clusters():
    """Two trials learnt two clusters and one noise: whoever follows the clusters is best, whatever the noise says."""
    chance = np.random.default_rng(1)
    truth, other = np.arange(60) % 2, np.arange(60) // 2 % 2
    clear = np.eye(2)[truth] * 9
    z = [clear + chance.normal(size=(60, 2)), clear + chance.normal(size=(60, 2)), chance.normal(size=(60, 2))]
    half = np.where(np.arange(60) < 30, truth, other)
    choices = [truth, half, other]
    made = Pool(
        [
            model(c, 2, row={"trial": i, "optimizer.learning_rate": i}, Z=z[i].astype(np.float16))
            for i, c in enumerate(choices)
        ]
    )
    best, middle, worst = CRITERIA["ace"].compute(made)
    assert best > middle > worst
    at, scores = made.silhouettes
    assert at.tolist() == [0, 1, 2] and (best, worst) == pytest.approx(tuple(scores[:2].mean(0)[[0, 2]]), abs=1e-6)


def test_no_finished_trial_is_no_space():
    alone = [model([0, 1], 2, row={"trial": t, "state": "pruned"}, Z=np.eye(2)) for t in (0, 1)]
    assert np.isnan(CRITERIA["ace"].compute(Pool(alone))).all()


def nearest_unimodal(sample):
    """The dip by its definition: for each place of the mode, a linear program for the nearest function that is convex
    before and concave after it."""
    x, counts = np.unique(sample, return_counts=True)
    after = np.cumsum(counts) / counts.sum()
    before = after - counts / counts.sum()
    found = []
    for mode in range(len(x)):
        parts = list(range(mode + 1)), list(range(mode, len(x)))
        names = {(side, i): n for n, (side, i) in enumerate((s, i) for s in (0, 1) for i in parts[s])}
        rows, bounds = [], []

        def add(terms, bound, names=names, rows=rows, bounds=bounds):
            row = np.zeros(len(names) + 1)
            for key, factor in terms.items():
                row[names.get(key, -1)] += factor  # the last is the distance
            rows.append(row)
            bounds.append(bound)

        for side, i in names:
            steps = {before[i], after[i]} if i != mode else {before[i] if side == 0 else after[i]}
            for step, sign in itertools.product(steps, (1, -1)):
                add({(side, i): sign, "distance": -1}, sign * step)
        for side, bend in ((0, 1), (1, -1)):
            for i, j in itertools.pairwise(parts[side]):
                add({(side, i): 1, (side, j): -1}, 0)
            for i, j, k in zip(parts[side], parts[side][1:], parts[side][2:], strict=False):
                first, second = 1 / (x[j] - x[i]), 1 / (x[k] - x[j])
                terms = {(side, i): -first, (side, j): first + second, (side, k): -second}
                add({n: bend * f for n, f in terms.items()}, 0)
        add({(0, mode): 1, (1, mode): -1}, 0)
        cost = np.eye(len(names) + 1)[-1]
        found.append(linprog(cost, A_ub=np.array(rows), b_ub=bounds, bounds=[(0, 1)] * len(cost)).fun)
    return min(found)


@pytest.mark.parametrize("seed", range(6))
def test_the_dip_is_the_distance_to_the_nearest_unimodal_distribution(seed):
    chance = np.random.default_rng(seed)
    two = chance.normal(0, 0.1, (2, 4)) + np.array([[0], [1]])
    for sample in (chance.random(9), chance.integers(0, 5, 10), two):
        assert dip(sample.ravel()) == pytest.approx(nearest_unimodal(sample.ravel()), abs=1e-7)


def test_dips_by_hand_and_their_p():
    assert dip(np.arange(10)) == pytest.approx(1 / 20)  # equal steps, off a line by half a step
    assert dip(np.array([0.0] * 5 + [1.0] * 5)) == pytest.approx(1 / 4)  # the largest there is
    assert dip(np.zeros(5)) == 0
    chance = np.random.default_rng(0)
    assert p_of_one_mode(chance.normal(size=60)) > 0.2
    assert p_of_one_mode(np.concatenate([chance.normal(size=30), chance.normal(8, size=30)])) < 0.01
