"""A dry run: how long a search will take and how that is known, and what is worth knowing of its sampler."""

import dataclasses
import itertools

import pytest
from conftest import TINY_DIGITS
from searching import Runner, space

from sprite_search import estimate, running
from sprite_search.errors import InputError
from sprite_search.space import Budget, Dimension, Objective, Resources
from sprite_search.space.model import Confirm
from sprite_search.study.records import TrialRecord
from sprite_search.trial import seconds


def ended(number, start, minutes, state="complete"):
    at = 1000 + 60 * start
    return TrialRecord(number, f"toy/{number}", state, value=1.0, started=at, finished=at + 60 * minutes, shares=(0.0,))


def test_the_trials_that_ended_say_how_long_the_rest_takes(home, monkeypatch):
    """Two side by side for an hour: four trials of half an hour, of which one was pruned after a quarter."""
    past = [ended(0, 0, 30), ended(1, 0, 30), ended(2, 30, 15, "pruned"), ended(3, 30, 30), ended(4, 45, 15, "failed")]
    monkeypatch.setattr(estimate, "_records", lambda *_: past)
    found = estimate.estimate(space(budget=Budget(trials=12)), home)
    assert found["hours"] == pytest.approx(8 * (105 / 4 / 60) / 2)
    assert found["says"].startswith("for the 8 that are left: 4 trials of this study took 26 minutes each, 2 side by")
    twice = space(budget=Budget(trials=4), confirm=Confirm(2, 3), replicates=3)
    assert estimate.estimate(twice, home)["hours"] == pytest.approx(2 * (105 / 4 / 60) / 2), "the second stage"


def test_a_budget_of_hours_ends_it(home, monkeypatch):
    monkeypatch.setattr(estimate, "_records", lambda *_: [ended(0, 0, 60)])
    found = estimate.estimate(space(budget=Budget(trials=11, hours=3)), home)
    assert found["hours"] == 3 and found["says"].startswith("the budget ends it; without that 10 hours")


def test_without_trials_it_says_so_or_measures(home, monkeypatch):
    given = space(budget=Budget(trials=12), resources=Resources(cpu=1, at_once=4))
    unknown = estimate.estimate(given, home)
    assert unknown["hours"] is None and "--measure" in unknown["says"] and not home.root.exists()
    times = itertools.cycle([60.0, 120.0, 180.0])
    monkeypatch.setattr("sprite_search.trial.seconds", lambda *_: next(times))
    found = estimate.estimate(given, home, measure=True)
    assert found["hours"] == pytest.approx(12 * 2 / 60 / 4)
    assert "1 to 3 minutes for a trial; 4 side by side" in found["says"]


def test_trials_that_take_a_gpu_are_not_measured_without_one(home, monkeypatch):
    monkeypatch.setattr(estimate, "gpus", list)
    with pytest.raises(InputError, match="measure where they will run"):
        estimate.estimate(space(resources=Resources(gpu=1)), home, measure=True)


def test_trials_of_the_ledger_are_found_and_a_study_that_is_not_there_has_none(home):
    assert not estimate._records(space(), home)
    Runner(home, space(budget=Budget(trials=2))).run()
    assert len(estimate._records(space(), home)) == 2


def test_a_trial_of_more_epochs_is_reckoned_to_take_longer(home):
    """Four times the epochs: whatever this machine does meanwhile, the least of three times is longer."""
    few = {**TINY_DIGITS, "training.epochs": 10}
    least = {n: min(seconds({**few, "training.epochs": n}, [0], home.data, 1) for _ in range(3)) for n in (10, 40)}
    assert 0 < least[10] < least[40]


def test_a_search_that_leads_to_ever_more_sprites_is_warned_of(home):
    """The error of a reconstruction falls with their number; a sampler that learns goes there, others do not."""
    many = dataclasses.replace(space(), search={"sprites.count": Dimension("categorical", (2, 8))})
    assert "criteria/description_length" in running.opening(many, home)
    assert not running.notes(dataclasses.replace(many, objective=Objective("criteria/description_length")))
    assert not running.notes(dataclasses.replace(many, search={"sprites.hidden": Dimension("categorical", (8, 16))}))


SEQUENTIAL = {"name": "sequential_grid", "order": ["sprites.count", "decision.kind"]}


@pytest.mark.parametrize(
    "sampler, words",
    [
        ({"name": "tpe"}, "val/reconstruction falls with the number of sprites"),
        ({"name": "random"}, None),
        ({"name": "cmaes"}, "cmaes draws decision.kind, decision.activation, regularisers.frequency.weight at random"),
        ({"name": "nsga2"}, "nsga2 draws decision.activation, regularisers.frequency.weight at random"),
        ({"name": "gp"}, "gp looks at 300 trials"),
        (SEQUENTIAL, "takes at most 4 configurations: sprites.count, decision.kind, each keeping the winner"),
    ],
)
def test_what_is_worth_knowing_of_a_sampler_is_said_before_the_search(sampler, words, home):
    given = space(sampler=sampler, budget=Budget(trials=500))
    if sampler is SEQUENTIAL:
        given = dataclasses.replace(
            given,
            search={
                "decision.kind": Dimension("categorical", ("linear", "min_loss")),
                "sprites.count": Dimension("categorical", (2, 4, 8)),
            },
            objective=Objective("labels/accuracy", "maximize", oracle=True),
        )
    said = running.opening(given, home)
    found = running.dry_run(given, home)
    if words is None:
        assert found["notes"] == []
    else:
        assert words in said and any(words in note for note in found["notes"])
