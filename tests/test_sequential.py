"""The protocol of the paper: one weight after the other, each keeping the winner, by labels."""

import dataclasses
import random

import pytest
from searching import Killed, Runner, space

from sprite_search.home import Home
from sprite_search.space import Budget, Dimension, Objective
from sprite_search.study.ledger import Ledger
from sprite_search.study.sequential import SequentialGrid, most

FREQUENCY, BINARY, KIND = "regularisers.frequency.weight", "regularisers.binary.weight", "decision.kind"
BEST = {FREQUENCY: 0.1, BINARY: 0.01}


def protocol(order=(FREQUENCY, BINARY), **given):
    """The grids of the paper that are known: λ_freq, then λ_bin with λ_freq fixed."""
    searched = {
        FREQUENCY: Dimension("categorical", (0.0, 0.01, 0.1, 1.0)),
        BINARY: Dimension("categorical", (0.0, 0.001, 0.01)),
    }
    return space(
        search=searched,
        objective=Objective("labels/accuracy", "maximize", oracle=True),
        sampler={"name": "sequential_grid", "seed": 0, "order": list(order)},
        budget=Budget(trials=50),
        **given,
    )


def accuracy(config, seed, epoch):
    """Best at `BEST`, with the two weights apart from each other."""
    return {"labels/accuracy": 1 - sum(abs(config[n] - best) for n, best in BEST.items())}


def tried(run):
    return [(r.config[FREQUENCY], r.config[BINARY]) for r in run.records]


def test_one_weight_after_the_other_each_keeping_the_winner(home):
    run = Runner(home, protocol(), metrics=accuracy).run()
    assert tried(run) == [(0, 0), (0.01, 0), (0.1, 0), (1.0, 0), (0.1, 0.001), (0.1, 0.01)]
    assert len(run.records) == most(protocol()) == 6, "the sum of the lists, not their product"
    assert run.ledger.exhausted(protocol()) and run.ledger.ask(protocol()) is None


def test_the_order_is_the_one_that_is_given(home):
    run = Runner(home, protocol((BINARY, FREQUENCY)), metrics=accuracy).run()
    assert tried(run) == [(0, 0), (0, 0.001), (0, 0.01), (0.01, 0.01), (0.1, 0.01), (1.0, 0.01)]


@pytest.mark.parametrize("width", [2, 5])
def test_trials_side_by_side_wait_for_the_winner(home, width):
    run = Runner(home, protocol(), metrics=accuracy, width=width)
    run.fill()
    assert len(run.running) == min(width, 4), "the next weight is not asked for before the winner is known"
    assert not run.ledger.remaining(protocol()) or width < 4
    assert sorted(tried(run.run())) == sorted([(0, 0), (0.01, 0), (0.1, 0), (1.0, 0), (0.1, 0.001), (0.1, 0.01)])


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_protocol_goes_on_where_it_was(home, seed, tmp_path):
    whole = Runner(Home(tmp_path / "whole"), protocol(), metrics=accuracy, reports=5).run()
    chance, kills = random.Random(seed), 0
    while True:
        try:
            run = Runner(home, protocol(), metrics=accuracy, reports=5, kill_after=chance.randrange(2, 12)).run()
            break
        except Killed:
            kills += 1
    assert kills and tried(run) == tried(whole)
    assert [r.state for r in run.records] == ["complete"] * 6


def test_a_value_that_fails_cannot_win_and_a_turn_without_a_winner_keeps_what_was_there(home):
    def fails(config, seed, epoch):
        return {
            "labels/accuracy": float("nan") if config[FREQUENCY] == 0.1 or config[BINARY] else 1 - config[FREQUENCY]
        }

    run = Runner(home, protocol(), metrics=fails).run()
    assert tried(run)[4:] == [(0, 0.001), (0, 0.01)]
    assert [r.state for r in run.records] == ["complete", "complete", "failed", "complete", "failed", "failed"]


def test_weights_that_are_off_begin_off_and_settings_that_do_not_apply_take_no_turn(home):
    searched = {
        KIND: Dimension("categorical", ("linear", "min_loss")),
        FREQUENCY: Dimension("categorical", (0.01, 0.1), otherwise=0.0),
        BINARY: Dimension("categorical", (0.001, 0.01), otherwise=0.0),
    }
    given = dataclasses.replace(
        protocol((KIND, FREQUENCY, BINARY)),
        search=searched,
        sampler={"name": "sequential_grid", "order": list(searched)},
    )

    def hard_wins(config, seed, epoch):
        return {"labels/accuracy": float(config[KIND] == "min_loss")}

    records = Runner(home, given, metrics=hard_wins).run().records
    assert [r.config[KIND] for r in records] == ["linear", "min_loss"], "no weight applies to what won"
    assert records[0].config[FREQUENCY] == records[0].config[BINARY] == 0


def test_a_budget_below_the_protocol_is_what_ends_it(home):
    given = dataclasses.replace(protocol(), budget=Budget(trials=3))
    run = Runner(home, given, metrics=accuracy).run()
    assert len(run.records) == 3 and not run.ledger.exhausted(given)
    assert len(Runner(home, protocol(), metrics=accuracy).run().records) == 6, "and more budget goes on"


def test_what_comes_next_is_read_from_the_books_alone(home):
    run = Runner(home, protocol(), metrics=accuracy).run()
    ledger = Ledger.open(home, "toy")
    asked = ledger._digests()
    for number in sorted(asked.values()):
        before = {d: n for d, n in asked.items() if n < number}
        params = SequentialGrid(protocol()).unseen(before, ledger.record)
        assert params == dict(run.records[number].params)
