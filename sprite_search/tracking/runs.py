"""The MLflow runs of trials: made or found by their key, written once, closed."""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..study.records import TrialRecord
from . import text

Report = Mapping[str, Any]  #: {"epoch": int, "time": ms, "metrics": [per seed]}

_METRICS, _PARAMS = 800, 90  #: in one request; MLflow takes at most 100 parameters, and 1,000 of everything
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_EPOCH = "sprite.epoch"  #: tag of a run: its metrics up to this epoch are written
_PARETO = "sprite.pareto"  #: tag of a run: whether its trial is on the Pareto front of several objectives
_REPORTED = "sprite.report"  #: tag of the run of the report: what its pages were when they were written
_JUDGED = "sprite.criteria"  #: tag of a run: what its criteria were when they were written


@dataclass
class _Run:
    """A run as it is in MLflow: its id, up to which epoch its metrics are there; and what it is still to get."""

    id: str
    artifacts: str = ""  # where they are
    epoch: int = 0
    params: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class Runs:
    """The runs of one experiment. Every write can be done again: after a crash, or by another process later.

    What a run gets is gathered until `send` or `end`, as a request costs about the same whatever is in it.
    """

    def __init__(self, client: Any, experiment: str, tags: Mapping[str, str], objectives: Sequence[str] = ()):
        """`tags`: of every run, beside those of its trial. `objectives`: metrics whose interval over seeds is kept."""
        self.client, self.experiment, self.tags = client, experiment, {**_versions(), **tags}
        self.objectives = objectives
        self._uri = client.tracking_uri
        self._runs: dict[str, dict[int | None, _Run]] = {}  # trial key -> runs by seed; its own under None
        self._begun: dict[str, tuple[int, tuple[int, ...]]] = {}  # trial key -> attempt and seeds that are there
        self._made: set[str] | None = None  # keys of the trials that may have a run

    def forget(self, key: str) -> None:
        """Looks for the runs of a trial anew next time: somebody may have deleted them."""
        self._runs.pop(key, None)
        self._begun.pop(key, None)

    def begin(self, record: TrialRecord, seeds: Sequence[int]) -> None:
        """Makes or finds the runs of a trial: its own and one per seed."""
        if self._begun.get(record.key) == (record.attempt, tuple(seeds)):
            return
        tags = {
            **self.tags,
            "sprite.state": "running",
            "sprite.attempt": str(record.attempt),
            "sprite.arm": record.arm,
            **({"sprite.point": record.point} if record.point else {}),
            **({"sprite.confirms": str(record.confirms)} if record.confirms is not None else {}),
        }
        runs = self._runs.setdefault(record.key, {})
        if None not in runs:
            found = self._find(record.key)
            # the key is part of the creation: a crash after it leaves no run that cannot be found
            own = {"sprite.trial_key": record.key, "sprite.role": "trial", **tags}
            runs[None] = self._run(found, text.title(record), own, record.config)
            if found is None or not found.inputs.dataset_inputs:
                self._log_data(runs[None].id, record.config)
            for child in self.children(runs[None].id) if found is not None else ():
                seed = int(child.data.tags["sprite.seed"])
                runs[seed] = self._run(child, f"#{record.number} seed {seed}", tags, {**record.config, "seed": seed})
        for seed in sorted({*seeds} - {s for s in runs if s is not None}):
            own = {"sprite.trial_key": f"{record.key}/{seed}", "sprite.role": "seed", "sprite.seed": str(seed)}
            own |= {**tags, "mlflow.parentRunId": runs[None].id}
            runs[seed] = self._run(None, f"#{record.number} seed {seed}", own, {**record.config, "seed": seed})
        self._begun[record.key] = (record.attempt, tuple(seeds))

    def _find(self, key: str) -> Any:
        """The run of a trial; None where there is none.

        MLflow reads the keys of all runs to find one, so this asks only for those it may have.
        """
        if self._made is None:
            self.trials()
        assert self._made is not None
        if key in self._made:
            return next(self.search(f"tags.`sprite.trial_key` = '{key}' and tags.`sprite.role` = 'trial'"), None)
        self._made.add(key)  # also if the answer to its creation gets lost
        return None

    def _run(self, found: Any, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> _Run:
        """Takes up the run that was found, or makes one; it is to get what it lacks."""
        from mlflow.entities import Param

        if found is None:
            user = {"mlflow.user": _user(), "mlflow.source.name": "sprite-search", "mlflow.source.type": "LOCAL"}
            made = self.client.create_run(self.experiment, run_name=name, tags={**user, **tags})
            _fault("after_create_run")
            run, there = _Run(made.info.run_id, made.info.artifact_uri), {}
        else:
            run, there = _Run(found.info.run_id, found.info.artifact_uri), found.data.params
            run.epoch = int(found.data.tags.get(_EPOCH, 0))
            if found.info.status != "RUNNING":
                self.client.update_run(run.id, status="RUNNING")
            run.tags.update(tags)
        run.params = [Param(n, text.text(v)) for n, v in params.items() if n not in there]
        return run

    def _log_data(self, run_id: str, params: Mapping[str, Any]) -> None:
        """The data set as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest = params.get("dataset.name"), self.tags.get("sprite.data")
        if name and digest:
            source = json.dumps({n: v for n, v in params.items() if n.startswith("dataset.")})
            data = Dataset(str(name), digest[:16], "local", source)
            self.client.log_inputs(run_id, datasets=[DatasetInput(data, [InputTag("mlflow.data.context", "train")])])

    def log(self, record: TrialRecord, history: Sequence[Report]) -> None:
        """Gathers those reports of a trial that is begun which are not written yet."""
        runs = self._runs[record.key]
        # a trial that failed at its first report has no replicates in the ledger, but runs of them here
        seeds = [int(s["seed"]) for s in record.seeds] or sorted(s for s in runs if s is not None)
        for i, seed in enumerate(seeds):
            if seed in runs:
                self._gather(runs[seed], [(h, h["metrics"][i]) for h in history if i < len(h["metrics"])])
        self._gather(runs[None], [(h, text.means(h["metrics"], self.objectives)) for h in history])

    def _gather(self, run: _Run, points: Sequence[tuple[Report, Mapping[str, float]]]) -> None:
        """Metrics of epochs above the run's high-water mark: each step is written exactly once."""
        from mlflow.entities import Metric

        fresh = [(h, m) for h, m in points if int(h["epoch"]) > run.epoch]
        run.metrics += [
            # MLflow would turn an infinity into the largest float, which spoils its charts
            Metric(name, value if math.isfinite(value) else math.nan, int(h["time"]), int(h["epoch"]))
            for h, values in fresh
            for name, value in values.items()
        ]
        if fresh:
            run.epoch = max(int(h["epoch"]) for h, _ in fresh)
            run.tags[_EPOCH] = str(run.epoch)

    def send(self, key: str) -> None:
        """Writes what was gathered for the runs of a trial that is begun."""
        for run in self._runs[key].values():
            self._send(run)

    def _send(self, run: _Run) -> None:
        """In as few requests as may be; tags come last, as one of them is the high-water mark.

        A crash before it writes the same points again, with the same times, which MLflow takes for the points it has.
        """
        from mlflow.entities import RunTag

        while run.params or run.metrics or run.tags:
            params, metrics = run.params[:_PARAMS], run.metrics[:_METRICS]
            whole = params == run.params and metrics == run.metrics
            tags = [RunTag(n, v) for n, v in run.tags.items()] if whole else []
            self.client.log_batch(run.id, metrics=metrics, params=params, tags=tags)
            del run.params[:_PARAMS], run.metrics[:_METRICS]
            if whole:
                run.tags = {}

    def end(self, record: TrialRecord, history: Sequence[Report], pictures: Path | None) -> None:
        """Closes the runs of a trial that is begun, after pictures and configuration; its own last."""
        runs = self._runs[record.key]
        tags = {"sprite.state": record.state}
        if record.state == "pruned":
            tags["sprite.pruned_at"] = str(record.epoch)
        if record.reason:
            tags["sprite.reason"] = record.reason[:4000]
        own = runs[None]
        self._attach(own, record, history, pictures)
        shown = False
        for seed, run in sorted((s, r) for s, r in runs.items() if s is not None):
            folder = pictures / f"seed{seed}" if pictures is not None else None
            if folder is not None and folder.is_dir():
                self._upload(run, folder, "pictures")
                if not shown:
                    self._upload(own, folder, "pictures")
                    shown = True
            run.tags |= tags
            self._close(run, _STATUS[record.state])
        own.tags |= {"mlflow.note.content": text.note(record), **tags}
        own.metrics += _cost(record)
        self._close(own, _STATUS[record.state])

    def _close(self, run: _Run, status: str) -> None:
        self._send(run)
        self.client.set_terminated(run.id, status=status)  # last: a run that is not running any more is whole

    def abandon(self, found: Any) -> None:
        """Closes a run that the ledger knows nothing of, and those of its seeds."""
        for one in [*self.children(found.info.run_id), found]:
            self._close(_Run(one.info.run_id, tags={"sprite.state": "abandoned"}), "KILLED")

    def judge(self, values: Mapping[str, tuple[int, Mapping[str, float]]]) -> None:
        """Writes metrics of ended runs where they changed: key of the run -> the epoch they are of, value by name."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        for run in [*self.trials(), *self.search("tags.`sprite.role` = 'seed'")]:
            epoch, own = values.get(run.data.tags["sprite.trial_key"], (0, {}))
            mark = hashlib.sha256(repr(sorted(own.items())).encode()).hexdigest()[:16]
            if own and run.data.tags.get(_JUDGED) != mark:
                metrics = [Metric(name, value, now, epoch) for name, value in own.items()]
                self.client.log_batch(run.info.run_id, metrics=metrics, tags=[RunTag(_JUDGED, mark)])

    def mark_front(self, keys: Collection[str]) -> None:
        """Tags the runs of the trials on the Pareto front, and takes the tag from those that are not any more."""
        for run in self.trials():
            on = str(run.data.tags["sprite.trial_key"] in keys).lower()
            if run.data.tags.get(_PARETO) != on:
                self.client.set_tag(run.info.run_id, _PARETO, on)

    def report(self, folder: Path, note: str) -> str:
        """Writes the files of a folder as artifacts of a run of their own, where they changed; returns its id."""
        digest = hashlib.sha256(note.encode())
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
        mark = digest.hexdigest()[:16]
        run = next(self.search("tags.`sprite.role` = 'report'"), None)
        if run is None:
            tags = {"mlflow.user": _user(), "mlflow.source.name": "sprite-search", "mlflow.source.type": "LOCAL"}
            tags |= {**self.tags, "sprite.role": "report"}
            run = self.client.create_run(self.experiment, run_name="report", tags=tags)
        if run.data.tags.get(_REPORTED) != mark or run.info.status == "RUNNING":
            self.client.log_artifacts(run.info.run_id, str(folder))
            self._close(_Run(run.info.run_id, tags={"mlflow.note.content": note, _REPORTED: mark}), "FINISHED")
        return str(run.info.run_id)

    def _upload(self, run: _Run, folder: Path, path: str | None = None) -> None:
        """As the client does, which asks for every run where its artifacts are."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(run.artifacts, tracking_uri=self._uri).log_artifacts(str(folder), path)

    def _attach(self, run: _Run, record: TrialRecord, history: Sequence[Report], pictures: Path | None) -> None:
        """The resolved configuration, as the `trial` of a search space, and the curves, drawn if they are not yet."""
        import yaml

        from ..pictures import curves

        with tempfile.TemporaryDirectory() as folder:
            config = yaml.safe_dump({"trial": dict(record.config)}, sort_keys=False)
            (Path(folder) / "config.yaml").write_text(config)
            (Path(folder) / "pictures").mkdir()
            file, drawn = Path(folder) / "pictures" / "curves.png", pictures and pictures / "curves.png"
            if drawn is not None and drawn.exists():
                shutil.copyfile(drawn, file)
            elif len(history) > 1:
                curves(history, file)
            self._upload(run, Path(folder))

    # -- reading ----------------------------------------------------------------------------------

    def search(self, query: str) -> Iterator[Any]:
        """Runs that are not deleted, page by page."""
        token = None
        while True:
            page = self.client.search_runs([self.experiment], query, max_results=500, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def trials(self) -> list[Any]:
        """The runs of trials."""
        found = list(self.search("tags.`sprite.role` = 'trial'"))
        self._made = (self._made or set()) | {run.data.tags["sprite.trial_key"] for run in found}
        return found

    def children(self, parent: str) -> list[Any]:
        """The runs of a trial's seeds."""
        return list(self.search(f"tags.`mlflow.parentRunId` = '{parent}' and tags.`sprite.role` = 'seed'"))

    def steps(self, run_id: str, metric: str) -> list[int]:
        """The epochs a metric was written for, as often as it was."""
        return sorted(m.step for m in self.client.get_metric_history(run_id, metric))


def state(run: Any) -> str:
    """The state of a trial, or of one of its seeds, that its run shows: "running" until all of it is written."""
    return "running" if run.info.status == "RUNNING" else str(run.data.tags.get("sprite.state", ""))


def _cost(record: TrialRecord) -> list[Any]:
    """Hours and GPU-hours of an ended trial as metrics, with the time of its end: written again they are the same."""
    from mlflow.entities import Metric

    found = {"cost/hours": record.hours, "cost/gpu_hours": record.gpu_hours}
    return [Metric(n, v, int(1000 * (record.finished or 0)), record.epoch) for n, v in found.items()]


def _versions() -> dict[str, str]:
    """What a result depends on besides the code."""
    packages = {n: importlib.metadata.version(n) for n in ("torch", "numpy")}
    from .. import __version__

    return {
        "sprite.version": __version__,
        **{f"sprite.{n}": v for n, v in packages.items()},
        "sprite.python": platform.python_version(),
        "sprite.host": platform.node(),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container with a user that has no name
        return str(os.getuid())


def _fault(name: str) -> None:
    """For crash tests: $SPRITE_FAULT=NAME kills this process at this point."""
    if os.environ.get("SPRITE_FAULT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
