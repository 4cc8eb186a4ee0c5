"""Warm start from another study: what its trials say here is known to the sampler, and is in no book of this study."""

import dataclasses

import optuna
import pytest
from searching import RATE, Killed, Runner, error, space

from sprite_search.errors import InputError
from sprite_search.space import Budget, Constraint, Dimension
from sprite_search.study.ledger import Ledger, studies
from sprite_search.study.transfer import TRIED


def metrics(config, seed, epoch):
    return {"val/reconstruction": error(config, seed, epoch), "val/empty_share": 0.1}


def source(home, trials=12, **given):
    return Runner(home, space(name="old", budget=Budget(trials=trials), **given), metrics=metrics, reports=1).run()


def learner(**given):
    return space(**{"name": "new", "transfer_from": ("old",), "budget": Budget(trials=4), **given})


def told(ledger):
    return [t for t in ledger.study.trials if t.user_attrs.get("transferred")]


def test_what_the_other_study_found_is_known_and_counts_nowhere(home):
    old = source(home)
    bounded = learner(constraints=(Constraint("val/empty_share", max=0.5),))
    run = Runner(home, bounded, metrics=metrics, reports=1).run()
    known = told(run.ledger)
    assert [t.user_attrs["transferred"] for t in known] == [r.key for r in old.records]
    assert [t.values for t in known] == [[r.value] for r in old.records]
    assert [t.params for t in known] == [dict(r.params) for r in old.records]
    assert all(t.constraints == {"val/empty_share ≤ 0.5": pytest.approx(-0.4)} for t in known)
    assert len(run.records) == 4 == run.ledger.counts()["complete"], "the budget is this study's own"
    assert {r.number for r in run.records}.isdisjoint(t.number for t in known)
    assert not run.ledger.remaining(bounded)
    assert run.books.ends == [(r.number, "complete") for r in run.records]
    assert "12 finished trials of old are known to the sampler" in run.ledger.transfers()["old"]


def test_a_search_that_starts_warm_asks_near_the_optimum_at_once(home):
    source(home, trials=30)
    run = Runner(home, learner(budget=Budget(trials=6)), metrics=metrics, reports=1).run()
    near = [abs(r.value - min(error(r.config, 0, 10) for r in run.records)) for r in run.records]
    rates = [r.params[RATE] for r in run.records]
    assert sum(2e-4 < rate < 5e-3 for rate in rates) >= 4 and min(near) == pytest.approx(0, abs=0.01)


def test_settings_outside_of_the_space_are_left_out_and_new_ones_must_have_applied(home):
    source(home)
    narrow = dataclasses.replace(learner().search[RATE], low=1e-3)
    ledger = Ledger.create(home, learner(search={**learner().search, RATE: narrow}))
    inside = [r for r in Ledger.open(home, "old").records() if r.config[RATE] >= 1e-3]
    assert [t.user_attrs["transferred"] for t in told(ledger)] == [r.key for r in inside] and 0 < len(inside) < 12
    assert f"because {RATE} lies outside what is searched" in ledger.transfers()["old"]


def test_a_metric_that_was_not_reported_there_cannot_be_judged_here(home):
    Runner(home, space(name="old", budget=Budget(trials=2))).run()
    ledger = Ledger.create(home, learner(constraints=(Constraint("val/mask_area", min=0.1),)))
    assert told(ledger) == [] and "val/mask_area was not reported" in ledger.transfers()["old"]


def test_where_values_do_not_compare_the_best_configurations_are_tried_first(home):
    old = source(home)
    longer = learner(fixed={**space().fixed, "training.epochs": 20}, budget=Budget(trials=5))
    ledger = Ledger.create(home, longer)
    assert told(ledger) == []
    best = sorted(old.records, key=lambda r: r.value)[:TRIED]
    jobs = [ledger.ask(longer) for _ in range(TRIED)]
    assert [job.config[RATE] for job in jobs] == [r.config[RATE] for r in best]
    assert all(job.config["training.epochs"] == 20 for job in jobs)
    records = ledger.records()
    assert [(r.arm, r.point) for r in records] == [("start", r.key) for r in best]
    assert "training.epochs is 10 there and 20 here" in ledger.transfers()["old"]


def test_it_happens_once_whatever_is_killed(home, monkeypatch):
    source(home, trials=6)
    add, left = optuna.Study.add_trial, [3]

    def dies(self, trial):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return add(self, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", dies)
    with pytest.raises(Killed):
        Ledger.create(home, learner())
    monkeypatch.setattr(optuna.Study, "add_trial", add)
    assert len(told(Ledger.create(home, learner()))) == 6
    source(home, trials=8)  # the other study goes on
    run = Runner(home, learner(), metrics=metrics, reports=1).run()
    assert len(told(run.ledger)) == 6 and len(run.records) == 4
    assert len(Runner(home, learner(budget=Budget(trials=6)), metrics=metrics, reports=1).run().records) == 6


def test_a_study_that_is_not_there_is_named_and_nothing_is_made(home):
    source(home, trials=1)
    with pytest.raises(InputError, match=r"transfer_from: odl: no such study.*did you mean old"):
        Ledger.create(home, learner(transfer_from=("odl",)))
    assert studies(home) == ["old"]


def test_a_range_that_follows_another_setting_is_mapped_too(home):
    source(home, trials=6)
    follows = Dimension("int", low=8, high=192, step=8, high_of="16 * sprites.count")
    given = learner(search={**learner().search, "sprites.hidden": follows}, fixed=space().fixed)
    ledger = Ledger.create(home, given)
    whole = given.search["sprites.hidden"]
    for trial in told(ledger):
        assert 0 <= trial.params["sprites.hidden|share"] <= 1
    default = Ledger.open(home, "old").records()[0].config["sprites.hidden"]
    fit = [r for r in Ledger.open(home, "old").records() if whole.contains(default, r.config)]
    assert len(told(ledger)) == len(fit)
