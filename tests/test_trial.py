"""A trial on a worker, here in this process: how much of a training a crash costs."""

import random

import pytest
from launching import EPOCHS, TINY, space_file

from sprite_search.home import Home
from sprite_search.space import load_space
from sprite_search.study.driver import Driver
from sprite_search.study.ledger import Ledger
from sprite_search.trial import SpriteTrial
from trainers.training import Trainer

AT_ONCE, KILLS = 2, 4


class Killed(BaseException):
    """Driver and workers are gone."""


class NoTracker:
    def begin(self, record, seeds): ...
    def log(self, record, history): ...
    def end(self, record, history): ...


def run(driver, tick):
    """Runs a study, `AT_ONCE` trials in turn; `tick` is called between any two of its steps and may raise."""
    running, names = {}, iter(range(1000))
    try:
        while True:
            while len(running) < AT_ONCE and (job := driver.next(name := str(next(names)))) is not None:
                running[name] = SpriteTrial(config={"job": job})
            if not running:
                return
            for name, trial in list(running.items()):
                result = trial.step()
                tick()
                if not driver.reported(name, result):
                    trial.cleanup()
                    del running[name]
                tick()
    finally:
        for trial in running.values():
            trial.cleanup()


@pytest.mark.parametrize("every", [1, 2])
def test_a_kill_costs_each_running_trial_at_most_what_it_trained_since_its_last_report(tmp_path, monkeypatch, every):
    given = {**TINY["trial"], "training": {"epochs": EPOCHS, "batch_size": 64, "report_every": every}}
    space = load_space(space_file(tmp_path, trial=given, budget={"trials": 6}))
    home, draw, begun = Home(tmp_path / "home").create(), random.Random(every), []
    left = iter([])

    def tick():
        if next(left, None) == 0:
            raise Killed

    def one_epoch(self):
        begun.append(self.epoch)
        sums = trained(self)
        tick()  # the epoch is trained, and nobody was told
        return sums

    trained = Trainer.one_epoch
    monkeypatch.setattr(Trainer, "one_epoch", one_epoch)
    monkeypatch.setattr(SpriteTrial, "_draw", lambda self, folder, history: None)  # pictures take the longest
    for _ in range(KILLS):
        left = iter(range(draw.randint(3, 20), -1, -1))
        with pytest.raises(Killed):
            run(Driver(Ledger.create(home, space), space, home, NoTracker()), tick)
    run(Driver(Ledger.create(home, space), space, home, NoTracker()), tick)
    records = Ledger.open(home, space.name).records()
    assert len(records) == 6 and all(r.done for r in records)
    assert max(r.attempt for r in records) > 1, "nothing was killed"
    needed = sum(r.epoch for r in records)
    assert needed <= len(begun) <= needed + KILLS * AT_ONCE * every
