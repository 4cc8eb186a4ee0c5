"""A trial as a worker runs it, in this process: what reports leave in the store, what a crash costs, its memory."""

import multiprocessing
import random
import time
from collections import Counter

import pytest
from conftest import TINY_DIGITS
from launching import EPOCHS, TINY, check_books, records, space_file

from sprite_search.checkpoints import open_store
from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.space import load_space
from sprite_search.study.driver import Driver
from sprite_search.study.lease import lease
from sprite_search.study.ledger import Ledger
from sprite_search.tracking import Tracker
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


@pytest.fixture
def no_pictures(monkeypatch):
    """They take the longest."""
    monkeypatch.setattr(SpriteTrial, "_draw", lambda self, folder, history: None)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.usefixtures("no_pictures")
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
    for _ in range(KILLS):
        left = iter(range(draw.randint(3, 20), -1, -1))
        with pytest.raises(Killed):
            run(Driver(Ledger.create(home, space), space, home, NoTracker()), tick)
    run(Driver(Ledger.create(home, space), space, home, NoTracker()), tick)
    ended = records(home)
    assert len(ended) == 6 and all(r.done for r in ended)
    assert max(r.attempt for r in ended) > 1, "nothing was killed"
    needed = sum(r.epoch for r in ended)
    assert needed <= len(begun) <= needed + KILLS * AT_ONCE * every


@pytest.fixture
def job(tmp_path):
    config = {**TINY_DIGITS, "training.epochs": 4, "training.report_every": 1}
    job = {"study": "toy", "number": 0, "config": config, "attempt": 1, "seeds": [0, 1], "cpu": 1, "gpu": 0}
    return {**job, "checkpoints": str(tmp_path / "checkpoints"), "data": str(tmp_path), "driver": 0, "rungs": [2]}


def test_a_trial_whose_checkpoint_is_damaged_starts_again_to_the_same_numbers(job):
    def reports(count):
        trial = SpriteTrial({"job": job})
        try:
            return [(r["epoch"], r["metrics"]) for r in (trial.step() for _ in range(count))]
        finally:
            trial.cleanup()

    first = reports(2)
    assert reports(1) == first[1:], "what is whole is taken up"
    (open_store(job["checkpoints"]).latest("toy", 0) / "checkpoint.pt").write_bytes(b"half of i")
    assert reports(2) == first


def study(space, home):
    """A driver's whole life, as `launch` has it."""
    with lease(home.study(space.name)):
        ledger, store = Ledger.create(home, space), open_store(home.checkpoints)
        tracker = Tracker(home, space.name, space_hash=space.hash)
        tracker.reconcile(ledger.records(), lambda r: store.history(space.name, r.number))
        run(Driver(ledger, space, home, tracker), lambda: None)
        tracker.close(patience=300)


def asked(home):
    """How many trials a study has, which may not have been made yet."""
    try:
        return len(records(home))
    except InputError:
        return 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("no_pictures")
def test_twenty_processes_killed_at_any_moment_leave_books_that_agree(tmp_path, mlflow_home):
    """Ledger, checkpoints and MLflow are files here, and SIGKILL strikes in the middle of writing them."""
    space, draw = load_space(space_file(tmp_path, budget={"trials": 40}, replicates=2)), random.Random(0)
    fork = multiprocessing.get_context("fork")  # all is imported already
    for number in range(1, 21):
        driver = fork.Process(target=study, args=(space, mlflow_home))
        driver.start()
        before = asked(mlflow_home)
        end = time.monotonic() + 300
        while driver.is_alive() and time.monotonic() < end:
            time.sleep(draw.uniform(0, 2))
            if number % 4 == 0 or asked(mlflow_home) > before:  # some at once, some after a trial or more
                break
        driver.kill()
        driver.join()
        driver.close()
        print(f"kill {number}: {asked(mlflow_home)} asked", flush=True)
    last = fork.Process(target=study, args=(space, mlflow_home))
    last.start()
    last.join()
    assert last.exitcode == 0
    check_books(mlflow_home, 40)
    attempts = [r.attempt for r in records(mlflow_home)]
    assert max(attempts) > 1
    print(f"in the end: {dict(Counter(r.state for r in records(mlflow_home)))}, attempts {attempts}")
