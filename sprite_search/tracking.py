"""MLflow: the record people browse. The ledger is the truth; this repairs itself from it."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import platform
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .home import Home
from .study.records import TrialRecord

Report = Mapping[str, Any]  #: {"epoch": int, "time": ms, "metrics": [per seed]}

_CHUNK = 900  #: metrics in one request; MLflow takes at most 1,000
_PARAMS = 90  #: parameters in one request; at most 100
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}


def connect(home: Home) -> Any:
    """An MLflow client on the right store, its schema made once; InputError when it cannot be reached."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)

    uri = home.tracking_uri
    if uri.startswith("sqlite:///"):
        home.create()
        _prepare(Path(uri.removeprefix("sqlite:///")))
    try:
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        what = str(error).splitlines()[0]
        raise InputError(f"MLFLOW_TRACKING_URI: cannot use {uri} ({what}); check that the server runs") from None
    return client


def _prepare(database: Path) -> None:
    """Lets readers (the UI) and the writer work at the same time."""
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{database}: is no MLflow database ({error}); move it away, or restore it from a copy"
        ) from None


class Tracker:
    """The only writer of a study's runs: one per configuration, with one child per seed.

    Writes are batched in a thread; a server that is slow or away never holds up the search. What could
    not be written is repaired by `reconcile` at the next start.
    """

    def __init__(self, home: Home, study: str, *, space_hash: str, tags: Mapping[str, str] | None = None):
        self.client = connect(home)
        self.study, self.space_hash, self.tags = study, space_hash, {**_identity(), **(tags or {})}
        embedded = "MLFLOW_TRACKING_URI" not in os.environ
        found = self.client.get_experiment_by_name(study)
        if found is None:
            location = (home.artifacts / study).as_uri() if embedded else None
            self.experiment = self.client.create_experiment(study, artifact_location=location)
        elif found.lifecycle_stage == "deleted":
            raise InputError(
                f"{study}: its MLflow experiment was deleted; restore it in MLflow, or use another --study"
            )
        else:
            self.experiment = found.experiment_id
        self._runs: dict[str, str] = {}  # trial key, or trial key/seed -> run id
        self._high: dict[str, int] = {}  # run id -> last epoch logged
        self._lock = threading.RLock()
        self._queue: list[Callable[[], None]] = []
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    # -- what the driver calls --------------------------------------------------------------------

    def begin(self, record: TrialRecord, seeds: Sequence[int]) -> None:
        """Makes the runs of a trial, or finds those of an earlier attempt."""
        self._put(lambda: self._begin(record, seeds))

    def log(self, record: TrialRecord, history: Sequence[Report]) -> None:
        """Writes those reports that are not written yet."""
        entries = list(history)
        self._put(lambda: self._log(record, entries))

    def end(self, record: TrialRecord, history: Sequence[Report], artifacts: Path | None) -> None:
        """Closes the runs of a trial with its state, pictures and resolved configuration."""
        entries = list(history)
        self._put(lambda: self._end(record, entries, artifacts))

    def reconcile(self, records: Sequence[TrialRecord], history_of: Callable[[TrialRecord], Sequence[Report]]) -> None:
        """Brings MLflow in line with the ledger after a crash: missing runs, points and ends; nothing twice."""
        existing = {r.data.tags.get("sprite.trial_key", ""): r for r in self._parents()}
        for record in records:
            if record.state == "queued":
                continue
            run = existing.get(record.key)
            if run is not None and run.data.tags.get("sprite.state") == record.state and record.done:
                continue
            history = history_of(record)
            seeds = [int(s["seed"]) for s in record.seeds]
            self._begin(record, seeds)
            if record.done:
                self._end(record, history, None)
            else:
                self._log(record, history)
        known = {r.key for r in records if r.state != "queued"}
        for key, run in existing.items():
            if key not in known and run.info.status == "RUNNING":
                self._close_run(run.info.run_id, "KILLED", {"sprite.state": "abandoned"})

    def close(self) -> None:
        """Writes what is waiting, for at most half a minute."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=30)

    # -- reading ----------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        """State of each trial's run by trial key."""
        return {r.data.tags["sprite.trial_key"]: r.data.tags.get("sprite.state", "") for r in self._parents()}

    def problems(
        self, records: Sequence[TrialRecord], history_of: Callable[[TrialRecord], Sequence[Report]]
    ) -> list[str]:
        """Where MLflow and the ledger disagree; empty when they agree."""
        found = []
        parents = self._parents()
        keys = [r.data.tags["sprite.trial_key"] for r in parents]
        for key in sorted({k for k in keys if keys.count(k) > 1}):
            found.append(f"{key} has {keys.count(key)} runs in MLflow")
        runs = dict(zip(keys, parents, strict=True))
        wanted = {r.key: r for r in records if r.state != "queued"}
        found += [f"{key} has a run in MLflow but is not in the ledger" for key in runs if key not in wanted]
        for key, record in wanted.items():
            if key not in runs:
                found.append(f"{key} has no run in MLflow")
                continue
            state = runs[key].data.tags.get("sprite.state")
            if state != record.state:
                found.append(f"{key} is {record.state} in the ledger but {state} in MLflow")
            epochs = [int(h["epoch"]) for h in history_of(record)]
            steps = self._steps(runs[key].info.run_id, "val/reconstruction")
            if epochs and record.done and steps != epochs:
                found.append(f"{key} was reported at epochs {epochs} but MLflow has {steps}")
        return found

    def _steps(self, run_id: str, metric: str) -> list[int]:
        return sorted(m.step for m in self.client.get_metric_history(run_id, metric))

    def _parents(self) -> list[Any]:
        return list(self._search("tags.`sprite.role` = 'trial'"))

    def _search(self, filter_string: str) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], filter_string, max_results=500, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    # -- the thread -------------------------------------------------------------------------------

    def _put(self, task: Callable[[], None]) -> None:
        with self._lock:
            self._queue.append(task)
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            failures = 0
            while True:
                with self._lock:
                    if not self._queue:
                        break
                    task = self._queue[0]
                try:
                    task()
                except Exception as error:  # whatever the store's trouble is, the search goes on
                    failures += 1
                    logging.getLogger(__name__).debug("MLflow: %s", error)
                    if self._closing and failures > 2:
                        return  # reconcile repairs it at the next start
                    time.sleep(min(2.0**failures / 4, 5.0))
                    continue
                failures = 0
                with self._lock:
                    self._queue.pop(0)
            if self._closing:
                return

    # -- MLflow -----------------------------------------------------------------------------------

    def _begin(self, record: TrialRecord, seeds: Sequence[int]) -> None:
        tags = {
            "sprite.state": "running",
            "sprite.attempt": str(record.attempt),
            "sprite.space_hash": self.space_hash,
            "sprite.arm": record.arm,
            **self.tags,
        }
        if record.point:
            tags["sprite.point"] = record.point
        parent = self._run(
            record.key, f"#{record.number} {_title(record)}", {**tags, "sprite.role": "trial"}, record.config
        )
        for seed in seeds:
            own = {**tags, "sprite.role": "seed", "sprite.seed": str(seed), "mlflow.parentRunId": parent}
            self._run(f"{record.key}/{seed}", f"#{record.number} seed {seed}", own, {**record.config, "seed": seed})

    def _run(self, key: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """The run of a key, made if there is none; written to once it is there."""
        from mlflow.entities import Param, RunTag

        if key in self._runs:
            run_id = self._runs[key]
        else:
            found = list(self._search(f"tags.`sprite.trial_key` = '{key}'"))
            if found:
                run_id = found[0].info.run_id
            else:
                # the key is part of the creation: a crash after it leaves no run that cannot be found
                made = self.client.create_run(
                    self.experiment, run_name=name, tags={"sprite.trial_key": key, "mlflow.runName": name, **tags}
                )
                run_id = made.info.run_id
                _fault("after_create_run")
            self._runs[key] = run_id
        self.client.update_run(run_id, status="RUNNING")
        given = [Param(n, _text(v)) for n, v in params.items()]
        for i in range(0, len(given) or 1, _PARAMS):
            extra = [RunTag(n, v) for n, v in tags.items()] if i == 0 else []
            self.client.log_batch(run_id, params=given[i : i + _PARAMS], tags=extra)
        return run_id

    def _log(self, record: TrialRecord, history: Sequence[Report]) -> None:
        parent = self._runs.get(record.key)
        if parent is None:
            self._begin(record, [int(s["seed"]) for s in record.seeds])
            parent = self._runs[record.key]
        seeds = [int(s["seed"]) for s in record.seeds]
        self._write(parent, [(h, _means(h["metrics"])) for h in history])
        for i, seed in enumerate(seeds):
            run_id = self._runs.get(f"{record.key}/{seed}")
            if run_id is not None:
                self._write(run_id, [(h, h["metrics"][i]) for h in history if i < len(h["metrics"])])

    def _write(self, run_id: str, points: Sequence[tuple[Report, Mapping[str, float]]]) -> None:
        """Metrics of epochs above the run's high-water mark: each step is written exactly once."""
        from mlflow.entities import Metric

        if run_id not in self._high:
            self._high[run_id] = max(self._steps(run_id, "val/reconstruction"), default=0)
        fresh = [(h, m) for h, m in points if int(h["epoch"]) > self._high[run_id]]
        metrics = [
            Metric(name, float(value), int(h["time"]), int(h["epoch"]))
            for h, values in fresh
            for name, value in sorted(values.items(), key=lambda item: item[0] == "val/reconstruction")
            if math.isfinite(value)
        ]
        for i in range(0, len(metrics), _CHUNK):
            self.client.log_batch(run_id, metrics=metrics[i : i + _CHUNK])
        if fresh:
            self._high[run_id] = max(int(h["epoch"]) for h, _ in fresh)

    def _end(self, record: TrialRecord, history: Sequence[Report], artifacts: Path | None) -> None:
        self._log(record, history)
        tags = {"sprite.state": record.state}
        if record.state == "pruned":
            tags["sprite.pruned_at"] = str(record.epoch)
        if record.reason:
            tags["sprite.reason"] = record.reason[:4000]
        parent = self._runs[record.key]
        self._attach(parent, record, history)
        for replicate in record.seeds:
            seed = replicate["seed"]
            run_id = self._runs.get(f"{record.key}/{seed}")
            if run_id is None:
                continue
            pictures = artifacts / f"seed{seed}" if artifacts is not None else None
            if pictures is not None and pictures.is_dir():
                self.client.log_artifacts(run_id, str(pictures), "pictures")
                if replicate is record.seeds[0]:
                    self.client.log_artifacts(parent, str(pictures), "pictures")
            self._close_run(run_id, _STATUS[record.state], tags)
        self._close_run(parent, _STATUS[record.state], tags)

    def _attach(self, run_id: str, record: TrialRecord, history: Sequence[Report]) -> None:
        """The resolved configuration and the curves."""
        from .pictures import curves

        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.json"
            config.write_text(json.dumps(dict(record.config), indent=2))
            self.client.log_artifact(run_id, str(config))
            if len(history) > 1:
                self.client.log_artifact(run_id, str(curves(history, Path(folder) / "curves.png")), "pictures")

    def _close_run(self, run_id: str, status: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        # the state comes last: a run that has it is whole
        self.client.set_terminated(run_id, status=status)
        self.client.log_batch(run_id, tags=[RunTag(n, v) for n, v in tags.items()])


def _means(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over seeds of each metric, and the standard error of the val/ and labels/ ones."""
    names = sorted(set().union(*metrics)) if metrics else []
    found = {}
    for name in names:
        values = [m[name] for m in metrics if name in m]
        mean = sum(values) / len(values)
        found[name] = mean
        if len(values) > 1 and not name.startswith("train/"):
            variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
            found[f"{name}_se"] = math.sqrt(variance / len(values))
    return found


def _title(record: TrialRecord) -> str:
    """A short readable name from what was searched."""
    words = [str(v) for n, v in record.params.items() if isinstance(v, str)]
    return " ".join([record.point or "", *words][:4]).strip() or "trial"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _identity() -> dict[str, str]:
    """Versions a result depends on."""
    import numpy
    import torch

    from . import __version__

    return {
        "sprite.version": __version__,
        "sprite.torch": torch.__version__,
        "sprite.numpy": numpy.__version__,
        "sprite.python": platform.python_version(),
        "sprite.host": platform.node(),
    }


def _fault(name: str) -> None:
    """For crash tests: $SPRITE_FAULT=NAME kills this process at this point."""
    if os.environ.get("SPRITE_FAULT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
