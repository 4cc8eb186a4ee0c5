"""The model registry: from a checkpoint to a model anyone can load by name."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, WorkError
from .home import Home
from .study.records import TrialRecord
from .tracking import connect

_PACKAGE = Path(__file__).resolve().parent
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
    gate = gate or {"passed": True, "reasons": []}
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
        run_id = _run_of(client, record)
        version = _register(home, client, run_id, checkpoint, seeds.index(seed), model_name)
        study = record.key.rpartition("/")[0]
        described = {"sprite.study": study, "sprite.gate": json.dumps(dict(gate)), "sprite.forced": str(force).lower()}
        for key, value in {**described, **(tags or {}), **identity}.items():
            client.set_model_version_tag(model_name, str(version), key, value)
    _point(client, model_name, alias, version)
    return Promotion(model_name, version, alias, created, record.key, seed, gate)


def rollback(home: Home, model_name: str, alias: str = "champion") -> Promotion:
    """Gives an alias back to the version it had before; InputError where there was none."""
    from mlflow.exceptions import MlflowException

    client = connect(home)
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

    connect(home)
    _use(home)
    try:
        folder = Path(download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        what = str(error).splitlines()[0]
        raise InputError(
            f"{uri}: no such model in {home.tracking_uri} ({what}); see the Models page of the UI"
        ) from None
    checkpoint = folder / "artifacts" / "checkpoint"
    if not checkpoint.is_dir():
        raise InputError(f"{uri}: is no sprite model; give one that `sprite-search promote` registered")
    return checkpoint, int(json.loads((checkpoint / "member.json").read_text())["member"])


def _use(home: Home) -> None:
    import mlflow

    mlflow.set_tracking_uri(home.tracking_uri)
    mlflow.set_registry_uri(home.tracking_uri)


def _existing(client: Any, model_name: str, identity: Mapping[str, str]) -> int | None:
    for version in client.search_model_versions(f"name = '{model_name}'"):
        if all(version.tags.get(k) == v for k, v in identity.items()):
            return int(version.version)
    return None


def _run_of(client: Any, record: TrialRecord) -> str:
    study = record.key.rpartition("/")[0]
    experiment = client.get_experiment_by_name(study)
    query = f"tags.`sprite.trial_key` = '{record.key}'"
    runs = client.search_runs([experiment.experiment_id], query) if experiment else []
    if not runs:
        raise InputError(f"{record.key}: has no run in MLflow; launch the study again to repair it")
    return str(runs[0].info.run_id)


def _register(home: Home, client: Any, run_id: str, checkpoint: Path, member: int, model_name: str) -> int:
    """Logs the model to its trial's run and registers it; returns the version."""
    import shutil
    import tempfile

    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import Schema, TensorSpec

    from trainers import load

    model = load(checkpoint, member=member)
    shape = model.shape
    example = np.zeros((1, *shape.size, shape.channels), np.uint8)
    images = TensorSpec(np.dtype("uint8"), (-1, *shape.size, shape.channels))
    signature = ModelSignature(inputs=Schema([images]), outputs=_outputs(infer_signature))
    _use(home)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's advice on type hints is for those who write models
        kept = Path(temporary) / "checkpoint"
        kept.mkdir()
        for file in checkpoint.iterdir():
            if file.is_file():
                shutil.copy2(file, kept / file.name)
        (kept / "member.json").write_text(json.dumps({"member": member}))
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(_PACKAGE / "pyfunc_model.py"),
                artifacts={"checkpoint": str(kept)},
                model_config={"member": member},
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
        version = mlflow.register_model(logged.model_uri, model_name, await_registration_for=60)
    return int(version.version)


def _outputs(infer_signature: Any) -> Any:
    import pandas as pd

    row = pd.DataFrame({"sprites": [[0, 1]], "confidence": [[0.5, 0.5]], "error": [0.5], "objects": ["[]"]})
    return infer_signature(model_input=None, model_output=row).outputs


def _point(client: Any, model_name: str, alias: str, version: int) -> None:
    """Moves an alias, remembering where it was."""
    before = client.get_registered_model(model_name).aliases.get(alias)
    if before is not None and int(before) == version:
        return
    if before is not None:
        client.set_registered_model_tag(model_name, f"{_PREVIOUS}{alias}", str(before))
    client.set_registered_model_alias(model_name, alias, str(version))
