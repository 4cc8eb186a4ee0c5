"""The MLflow runs of trials: made or found by their key, written once, closed."""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import signal
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..study.records import TrialRecord
from . import text

Report = Mapping[str, Any]  #: {"epoch": int, "time": ms, "metrics": [per seed]}

_CHUNK = 900  #: metrics in one request; MLflow takes at most 1,000
_PARAMS = 90  #: parameters in one request; at most 100
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_EPOCH = "sprite.epoch"  #: tag of a run: its metrics up to this epoch are written
_PARETO = "sprite.pareto"  #: tag of a run: whether its trial is on the Pareto front of several objectives
_REPORTED = "sprite.report"  #: tag of the run of the report: what its pages were when they were written
_JUDGED = "sprite.criteria"  #: tag of a run: what its criteria were when they were written


@dataclass
class _Run:
    """A run as it is in MLflow: its id, and up to which epoch its metrics are there."""

    id: str
    epoch: int = 0


class Runs:
    """The runs of one experiment. Every write can be done again: after a crash, or by another process later."""

    def __init__(self, client: Any, experiment: str, tags: Mapping[str, str], objectives: Sequence[str] = ()):
        """`tags`: of every run, beside those of its trial. `objectives`: metrics whose interval over seeds is kept."""
        self.client, self.experiment, self.tags = client, experiment, {**_versions(), **tags}
        self.objectives = objectives
        self._runs: dict[str, dict[int | None, _Run]] = {}  # trial key -> runs by seed; its own under None
        self._begun: dict[str, tuple[int, tuple[int, ...]]] = {}  # trial key -> attempt and seeds that are there

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
            query = f"tags.`sprite.trial_key` = '{record.key}' and tags.`sprite.role` = 'trial'"
            found = next(self.search(query), None)
            # the key is part of the creation: a crash after it leaves no run that cannot be found
            own = {"sprite.trial_key": record.key, "sprite.role": "trial", **tags}
            runs[None] = self._run(found, text.title(record), own, record.config)
            for child in self.children(runs[None].id) if found is not None else ():
                seed = int(child.data.tags["sprite.seed"])
                runs[seed] = self._run(child, f"#{record.number} seed {seed}", tags, {**record.config, "seed": seed})
        for seed in sorted({*seeds} - {s for s in runs if s is not None}):
            own = {"sprite.trial_key": f"{record.key}/{seed}", "sprite.role": "seed", "sprite.seed": str(seed)}
            own |= {**tags, "mlflow.parentRunId": runs[None].id}
            runs[seed] = self._run(None, f"#{record.number} seed {seed}", own, {**record.config, "seed": seed})
        self._begun[record.key] = (record.attempt, tuple(seeds))

    def _run(self, found: Any, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> _Run:
        """Takes up the run that was found, or makes one; writes what it lacks."""
        from mlflow.entities import Param, RunTag

        if found is None:
            user = {"mlflow.user": _user(), "mlflow.source.name": "sprite-search", "mlflow.source.type": "LOCAL"}
            made = self.client.create_run(self.experiment, run_name=name, tags={**user, **tags})
            _fault("after_create_run")
            run, there = _Run(made.info.run_id), {}
        else:
            run, there = _Run(found.info.run_id, int(found.data.tags.get(_EPOCH, 0))), found.data.params
            if found.info.status != "RUNNING":
                self.client.update_run(run.id, status="RUNNING")
            self.client.log_batch(run.id, tags=[RunTag(n, v) for n, v in tags.items()])
        given = [Param(n, text.text(v)) for n, v in params.items() if n not in there]
        for i in range(0, len(given), _PARAMS):
            self.client.log_batch(run.id, params=given[i : i + _PARAMS])
        if found is None or not found.inputs.dataset_inputs:
            self._log_data(run.id, params)
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
        """Writes those reports of a trial that is begun which are not written yet."""
        runs = self._runs[record.key]
        # a trial that failed at its first report has no replicates in the ledger, but runs of them here
        seeds = [int(s["seed"]) for s in record.seeds] or sorted(s for s in runs if s is not None)
        for i, seed in enumerate(seeds):
            if seed in runs:
                self._write(runs[seed], [(h, h["metrics"][i]) for h in history if i < len(h["metrics"])])
        self._write(runs[None], [(h, text.means(h["metrics"], self.objectives)) for h in history])

    def _write(self, run: _Run, points: Sequence[tuple[Report, Mapping[str, float]]]) -> None:
        """Metrics of epochs above the run's high-water mark: each step is written exactly once.

        The mark is written after the metrics. A crash between the two writes the same points again, with the
        same times, which MLflow takes for the points it has.
        """
        from mlflow.entities import Metric, RunTag

        fresh = [(h, m) for h, m in points if int(h["epoch"]) > run.epoch]
        if not fresh:
            return
        metrics = [
            # MLflow would turn an infinity into the largest float, which spoils its charts
            Metric(name, value if math.isfinite(value) else math.nan, int(h["time"]), int(h["epoch"]))
            for h, values in fresh
            for name, value in values.items()
        ]
        last = max(int(h["epoch"]) for h, _ in fresh)
        chunks = [metrics[i : i + _CHUNK] for i in range(0, len(metrics), _CHUNK)] or [[]]
        for chunk in chunks:
            mark = [RunTag(_EPOCH, str(last))] if chunk is chunks[-1] else []
            self.client.log_batch(run.id, metrics=chunk, tags=mark)
        run.epoch = last

    def end(self, record: TrialRecord, history: Sequence[Report], pictures: Path | None) -> None:
        """Closes the runs of a trial that is begun: pictures, configuration, status; its state last."""
        runs = self._runs[record.key]
        tags = {"sprite.state": record.state}
        if record.state == "pruned":
            tags["sprite.pruned_at"] = str(record.epoch)
        if record.reason:
            tags["sprite.reason"] = record.reason[:4000]
        self._attach(runs[None].id, record, history, pictures)
        shown = False
        for seed, run in sorted((s, r) for s, r in runs.items() if s is not None):
            folder = pictures / f"seed{seed}" if pictures is not None else None
            if folder is not None and folder.is_dir():
                self.client.log_artifacts(run.id, str(folder), "pictures")
                if not shown:
                    self.client.log_artifacts(runs[None].id, str(folder), "pictures")
                    shown = True
            self.close(run.id, _STATUS[record.state], tags)
        own = {"mlflow.note.content": text.note(record), **tags}
        self.close(runs[None].id, _STATUS[record.state], own, _cost(record))

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
        if run.data.tags.get(_REPORTED) != mark:
            self.client.log_artifacts(run.info.run_id, str(folder))
            self.close(run.info.run_id, "FINISHED", {"mlflow.note.content": note, _REPORTED: mark})
        return str(run.info.run_id)

    def _attach(self, run_id: str, record: TrialRecord, history: Sequence[Report], pictures: Path | None) -> None:
        """The resolved configuration, as the `trial` of a search space, and the curves, drawn if they are not yet."""
        import yaml

        from ..curves import save_curves

        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.yaml"
            config.write_text(yaml.safe_dump({"trial": dict(record.config)}, sort_keys=False))
            self.client.log_artifact(run_id, str(config))
            drawn = pictures / "curves.png" if pictures is not None else None
            if (drawn is None or not drawn.exists()) and len(history) > 1:
                drawn = save_curves(history, Path(folder) / "curves.png")
            if drawn is not None and drawn.exists():
                self.client.log_artifact(run_id, str(drawn), "pictures")

    def close(self, run_id: str, status: str, tags: Mapping[str, str], metrics: Sequence[Any] = ()) -> None:
        from mlflow.entities import RunTag

        # the state comes last: a run that has it is whole
        self.client.set_terminated(run_id, status=status)
        self.client.log_batch(run_id, metrics=metrics, tags=[RunTag(n, v) for n, v in tags.items()])

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
        return list(self.search("tags.`sprite.role` = 'trial'"))

    def children(self, parent: str) -> list[Any]:
        """The runs of a trial's seeds."""
        return list(self.search(f"tags.`mlflow.parentRunId` = '{parent}' and tags.`sprite.role` = 'seed'"))

    def steps(self, run_id: str, metric: str) -> list[int]:
        """The epochs a metric was written for, as often as it was."""
        return sorted(m.step for m in self.client.get_metric_history(run_id, metric))


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
