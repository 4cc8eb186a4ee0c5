"""The driver of one study: hands out jobs, hears reports, keeps the books. Knows neither Ray nor MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..checkpoints import CheckpointStore
from ..home import Home
from ..selection import choose
from ..space import Space
from .ledger import Job, Ledger
from .records import TrialRecord, best
from .table import rows

STOP_FILE = "stop"
_KEPT = 5  #: how many of the best trials keep their weights


class Record(Protocol):
    """The tracker's side of the books (`sprite_search.tracking.Tracker`)."""

    def begin(self, record: TrialRecord, seeds: Sequence[int]) -> None: ...
    def log(self, record: TrialRecord, history: Sequence[Mapping[str, Any]]) -> None: ...
    def end(self, record: TrialRecord, history: Sequence[Mapping[str, Any]], artifacts: Path | None) -> None: ...


class Watcher(Protocol):
    """Shows progress."""

    def update(self, records: Sequence[TrialRecord], note: str | None = None) -> None: ...


class Driver:
    """Between the ledger and whatever runs trials. All state that matters is in the ledger and the checkpoints.

    Order of writing: the worker's checkpoint, then the ledger, then the tracker; each can be done again.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: Space,
        home: Home,
        tracker: Record,
        *,
        watch: Callable[[Sequence[TrialRecord], str | None], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.ledger, self.space, self.home, self.tracker = ledger, space, home, tracker
        self.store = CheckpointStore(home.checkpoints)
        self.watch = watch or (lambda records, note: None)
        self.clock = clock
        self.began = clock()
        self.draining = False
        self.fatal: str | None = None
        self.waiting: list[Job] = ledger.unfinished()
        self.jobs: dict[str, Job] = {}
        self.seeds = list(range(space.replicates))
        self.stop_file = home.study(space.name) / STOP_FILE

    # -- what runs asks ---------------------------------------------------------------------------

    def next(self, trial_id: str) -> dict[str, Any] | None:
        """The next job for a worker, None when there is none."""
        if self.closing():
            return None
        job = self.waiting.pop(0) if self.waiting else self.ledger.ask(self.space)
        if job is None:
            return None
        self.jobs[trial_id] = job
        record = self._record(job.number)
        self.tracker.begin(record, self.seeds)
        if job.attempt > 1:
            self.tracker.log(record, self.store.history(self.space.name, job.number))
        self._show(f"trial {job.number} starts" if job.attempt == 1 else f"trial {job.number} goes on")
        return {
            "study": self.space.name,
            "number": job.number,
            "config": dict(job.config),
            "attempt": job.attempt,
            "seeds": self.seeds,
            "checkpoints": str(self.store.root),
            "data": str(self.home.data),
            "cpu": self.space.resources.cpu,
            "driver": os.getpid(),
        }

    def closing(self) -> bool:
        """Whether no new trial is to be started."""
        if self.draining or self.fatal or self.stop_file.exists():
            return True
        hours = self.space.budget.hours
        if hours is not None and self.clock() - self.began > hours * 3600:
            return True
        return self.ledger.failures() > self.space.budget.max_failed

    def drain(self) -> None:
        """No new trials; running ones stop at their next report and stay resumable."""
        self.draining = True
        self._show("stopping: running trials end at their next report (once more Ctrl-C stops at once)")

    # -- what runs tells --------------------------------------------------------------------------

    def reported(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Books a report; False when the trial is to stop."""
        number = self.jobs[trial_id].number
        if self._record(number).done:
            return False
        if reason := result.get("failed"):
            if result.get("fatal"):  # not the trial's fault: it stays to be taken up again
                self.fatal = str(reason)
            else:
                self._fail(number, str(reason))
            return False
        epoch, epochs, metrics = int(result["epoch"]), int(result["epochs"]), result["metrics"]
        pruned = self.ledger.report(self.space, number, epoch, epochs, self.seeds, metrics)
        if epoch >= epochs:
            self.ledger.complete(self.space, number)
            self._end(number)
            return False
        if pruned:
            self.ledger.prune(number)
            self._end(number)
            return False
        record = self._record(number)
        self.tracker.log(record, [{"epoch": epoch, "time": int(time.time() * 1000), "metrics": metrics}])
        self._show(None)
        return not (self.draining or self.fatal or self.stop_file.exists())

    def crashed(self, trial_id: str) -> None:
        """Books a trial whose worker died more often than allowed."""
        job = self.jobs.get(trial_id)
        if job is not None and not self._record(job.number).done:
            self._fail(job.number, "its worker crashed on every attempt")

    def retried(self, trial_id: str) -> None:
        """Books one more attempt of a trial whose worker died."""
        if job := self.jobs.get(trial_id):
            self.ledger.retry(job.number)
            record = self._record(job.number)
            self.tracker.begin(record, self.seeds)
            self._show(f"trial {job.number} is started again: its worker died")

    def _fail(self, number: int, reason: str) -> None:
        self.ledger.fail(number, reason)
        self._end(number)

    def _end(self, number: int) -> None:
        record = self._record(number)
        latest = self.store.latest(self.space.name, number)
        pictures = latest / "pictures" if latest is not None else None
        self.tracker.end(record, self.store.history(self.space.name, number), pictures)
        self.retain()
        self._show(f"trial {number} {record.state}" + (f": {record.reason}" if record.reason else ""))

    def retain(self) -> None:
        """Keeps the weights of the best and of running trials."""
        records = self.ledger.records()
        keep = {r.number for r in records if not r.done}
        left = [r for r in records if r.state == "complete"]
        for _ in range(_KEPT):
            first = best(left, self.space.objective.direction)
            if first is None:
                break
            keep.add(first.number)
            left.remove(first)
        keep |= {int(line) for line in self._pinned()}
        keep |= self._trusted(records)
        self.store.retain(self.space.name, keep)

    def _trusted(self, records: Sequence[TrialRecord]) -> set[int]:
        """The trial that `select` would choose and its runners-up: not always the best, which may be degenerate."""
        choice = choose(rows(records))
        return {n for n in (choice.trial, *(r["trial"] for r in choice.runners_up)) if n is not None}

    def _pinned(self) -> list[str]:
        """Trials that were promoted; their weights are never dropped."""
        try:
            return (self.home.study(self.space.name) / "promoted").read_text().split()
        except OSError:
            return []

    def _record(self, number: int) -> TrialRecord:
        return next(r for r in self.ledger.records() if r.number == number)

    def _show(self, note: str | None) -> None:
        self.watch(self.ledger.records(), note)
