"""Progress while a search runs, on a terminal and without one."""

import dataclasses
import io

import pytest
from rich.console import Console

from sprite_search.console import LiveProgress, duration, number
from sprite_search.space import Budget, Objective, Space
from sprite_search.space.model import Confirm
from sprite_search.study.records import TrialRecord

SPACE = Space(name="toy", budget=Budget(trials=4), replicates=2)


def record(n, state, *, epoch=0, value=None, reason=None, error=0.5):
    return TrialRecord(
        number=n,
        key=f"toy/{n}",
        state=state,
        arm="random",
        epoch=epoch,
        epochs=10,
        value=value,
        reason=reason,
        seeds=({"seed": 0, "metrics": {"val/reconstruction": error}},) if epoch else (),
        started=100.0,
        finished=160.0 if state in ("complete", "pruned", "failed") else None,
    )


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def shown(*, terminal):
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=terminal, width=100, height=30, highlight=False, color_system=None)
    return LiveProgress(console, clock), out, clock


def test_without_a_terminal_there_are_plain_lines_and_no_control_codes():
    live, out, clock = shown(terminal=False)
    live.start(SPACE, [])
    live.update([record(0, "running")], "trial 0 starts")
    clock.now = 10
    live.update([record(0, "complete", epoch=10, value=0.25)], "trial 0 complete")
    live.stop()
    assert "\x1b" not in out.getvalue()
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["trial 0 starts", "trial 0 complete"]
    assert lines[2] == "toy: 1 of 4 trials (1 complete); best trial 0 with 0.25; about 30 s left"


def test_without_a_terminal_reports_do_not_flood_but_long_silences_end():
    live, out, clock = shown(terminal=False)
    live.start(SPACE, [])
    for epoch in range(1, 10):
        live.update([record(0, "running", epoch=epoch)])
    assert out.getvalue() == ""
    clock.now = 31
    live.update([record(0, "running", epoch=9)])
    assert "running: trial 0 at 9/10" in out.getvalue()


def test_on_a_terminal_the_table_updates_in_place():
    live, out, clock = shown(terminal=True)
    live.start(SPACE, [])
    clock.now = 20
    live.update([record(0, "complete", epoch=10, value=0.25), record(1, "running", epoch=5, error=0.125)])
    live.update([record(0, "complete", epoch=10, value=0.25), record(2, "failed", reason="diverged")], "trial 2 failed")
    live.stop()
    text = out.getvalue()
    assert "\x1b[" in text  # the cursor moved
    assert "diverged" in text and "trial 2 failed" in text and "0.25" in text


def test_the_table_shows_running_trials_before_old_ones_and_fits_the_screen():
    live, _, _ = shown(terminal=True)
    live.start(SPACE, [])
    live.stop()
    live.update([record(n, "complete", epoch=10, value=1.0) for n in range(40)] + [record(40, "running")])
    visible = live._visible()
    assert len(visible) <= live.console.height - 5 and visible[-1].number == 40


def test_time_left_counts_only_the_work_of_this_launch():
    """Two of four were done before; half a trial in 10 s leaves 1.5 trials: 30 s."""
    live, _, clock = shown(terminal=False)
    before = [record(n, "complete", epoch=10, value=1.0) for n in range(2)]
    live.start(SPACE, before)
    assert live.left() is None
    clock.now = 10
    live.update([*before, record(2, "running", epoch=5)])
    assert live.left() == pytest.approx(30)


def test_the_second_stage_is_counted_apart_and_takes_its_time_by_its_seeds():
    """Four trials of two seeds, then two of four seeds: work for eight, of which five are done in 10 s."""
    live, _, clock = shown(terminal=False)
    live.start(dataclasses.replace(SPACE, confirm=Confirm(top=2, seeds=4)), [])
    clock.now = 10
    live.update([*(record(n, "complete", epoch=10, value=float(n)) for n in range(4))])
    assert live.headline().startswith("toy: 4 of 4 trials (4 complete); best trial 0")
    half = dataclasses.replace(record(5, "running", epoch=5), arm="confirm", confirms=0)
    again = dataclasses.replace(record(4, "complete", epoch=10, value=9.0), arm="confirm", confirms=1)
    live.update([*(record(n, "complete", epoch=10, value=float(n)) for n in range(4)), half])
    assert live.left() == pytest.approx(6)
    live.update([*(record(n, "complete", epoch=10, value=float(n)) for n in range(4)), again, half])
    said = "toy: 4 of 4 trials (4 complete); 1 of the best 2 trained again; best trial 4 with 9"
    assert live.headline().startswith(said), "the best of those trained again, whose values are not by luck"


def test_the_objective_of_a_running_trial_is_the_mean_over_its_seeds():
    live, _, _ = shown(terminal=False)
    live.start(SPACE, [])
    seeds = tuple({"seed": s, "metrics": {"val/reconstruction": v}} for s, v in ((0, 0.2), (1, 0.4)))
    made = TrialRecord(number=0, key="toy/0", state="running", epoch=1, epochs=2, seeds=seeds)
    assert live.objectives(made) == [pytest.approx(0.3)]
    assert live.objectives(TrialRecord(number=0, key="toy/0", state="running")) == [None]


def test_the_best_follows_the_direction():
    live, _, _ = shown(terminal=False)
    space = Space(name="toy", objective=Objective("val/effective_sprites", "maximize"))
    live.start(space, [record(0, "complete", epoch=10, value=1.0), record(1, "complete", epoch=10, value=2.0)])
    assert live.best().number == 1


def test_several_objectives_have_a_column_each_and_a_front_instead_of_a_best():
    live, out, _ = shown(terminal=True)
    live.start(Space(name="toy", further_objectives=(Objective("val/empty_share"),)), [])
    values = {0: (0.1, 0.9), 1: (0.2, 0.3), 2: (0.3, 0.4)}
    ended = [record(n, "complete", epoch=10, value=v[0]) for n, v in values.items()]
    live.update([dataclasses.replace(r, values=values[r.number]) for r in ended])
    live.stop()
    assert "Pareto front: trials 0, 1;" in live.headline()
    assert "val/empty_share" in out.getvalue() and "0.9" in out.getvalue()


def test_what_breaks_the_constraints_is_not_the_best():
    live, _, _ = shown(terminal=False)
    broken = dataclasses.replace(record(0, "complete", epoch=10, value=0.1), violations={"c": 0.5})
    live.start(SPACE, [broken])
    assert "no trial keeps the constraints yet" in live.headline()
    live.update([broken, record(1, "complete", epoch=10, value=0.2)])
    assert "best trial 1 with 0.2" in live.headline()


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, "–"), (12.4, "12 s"), (89, "89 s"), (600, "10 min"), (11100, "3 h 05 min")]
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_numbers_have_four_digits():
    assert (number(None), number(0.123456), number(0.0)) == ("–", "0.1235", "0")
