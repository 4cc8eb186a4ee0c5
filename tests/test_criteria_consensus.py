"""Criteria of consensus, by hand, over a pool of three trials of which two agree."""

import math

import numpy as np
import pytest
from explained import model

from sprite_search.selection.criteria import CRITERIA, Pool
from sprite_search.selection.criteria.consensus import aggregate, aligned, leaders

X, RENAMED, OTHER = [0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1], [0, 0, 1, 1, 1, 2]


def pool(*choices, states=(), errors=(), configs=(0, 1, 2)):
    states = states or ["complete"] * len(choices)
    errors = errors or [0.1] * len(choices)
    return Pool(
        [
            model(
                c,
                3,
                row={"trial": i, "state": s, "sprites.count": 3, "optimizer.learning_rate": configs[i]},
                E_hard=np.full(len(c), e),
            )
            for i, (c, s, e) in enumerate(zip(choices, states, errors, strict=True))
        ]
    )


def computed(name, made):
    return CRITERIA[name].compute(made)


def test_centrality_is_the_mean_agreement_with_other_configurations():
    made = pool(X, RENAMED, OTHER)
    c = made.agreement[0, 2]
    assert 0 < c < 1 and made.agreement[0, 1] == pytest.approx(1.0)
    assert computed("centrality", made) == pytest.approx([(1 + c) / 2, (1 + c) / 2, c])


def test_other_seeds_and_trials_of_a_configuration_do_not_count():
    made = pool(X, RENAMED, OTHER, configs=(0, 0, 1))
    c = made.agreement[0, 2]
    assert computed("centrality", made) == pytest.approx([c, c, c])


def test_trials_that_did_not_finish_are_compared_but_are_no_reference():
    made = pool(X, RENAMED, OTHER, states=("complete", "complete", "pruned"))
    c = made.agreement[0, 2]
    assert computed("centrality", made) == pytest.approx([1, 1, c])
    alone = computed("centrality", pool(X, OTHER, states=("pruned", "pruned")))
    assert np.isnan(alone).all()


def test_eigen_centrality_weighs_by_the_leading_eigenvector():
    """Of [[0, 1, c], [1, 0, c], [c, c, 0]]: (1, 1, 2c/λ) with λ = (1 + √(1 + 8c²)) / 2."""
    made = pool(X, RENAMED, OTHER)
    c = made.agreement[0, 2]
    b = 2 * c / ((1 + math.sqrt(1 + 8 * c * c)) / 2)
    expected = [(1 + b * c) / (1 + b)] * 2 + [c]
    assert computed("eigen_centrality", made) == pytest.approx(expected, abs=2e-3)


def test_the_consensus_is_the_share_of_other_trials_that_put_two_images_together():
    """X and OTHER differ in the pairs of image 4: with 2, 3 (together in OTHER) and 5 (in X), of 15 pairs."""
    made = pool(X, RENAMED, OTHER)
    expected = [3 / 15 / 2, 3 / 15 / 2, 3 / 15]
    assert computed("consensus_distance", made) == pytest.approx(expected, rel=1e-5)


def test_the_majority_is_taken_after_names_are_matched():
    made = pool(X, RENAMED, OTHER)
    c = made.agreement[0, 2]
    assert computed("role_model", made) == pytest.approx([1, 1, c])
    assert aligned(np.array(RENAMED), np.array(X)).tolist() == X
    assert aligned(np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1])).max() > 1  # those without a match keep apart


def test_good_fits_are_the_better_half():
    made = pool(X, RENAMED, OTHER, errors=(0.3, 0.2, 0.1))  # the better half are trials 1 and 2
    c = made.agreement[0, 2]
    assert computed("good_fit_centrality", made) == pytest.approx([(1 + c) / 2, c, c])


@pytest.mark.parametrize("name", ["centrality", "eigen_centrality", "role_model", "good_fit_centrality"])
def test_a_pool_that_collapsed_agrees_on_nothing(name):
    assert computed(name, pool(*[[0] * 6] * 3)) == pytest.approx([0, 0, 0])


def test_the_aggregate_joins_what_most_put_together():
    """Items 0 and 1 together in all, 2 and 3 in two of three; 1 and 2 in one: groups {0, 1}, {2, 3}, {4}."""
    found = aggregate([np.array(p) for p in ([0, 0, 1, 1, 2], [2, 2, 0, 0, 1], [0, 0, 0, 1, 2])])
    assert len(set(found)) == 3 and found[0] == found[1] != found[2] == found[3] != found[4] != found[0]


def test_agreement_with_the_aggregate_of_the_leaders():
    made = pool(X, RENAMED, OTHER)
    # all three lead, and the aggregate is what the two that agree say
    assert sorted(leaders(made)) == [0, 1, 2]
    assert computed("aggregate_agreement", made) == pytest.approx([1, 1, made.agreement[0, 2]])


def test_one_seed_of_a_configuration_leads_and_none_that_did_not_finish():
    made = pool(X, RENAMED, OTHER, OTHER, configs=(0, 0, 1, 2), states=("complete",) * 3 + ("pruned",))
    found = leaders(made)
    assert len(found) == 2 and 2 in found and 3 not in found
    assert leaders(pool(X, OTHER, states=("pruned", "pruned"))) == []
