"""When a study ends, what it spent, and which weights it keeps."""

import os
import signal
from types import SimpleNamespace

import pytest
from searching import EPOCHS, Killed, Runner, space, staged

from sprite_search.space.model import Budget, Confirm, Keep, Resources
from sprite_search.study.budget import spending, used_up
from sprite_search.study.goals import since_best
from sprite_search.study.ledger import Ledger
from sprite_search.study.records import TrialRecord, searched
from sprite_search.study.tuning import _interruptible

HOUR = 3600.0


def ended(number, hours, *, state="complete", value=None, gpu=0.5, **more):
    """A trial of two seeds that ran for so long, one hour after the one before it began."""
    start = number * HOUR
    value = float(number) if value is None and state == "complete" else value
    times = {"started": start, "finished": start + hours * HOUR}
    given = {"value": value, "shares": (gpu,), "replicates": (0, 1), **times, **more}
    return TrialRecord(number, f"toy/{number}", state, **given)


# -- GPU-hours ------------------------------------------------------------------------------------


def test_gpu_hours_are_those_of_each_attempt_times_what_it_held():
    broken = ended(0, 3.0, breaks=((HOUR, 2 * HOUR),), shares=(0.25, 0.5))
    assert (broken.hours, broken.gpu_hours) == (pytest.approx(2.0), pytest.approx(0.25 + 0.5))
    running = TrialRecord(0, "s/0", "running", started=0.0, reported=HOUR, shares=(1.0,))
    assert running.gpu_hours == pytest.approx(1.0)
    again = TrialRecord(0, "s/0", "running", started=0.0, reported=HOUR, shares=(1, 1), breaks=((HOUR, 5 * HOUR),))
    assert again.gpu_hours == pytest.approx(1.0), "taken up, but not heard of since"
    assert TrialRecord(0, "s/0", "queued").gpu_hours == 0


def test_what_was_spent_is_told_by_what_became_of_it():
    records = [ended(0, 1.0), ended(1, 0.5, state="pruned"), ended(2, 2.0, state="failed"), ended(3, 1.0)]
    found = spending([*records, TrialRecord(4, "toy/4", "queued")])
    assert found["complete"] == {"trials": 2, "hours": pytest.approx(2.0), "gpu_hours": pytest.approx(1.0)}
    assert found["pruned"]["gpu_hours"] == pytest.approx(0.25) and found["failed"]["trials"] == 1
    assert found["all"] == {"trials": 4, "hours": pytest.approx(4.5), "gpu_hours": pytest.approx(2.25)}


def test_a_study_ends_when_its_gpu_hours_are_used():
    records = [ended(0, 1.0), ended(1, 1.0)]
    given = space(budget=Budget(trials=9, gpu_hours=1.25), resources=Resources(gpu=0.5))
    assert used_up(given, records, 2.0) is None
    assert used_up(given, [*records, ended(2, 0.5)], 2.5).startswith("the 1.25 GPU-hours of the study are used")


def test_each_attempt_notes_what_it_holds_also_after_it_ran_out_of_memory(home):
    given = space(budget=Budget(trials=1), resources=Resources(gpu=0.25))
    with pytest.raises(Killed):
        Runner(home, given, kill_after=4).run()
    run = Runner(home, given)
    run.fill()
    (name,) = run.running
    run.driver.reported(name, {"failed": "memory ran out", "oom": True})
    run.running.clear()
    (record,) = run.run().records
    assert record.shares == (0.25, 0.25, 0.5) and len(record.spans) == 3


def test_what_the_second_stage_will_take_is_kept_for_it():
    """Four trials of an hour, one after the other, on two seeds each: two more on three seeds take three hours."""
    records = [ended(n, 1.0) for n in range(4)]
    given = space(confirm=Confirm(top=2, seeds=3), budget=Budget(trials=9, hours=7.5), replicates=2)
    assert used_up(given, records, 4.0) is None
    assert used_up(given, records, 4.5) is not None
    assert used_up(given, records, 4.5, confirming=True) is None
    assert used_up(given, records, 7.5, confirming=True) is not None
    began = [*records, ended(4, 1.5, confirms=0)]
    assert used_up(given, began, 5.5) is None, "a part of it is spent already"
    gpus = space(confirm=Confirm(top=2, seeds=3), budget=Budget(trials=9, gpu_hours=3.5), resources=Resources(gpu=0.5))
    assert used_up(gpus, records, 4.0) is not None and used_up(gpus, records, 4.0, confirming=True) is None


def test_a_study_that_ends_by_its_hours_still_trains_its_best_again(home):
    """The clock of the driver and the times in the ledger are moved together: an epoch takes six minutes."""
    given = space(confirm=Confirm(top=2, seeds=1), budget=Budget(trials=100, hours=6.0))
    now = SimpleNamespace(seconds=0.0)
    run = Runner(home, given, clock=lambda: now.seconds)
    step, records = run.step, run.ledger.records

    def slow(name):
        now.seconds += HOUR / EPOCHS
        step(name)

    def timed():
        """One trial an hour."""
        made = records()
        for r in made:
            object.__setattr__(r, "started", r.number * HOUR)
            object.__setattr__(r, "finished", (r.number + 1) * HOUR if r.done else None)
            object.__setattr__(r, "reported", r.number * HOUR)
        return made

    run.step, run.ledger.records = slow, timed
    run.run()
    assert [r.confirms is not None for r in run.records] == [False] * 4 + [True] * 2
    assert now.seconds == pytest.approx(6 * HOUR)


# -- plateau --------------------------------------------------------------------------------------


def test_configurations_since_the_best_are_counted_in_the_order_they_ended():
    records = [ended(0, 1, value=0.5), ended(1, 9, value=0.1), ended(2, 1, value=0.4), ended(3, 1, state="pruned")]
    assert since_best(space(), records[:1]) == 0
    assert since_best(space(), records) == 0, "trial 1 ended last"
    assert since_best(space(), [*records, ended(20, 1, value=0.2), ended(21, 1, state="failed")]) == 1
    assert since_best(space(), [*records, ended(20, 1, value=0.1)]) == 1, "as good is not better"
    assert since_best(space(), [*records, ended(20, 1, value=0.01, confirms=1)]) == 0


@pytest.mark.parametrize("width", [1, 3])
def test_a_study_ends_when_nothing_better_comes(home, width):
    values = [0.5, 0.4, *[0.6] * 20]
    given = space(budget=Budget(trials=20, plateau=3))
    run = Runner(home, given, width=width, metrics=staged(values)).run()
    assert run.driver.closed() == "the last 3 brought nothing better (budget.plateau)"
    assert 5 <= len(run.records) <= 5 + width - 1, "what was begun is finished"
    again = Runner(home, given, width=width, metrics=staged(values)).run()
    assert again.driver.started == 0
    more = Runner(
        home, space(budget=Budget(trials=20, plateau=5)), metrics=lambda *_: {"val/reconstruction": 1.0}
    ).run()
    assert len(more.records) == 7


# -- weights --------------------------------------------------------------------------------------


def weights(run):
    """Numbers of the trials whose weights are there, and the most there ever were while at most `width` ran."""
    kept = {int(p.parent.parent.name) for p in run.driver.store.root.glob("toy/*/*/checkpoint.pt")}
    run.most = max(run.most, len(kept))
    return kept


def saving(home, given, **more):
    run = Runner(home, given, **more)
    step, run.most = run.step, 0

    def save(name):
        number = run.running[name][0]["number"]
        run.driver.store.save("toy", number, EPOCHS, lambda f: (f / "checkpoint.pt").write_text("w"), [])
        step(name)
        weights(run)

    run.step = save
    return run.run()


def test_as_many_weights_stay_as_the_space_says(home):
    given = space(budget=Budget(trials=25), keep=Keep(best=3, likely=1))
    run = saving(home, given, reports=1, width=2)
    ranked = sorted(run.records, key=lambda r: r.value)
    assert {r.number for r in ranked[:3]} == weights(run)
    assert run.most <= 3 + 1 + 2, "the best, the chosen and those that run"


def test_fewer_may_be_kept_later_but_what_runs_is_promoted_or_was_trained_again_stays(home):
    given = space(budget=Budget(trials=10), keep=Keep(best=10), confirm=Confirm(top=2, seeds=1))
    run = saving(home, given, reports=1)
    assert len(weights(run)) == 12
    worst = max(searched(run.records), key=lambda r: r.value).number
    (home.study("toy") / "promoted").write_text(f"{worst}\n")
    narrow = space(budget=Budget(trials=10), keep=Keep(best=4, likely=1), confirm=given.confirm)
    four = {r.number for r in sorted(searched(run.records), key=lambda r: r.value)[:4]}
    run = Runner(home, narrow)
    assert weights(SimpleNamespace(driver=run.driver, most=0)) == {*four, worst, 10, 11}
    less = space(budget=Budget(trials=11), keep=Keep(best=0, likely=1), confirm=given.confirm)
    with pytest.raises(Killed):
        saving(home, less, kill_after=4)
    running = [r.number for r in Ledger.open(home, "toy").records() if r.state == "running"]
    assert len(running) == 1
    run = Runner(home, less)
    best = min(searched(r for r in run.records if r.done), key=lambda r: r.value).number
    again = {r.number for r in run.records if r.confirms is not None}
    assert weights(SimpleNamespace(driver=run.driver, most=0)) == {best, worst, *again, *running}


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_the_second_stops_at_once(how):
    before, drained = signal.getsignal(how), []
    with pytest.raises(KeyboardInterrupt), _interruptible(lambda: drained.append(1)):
        os.kill(os.getpid(), how)
        assert drained == [1]
        os.kill(os.getpid(), how)
        pytest.fail("the second signal stops")
    assert drained == [1] and signal.getsignal(how) is before
