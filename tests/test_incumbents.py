"""Incumbents of a search as audit and labels see them, and the gates a model must pass, by hand."""

import pytest

from sprite_search.selection import CRITERIA, gates, incumbents

#: Of four trials: error, the audit's criterion (more is better), accuracy, arm.
TRIALS = [(0.4, 0.1, 0.5, "random"), (0.3, 0.4, 0.9, "random"), (0.2, 0.3, 0.7, "optimised"), (0.5, 0.2, 0.6, "random")]


def table():
    return [
        {"trial": n, "seed": 0, "state": "complete", "arm": arm, "val/x": error, "criteria/referee_purity": purity}
        for n, (error, purity, _, arm) in enumerate(TRIALS)
    ]


def labels():
    return {(n, 0): {"labels/accuracy": accuracy} for n, (_, _, accuracy, _) in enumerate(TRIALS)}


def course(found, name):
    return [one for one in found if one["course"] == name]


def test_the_incumbent_is_the_best_so_far_in_the_order_of_the_search():
    found = course(incumbents(table(), labels(), metric_name="val/x", direction="minimize"), "as it went")
    assert [one["trial"] for one in found] == [0, 1, 2, 2]
    assert [one["accuracy"] for one in found] == [0.5, 0.9, 0.7, 0.7]
    # purity ranks trials 1, 2, 3, 0 from best to worst: scores 1, 2/3, 1/3, 0
    assert [one["audit"] for one in found] == pytest.approx([0, 1, 2 / 3, 2 / 3])


def test_of_trials_drawn_at_random_it_is_the_expectation_over_all_orders():
    found = course(incumbents(table(), labels(), metric_name="val/x", direction="minimize"), "drawn at random")
    # trials 0, 1, 3 by error: 1, 0, 3. Of two drawn, trial 1 is best in two of three pairs, trial 0 in one
    assert [one["accuracy"] for one in found] == pytest.approx([2.0 / 3, (2 * 0.9 + 0.5) / 3, 0.9])
    assert [one["audit"] for one in found] == pytest.approx([(0 + 1 + 1 / 3) / 3, (2 * 1 + 0) / 3, 1])
    assert {one["trial"] for one in found} == {None}


def test_what_is_not_known_is_none():
    found = incumbents(
        [{k: v for k, v in r.items() if k != "criteria/referee_purity"} for r in table()],
        {},
        metric_name="val/x",
        direction="minimize",
    )
    assert {(one["audit"], one["accuracy"]) for one in found} == {(None, None)}
    assert incumbents([], {}, metric_name="val/x", direction="minimize") == []


def test_gates_say_what_was_asked_and_found():
    row = {"val/hard_reconstruction": 0.1, "val/effective_sprites": 1.2, "val/used_sprites": 0.75, "sprites.count": 8}
    found = {g.asks: g for g in gates(row, CRITERIA["reconstruction"])}
    assert found["a finite value"].problem is None and found["a finite value"].value == 0.1
    assert "collapsed" in found["at least 1.5 effective sprites"].problem
    assert found["at least 50% of the sprites are used"].value == 0.75
    empty = found["at most 95% of the layers are empty"]
    assert empty.value != empty.value and empty.problem is None  # not measured
    assert not any("masks" in asks for asks in found)
    scenes = {g.asks for g in gates({**row, "model.kind": "multilayer"}, CRITERIA["reconstruction"])}
    assert "masks cover at most 90% of the image" in scenes
