"""The ledger and its driver, without Ray: what was asked is asked once, ends once, and survives any crash."""

import dataclasses
import math
import random
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from searching import EPOCHS, PRUNING, RATE, Killed, Runner, error, space, staged

from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.space import Budget, Dimension, Objective, load_space
from sprite_search.study import samplers
from sprite_search.study.budget import busy_hours, trials_left
from sprite_search.study.driver import RETRIES
from sprite_search.study.grid import MOST, Grid, configurations
from sprite_search.study.ledger import Ledger, studies
from sprite_search.study.records import TrialRecord
from sprite_search.study.storage import storage
from sprite_search.study.table import rows
from trainers.settings import catalogue

GRID = {
    "decision.kind": Dimension("categorical", ("linear", "min_loss")),
    "decision.activation": Dimension("categorical", ("softmax", "gumbel_softmax")),
    "sprites.count": Dimension("int", low=4, high=8, step=2),
    "optimizer.weight_decay": Dimension("float", low=0.0, high=0.3, step=0.1),
}


@pytest.fixture
def other(tmp_path):
    return Home(tmp_path / "other")


def digests(study):
    return [t.user_attrs["digest"] for t in study.trials if "digest" in t.user_attrs]


# -- what is asked --------------------------------------------------------------------------------


def test_a_serial_study_run_twice_asks_the_same_and_another_seed_does_not(home, other, tmp_path):
    first, second = Runner(home, space()).run(), Runner(other, space()).run()
    assert first.params() == second.params()
    third = Runner(Home(tmp_path / "third"), space(sampler={"name": "tpe", "seed": 1, "startup": 4})).run()
    assert third.params() != first.params()


@pytest.mark.parametrize("name", ["random", "tpe", "gp", "cmaes", "qmc", "grid"])
def test_every_sampler_fills_its_budget_without_asking_twice(home, name):
    given = space(sampler={"name": name, "seed": 0, "startup": 8}, search=GRID if name == "grid" else space().search)
    run = Runner(home, given).run()
    assert [r.state for r in run.records] == ["complete"] * 12
    assert len(set(digests(run.study))) == 12


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_relaunched_sampler_goes_on_instead_of_starting_over(home, name):
    """A sampler of fixed seed that starts anew would ask for the first trials again."""
    given = space(sampler={"name": name, "seed": 0, "startup": 4})
    Runner(home, dataclasses.replace(given, budget=Budget(trials=6))).run()
    run = Runner(home, given).run()
    rates = [r.params[RATE] for r in run.records]
    assert len(rates) == 12 and len(set(rates)) == 12
    assert not any(t.user_attrs.get("skipped") for t in run.study.trials)


def test_two_hundred_samples_reach_every_branch_and_hold_nothing_that_does_not_apply(home):
    given = space(budget=Budget(trials=200), random_arm=0.8)
    run = Runner(home, given, reports=1).run()
    kinds = set()
    for record in run.records:
        config = dict(record.config)
        kinds.add((config["decision.kind"], config.get("decision.activation")))
        for name in record.params:
            setting = name.partition("|")[0]
            assert catalogue()[setting].applies({k: v for k, v in config.items() if k != setting}), name
        assert ("decision.activation" in record.params) == (config["decision.kind"] != "min_loss")
        on = record.params.get("regularisers.frequency.weight|on", False)
        assert on == ("regularisers.frequency.weight" in record.params)
    assert len(kinds) == 5
    sampler = samplers.sampler(given, 0).sampler  # behind its bound
    assert isinstance(sampler, optuna.samplers.TPESampler) and sampler._group


def test_tpe_with_a_history_asks_near_the_optimum(home):
    given = space(search={RATE: space().search[RATE], "decision.kind": space().search["decision.kind"]})
    run = Runner(home, dataclasses.replace(given, budget=Budget(trials=40)), reports=1).run()
    distance = [abs(math.log10(r.params[RATE]) + 3) for r in run.records]
    assert sum(distance[-15:]) / 15 < sum(distance[:10]) / 10


def test_a_finite_space_is_tried_once_through_and_then_said_to_be_exhausted(home):
    given = space(search=GRID, budget=Budget(trials=1000))
    possible = list(configurations(given))
    assert len(possible) == (2 + 1) * 3 * 4  # linear has two activations, min_loss has none
    run = Runner(home, given, reports=1).run()
    assert len(run.records) == len(possible) == len(set(digests(run.study)))
    assert run.ledger.exhausted(given) and not run.ledger.remaining(given)
    before = len(run.study.trials)
    Runner(home, given).run()
    assert len(Ledger.open(home, "toy").study.trials) == before


def test_what_cannot_be_listed_is_no_grid():
    assert not Grid(space()).finite
    large = {"sprites.count": Dimension("int", low=2, high=MOST + 2), "optimizer.weight_decay": GRID["sprites.count"]}
    assert not Grid(space(search=large)).finite
    with pytest.raises(InputError, match=r"regularisers\.frequency\.weight has no list of values"):
        Grid(space(sampler={"name": "grid"}))
    with pytest.raises(InputError, match="more than 5,000"):
        Grid(space(search=large, sampler={"name": "grid"}))


def test_a_grid_of_a_continuous_space_is_refused_when_it_is_read(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("study: a\nsearch:\n  optimizer.learning_rate: {log: [1.0e-4, 1.0e-2]}\nsampler: grid\n")
    with pytest.raises(InputError, match=r"a\.yaml:3: optimizer\.learning_rate: has no list of values"):
        load_space(file)


POINTS = (
    ("ours", {"decision.kind": "weight_prediction", "sprites.count": 9, RATE: 1e-3}),
    ("dti", {"decision.kind": "min_loss", "sprites.count": 8, RATE: 2e-3, "regularisers.frequency.weight": 0.0}),
    ("same", {"decision.kind": "min_loss", "sprites.count": 8, RATE: 2e-3, "regularisers.frequency.weight": 0.0}),
)


def test_points_are_asked_first_once_each_and_in_order(home):
    given = space(start_from=POINTS, random_arm=0.5)
    run = Runner(home, given).run()
    assert [(r.point, r.arm) for r in run.records[:3]] == [("ours", "start"), ("dti", "start"), (None, "random")]
    for record, (_, point) in zip(run.records, POINTS[:2], strict=False):
        assert {n: record.config[n] for n in point if n in record.config}.items() <= dict(point).items()
    assert len(run.records) == 12
    twin = run.study.trials[2]
    assert twin.user_attrs["skipped"] and twin.user_attrs["reason"] == "same configuration as trial 1"
    assert [t.user_attrs.get("point") for t in Runner(home, given).run().study.trials[:4]][:3] == [
        "ours",
        "dti",
        "same",
    ]


def test_points_that_a_killed_driver_did_not_enqueue_are_enqueued_by_the_next(home, monkeypatch):
    enqueue = optuna.Study.enqueue_trial
    calls = []

    def once(*args, **more):
        calls.append(1)
        if len(calls) > 1:
            raise Killed
        return enqueue(*args, **more)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", once)
    with pytest.raises(Killed):
        Ledger.create(home, space(start_from=POINTS[:2]))
    monkeypatch.undo()
    run = Runner(home, space(start_from=POINTS[:2])).run()
    assert [r.point for r in run.records[:3]] == ["ours", "dti", None]


def test_a_point_whose_driver_died_while_asking_for_it_is_still_trained(home, monkeypatch):
    given = space(start_from=POINTS[:1])
    original = optuna.trial.Trial.set_user_attr

    def dies(self, key, value):
        if key == "config":
            raise Killed
        original(self, key, value)

    monkeypatch.setattr(optuna.trial.Trial, "set_user_attr", dies)
    with pytest.raises(Killed):
        Runner(home, given).run()
    monkeypatch.undo()
    run = Runner(home, given).run()
    assert len(run.records) == 12 and all(r.state == "complete" for r in run.records)
    assert (run.records[0].point, run.records[0].arm, run.records[0].config["sprites.count"]) == ("ours", "start", 9)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 1.0])
def test_the_random_arm_keeps_its_share_at_any_time(home, share):
    run = Runner(home, space(random_arm=share), reports=1).run()
    at_random = [r.arm == "random" for r in run.records]
    for n in range(1, 13):
        assert sum(at_random[:n]) == math.floor(n * share + 1e-9)


# -- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_driver_killed_again_and_again_leaves_each_trial_asked_once_and_ended_once(home, seed):
    draw = random.Random(seed)
    given = space(start_from=POINTS[:2], random_arm=0.3, pruner={"name": "median", "startup": 2, "rungs": 2})
    for _ in range(4):
        try:
            Runner(home, given, width=3, kill_after=draw.randint(1, 40)).run()
        except Killed:
            continue
    run = Runner(home, given, width=3).run()
    states = [r.state for r in run.records]
    assert len(states) == 12 and set(states) <= {"complete", "pruned"}
    assert len(set(digests(run.study))) == 12
    for record in run.records:
        assert record.epoch == (EPOCHS if record.state == "complete" else record.epoch) > 0
    again = Runner(home, given, width=3).run()
    assert again.driver.started == 0 and again.books.ends == []


def test_a_relaunch_takes_up_what_ran_with_one_attempt_more_and_asks_nothing_until_then(home):
    with pytest.raises(Killed):
        Runner(home, space(), width=3, kill_after=9).run()
    run = Runner(home, space(), width=3)
    run.fill()
    taken = [run.running[n][0] for n in run.running]
    assert [(j["number"], j["attempt"]) for j in taken] == [(0, 2), (1, 2), (2, 2)]
    run.run()
    assert [r.attempt for r in run.records] == [2, 2, 2] + [1] * 9


def test_the_relaunch_of_a_finished_study_writes_nothing(home):
    Runner(home, space(start_from=POINTS[:2])).run()
    journal = (home.root / "studies.journal").read_bytes()
    run = Runner(home, space(start_from=POINTS[:2])).run()
    assert (home.root / "studies.journal").read_bytes() == journal
    assert run.driver.started == 0


def test_a_worker_that_dies_is_started_again_and_a_poisonous_configuration_fails(home):
    run = Runner(home, space(budget=Budget(trials=3)), width=2)
    run.fill()
    poisoned = 1
    while run.running:
        for name in list(run.running):
            job, _ = run.running[name]
            if job["number"] == poisoned or (job["number"] == 0 and job["attempt"] == 1):
                del run.running[name]
                run.driver.crashed(name, "signal 9")
            else:
                run.step(name)
        run.fill()
    states = {r.number: (r.state, r.attempt) for r in run.records}
    assert states[0] == ("complete", 2)
    assert states[poisoned] == ("failed", RETRIES + 1)
    assert run.records[1].reason == "its worker died 3 times, the last time because signal 9"
    assert [s for s, _ in states.values()] == ["complete", "failed", "complete", "complete"]  # failures cost no budget
    assert (poisoned, "failed") in run.books.ends


def test_the_last_trial_is_retried_too_and_a_machine_taken_away_does_not_count(home):
    run = Runner(home, space(budget=Budget(trials=1)))
    for _ in range(RETRIES + 3):
        run.fill()
        (name,) = run.running
        assert not run.driver.finished()
        run.running.clear()
        run.driver.crashed(name, "the machine was gone", counts=False)
    run.run()
    (record,) = run.records
    assert (record.state, record.attempt, record.crashes) == ("complete", RETRIES + 4, 0)


def test_crashes_are_counted_over_launches(home):
    for _ in range(RETRIES + 1):
        run = Runner(home, space(budget=Budget(trials=1)))
        run.fill()
        (name,) = run.running
        run.driver.drain()
        run.driver.crashed(name, "signal 9")
    assert run.records[0].state == "failed"


def test_too_many_failures_close_the_study(home):
    given = space(budget=Budget(trials=12, max_failed=2))
    nan = Runner(home, given, metrics=lambda *_: {"val/reconstruction": math.nan}).run()
    assert [r.state for r in nan.records] == ["failed"] * 3
    assert {r.reason for r in nan.records} == {"val/reconstruction is not a finite number"}


def test_what_diverged_is_not_asked_again(home):
    given = space(search={"sprites.count": Dimension("int", low=2, high=6)}, budget=Budget(trials=5, max_failed=9))

    def metrics(config, seed, epoch):
        return {"val/reconstruction": math.nan if config["sprites.count"] % 2 else 0.1}

    run = Runner(home, given, metrics=metrics).run()
    assert sorted(r.config["sprites.count"] for r in run.records) == [2, 3, 4, 5, 6]
    assert run.ledger.counts()["failed"] == 2


def test_one_seed_that_is_not_finite_fails_the_trial(home):
    def metrics(config, seed, epoch):
        return {"val/reconstruction": math.inf if seed == 1 else 0.1}

    run = Runner(home, space(replicates=3, budget=Budget(trials=1, max_failed=0)), metrics=metrics).run()
    assert [r.state for r in run.records] == ["failed"]
    assert run.study.trials[0].state is TrialState.FAIL


def test_an_objective_that_is_not_reported_says_so(home):
    given = space(objective=Objective("labels/accuracy", "maximize", oracle=True), budget=Budget(1, max_failed=0))
    run = Runner(home, given).run()
    assert run.records[0].reason == "labels/accuracy was not reported: the data has no labels"


# -- pruning --------------------------------------------------------------------------------------


def test_rungs_lie_after_the_last_transformation_has_joined():
    for settled in (0.0, 0.2, 0.5, 0.9):
        for count in (1, 2, 4):
            found = samplers.rung_fractions(settled, count)
            assert len(found) == count and found == sorted(found)
            assert settled < found[0] and found[-1] < 1
            gaps = [b - a for a, b in zip([settled, *found], [*found, 1.0], strict=True)]
            assert gaps == pytest.approx([(1 - settled) / (count + 1)] * (count + 1))


def test_a_bad_trial_is_pruned_at_a_rung_and_never_counts_as_complete(home):
    given = space(pruner=PRUNING, budget=Budget(trials=4))
    run = Runner(home, given, metrics=staged([0.1, 0.2, 0.9, 0.05])).run()
    assert [r.state for r in run.records] == ["complete", "complete", "pruned", "complete"]
    assert [t.state for t in run.study.trials][2] is TrialState.PRUNED
    # the affine joins at 0.2 of 10 epochs, so rungs are at 0.2 + 0.8/3 and 0.2 + 1.6/3: epochs 5 and 8
    pruned = run.records[2]
    assert (pruned.epoch, pruned.value, run.study.trials[2].last_step) == (5, None, 1)
    assert run.study.best_trial.number == 3
    assert run.study.trials[0].intermediate_values == {1: pytest.approx(0.1), 2: pytest.approx(0.1)}


def test_a_relaunch_keeps_the_rungs(home):
    """The first trial of a second launch is compared with those of the first."""
    given = space(pruner=PRUNING, budget=Budget(trials=2))
    Runner(home, given, metrics=staged([0.1, 0.2])).run()
    run = Runner(home, dataclasses.replace(given, budget=Budget(trials=3)), metrics=staged([0.9])).run()
    assert [r.state for r in run.records] == ["complete", "complete", "pruned"]


def test_a_trial_adopted_after_a_rung_is_not_compared_at_it_twice(home):
    given = space(pruner=PRUNING, budget=Budget(trials=3))
    with pytest.raises(Killed):
        Runner(home, given, metrics=staged([0.1, 0.2, 0.15]), kill_after=2 + 2 * EPOCHS + 7).run()
    run = Runner(home, given, metrics=lambda *_: {"val/reconstruction": 0.15}).run()
    assert run.records[2].attempt == 2 and run.records[2].state == "complete"
    assert sorted(run.study.trials[2].intermediate_values) == [1, 2]


def test_the_random_arm_is_never_pruned_but_others_are_compared_with_it(home):
    given = space(pruner=PRUNING, budget=Budget(trials=6), random_arm=1.0)
    run = Runner(home, given, metrics=staged([0.1, 0.2, 0.9, 0.8, 0.7, 0.6])).run()
    assert {(r.state, r.arm) for r in run.records} == {("complete", "random")}
    after = dataclasses.replace(given, random_arm=0.0, budget=Budget(trials=7))
    run = Runner(home, after, metrics=staged([0.95])).run()
    assert run.records[-1].state == "pruned"


@pytest.mark.parametrize("name", ["asha", "hyperband"])
@pytest.mark.parametrize("reports", [EPOCHS, 2])
def test_halving_prunes_most_of_what_gets_worse_and_keeps_the_best(home, name, reports):
    """Also where reports are further apart than rungs."""
    given = space(pruner={"name": name, "rungs": 4, "reduction": 2}, budget=Budget(trials=16))
    run = Runner(home, given, metrics=staged([0.1 + 0.01 * n for n in range(16)]), reports=reports).run()
    states = [r.state for r in run.records]
    assert states[0] == "complete" and states.count("pruned") > 2
    assert all(t.last_step is not None for t in run.study.trials)


def test_without_a_pruner_nothing_is_pruned(home):
    run = Runner(home, space(budget=Budget(trials=4)), metrics=staged([0.1, 0.2, 0.9, 0.9])).run()
    assert [r.state for r in run.records] == ["complete"] * 4
    assert all(not t.intermediate_values for t in run.study.trials)


def test_labels_change_nothing_in_what_is_asked_pruned_or_told(home, other):
    """Label metrics that are there, wrong or missing: the same trials, states and values."""

    def with_labels(config, seed, epoch):
        return {"val/reconstruction": error(config, seed, epoch), "labels/accuracy": random.random()}

    given = space(pruner=PRUNING, random_arm=0.3, replicates=2)
    one, two = Runner(home, given).run(), Runner(other, given, metrics=with_labels).run()
    assert one.params() == two.params()
    assert [(r.state, r.value, r.epoch) for r in one.records] == [(r.state, r.value, r.epoch) for r in two.records]
    assert not any("labels" in name for row in rows(two.records) for name in row)
    assert any("labels/accuracy" in row for row in rows(two.records, labels=True))


# -- budgets, draining, changes -------------------------------------------------------------------


def test_a_raised_budget_asks_for_exactly_as_many_more(home):
    Runner(home, space()).run()
    run = Runner(home, space(budget=Budget(trials=20))).run()
    assert (run.driver.started, len(run.records)) == (8, 20)


def test_the_value_is_the_mean_over_seeds_of_the_last_report(home):
    run = Runner(home, space(replicates=3, budget=Budget(trials=2))).run()
    for record in run.records:
        wanted = sum(error(record.config, seed, EPOCHS) for seed in range(3)) / 3
        assert record.value == pytest.approx(wanted, abs=1e-12)
        assert [s["seed"] for s in record.seeds] == [0, 1, 2]


@pytest.mark.parametrize("how", ["drain", "stop"])
def test_draining_leaves_what_runs_to_be_taken_up(home, how):
    run = Runner(home, space(), width=2)
    run.fill()
    run.step("1")
    if how == "drain":
        run.driver.drain()
    else:
        home.study("toy").mkdir(parents=True)
        run.driver.stop_file.touch()
    run.run()
    assert [r.state for r in run.records] == ["running", "running"]
    run.driver.stop_file.unlink(missing_ok=True)
    assert [r.state for r in Runner(home, space(), width=2).run().records] == ["complete"] * 12


def test_a_full_disk_stops_the_study_and_costs_no_trial(home):
    run = Runner(home, space(), width=2)
    run.fill()
    run.driver.reported("1", {"failed": "no space left", "fatal": True})
    del run.running["1"]
    run.run()
    assert run.driver.fatal == "no space left"
    assert run.ledger.counts() == {"queued": 0, "running": 2, "complete": 0, "pruned": 0, "failed": 0}


def test_hours_are_those_of_all_launches_and_what_was_begun_is_finished(home, monkeypatch):
    given = space(budget=Budget(trials=12, hours=1.0))
    now = SimpleNamespace(seconds=0.0)
    run = Runner(home, given, width=2, clock=lambda: now.seconds)
    run.fill()
    now.seconds = 3601.0
    run.run()
    assert [r.state for r in run.records] == ["complete"] * 2
    monkeypatch.setattr("sprite_search.study.driver.busy_hours", lambda records: 0.9)
    now.seconds = 0.0
    run = Runner(home, given, width=1, clock=lambda: now.seconds)
    assert run.driver.closed() is None
    now.seconds = 0.11 * 3600
    assert "1 hours of the study are used" in run.driver.closed() and run.driver.next("x") is None


def test_busy_hours_count_overlaps_once_and_leave_out_what_lies_between_launches():
    def ran(started, finished=None, breaks=(), reported=None):
        return TrialRecord(0, "s/0", "running", started=started, finished=finished, breaks=breaks, reported=reported)

    assert busy_hours([]) == 0
    assert busy_hours([ran(0, 3600), ran(1800, 5400)]) == pytest.approx(1.5)
    assert busy_hours([ran(0, 3600), ran(7200, 9000)]) == pytest.approx(1.5)
    assert busy_hours([ran(0, 9000, breaks=((1800, 7200),))]) == pytest.approx(1.0)
    assert busy_hours([ran(100, reported=1900)]) == pytest.approx(0.5)
    assert busy_hours([ran(100)]) == 0
    assert busy_hours([TrialRecord(0, "s/0", "queued")]) == 0


def test_failed_and_queued_trials_use_no_budget():
    states = ["running", "complete", "pruned", "failed", "queued"]
    assert trials_left([TrialRecord(i, str(i), s) for i, s in enumerate(states)], 5) == 2
    assert trials_left([TrialRecord(i, str(i), "complete") for i in range(5)], 3) == 0


def test_another_space_is_refused_with_what_differs_unless_allowed(home):
    Runner(home, space(budget=Budget(trials=2))).run()
    wider = {**space().search, "sprites.count": Dimension("int", low=2, high=20)}
    changed = space(search=wider, budget=Budget(trials=4))
    with pytest.raises(InputError, match=r"sprites\.count: search 2 to 12 -> search 2 to 20") as refused:
        Ledger.create(home, changed)
    assert "--study" in str(refused.value) and "--allow-space-change" in str(refused.value)
    Ledger.create(home, changed, allow_space_change=True)
    assert len(Runner(home, changed).run().records) == 4
    upside_down = dataclasses.replace(changed, objective=Objective(direction="maximize"))
    with pytest.raises(InputError, match="objective"):
        Ledger.create(home, upside_down, allow_space_change=True)


def test_weights_of_the_best_stay_and_those_of_the_worst_do_not(home):
    given = space(budget=Budget(trials=40))
    run = Runner(home, given, reports=1)
    step = run.step

    def saving(name):
        number = run.running[name][0]["number"]
        run.driver.store.save("toy", number, EPOCHS, lambda f: (f / "checkpoint.pt").write_text("w"), [])
        step(name)

    run.step = saving
    run.run()
    ranked = sorted(run.records, key=lambda r: r.value)
    kept = {int(p.parent.parent.name) for p in run.driver.store.root.glob("toy/*/*/checkpoint.pt")}
    assert {r.number for r in ranked[:5]} <= kept
    assert ranked[-1].number not in kept and len(kept) < 35


# -- the files ------------------------------------------------------------------------------------


def test_a_study_that_is_not_there_is_answered_with_those_that_are(home):
    with pytest.raises(InputError, match="has no studies yet"):
        Ledger.open(home, "toy")
    Runner(home, space(budget=Budget(trials=1))).run()
    assert studies(home) == ["toy"]
    with pytest.raises(InputError, match=r"tox: no such study in .*did you mean toy"):
        Ledger.open(home, "tox")


@pytest.mark.parametrize("torn", [b'{"op_code":8,"worker', b"x", b'{"op_code":5}' * 10000])
def test_a_line_that_a_full_disk_cut_off_is_dropped(home, torn):
    Runner(home, space(budget=Budget(trials=2))).run()
    journal = home.root / "studies.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    assert len(Ledger.open(home, "toy").records()) == 2
    run = Runner(home, space(budget=Budget(trials=3))).run()
    assert [r.state for r in run.records] == ["complete"] * 3
    assert journal.read_bytes().startswith(whole + b"{")


@pytest.mark.parametrize("content", [b"not a journal\n", b"[1, 2]\n[3]\n", b"{}\n{}\n", b"\x00\xff\n\x00\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(home, content):
    home.create()
    journal = home.root / "studies.journal"
    journal.write_bytes(content)
    with pytest.raises(InputError, match="is no ledger of studies"):
        Ledger.create(home, space())
    assert journal.read_bytes() == content


def test_a_database_can_be_the_store(home, other, tmp_path, monkeypatch):
    monkeypatch.setenv("SPRITE_STUDY_STORE", f"sqlite:///{tmp_path / 'shared.db'}")
    given = space(budget=Budget(trials=4), pruner=PRUNING)
    bad_last = staged([0.1, 0.2, 0.9, 0.15])
    with pytest.raises(Killed):
        Runner(home, given, kill_after=15, metrics=bad_last).run()
    run = Runner(other, given, metrics=bad_last).run()
    assert [r.state for r in run.records] == ["complete", "complete", "pruned", "complete"]
    assert [r.attempt for r in run.records] == [1, 2, 1, 1]
    assert not (home.root / "studies.journal").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://me:secret@db/x", "cannot keep two drivers apart"),
        ("sqlite:////nowhere/x.db", "cannot use"),
        ("postgresql://me:secret@127.0.0.1:1/x", "cannot use"),
    ],
)
def test_a_store_that_cannot_be_used_is_named_without_its_password(home, monkeypatch, address, said):
    monkeypatch.setenv("SPRITE_STUDY_STORE", address)
    with pytest.raises(InputError, match=said) as refused:
        storage(home)
    assert "SPRITE_STUDY_STORE" in str(refused.value) and "secret" not in str(refused.value)
