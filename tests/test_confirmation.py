"""The second stage: the best configurations once more, on fresh seeds, counted exactly whatever is killed."""

import contextlib
import dataclasses
import random

import pytest
from searching import EPOCHS, PRUNING, RATE, Killed, Runner, error, space, staged

from sprite_search import overview, printing, report
from sprite_search.selection import choose
from sprite_search.space.model import MOST_REPLICATES, Budget, Confirm, Objective
from sprite_search.study.confirmation import pending
from sprite_search.study.goals import best, front, spread
from sprite_search.study.launch import _left_undone
from sprite_search.study.ledger import Ledger
from sprite_search.study.records import searched
from sprite_search.study.table import rows

TOP, SEEDS = 3, 2
FRESH = [MOST_REPLICATES, MOST_REPLICATES + 1]


def confirming(**given):
    return space(**{"confirm": Confirm(TOP, SEEDS), "replicates": 2, "budget": Budget(trials=8), **given})


def again(records):
    return [r for r in records if r.confirms is not None]


def check(run, trials=8):
    """Each of the best was trained again once, on the same fresh seeds, after everything else."""
    first, second = searched(run.records), again(run.records)
    assert [r.state for r in run.records] == ["complete"] * (trials + TOP)
    ranked = sorted(first, key=lambda r: r.value)
    assert sorted(r.confirms for r in second) == sorted(r.number for r in ranked[:TOP])
    for record in second:
        source = run.records[record.confirms]
        assert (record.arm, record.config, record.params) == ("confirm", source.config, source.params)
        assert [s["seed"] for s in record.seeds] == FRESH == list(record.replicates)
        assert record.started >= max(r.finished for r in first)
    for record in first:
        assert [s["seed"] for s in record.seeds] == [0, 1], "seeds are common to all configurations"


def test_the_best_are_trained_again_on_fresh_seeds_and_only_these_are_chosen_from(home):
    run = Runner(home, confirming(), width=3).run()
    check(run)
    assert run.ledger.counts()["complete"] == 8 + TOP and run.driver.started == 8 + TOP
    assert best(space(), run.records).confirms is not None
    choice = choose(rows(run.records))
    assert choice.trial in {r.number for r in again(run.records)} and choice.seed in FRESH
    assert any("fresh seeds" in reason for reason in choice.reasons)


def test_the_leader_by_luck_does_not_win(home):
    """One configuration has lucky first seeds: it leads the search by much, and comes last of those trained again."""
    numbers = {}

    def metrics(config, seed, epoch):
        number = numbers.setdefault(config["optimizer.learning_rate"], len(numbers))
        lucky = number == 2 and seed < MOST_REPLICATES
        return {"val/reconstruction": 0.1 if lucky else 0.2 + 0.1 * number + 0.001 * seed % 7}

    run = Runner(home, confirming(), metrics=metrics).run()
    assert best(space(), searched(run.records)).number == 2
    assert 2 in {r.confirms for r in again(run.records)}
    chosen = next(r for r in run.records if r.number == choose(rows(run.records)).trial)
    assert chosen.confirms == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_driver_killed_again_and_again_trains_each_of_the_best_again_once(home, seed):
    draw = random.Random(seed)
    given = confirming(random_arm=0.3)
    for _ in range(5):
        try:
            Runner(home, given, width=3, kill_after=draw.randint(1, 60)).run()
        except Killed:
            continue
    check(Runner(home, given, width=3).run())
    after = (home.root / "studies.journal").read_bytes()
    last = Runner(home, given, width=3).run()
    assert last.driver.started == 0 and last.books.ends == []
    assert (home.root / "studies.journal").read_bytes() == after


def test_a_driver_killed_while_the_second_stage_runs_goes_on_with_it(home):
    given = confirming(budget=Budget(trials=4))
    with pytest.raises(Killed):
        Runner(home, given, kill_after=4 * (1 + EPOCHS) + 1 + EPOCHS + 5).run()
    begun = again(Ledger.open(home, "toy").records())
    assert [r.state for r in begun] == ["complete", "running"]
    run = Runner(home, given).run()
    check(run, 4)
    assert [r.attempt for r in again(run.records)] == [1, 2, 1]


def test_with_more_trials_asked_for_those_that_are_best_now_are_trained_again_too(home):
    run = Runner(home, confirming(budget=Budget(trials=4))).run()
    before = {r.confirms for r in again(run.records)}
    run = Runner(home, confirming(budget=Budget(trials=12))).run()
    ranked = sorted(searched(run.records), key=lambda r: r.value)
    after = [r.confirms for r in again(run.records)]
    assert len(searched(run.records)) == 12
    assert set(after) == before | {r.number for r in ranked[:TOP]} and len(after) == len(set(after))


def test_the_second_stage_is_neither_pruned_nor_part_of_the_budget_of_trials(home):
    given = confirming(pruner=PRUNING, budget=Budget(trials=4))
    first = staged([0.1, 0.2, 0.3, 0.4])

    def metrics(config, seed, epoch):
        value = first(config, seed, epoch)["val/reconstruction"]
        return {"val/reconstruction": value + (1 if seed >= MOST_REPLICATES else 0)}

    run = Runner(home, given, metrics=metrics).run()
    assert [r.state for r in again(run.records)] == ["complete"] * 2, "two of four were pruned"
    assert run.ledger.remaining(given) == 0


def test_what_diverges_on_fresh_seeds_fails_and_is_not_replaced(home):
    def metrics(config, seed, epoch):
        return {"val/reconstruction": float("nan") if seed == FRESH[1] else error(config, seed, epoch)}

    run = Runner(home, confirming(), metrics=metrics).run()
    assert [r.state for r in again(run.records)] == ["failed"] * TOP
    assert {r.reason for r in again(run.records)} == {f"val/reconstruction is not a finite number for seed {FRESH[1]}"}
    assert choose(rows(run.records)).trial in {r.number for r in searched(run.records)}


def traded(config, seed, epoch):
    """Few sprites explain little and many cost much; a large rate only does harm."""
    count, luck = config["sprites.count"], 0.01 * (seed % 3)
    return {
        "val/reconstruction": 1 / count + config[RATE] * 20 + luck,
        "val/effective_sprites": count + luck,
        "val/used_sprites": 0.01 if count == 2 else 1.0,  # degenerate, and else an end of the front
    }


@pytest.mark.parametrize("seed", range(3))
def test_of_several_objectives_the_front_is_trained_again_whatever_is_killed(home, seed):
    given = confirming(
        further_objectives=(Objective("val/effective_sprites"),), budget=Budget(trials=16), sampler={"name": "random"}
    )
    draw = random.Random(seed)
    for _ in range(4):
        with contextlib.suppress(Killed):
            Runner(home, given, width=3, metrics=traded, reports=2, kill_after=draw.randint(1, 60)).run()
    run = Runner(home, given, width=3, metrics=traded, reports=2).run()
    first, second = searched(run.records), again(run.records)
    whole = front(given, [r for r in first if r.config["sprites.count"] > 2])
    assert len(whole) > TOP and any(r.config["sprites.count"] == 2 for r in first), "what this is a test of"
    assert sorted(r.confirms for r in second) == sorted(r.number for r in spread(given, whole, TOP))
    assert {r.state for r in run.records} == {"complete"} and len(first) == 16
    assert {r.number for r in front(given, run.records)} <= {r.number for r in second}
    assert Runner(home, given, metrics=traded).run().driver.started == 0


def test_of_a_small_front_nothing_else_is_trained_again(home):
    def metrics(config, seed, epoch):
        own = error(config, seed, epoch)
        return {"val/reconstruction": own, "val/effective_sprites": 3 + own}

    given = confirming(further_objectives=(Objective("val/effective_sprites"),))
    run = Runner(home, given, metrics=metrics).run()
    [only] = front(given, searched(run.records))
    assert [r.confirms for r in again(run.records)] == [only.number]
    assert _left_undone(run.ledger, given, None) is None


def test_too_many_failures_leave_no_second_stage(home):
    def metrics(config, seed, epoch):
        return {"val/reconstruction": float("nan") if config["sprites.count"] > 6 else error(config, seed, epoch)}

    given = confirming(budget=Budget(trials=8, max_failed=1))
    run = Runner(home, given, metrics=metrics).run()
    assert run.ledger.counts()["failed"] == 2 and not again(run.records)


def test_a_ranking_that_changes_does_not_change_who_is_trained_again(home):
    run = Runner(home, confirming()).run()
    assert pending(run.ledger, run.space, home, run.driver.store) == []
    more = dataclasses.replace(run.space, confirm=Confirm(TOP + 1, SEEDS))
    ranked = sorted(searched(run.records), key=lambda r: r.value)
    assert pending(run.ledger, more, home, run.driver.store) == [ranked[TOP].number]


def test_it_is_counted_apart_from_the_search_wherever_trials_are_counted(home, capsys):
    run = Runner(home, confirming()).run()
    (found,) = overview.status(home)
    assert (found["again"], found["budget"], found["counts"]["complete"]) == (TOP, 8, 8 + TOP)
    assert found["best"]["trial"] in {r.number for r in again(run.records)}
    assert found["spent"]["all"]["trials"] == 8 + TOP
    printing.status([found])
    assert "8 (+3 again)" in capsys.readouterr().out
    summary = report.search.summary(run.space, run.records)
    assert "8 complete, of 8 configurations" in summary
    assert "trained again on fresh seeds: 3, the best of the search" in summary


def test_a_database_can_be_the_store(home, tmp_path, monkeypatch):
    monkeypatch.setenv("SPRITE_STUDY_STORE", f"sqlite:///{tmp_path / 'shared.db'}")
    given = confirming(budget=Budget(trials=3), confirm=Confirm(1, SEEDS))
    with pytest.raises(Killed):
        Runner(home, given, kill_after=3 * (1 + 2) + 2, reports=2).run()
    assert [r.state for r in again(Ledger.open(home, "toy").records())] == ["running"]
    run = Runner(home, given, reports=2).run()
    assert [(r.state, r.attempt, list(r.replicates)) for r in again(run.records)] == [("complete", 2, FRESH)]
