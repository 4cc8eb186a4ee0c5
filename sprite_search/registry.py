"""The model registry: from a checkpoint to a model anyone can load by name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, WorkError
from .home import Home
from .study.records import TrialRecord
from .tracking import connect, shown

_PACKAGE = Path(__file__).resolve().parent
_LINEAGE = ("sprite.code", "sprite.data", "sprite.space_hash", "sprite.version", "sprite.torch", "sprite.host")
_PREVIOUS = "sprite.previous_"  #: tag of the model: the version an alias had before


@dataclass(frozen=True)
class Promotion:
    """A version in the registry; `created` is False when it was there already."""

    model: str
    version: int
    alias: str
    created: bool
    trial: str
    seed: int
    gate: Mapping[str, Any]

    @property
    def uri(self) -> str:
        return f"models:/{self.model}@{self.alias}"


def promote(
    home: Home,
    record: TrialRecord,
    seed: int,
    *,
    checkpoint: Path,
    model_name: str,
    alias: str = "champion",
    gate: Mapping[str, Any] | None = None,
    force: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Promotion:
    """Registers a trained model and points the alias at it; doing it twice changes nothing.

    Args:
        record: the trial.
        seed: which of its replicates.
        checkpoint: its folder.
        model_name: name in the registry.
        alias: moves to this version.
        gate: what was asked of the trial, with `passed` and `reasons`.
        force: register although the gate is not met.
        tags: more tags for the version.
    Raises:
        WorkError: the gate is not met; nothing was changed.
        InputError: there is no such replicate, or the checkpoint is gone.
    """
    _check_names(model_name, alias)
    gate = _gate(record, seed, gate)
    if not gate["passed"] and not force:
        why = "; ".join(gate["reasons"])
        raise WorkError(
            f"{record.key}: the gate is not met ({why}); nothing was promoted. Use --force to do it all the same"
        )
    if not (checkpoint / "checkpoint.pt").is_file():
        raise InputError(f"{checkpoint}: holds no checkpoint; choose a trial whose weights were kept")
    seeds = [int(s["seed"]) for s in record.seeds]
    if seed not in seeds:
        raise InputError(f"--trial: {record.key} has no seed {seed}; it has {', '.join(map(str, seeds))}")
    client = connect(home)
    weights = hashlib.sha256((checkpoint / "checkpoint.pt").read_bytes()).hexdigest()[:16]
    identity = {"sprite.trial_key": record.key, "sprite.seed": str(seed), "sprite.weights": weights}
    version = _existing(client, model_name, identity)
    created = version is None
    if version is None:
        run = _run_of(client, record)
        described = {
            "sprite.study": record.key.rpartition("/")[0],
            "sprite.gate": json.dumps(dict(gate)),
            "sprite.forced": str(not gate["passed"]).lower(),
            **(tags or {}),
            **{n: run.data.tags[n] for n in _LINEAGE if n in run.data.tags},
            **identity,
        }
        version = _register(home, client, run, checkpoint, seeds.index(seed), model_name, described)
        client.update_model_version(model_name, str(version), description=_described(record, seed, gate))
    _point(client, model_name, alias, version)
    return Promotion(model_name, version, alias, created, record.key, seed, gate)


def _check_names(model_name: str, alias: str) -> None:
    """InputError for names that the registry would refuse when all else is done."""
    if not model_name.strip() or any(c in model_name for c in "/:"):
        raise InputError(f"--model: {model_name!r} cannot be a name; use letters, digits, _ and -")
    if not re.fullmatch(r"[\w-]+", alias) or alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise InputError(f"--alias: {alias!r} cannot be an alias; use letters, digits, _ and -, but not latest or v1")


def _gate(record: TrialRecord, seed: int, gate: Mapping[str, Any] | None) -> dict[str, Any]:
    """The gate given, and that the trial is whole and the error of the replicate is a number."""
    reasons = []
    if record.state != "complete":
        reasons.append(f"the trial is {record.state}, not complete")
    metrics = _metrics(record, seed)
    if not math.isfinite(metrics.get("val/reconstruction", 0.0)):
        reasons.append("its val/reconstruction is not a number")
    gate = dict(gate or {"passed": True, "reasons": []})
    return {**gate, "passed": False, "reasons": [*gate["reasons"], *reasons]} if reasons else gate


def _metrics(record: TrialRecord, seed: int) -> Mapping[str, float]:
    return next((s["metrics"] for s in record.seeds if int(s["seed"]) == seed), dict[str, float]())


def _described(record: TrialRecord, seed: int, gate: Mapping[str, Any]) -> str:
    """What the page of the version says."""
    metrics = _metrics(record, seed)
    numbers = ", ".join(f"`{n}` {v:.4g}" for n, v in metrics.items() if n.startswith("val/"))
    passed = "passed" if gate["passed"] else "not met, forced"
    reasons = "".join(f"\n- {r}" for r in gate["reasons"])
    return f"Seed {seed} of trial {record.key}. {numbers}\n\nGate: {passed}{reasons}"


def rollback(home: Home, model_name: str, alias: str = "champion") -> Promotion:
    """Gives an alias back to the version it had before (twice: and forth again); InputError where there was none."""
    from mlflow.exceptions import MlflowException

    client = _connected(home, model_name)
    try:
        model = client.get_registered_model(model_name)
    except MlflowException:
        raise InputError(f"{model_name}: no such registered model; see `sprite-search promote`") from None
    before = model.tags.get(f"{_PREVIOUS}{alias}")
    if before is None:
        raise InputError(f"{model_name}: {alias} has had no version before this one; nothing to go back to")
    _point(client, model_name, alias, int(before))
    version = client.get_model_version(model_name, before)
    tags = version.tags
    return Promotion(
        model_name, int(before), alias, False, tags.get("sprite.trial_key", ""), int(tags.get("sprite.seed", 0)), {}
    )


def fetch(home: Home, uri: str) -> tuple[Path, int]:
    """Folder of the checkpoint behind a registry address, and the member in it; InputError when there is none."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    _connected(home, uri)
    _use(home)
    try:
        folder = Path(download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        what = str(error).splitlines()[0]
        raise InputError(
            f"{uri}: no such model in {shown(home.tracking_uri)} ({what}); see the Models page of the UI"
        ) from None
    checkpoint = folder / "artifacts" / "checkpoint"
    if not checkpoint.is_dir():
        raise InputError(f"{uri}: is no sprite model; give one that `sprite-search promote` registered")
    return checkpoint, int(json.loads((checkpoint / "member.json").read_text())["member"])


def _connected(home: Home, wanted: str) -> Any:
    """The store in which `wanted` is to be found; InputError where there is none."""
    try:
        return connect(home, create=False)
    except InputError as error:
        raise InputError(f"{wanted}: no such model; {error}") from None


def _use(home: Home) -> None:
    import mlflow

    mlflow.set_tracking_uri(home.tracking_uri)
    mlflow.set_registry_uri(home.tracking_uri)


def _existing(client: Any, model_name: str, identity: Mapping[str, str]) -> int | None:
    for version in client.search_model_versions(f"name = '{model_name}'"):
        if all(version.tags.get(k) == v for k, v in identity.items()):
            return int(version.version)
    return None


def _run_of(client: Any, record: TrialRecord) -> Any:
    study = record.key.rpartition("/")[0]
    experiment = client.get_experiment_by_name(study)
    query = f"tags.`sprite.trial_key` = '{record.key}'"
    runs = client.search_runs([experiment.experiment_id], query) if experiment else []
    if not runs:
        raise InputError(f"{record.key}: has no run in MLflow; launch the study again to repair it")
    return runs[0]


def _register(
    home: Home, client: Any, run: Any, checkpoint: Path, member: int, model_name: str, tags: Mapping[str, str]
) -> int:
    """Logs the model to its trial's run and registers it; returns the version."""
    import shutil
    import tempfile

    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    from trainers import load

    model = load(checkpoint, member=member)
    example = model.example()
    images = TensorSpec(example.dtype, (-1, *example.shape[1:]))
    params = ParamSchema([ParamSpec("reconstruction", "boolean", False)])
    signature = ModelSignature(
        inputs=Schema([images]), outputs=_outputs(infer_signature, model.example_object), params=params
    )
    _use(home)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stderr(io.StringIO()):
        # MLflow writes there what the caller says better, and advice for those who write models
        kept = Path(temporary) / "checkpoint"
        kept.mkdir()
        for file in checkpoint.iterdir():
            if file.is_file():
                shutil.copy2(file, kept / file.name)
        (kept / "member.json").write_text(json.dumps({"member": member}))
        with mlflow.start_run(run_id=run.info.run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(_PACKAGE / "pyfunc_model.py"),
                artifacts={"checkpoint": str(kept)},
                code_paths=[str(_PACKAGE.parent / "trainers")],
                signature=signature,
                input_example=example,
                pip_requirements=[
                    f"torch=={torch.__version__.partition('+')[0]}",
                    f"numpy=={np.__version__}",
                    "scipy",
                    "torchvision",
                    "pandas",
                ],
            )
        # a run that is opened again ends later than its training did
        client.set_terminated(run.info.run_id, status=run.info.status, end_time=run.info.end_time)
        # the tags are part of the creation: a crash after it leaves no version that is not found again
        version = mlflow.register_model(logged.model_uri, model_name, await_registration_for=60, tags=dict(tags))
    return int(version.version)


def _outputs(infer_signature: Any, found: Mapping[str, Any]) -> Any:
    import pandas as pd

    row = {"sprites": [[0, 1]], "confidence": [[0.5, 0.5]], "error": [0.5], "objects": [[found]]}
    return infer_signature(model_input=None, model_output=pd.DataFrame(row)).outputs


def _point(client: Any, model_name: str, alias: str, version: int) -> None:
    """Moves an alias, remembering where it was."""
    before = client.get_registered_model(model_name).aliases.get(alias)
    if before is not None and int(before) == version:
        return
    if before is not None:
        client.set_registered_model_tag(model_name, f"{_PREVIOUS}{alias}", str(before))
    client.set_registered_model_alias(model_name, alias, str(version))
