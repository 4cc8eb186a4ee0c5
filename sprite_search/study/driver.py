"""The driver of one study: hands out jobs, hears reports, keeps the books. Knows neither Ray nor MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..checkpoints import open_store
from ..home import Home
from ..selection import choose
from ..space import Space
from . import goals
from .budget import busy_hours, used_up
from .confirmation import fresh_seeds, pending
from .ledger import Job, Ledger
from .records import TrialRecord, searched
from .storage import LOST
from .table import rows

STOP_FILE = "stop"
RETRIES = 2  #: how often a trial whose worker died is started again
_EVERY = 0.5  #: seconds between looks at all trials to show them


class Record(Protocol):
    """The tracker's side of the books (`sprite_search.tracking.Tracker`)."""

    def begin(self, record: TrialRecord, seeds: Sequence[int]) -> None: ...
    def log(self, record: TrialRecord, history: Sequence[Mapping[str, Any]]) -> None: ...
    def end(self, record: TrialRecord, history: Sequence[Mapping[str, Any]]) -> None: ...


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
        self.store = open_store(home.checkpoints)
        self.watch = watch
        self.clock, self.began = clock, clock()
        self.spent = busy_hours(ledger.records())
        self.draining = False
        self.fatal: str | None = None
        self.waiting: list[Job] = ledger.unfinished(space)
        self.jobs: dict[str, Job] = {}  #: what runs now, by the runner's name for it
        self._heard: dict[str, float] = {}  # when each of them was last heard of
        self._silent: set[str] = set()  # those given up for it
        self.started = 0
        self.stop_file = home.study(space.name) / STOP_FILE
        self._kept: set[int] = set()  # ended trials that have their weights
        self.retain()
        self._shown: tuple[float, Sequence[TrialRecord]] | None = None  # what the watcher has, and since when
        self._dry = False  # nothing to ask for until a trial ends
        self._confirming = False  # the search is over: what is asked now are its best once more

    # -- what runs asks ---------------------------------------------------------------------------

    def next(self, trial_id: str) -> dict[str, Any] | None:
        """The next job for a worker, None when there is none now; see `finished`."""
        with self._losing(trial_id):
            return self._next(trial_id)
        return None

    def _next(self, trial_id: str) -> dict[str, Any] | None:
        if self.stopping() or self._dry:
            return None
        job = self.waiting.pop(0) if self.waiting else self._search() or self._confirm()
        if job is None:
            self._dry = True
            return None
        self.jobs[trial_id], self._heard[trial_id] = job, self.clock()
        attempt = self.ledger.take_up(self.space, job.number) if job.begun else 1
        self.started += not job.begun
        record = self.ledger.record(job.number)
        self.tracker.begin(record, job.seeds)
        if job.begun:
            self.tracker.log(record, self.store.history(self.space.name, job.number))
        again = f" (trial {job.confirms} again, on fresh seeds)" if job.confirms is not None else ""
        self._show(f"trial {job.number}{again} {'goes on' if job.begun else 'starts'}")
        return {
            "study": self.space.name,
            "number": job.number,
            "config": dict(job.config),
            "attempt": attempt,
            "seeds": list(job.seeds),
            "checkpoints": str(self.store.root),
            "data": str(self.home.data),
            "cpu": self.space.resources.cpu,
            "gpu": self.space.resources.gpu if job.gpu is None else job.gpu,
            "gpu_memory": self.space.resources.gpu_memory,
            "driver": os.getpid(),
            "rungs": self._rungs(job, record.arm),
        }

    def _search(self) -> Job | None:
        """A configuration nobody tried yet; None when the search is over."""
        return None if self._confirming or self.closed() else self.ledger.ask(self.space)

    def _confirm(self) -> Job | None:
        """One of the best configurations, once the search is over, to be trained again on fresh seeds."""
        searching = any(job.confirms is None for job in self.jobs.values())
        if self.space.confirm is None or searching:
            return None
        if used_up(self.space, self.ledger.records(), self._busy(), confirming=True):
            return None
        best = pending(self.ledger, self.space, self.home, self.store)
        self._confirming = self._confirming or bool(best)
        return self.ledger.confirm(self.space, best[0], fresh_seeds(self.space)) if best else None

    def _rungs(self, job: Job, arm: str) -> list[int]:
        """Epochs after which the trial may be pruned, and has to have its pictures."""
        return (
            []
            if arm in ("random", "confirm")
            else self.ledger.rungs(self.space, job.config, int(job.config["training.epochs"]))
        )

    def finished(self) -> bool:
        """Whether no job can come any more: nothing runs that could fail and leave its place to another."""
        return not self.jobs

    def stopping(self) -> bool:
        """Whether running trials are to end at their next report."""
        return self.draining or self.fatal is not None or self.stop_file.exists()

    def closed(self) -> str | None:
        """Why no new configuration is to be asked for, those begun being finished; None while they are."""
        return used_up(self.space, self.ledger.records(), self._busy())

    def _busy(self) -> float:
        """Hours for which the study ran, all its launches together."""
        return self.spent + (self.clock() - self.began) / 3600

    def drain(self) -> None:
        """No new trials; running ones stop at their next report and stay resumable."""
        self.draining = True
        self._show("stopping: running trials end at their next report (once more Ctrl-C stops at once)")

    # -- what runs tells --------------------------------------------------------------------------

    def reported(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Books a report; False when the trial is to stop."""
        with self._losing(trial_id):
            return self._reported(trial_id, result)
        return False

    def _reported(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        job = self.jobs.get(trial_id)
        if job is None:
            return False
        number = job.number
        self._heard[trial_id] = self.clock()
        if reason := result.get("failed"):
            if result.get("oom") and self._more_memory(trial_id, str(reason)):
                return False
            if result.get("fatal"):  # not the trial's fault: it stays to be taken up again
                self.fatal = str(reason)
                self._release(trial_id)
                return False
            return self._fail(trial_id, str(reason))
        epoch, epochs, metrics = int(result["epoch"]), int(result["epochs"]), result["metrics"]
        if wrong := goals.problem(self.space, job.seeds, metrics):
            return self._fail(trial_id, wrong)
        pruned = self.ledger.report(self.space, number, epoch, epochs, job.seeds, metrics)
        if pruned or epoch >= epochs:
            self.ledger.prune(number) if pruned else self.ledger.complete(self.space, number)
            return self._end(trial_id)
        entry = {"epoch": epoch, "time": result["time"], "metrics": metrics}
        self.tracker.log(self.ledger.record(number), [entry])
        self._show(None)
        if self.stopping():
            self._release(trial_id)
            return False
        return True

    def silent(self) -> list[str]:
        """What has reported nothing for longer than `resources.patience`: to be killed, which `crashed` hears of.

        A machine that was cut off may take its time to be declared dead, or never be.
        """
        now, patience = self.clock(), self.space.resources.patience * 3600
        late = [t for t, heard in self._heard.items() if now - heard > patience]
        self._heard.update(dict.fromkeys(late, now))  # once more if that does not help
        self._silent.update(late)
        return late

    def crashed(self, trial_id: str, reason: str, *, counts: bool = True) -> None:
        """Books a worker that died: its trial is started again, or fails when that happened too often.

        Args:
            reason: why, as far as is known.
            counts: False where nothing was wrong, as when a machine was taken away.
        """
        with self._losing(trial_id):
            self._crashed(trial_id, reason, counts)

    def _crashed(self, trial_id: str, reason: str, counts: bool) -> None:
        job = self.jobs.get(trial_id)
        if job is None:
            return
        if trial_id in self._silent:
            reason = f"it reported nothing for {self.space.resources.patience:g} hours (resources.patience)"
        if counts and self.ledger.crash(job.number) > RETRIES:
            self._fail(trial_id, f"its worker died {RETRIES + 1} times, the last time because {reason}")
            return
        self._again(trial_id, reason)

    def _again(self, trial_id: str, reason: str) -> None:
        """Puts a trial first in the queue, to go on from its checkpoint."""
        number = self._release(trial_id)
        self.waiting.insert(0, self.ledger.job(self.space, number))
        self._show(f"trial {number} is started again: {reason}")

    def _more_memory(self, trial_id: str, reason: str) -> bool:
        """Starts a trial that ran out of its share of a GPU again with twice the share; once."""
        number, share = self.jobs[trial_id].number, self.space.resources.gpu
        if not 0 < share < 1 or self.ledger.record(number).gpu is not None:
            return False
        more = min(1.0, 2 * share)
        self.ledger.give(number, more)
        self._again(trial_id, f"{reason.partition(';')[0]}; it gets {more:g} GPU instead of {share:g}")
        return True

    @contextmanager
    def _losing(self, trial_id: str) -> Iterator[None]:
        """Ends the search when the ledger or the checkpoints cannot be reached; its trials stay to be taken up."""
        try:
            yield
        except LOST as error:
            said = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
            self.fatal = f"the books of the study cannot be written ({said[0][:300]})"
            if trial_id in self.jobs:
                self._release(trial_id)

    def _fail(self, trial_id: str, reason: str) -> bool:
        self.ledger.fail(self.jobs[trial_id].number, reason)
        return self._end(trial_id)

    def _end(self, trial_id: str) -> bool:
        number = self._release(trial_id)
        record = self.ledger.record(number)
        self.tracker.end(record, self.store.history(self.space.name, number))
        self._keep_best(number)
        self._show(f"trial {number} {record.state}" + (f": {record.reason}" if record.reason else ""))
        return False

    def _release(self, trial_id: str) -> int:
        """The trial does not run any more; its place is free."""
        self._dry = False
        self._heard.pop(trial_id)
        self._silent.discard(trial_id)
        return self.jobs.pop(trial_id).number

    # -- weights ----------------------------------------------------------------------------------

    def retain(self) -> None:
        """Drops weights that nobody needs, as a driver that was killed may have left them."""
        records = self.ledger.records()
        self._kept = self._worth_keeping(records)
        self.store.retain(self.space.name, self._kept | {r.number for r in records if not r.done})

    def _keep_best(self, number: int) -> None:
        """The same when a trial has ended, which compares it only with those kept so far."""
        before = self._kept | {number}
        self._kept = self._worth_keeping([self.ledger.record(n) for n in sorted(before)])
        for dropped in before - self._kept:
            self.store.drop(self.space.name, dropped)

    def _worth_keeping(self, records: Sequence[TrialRecord]) -> set[int]:
        """Of ended trials the best, those first in line for `select`, those trained again and promoted ones."""
        complete = [r for r in records if r.state == "complete" and r.value is not None]
        best = goals.ranked(self.space, complete)[: self.space.keep.best] + goals.front(self.space, complete)
        best += [r for r in complete if r.confirms is not None]
        return {r.number for r in best} | self._likely(records) | self._promoted()

    def _likely(self, records: Sequence[TrialRecord]) -> set[int]:
        """The trials that `select` may choose, not always the best, which may be degenerate.

        In the end it combines criteria that are not there yet; those with the least held-out error come closest.
        """
        choice = choose(rows(searched(records)), runners_up=self.space.keep.likely - 1)
        return {n for n in (choice.trial, *(r["trial"] for r in choice.runners_up)) if n is not None}

    def _promoted(self) -> set[int]:
        try:
            return {int(n) for n in (self.home.study(self.space.name) / "promoted").read_text().split()}
        except OSError:
            return set()

    def _show(self, note: str | None) -> None:
        now = self.clock()
        if self.watch is not None and (self._shown is None or now - self._shown[0] >= _EVERY):
            self._shown = now, self.ledger.records()
        elif note is None:
            return
        if self.watch is not None and self._shown is not None:
            self.watch(self._shown[1], note)
