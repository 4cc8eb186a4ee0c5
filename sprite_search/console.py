"""Progress of a search while it runs: a table that updates in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .study import goals
from .study.records import searched

if TYPE_CHECKING:
    from .space import Space
    from .study.records import TrialRecord

#: Trials shown at once on a terminal: those that run, then those that ended last.
SHOWN = 12

#: Without a terminal, a line about the whole search at most this often, in seconds.
EVERY = 30.0

STYLES = {"complete": "green", "running": "cyan", "pruned": "yellow", "failed": "red", "queued": "dim"}


def busy(doing: str) -> AbstractContextManager[Any]:
    """A sign of life on a terminal while something takes many seconds; nothing elsewhere."""
    return Console(stderr=True).status(doing)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 40 s, 12 min, 3 h 05 min."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None) -> str:
    """A metric in four digits; a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"


def spent(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What `study.budget.spending` found, in sentences: in all, and for each trial by what became of it."""
    if "all" not in found:
        return []

    def each(key: str, text: Callable[[float], str]) -> str:
        shares = [(s, found[s][key] / found[s]["trials"]) for s in ("complete", "pruned", "failed") if s in found]
        return ", ".join(f"{text(share)} for each {state} trial" for state, share in shares)

    said = [f"training took {duration(3600 * found['all']['hours'])}: {each('hours', lambda h: duration(3600 * h))}"]
    if gpus := found["all"]["gpu_hours"]:
        said.append(f"GPU-hours {number(gpus)}: {each('gpu_hours', number)}")
    return [line.removesuffix(": ") for line in said]


class LiveProgress:
    """Shows a search; what `study.launch` calls `start`, `update` and `stop` on.

    Args:
        console: where to print; the standard output when None.
        clock: seconds that only grow; for tests.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic):
        self.console = console or Console(highlight=False)
        self._clock = clock
        self._live: Live | None = None
        self._note = ""

    def start(self, space: Space, records: Sequence[TrialRecord]) -> None:
        """The search of a space begins, with these trials in its ledger already."""
        self.space, self.total = space, space.budget.trials
        #: a trial of the second stage as a share of one of the search
        self._again = space.confirm.seeds / space.replicates if space.confirm is not None else 0.0
        self._records, self._ended = list(records), {r.number for r in records if r.done}
        self._began = self._spoke = self._clock()
        self._before = self._work()
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self._render, refresh_per_second=4)
            self._live.start(refresh=True)
        elif records:
            self.say(self.headline())

    def update(self, records: Sequence[TrialRecord], note: str | None = None) -> None:
        """The newest records, and what just happened in a few words. Cheap: call it as often as you like."""
        self._records, self._note = list(records), note or self._note
        ended = {r.number for r in records if r.done}
        if self._live is None:
            if note:
                self.say(note)
            if ended != self._ended or self._clock() - self._spoke > EVERY:
                self._spoke = self._clock()
                self.say(self.headline() + self._running())
        self._ended = ended

    def stop(self) -> None:
        """The search is over, or broke off; the table stays as it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """One line, above the table where there is one."""
        self.console.print(text, markup=False, soft_wrap=True)

    # -- what is shown ----------------------------------------------------------------------------

    def _work(self) -> float:
        """Trials' worth of work: ended ones count 1, running ones their share of epochs, by their seeds."""
        shares = ((1.0 if r.confirms is None else self._again, r) for r in self._records if r.state != "failed")
        return sum(worth * (1.0 if r.done else _fraction(r)) for worth, r in shares)

    def left(self) -> float | None:
        """Seconds until the budget is used, at the pace of this launch; None before there is a pace."""
        worked = self._work() - self._before
        if worked < 0.2:
            return None
        again = self._again * self.space.confirm.top if self.space.confirm is not None else 0.0
        return (self._clock() - self._began) * max(0.0, self.total + again - self._work()) / worked

    def best(self) -> TrialRecord | None:
        """The complete trial with the best objective so far, see `goals.best`."""
        return goals.best(self.space, self._records)

    def objectives(self, record: TrialRecord) -> list[float | None]:
        """The values of a finished trial, else the means over seeds at the last report."""
        if record.values:
            return list(record.values)
        means = goals.values(self.space, [s["metrics"] for s in record.seeds])
        return [value if math.isfinite(value) else None for value in means]

    def headline(self) -> str:
        """Where the search stands, in one line."""
        first = searched(self._records)
        states = [r.state for r in first]
        ended = [f"{states.count(s)} {s}" for s in ("complete", "pruned", "failed") if s in states]
        leader, left = self.best(), self.left()
        done = states.count("complete") + states.count("pruned")
        again = sum(r.state == "complete" for r in self._records) - states.count("complete")
        parts = [
            f"{self.space.name}: {done} of {self.total} trials" + (f" ({', '.join(ended)})" if ended else ""),
            f"best trial {leader.number} with {number(leader.value)}" if leader else self._no_best(states),
            f"about {duration(left)} left" if left is not None else "time left unknown yet",
        ]
        if self.space.confirm is not None and len(first) < len(self._records):
            parts.insert(1, f"{again} of {goals.confirmed(self.space)} trained again")
        return "; ".join(parts)

    def _no_best(self, states: Sequence[str]) -> str:
        if front := goals.front(self.space, self._records):
            return f"Pareto front: trials {', '.join(str(r.number) for r in front)}"
        return "no trial keeps the constraints yet" if "complete" in states else "no trial finished yet"

    def _running(self) -> str:
        epochs = [f"{r.number} at {r.epoch}/{r.epochs}" for r in self._records if r.state == "running" and r.epochs]
        return f"; running: trial {', '.join(epochs)}" if epochs else ""

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (("trial", "right"), ("state", "left"), ("asked by", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column("epoch", min_width=26)
        for objective in self.space.objectives:
            table.add_column(objective.metric, justify="right")
        table.add_column("time", justify="right")
        leader = self.best()
        leading = {leader.number} if leader else {r.number for r in goals.front(self.space, self._records)}
        for record in self._visible():
            bold = "bold " if record.number in leading else ""
            table.add_row(
                str(record.number),
                Text(record.state, style=bold + STYLES.get(record.state, "")),
                record.point or (record.arm if record.confirms is None else f"{record.confirms} again"),
                _epochs(record),
                *(Text(number(value), style=bold) for value in self.objectives(record)),
                duration(_seconds(record)),
            )
        return Group(Text(self.headline(), style="bold"), table, Text(self._note, style="dim"))

    def _visible(self) -> list[TrialRecord]:
        room = max(3, min(SHOWN, self.console.height - 5))
        running = [r for r in self._records if r.state == "running"]
        ended = sorted((r for r in self._records if r.done), key=lambda r: r.finished or 0.0, reverse=True)
        chosen = [*running, *ended][:room]
        return sorted(chosen, key=lambda r: r.number)


def _fraction(record: TrialRecord) -> float:
    return record.epoch / record.epochs if record.epochs else 0.0


def _epochs(record: TrialRecord) -> Any:
    if record.state == "failed":
        return Text(record.reason or "", style="red", overflow="ellipsis", no_wrap=True)
    bar = Table.grid(padding=(0, 1))
    epochs = f"{record.epoch}/{record.epochs}" if record.epochs else "–"
    bar.add_row(ProgressBar(total=1.0, completed=_fraction(record), width=16), epochs)
    return bar


def _seconds(record: TrialRecord) -> float | None:
    return (record.finished or time.time()) - record.started if record.started is not None else None
