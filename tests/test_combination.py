"""Combined ranks by hand, and the choice by them."""

import itertools
import json

import numpy as np
import pytest

from sprite_search.selection import choose
from sprite_search.selection.choice import disagreement, places
from sprite_search.selection.combination import (
    WAYS,
    borda,
    combine,
    criterion_graph,
    kemeny,
    knee,
    robust,
    scores,
    shares,
)
from sprite_search.selection.criteria import COLUMN, CRITERIA
from sprite_search.selection.page_rank import page_rank
from sprite_search.selection.preregistered import BORDA, BORDA_SCENES, PRIMARY
from sprite_search.selection.roles import AUDIT, AUDIT_SCENES, LATER, OBJECTIVES, electorate

NAN = float("nan")
COSTS = np.array([[1.0, 10, 5], [2, 20, 5], [3, 5, 5]])


def test_shares_of_ranks_by_hand():
    np.testing.assert_allclose(shares(COSTS), [[0, 0.5, 0.5], [0.5, 1, 0.5], [1, 0, 0.5]])
    np.testing.assert_allclose(borda(COSTS), [1 / 3, 2 / 3, 1 / 2])


def test_a_missing_value_ranks_last_and_a_criterion_without_values_is_left_out():
    costs = np.array([[1.0, NAN, 3], [2, NAN, NAN], [3, NAN, 1]])
    np.testing.assert_allclose(borda(costs), [(0 + 0.5) / 2, (0.5 + 1) / 2, (1 + 0) / 2])
    assert np.isnan(borda(np.full((3, 2), NAN))).all()


def test_robust_scores_by_hand():
    costs = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [100, 1]])
    spread = 1.4826 * 1
    expected = [-2 / spread, -1 / spread, 0, 1 / spread, 3]
    np.testing.assert_allclose(robust(costs), (np.array(expected) + np.array([0, 0, 0, 0, 3])) / 2)


def test_kemeny_is_the_ranking_that_disagrees_least():
    generator = np.random.default_rng(1)
    for _ in range(5):
        truth = generator.permutation(6)
        costs = np.stack([truth + generator.normal(0, 1.0, 6) for _ in range(5)], 1)

        def distance(places, costs=costs):
            pairs = itertools.combinations(range(6), 2)
            return sum((places[i] - places[j]) * (c[i] - c[j]) < 0 for i, j in pairs for c in costs.T)

        least = min(distance(p) for p in itertools.permutations(range(6)))
        assert distance(kemeny(costs)) == least


def test_the_knee_is_on_the_front_and_gives_up_least():
    """Ranks of two criteria: three rows on the front, of which the middle one is worst second; one behind them."""
    costs = np.array([[0.0, 3], [1, 1], [3, 0], [2, 2]])
    np.testing.assert_allclose(knee(costs), [0.5, 1 / 6, 0.5, 1 + 1 / 3])
    assert np.isnan(knee(np.full((2, 1), NAN))).all()


def test_page_rank_by_hand():
    """Two that point at each other and one that points nowhere: c = 0.05 + 0.85 c / 3, the others share the rest."""
    graph = np.array([[0.0, 2, 0], [2, 0, 0], [0, 0, 0]])
    alone = 0.05 / (1 - 0.85 / 3)
    np.testing.assert_allclose(page_rank(graph), [(1 - alone) / 2, (1 - alone) / 2, alone])
    # a chain 0 -> 1 -> 2 and from there anywhere: r = 0.05 + 0.85 r2 / 3 for the first, and 0.85 of the one before more
    first, second, third = page_rank(np.array([[0.0, 1, 0], [0, 0, 3], [0, 0, 0]]))
    assert second == pytest.approx(first + 0.85 * first) and third == pytest.approx(first + 0.85 * second)
    assert first + second + third == pytest.approx(1)


def test_in_the_graph_of_criteria_one_that_is_against_all_others_hardly_counts():
    """Two groups order four rows alike, the third the other way round: weights as by hand above."""
    costs = np.array([[0.0, 0, 3], [1, 2, 2], [2, 4, 1], [3, 6, 0]])
    alone = 0.05 / (1 - 0.85 / 3)
    z = scores(costs)
    weighed = (1 - alone) / 2 * (z[:, 0] + z[:, 1]) + alone * z[:, 2]
    np.testing.assert_allclose(criterion_graph(costs), weighed)
    assert criterion_graph(costs).argmin() == 0


def test_in_the_graph_of_criteria_a_clique_of_one_group_is_one_voice():
    costs = np.array([[0.0, 1, 5], [1, 0, 2], [2, 3, 1], [3, 4, 0]])
    copies = np.concatenate([costs, costs[:, 2:], costs[:, 2:]], 1)
    once = combine("criterion_graph", costs, ["fit", "usage", "scenes"])
    np.testing.assert_allclose(combine("criterion_graph", copies, ["fit", "usage", *["scenes"] * 3]), once)
    assert np.isnan(combine("criterion_graph", np.full((3, 2), NAN), ["fit", "fit"])).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_row_that_is_first_by_all_is_first(way):
    costs = np.random.default_rng(0).random((7, 4))
    costs[3] = -1
    assert WAYS[way](costs).argmin() == 3


@pytest.mark.parametrize("way", WAYS)
def test_monotone_changes_of_a_criterion_change_no_rank(way):
    costs = np.random.default_rng(0).random((7, 4))
    if way not in ("catalogue", "robust", "criterion_graph"):  # which keep magnitudes
        np.testing.assert_array_equal(WAYS[way](costs), WAYS[way](np.exp(5 * costs)))


def rows(count=6, seeds=3, noise=0.01, **settings):
    """Trials that are better the smaller their number by all criteria but reconstruction."""
    generator = np.random.default_rng(0)
    made = []
    for trial, seed in itertools.product(range(count), range(seeds)):
        row = {"trial": trial, "seed": seed, "state": "complete", "sprites.count": 10, **settings}
        row |= {"val/hard_reconstruction": 0.1 - 0.01 * trial, "val/effective_sprites": 9, "val/used_sprites": 1.0}
        for name in {*BORDA, *BORDA_SCENES}:
            if CRITERIA[name].compute is not None:
                cost = trial + noise * generator.normal()
                row[COLUMN + name] = cost if CRITERIA[name].smaller_is_better else -cost
        made.append({**row, "labels/accuracy": generator.random()})
    return made


@pytest.mark.parametrize("kind", ["clustering", "multilayer"])
def test_the_combination_is_the_default_and_outvotes_one_criterion(kind):
    table = rows(**{"model.kind": kind})
    choice = choose(table)
    assert (choice.by, choice.trial, choice.abstained) == ("catalogue", 0, False)
    assert any("of 6 it is 1st by" in r for r in choice.reasons)
    assert choose(table, by="reconstruction").trial == 5


def test_criteria_that_contradict_each_other_are_no_choice():
    """Half of the criteria rank the trials one way, half the other way round: seeds are no doubt, criteria are."""
    table = rows(noise=0.0)
    for row in table:
        for name in BORDA[:4]:
            column = "val/hard_reconstruction" if name == "reconstruction" else COLUMN + name
            sign = 1 if CRITERIA[name].smaller_is_better else -1
            row[column] = float(sign * (row["trial"] + 0.01 * row["seed"]))
        for name in BORDA[4:]:
            sign = 1 if CRITERIA[name].smaller_is_better else -1
            row[COLUMN + name] = float(-sign * (row["trial"] + 0.01 * row["seed"]))
    choice = choose(table)
    assert choice.abstained and choice.reliability < 0.7
    assert "criteria disagree" in choice.reasons[-1]
    assert not choose(table, by=BORDA[0]).abstained  # one criterion does not know


def test_disagreement_by_hand():
    """Ranks 0 and 1 of two criteria that contradict each other: mean 0.5, variance 0.5, over two of them 0.25."""
    table = [
        {"trial": t, "seed": 0, "val/hard_reconstruction": float(t), COLUMN + "redundancy": float(-t)} for t in (0, 1)
    ]
    assert disagreement(table, [0, 1], "borda") == pytest.approx([0.25, 0.25])
    assert disagreement(table, [0, 1], "kemeny") is None and disagreement(table, [0, 1], "reconstruction") is None


def test_criteria_of_one_group_count_as_one_opinion_on_their_doubt():
    """Scores c, c and −c of three criteria, the first two of one group: its mean lies 2c/3 from that of all, the
    other's 4c/3. Weighed by 2/3 and 1/3 that is 4c/9 each; squared, summed and times G/(G − 1) = 2: 64c²/81.
    """
    sign = 1.0 if CRITERIA["merge_gain"].smaller_is_better else -1.0
    alike = [{COLUMN + "redundancy": float(t), COLUMN + "merge_gain": sign * t} for t in (0, 1)]
    table = [{"trial": t, "seed": 0, "val/hard_reconstruction": -float(t), **alike[t]} for t in (0, 1)]
    c = 1 / 1.4826
    assert disagreement(table, [0, 1], "catalogue") == pytest.approx([64 * c**2 / 81] * 2)


def test_what_steers_or_audits_does_not_choose():
    for scenes, audit in ((False, AUDIT), (True, AUDIT_SCENES)):
        voters = electorate(scenes=scenes)
        assert not {*voters} & {*audit, *OBJECTIVES, *LATER}
        assert {*voters, *audit, *OBJECTIVES, *LATER} == {*CRITERIA}


def test_places_of_groups_by_hand():
    table = [{"trial": t, "val/hard_reconstruction": [3.0, 1, 2][t], COLUMN + "redundancy": float(t)} for t in range(3)]
    assert places(table, "robust") == {"fit": {0: 3, 1: 1, 2: 2}, "redundancy": {0: 1, 1: 2, 2: 3}}


def test_the_seed_is_the_best_by_the_combination():
    table = rows(noise=0)
    for row in table:
        if row["trial"] == 0 and row["seed"] == 1:
            row["val/hard_reconstruction"] = 0.01
    assert choose(table).seed == 1


@pytest.mark.parametrize(
    ("table", "word"),
    [(rows(count=3), "only 3"), ([{k: v for k, v in r.items() if COLUMN not in k} for r in rows()], "too few")],
)
def test_without_enough_to_combine_reconstruction_decides_and_says_so(table, word):
    choice = choose(table)
    assert choice.by == "reconstruction"
    assert any(word in r for r in choice.reasons)


def test_fresh_seeds_decide_among_those_that_have_them():
    table = rows()
    fresh = [
        {**r, "trial": r["trial"] + 10, "seed": r["seed"] + 100, "arm": "confirm"}
        for r in table
        if r["trial"] in (2, 4)
    ]
    choice = choose(table + fresh)
    assert choice.trial in (12, 14) and choice.candidates == 2
    assert any("fresh seeds" in r for r in choice.reasons)


@pytest.mark.parametrize("way", WAYS)
def test_labels_and_the_order_of_rows_change_nothing(way):
    table = rows(noise=2.0)
    first = json.dumps(choose(table, by=way).to_dict())
    generator = np.random.default_rng(5)
    labels = [r["labels/accuracy"] for r in table]
    generator.shuffle(labels)
    other = [{**r, "labels/accuracy": label} for r, label in zip(table, labels, strict=True)]
    generator.shuffle(other)
    assert json.dumps(choose(other, by=way).to_dict()) == first


def test_what_was_registered_exists():
    assert {*BORDA, *BORDA_SCENES, *PRIMARY} <= {*CRITERIA, *WAYS} and len(PRIMARY) <= 6
