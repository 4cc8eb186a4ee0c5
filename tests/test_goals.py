"""Several objectives and constraints: what samplers are told, what is best, and the books of it, without Ray."""

import dataclasses
import random

import optuna
import pytest
from searching import Killed, Runner, space

from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.space import Budget, Constraint, Objective
from sprite_search.study import samplers
from sprite_search.study.bounded import Bounded
from sprite_search.study.goals import best, front, problem, spread
from sprite_search.study.ledger import Ledger
from sprite_search.study.records import TrialRecord

COUNT = "sprites.count"
TWO = (Objective("val/effective_sprites"),)
FEW = Constraint("val/empty_share", max=0.5)


def traded(config, seed, epoch):
    """More sprites explain more and cost more; a large rate leaves layers empty."""
    rate = config["optimizer.learning_rate"]
    return {
        "val/reconstruction": 1 / config[COUNT] + rate + 0.001 * seed,
        "val/effective_sprites": float(config[COUNT]),
        "val/empty_share": min(1.0, rate * 100),
    }


def record(number, *values, violations=None, state="complete"):
    return TrialRecord(
        number, f"s/{number}", state, value=values[0] if values else None, values=values, violations=violations or {}
    )


# -- what is best ----------------------------------------------------------------------------------


def test_the_front_is_what_nothing_dominates():
    both = space(further_objectives=(Objective("val/effective_sprites", "maximize"),))
    chance = random.Random(0)
    records = [record(n, chance.randrange(6), chance.randrange(6)) for n in range(60)]
    found = front(both, records)

    def better(a, b):
        return a.values[0] <= b.values[0] and a.values[1] >= b.values[1] and a.values != b.values

    assert {r.number for r in found} == {r.number for r in records if not any(better(o, r) for o in records)}
    assert [r.value for r in found] == sorted(r.value for r in found), "by the leading objective"
    assert best(both, records) is None, "no single one is the best"
    assert front(space(), records) == [], "one objective has a best trial instead"


def test_a_trial_outside_the_constraints_is_never_the_best_nor_on_the_front():
    records = [
        record(0, 1.0, 1.0, violations={"c": 0.1}),
        record(1, 2.0, 2.0, violations={"c": 0.0}),
        record(2, 3.0, 3.0),
    ]
    assert best(space(), records).number == 1
    assert [r.number for r in front(space(further_objectives=TWO), records)] == [1]
    assert best(space(), records[:1]) is None


@pytest.mark.parametrize(
    "bound, value, holds",
    [({"max": 0.5}, 0.5, True), ({"max": 0.5}, 0.6, False), ({"min": 2.0}, 1.5, False), ({"min": 2.0}, 2.0, True),
     ({"min": 1, "max": 2}, 0.5, False), ({"min": 1, "max": 2}, 1.5, True), ({"min": 1, "max": 2}, 3.0, False)],
)  # fmt: skip
def test_bounds(bound, value, holds):
    assert (Constraint("val/mask_area", **bound).violation(value) <= 0) is holds


def test_a_report_that_cannot_be_judged_says_which_metric_is_at_fault():
    given = space(further_objectives=TWO, constraints=(FEW,))
    good = {"val/reconstruction": 1.0, "val/effective_sprites": 2.0, "val/empty_share": 0.1}
    assert problem(given, [0, 1], [good, good]) is None
    for name in good:
        assert f"{name} was not reported" in problem(
            given, [0, 1], [good, {n: v for n, v in good.items() if n != name}]
        )
        assert f"{name} is not a finite number" in problem(given, [0], [{**good, name: float("nan")}])


def test_a_front_that_is_too_large_is_stood_for_by_its_ends_and_by_what_has_room_around_it():
    both = space(further_objectives=(Objective("val/effective_sprites", "maximize"),))
    line = [(0, 0), (1, 1), (1.2, 1.2), (1.4, 1.4), (5, 5), (10, 10)]  # less error costs sprites
    whole = front(both, [record(n, *map(float, values)) for n, values in enumerate(line)])
    assert [r.number for r in whole] == [0, 1, 2, 3, 4, 5]
    kept = {count: [r.number for r in spread(both, whole, count)] for count in range(1, 7)}
    assert kept[1] == [0] and kept[2] == [0, 5] and kept[3] == [0, 4, 5] and kept[4] == [0, 3, 4, 5]
    assert kept[6] == [0, 1, 2, 3, 4, 5] and spread(both, [], 3) == []


def test_a_front_of_equals_is_stood_for_by_the_first():
    both = space(further_objectives=TWO)
    whole = front(both, [record(n, 1.0, 2.0) for n in range(4)])
    assert len(whole) == 4 and [r.number for r in spread(both, whole, 3)] == [0, 1, 3]


# -- the ledger -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nsga2", "tpe", "gp", "random", "qmc"])
def test_every_sampler_of_several_objectives_fills_its_budget_and_tells_all_values(home, name):
    given = space(
        sampler={"name": name, "seed": 0, "startup": 10, "population": 5},
        further_objectives=TWO,
        constraints=(FEW,),
        budget=Budget(trials=12),
        replicates=2,
    )
    run = Runner(home, given, metrics=traded, width=3, reports=1).run()
    assert [r.state for r in run.records] == ["complete"] * 12
    for own, trial in zip(run.records, (t for t in run.study.trials if not t.user_attrs.get("skipped")), strict=True):
        metrics = [s["metrics"] for s in own.seeds]
        means = [sum(m[n] for m in metrics) / 2 for n in ("val/reconstruction", "val/effective_sprites")]
        assert list(own.values) == trial.values == means and own.value == own.values[0]
        assert own.violations == {"val/empty_share ≤ 0.5": pytest.approx(metrics[0]["val/empty_share"] - 0.5)}
    theirs = {t.number for t in run.study.best_trials}
    assert {r.number for r in front(given, run.records)} == theirs, "the front is Optuna's"


def tempting(config, seed, epoch):
    """The error falls with the rate: without the constraint large rates are asked for."""
    rate = config["optimizer.learning_rate"]
    return {"val/reconstruction": 0.02 - rate, "val/empty_share": min(1.0, rate * 100)}


RATES = {"optimizer.learning_rate": dataclasses.replace(space().search["optimizer.learning_rate"], log=False)}


@pytest.mark.parametrize("name, trials", [("tpe", 20), ("gp", 12)])
def test_samplers_heed_constraints(name, trials, home, tmp_path):
    excess = []
    for where, limits in ((home, ()), (Home(tmp_path / "bound"), (FEW,))):
        given = space(
            search=RATES,
            sampler={"name": name, "seed": 0, "startup": 6},
            budget=Budget(trials=trials),
            constraints=limits,
        )
        late = Runner(where, given, metrics=tempting, reports=1).run().records[8:]
        excess.append(sum(max(0.0, r.config["optimizer.learning_rate"] - 0.005) for r in late))
    assert excess[1] < excess[0] / 2


def test_parents_keep_the_constraints_where_enough_trials_do(home):
    given = space(
        search=RATES,
        sampler={"name": "nsga2", "seed": 0, "population": 4},
        budget=Budget(trials=16),
        constraints=(FEW,),
    )
    run = Runner(home, given, metrics=tempting, reports=1).run()
    attrs = run.study._storage.get_study_system_attrs(run.study._study_id)
    parents = [ids for key, ids in attrs.items() if key.startswith("NSGAIISampler:parent:")]
    by_id = {t._trial_id: t for t in run.study.trials}
    assert len(parents) >= 2
    assert all(v <= 0 for ids in parents[1:] for i in ids for v in by_id[i].constraints.values())


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_driver_loses_no_value_and_no_violation(home, seed):
    given = space(
        sampler={"name": "nsga2", "seed": 0, "population": 4}, further_objectives=TWO, constraints=(FEW,),
        budget=Budget(trials=12),
    )  # fmt: skip
    chance = random.Random(seed)
    for _ in range(30):
        run = None
        try:
            run = Runner(home, given, metrics=traded, width=2, kill_after=chance.randrange(4, 40), reports=5)
            run.run()
            break
        except Killed:
            continue
    records = Ledger.open(home, "toy").records()
    assert [r.state for r in records] == ["complete"] * 12
    assert all(len(r.values) == 2 and len(r.violations) == 1 for r in records)


def test_a_violation_entered_before_the_driver_died_is_not_entered_twice(home, monkeypatch):
    given = space(constraints=(FEW,), budget=Budget(trials=1))
    tell = optuna.Study.tell
    monkeypatch.setattr(optuna.Study, "tell", lambda *a, **k: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        Runner(home, given, metrics=traded).run()
    monkeypatch.setattr(optuna.Study, "tell", tell)
    [own] = Runner(home, given, metrics=traded).run().records
    assert own.state == "complete" and len(own.violations) == 1


def test_a_pruned_trial_has_its_violations_too(home):
    given = space(
        pruner={"name": "median", "startup": 2, "rungs": 3}, constraints=(FEW,), budget=Budget(trials=14),
        sampler={"name": "random", "seed": 3},
    )  # fmt: skip
    records = Runner(home, given, metrics=traded).run().records
    assert any(r.state == "pruned" for r in records)
    assert all(len(r.violations) == 1 for r in records)


def test_a_relaunched_genetic_search_goes_on_with_its_generations(home, tmp_path):
    given = space(
        sampler={"name": "nsga2", "seed": 0, "population": 4}, further_objectives=TWO, budget=Budget(trials=16)
    )
    whole = Runner(Home(tmp_path / "whole"), given, metrics=traded).run().params()
    Runner(home, dataclasses.replace(given, budget=Budget(trials=7)), metrics=traded).run()
    run = Runner(home, given, metrics=traded).run()
    assert run.params() == whole, "a serial search is the same whether it was interrupted or not"
    generations = [t.system_attrs.get("NSGAIISampler:generation") for t in run.study.trials]
    assert max(g for g in generations if g is not None) >= 2


def test_another_aim_is_refused_whatever_is_allowed(home):
    Runner(home, space(budget=Budget(trials=1)), metrics=traded).run()
    for changed in (
        space(further_objectives=TWO),
        space(constraints=(FEW,)),
        space(objective=Objective("val/reconstruction", "maximize")),
    ):
        for allowed in (False, True):
            with pytest.raises(InputError, match=r"another aim(.|\n)*->(.|\n)*transfer_from"):
                Ledger.create(home, changed, allow_space_change=allowed)


def test_the_weights_of_the_front_are_kept(home):
    given = space(further_objectives=TWO, budget=Budget(trials=40), sampler={"name": "random", "seed": 0})
    run = Runner(home, given, metrics=traded, reports=1).run()
    assert len(front(given, run.records)) > 3
    assert {r.number for r in front(given, run.records)} <= run.driver._kept


# -- a long history ---------------------------------------------------------------------------------


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_a_bounded_sampler_sees_the_newest_and_of_the_older_the_best_that_keep_the_constraints(directions):
    study = optuna.create_study(directions=directions)
    where = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for n in range(200):
        value = (n * 37 % 200) / 200
        values = [value, value][: len(directions)]
        broken = {"c": 1.0} if value < 0.1 else {"c": -1.0}
        study.add_trial(
            optuna.trial.create_trial(values=values, params={"x": value}, distributions=where, constraints=broken)
        )
    seen = []

    class Spy(optuna.samplers.RandomSampler):
        def sample_independent(self, study, *rest):
            seen.append(study.get_trials(deepcopy=False))
            return super().sample_independent(study, *rest)

    study.sampler = Bounded(Spy(), most=50)
    study.ask(where)
    numbers = [t.number for t in seen[0]]
    assert len(numbers) == 50 and numbers == sorted(numbers)
    assert set(range(156, 201)) <= set(numbers), "the newest, the one that is asked included"
    older = [t for t in study.trials[:156]]
    feasible = sorted(t.values[0] for t in older if t.values[0] >= 0.1)
    kept = sorted(t.values[0] for t in seen[0] if t.number < 156)
    extremes = feasible[:5] if len(directions) == 1 else [*feasible[:2], *feasible[-3:]]
    assert set(extremes) <= set(kept) and not any(v < 0.1 for v in kept)


def test_a_gaussian_process_looks_at_a_bounded_part_of_a_long_history():
    own = samplers.sampler(space(sampler={"name": "gp", "seed": 0}), 0)
    assert isinstance(own, Bounded) and own.most == 300
