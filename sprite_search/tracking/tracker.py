"""The tracker: what MLflow is to hold of a study, brought there in a thread."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..home import Home
from ..study.records import TrialRecord
from . import views
from .outbox import Outbox
from .runs import Report, Runs, state
from .store import connect, shown

_MOST_WAITING = 20_000  #: reports kept for a server that is away; beyond them a trial is written when it ends
_RECONCILE, _JUDGE, _REPORT = "", "criteria", "report"  #: what the outbox calls the tasks that are no trials
#: What MLflow answers to a request that it will never grant.
_REFUSALS = (
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "PERMISSION_DENIED", "BAD_REQUEST",
)  # fmt: skip
_ABOUT = (
    "One run per configuration; below it, one run per seed. `val/…` and `criteria/…` need no labels;"
    " `labels/…` needed them and were not used by the search unless `sprite.oracle` is true."
    " Parameters are the settings that applied. Pictures are among the artifacts."
)


@dataclass
class _Wanted:
    """What MLflow is to hold of a trial, and the part of it that is not written yet."""

    record: TrialRecord
    seeds: tuple[int, ...] = ()
    reports: dict[int, Report] = field(default_factory=dict)
    gap: bool = False  # reports were dropped; nothing is written until the whole history comes
    ended: bool = False
    history: Sequence[Report] = ()  # the whole, once ended


class Tracker:
    """The only writer of a study's runs: one per configuration, with one child per seed.

    What the driver calls returns at once. Writing happens in a thread, several reports at a time; a server
    that is slow or away never holds up the search. What could not be written before the end is repaired by
    `reconcile` at the next start.
    """

    def __init__(
        self,
        home: Home,
        study: str,
        *,
        space_hash: str,
        tags: Mapping[str, str] | None = None,
        objectives: Sequence[tuple[str, bool]] = (("val/reconstruction", True),),
        searched: Sequence[str] = (),
        pictures_of: Callable[[TrialRecord], Path | None] = lambda record: None,
    ):
        """Finds or makes the study's experiment.

        Args:
            home: where the store is.
            study: name of the experiment.
            space_hash: tag of its runs.
            tags: more tags of its runs.
            objectives: metrics for the table in the UI, sorted by the first, and whether less of each is better.
            searched: names of the settings that the search explores, for the same table.
            pictures_of: where the pictures of an ended trial are, a folder per seed (``seed0``…); asked in the thread.
        Raises:
            InputError: the store cannot be used, or the experiment is not this study's.
        """
        self.client = connect(home)
        self.study = study
        tags = {"sprite.space_hash": space_hash, **(tags or {})}
        self.runs = Runs(self.client, self._experiment(home), tags, [name for name, _ in objectives])
        views.save(self.client, self.runs.experiment, objectives, searched)
        self._pictures_of = pictures_of
        self._lock = threading.Lock()
        self._wanted: dict[str, _Wanted] = {}
        self._waiting = 0  # reports in _wanted
        self._judged: Sequence[Mapping[str, Any]] = ()
        self._front: Collection[str] | None = None
        self._pages: tuple[Path, str] | None = None
        self._books: tuple[Sequence[TrialRecord], Callable[[TrialRecord], Sequence[Report]]] | None = None
        self._outbox = Outbox(self._deliver, hopeless=_hopeless)

    def _experiment(self, home: Home) -> str:
        from mlflow.exceptions import MlflowException

        owner, found = _owner(home, self.study), self.client.get_experiment_by_name(self.study)
        if found is None:
            own = None if home.tracking_uri.startswith("http") else (home.artifacts / self.study).as_uri()
            tags = {"sprite.ledger": owner, "mlflow.note.content": _ABOUT}
            tags["mlflow.experimentKind"] = "custom_model_development"  # else the UI opens on traces of chats
            with contextlib.suppress(MlflowException):  # somebody else may just have made it
                self.client.create_experiment(self.study, artifact_location=own, tags=tags)
            found = self.client.get_experiment_by_name(self.study)
        if found is None or found.lifecycle_stage == "deleted":
            raise InputError(
                f"{self.study}: its MLflow experiment was deleted; restore it in MLflow, or use another --study"
            )
        if found.tags.get("sprite.ledger", owner) != owner:
            raise InputError(
                f"{self.study}: MLflow has an experiment of this name that belongs to a study kept elsewhere;"
                " use another --study, or rename that experiment in MLflow"
            )
        return str(found.experiment_id)

    # -- what the driver calls --------------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """Why MLflow could not be written last time; None while all is well."""
        return self._outbox.trouble

    def begin(self, record: TrialRecord, seeds: Sequence[int]) -> None:
        """Makes the runs of a trial, or finds those of an earlier attempt."""
        self._want(record, seeds=seeds)

    def log(self, record: TrialRecord, history: Sequence[Report]) -> None:
        """Writes those reports that are not written yet."""
        self._want(record, reports=history)

    def end(self, record: TrialRecord, history: Sequence[Report]) -> None:
        """Closes the runs of a trial with its state, pictures and resolved configuration.

        Args:
            history: all its reports.
        """
        self._want(record, reports=history, ended=True)

    def reconcile(
        self,
        records: Sequence[TrialRecord],
        history_of: Callable[[TrialRecord], Sequence[Report]],
    ) -> None:
        """Brings MLflow in line with the ledger after a crash: missing runs, points and ends; nothing twice."""
        self._books = (list(records), history_of)
        self._outbox.post(_RECONCILE)

    def judge(self, rows: Sequence[Mapping[str, Any]], front: Collection[str] | None = None) -> None:
        """Writes the ``criteria/…`` of a table of trials: to the run of each seed, their mean to that of the trial.

        They change while trials end, as some compare a trial with all others; only what changed is written again.

        Args:
            rows: the table.
            front: keys of the trials on the Pareto front, to be tagged; None of one objective.
        """
        self._judged, self._front = rows, front
        self._outbox.post(_JUDGE)

    def report(self, folder: Path, note: str) -> None:
        """Writes the pages and tables of the study: artifacts of a run named "report", which its description links.

        Args:
            folder: holds them, until `close` has returned.
            note: what people read beside them, in Markdown.
        """
        self._pages = folder, note
        self._outbox.post(_REPORT)

    def close(self, patience: float = 20.0) -> list[str]:
        """Writes what is waiting, while that goes on; returns keys of trials that MLflow lacks something of."""
        return self._outbox.close(patience)

    def _want(
        self,
        record: TrialRecord,
        *,
        seeds: Sequence[int] = (),
        reports: Sequence[Report] = (),
        ended: bool = False,
    ) -> None:
        with self._lock:
            want = self._wanted.setdefault(record.key, _Wanted(record))
            want.record = record
            want.seeds = tuple(sorted({*want.seeds, *seeds, *(int(s["seed"]) for s in record.seeds)}))
            if ended:
                want.ended, want.history, want.gap = True, list(reports), False
            self._waiting -= len(want.reports)
            want.reports |= {int(r["epoch"]): r for r in reports}
            if not ended and (want.gap or self._waiting + len(want.reports) > _MOST_WAITING):
                want.gap, want.reports = True, {}
            self._waiting += len(want.reports)
        self._outbox.post(record.key)

    # -- the thread -------------------------------------------------------------------------------

    def _deliver(self, key: str) -> None:
        if key == _RECONCILE:
            self._reconcile()
            return
        if key == _JUDGE:
            self.runs.judge(_criteria(self.study, self._judged))
            if self._front is not None:
                self.runs.mark_front(self._front)
            return
        if key == _REPORT and self._pages is not None:
            run = self.runs.report(*self._pages)
            views.link(self.client, self.runs.experiment, run, about=_ABOUT)
            return
        with self._lock:
            want = self._wanted.get(key)
            if want is None:
                return
            record, seeds, reports = want.record, want.seeds, dict(want.reports)
            ended, history = want.ended, want.history
        try:
            self.runs.begin(record, seeds)
            self.runs.log(record, [reports[e] for e in sorted(reports)])
            if ended:
                self.runs.end(record, history, self._pictures_of(record))
            else:
                self.runs.send(key)
        except Exception:
            self.runs.forget(key)
            raise
        with self._lock:
            written = [e for e in reports if want.reports.pop(e, None) is not None]
            self._waiting -= len(written)
            if ended and want.history is history:
                del self._wanted[key]
                self.runs.forget(key)

    def _reconcile(self) -> None:
        assert self._books is not None
        records, history_of = self._books
        with self._lock:
            began = set(self._wanted)  # the driver took these up since
        existing = {r.data.tags["sprite.trial_key"]: r for r in self.runs.trials()}
        for record in records:
            run = existing.get(record.key)
            written = run is not None and state(run) == record.state
            if record.state == "queued" or (written and record.done) or record.key in began:
                continue
            if record.done:
                self.end(record, history_of(record))
            else:
                self.log(record, history_of(record))
        known = {r.key for r in records if r.state != "queued"} | began
        for key, run in existing.items():
            if key not in known and run.info.status == "RUNNING":
                self.runs.abandon(run)

    # -- reading ----------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        """State of each trial's run by trial key."""
        return {r.data.tags["sprite.trial_key"]: state(r) for r in self.runs.trials()}

    def problems(
        self, records: Sequence[TrialRecord], history_of: Callable[[TrialRecord], Sequence[Report]]
    ) -> list[str]:
        """Where MLflow and the ledger disagree; empty when they agree."""
        parents = self.runs.trials()
        keys = [r.data.tags["sprite.trial_key"] for r in parents]
        found = [f"{k} has {keys.count(k)} runs in MLflow" for k in sorted({k for k in keys if keys.count(k) > 1})]
        runs = dict(zip(keys, parents, strict=True))
        wanted = {r.key: r for r in records if r.state != "queued"}
        gone = {k for k, r in runs.items() if state(r) == "abandoned"}
        found += [
            f"{k} has a run in MLflow but is not in the ledger" for k in runs if k not in wanted and k not in gone
        ]
        children: dict[str, dict[str, Any]] = {}
        for child in self.runs.search("tags.`sprite.role` = 'seed'"):
            parent, seed = child.data.tags.get("mlflow.parentRunId", ""), child.data.tags.get("sprite.seed", "")
            children.setdefault(parent, {})[seed] = child
        for key, record in wanted.items():
            if key in runs:
                mine = {f"{key} seed {s}": r for s, r in children.get(runs[key].info.run_id, {}).items()}
                found += [f"{key} has no run of seed {s} in MLflow" for s in _missing(record, mine)]
                found += self._differences(record, history_of(record), {key: runs[key], **mine})
            else:
                found.append(f"{key} has no run in MLflow")
        return found

    def _differences(self, record: TrialRecord, history: Sequence[Report], runs: Mapping[str, Any]) -> list[str]:
        """What is wrong with the runs of one trial, by what they are called."""
        found = []
        epochs = [int(h["epoch"]) for h in history]
        names = sorted(set().union(*history[-1]["metrics"])) if history and history[-1]["metrics"] else []
        metric = "val/reconstruction" if "val/reconstruction" in names else next(iter(names), None)
        for name, run in runs.items():
            if (shown := state(run)) != record.state:
                return [f"{name} is {record.state} in the ledger but {shown} in MLflow"]
            elif record.done and metric and (steps := self.runs.steps(run.info.run_id, metric)) != epochs:
                found.append(f"{name} was reported at epochs {epochs} but MLflow has {steps}")
        return found


def _criteria(study: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, dict[str, float]]]:
    """Epoch and criteria of each run by its key; a trial has the mean of those that all its seeds have."""
    seeds: dict[str, list[tuple[int, dict[str, float]]]] = {}
    found = {}
    for row in rows:
        own = {n: float(v) for n, v in row.items() if n.startswith("criteria/")}
        if own:
            key = f"{study}/{row['trial']}"
            found[f"{key}/{row['seed']}"] = (int(row["epoch"]), own)
            seeds.setdefault(key, []).append(found[f"{key}/{row['seed']}"])
    for key, values in seeds.items():
        names = [n for n in values[0][1] if all(n in own for _, own in values)]
        found[key] = (values[0][0], {n: sum(own[n] for _, own in values) / len(values) for n in names})
    return found


def _missing(record: TrialRecord, children: Mapping[str, Any]) -> list[int]:
    return [int(s["seed"]) for s in record.seeds if f"{record.key} seed {s['seed']}" not in children]


def _hopeless(error: Exception) -> bool:
    return getattr(error, "error_code", None) in _REFUSALS


def _owner(home: Home, study: str) -> str:
    """Which ledger a study is kept in: two studies of one name must not share their runs on a server."""
    store = home.study_store
    if "://" in store:
        return f"{shown(store)} {study}"
    file = home.study(study) / "id"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(uuid.uuid4().hex)
    return file.read_text()
