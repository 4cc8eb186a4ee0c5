"""Artefacts of checkpoints on disk, and the criteria that are computed from them, once for a table of trials.

A checkpoint has `artefacts/seed<n>.npz` and, for all its seeds, `artefacts/images.npz`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import ARTEFACTS, CheckpointStore
from .files import whole

IMAGES = "images.npz"

#: Trials whose criteria are computed: those that will not change any more.
ENDED = ("complete", "pruned")

Arrays = Mapping[str, Any]


def after(before: Mapping[int, Any], found: Mapping[int, Arrays]) -> dict[int, Arrays]:
    """The arrays of each seed, with its assignments at the checkpoint before as ``A_prev`` where there was one."""
    return {seed: {**own, "A_prev": before[seed]} if seed in before else own for seed, own in found.items()}


def write(folder: Path, found: Mapping[int, Arrays], *, images: Arrays) -> None:
    """Writes what `Progress.artefacts` and `.thumbnails` gave into the folder of a checkpoint.

    Args:
        folder: of the new checkpoint.
        found: the arrays of each seed, of `after`.
        images: small versions of the images they are of.
    """
    (folder / ARTEFACTS).mkdir(exist_ok=True)
    np.savez_compressed(folder / ARTEFACTS / IMAGES, **images)
    for seed, arrays in found.items():
        np.savez_compressed(folder / ARTEFACTS / f"seed{seed}.npz", **arrays)


def read(folder: Path, seed: int) -> dict[str, Any] | None:
    """The arrays of one seed in the folder of a checkpoint; None where there are none that can be read."""
    return _load(folder / ARTEFACTS / f"seed{seed}.npz")


def assignments(folder: Path, seeds: Iterable[int]) -> dict[int, Any]:
    """The assignments ``A`` of those seeds that have any in the folder of a checkpoint."""
    return {seed: found["A"] for seed in seeds if (found := read(folder, seed)) is not None}


def images(folder: Path) -> dict[str, Any] | None:
    """``images`` (N, C, h, w) uint8 and the ``subset`` they are; None where there are none that can be read."""
    return _load(folder / ARTEFACTS / IMAGES)


def with_criteria(
    rows: Sequence[Mapping[str, Any]], store: CheckpointStore, study: str, folder: Path
) -> list[dict[str, Any]]:
    """The rows of ended trials with their ``criteria/…``, those of others as they are.

    Values are kept in `folder` until another trial ends or the criteria change. What a model has no value of, it
    has no column of: `selection.compute.missing` says why.

    Args:
        rows: of `study.table.rows`, with or without labels, which are not read.
        store, study: where the artefacts are.
        folder: of the study.
    """
    ended = [r for r in rows if r["state"] in ENDED and r["seed"] is not None]
    file, key = folder / "criteria.json", _key(ended)
    values = _kept(file, key)
    if values is None:
        values = _computed(ended, store, study, folder)
        _keep(file, json.dumps({"key": key, "values": values}).encode())
    return [{**r, **values.get(f"{r['trial']}/{r['seed']}", {})} for r in rows]


def collected(
    rows: Iterable[Mapping[str, Any]], store: CheckpointStore, study: str, folder: Path
) -> dict[tuple[int, int], dict[str, Any]]:
    """The artefacts of each trial and seed of the table that has any, as `selection.compute` wants them."""
    seeds: dict[int, list[int]] = {}
    for row in rows:
        seeds.setdefault(int(row["trial"]), []).append(int(row["seed"]))
    found: dict[tuple[int, int], dict[str, Any]] = {}
    shared: dict[str, dict[str, Any]] = {}  # by subset: the same arrays for all trials
    for trial, own in seeds.items():
        latest = store.artefacts(study, trial)
        if latest is None:
            continue
        for seed in own:
            if (arrays := read(latest, seed)) is None:
                continue
            subset = str(arrays["subset"])
            if subset not in shared and (small := images(latest)) is not None:
                shared[subset] = {"images": small["images"], "invariant": _distance(small, folder)}
            found[trial, seed] = {**arrays, **shared.get(subset, {})}
    return found


def _distance(small: Arrays, folder: Path) -> Any:
    """The invariant distance between images, made once for a study."""
    from .selection.criteria.geometry import invariant_distance

    file = folder / f"distance-{small['subset']}.npz"
    kept = _load(file)
    if kept is None:
        kept = {"distance": invariant_distance(small["images"])}
        with tempfile.TemporaryFile() as made:
            np.savez_compressed(made, **kept)
            made.seek(0)
            _keep(file, made.read())
    return kept["distance"]


def _computed(
    rows: Sequence[Mapping[str, Any]], store: CheckpointStore, study: str, folder: Path
) -> dict[str, dict[str, float]]:
    """Finite values by "trial/seed" and column."""
    from .selection.compute import compute

    found = collected(rows, store, study, folder)
    table = compute(rows, found) if found else []
    return {f"{r['trial']}/{r['seed']}": _finite(r) for r in table}


def _finite(row: Mapping[str, Any]) -> dict[str, float]:
    return {n: v for n, v in row.items() if n.startswith("criteria/") and math.isfinite(v)}


def _key(rows: Iterable[Mapping[str, Any]]) -> str:
    """Changes with the trials that ended and with the code of the criteria."""
    digest = hashlib.sha256()
    code = Path(__file__).parent / "selection"
    for file in sorted([code / "compute.py", *(code / "criteria").glob("*.py")]):
        digest.update(file.read_bytes())
    states = sorted((r["trial"], r["seed"], r["state"], r["epoch"], r["attempt"]) for r in rows)
    digest.update(repr(states).encode())
    return digest.hexdigest()


def _kept(file: Path, key: str) -> dict[str, dict[str, float]] | None:
    try:
        saved = json.loads(file.read_text())
        return saved["values"] if saved["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, content: bytes) -> None:
    """Writes a file whole or not at all; a home that cannot be written only costs time again."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as temporary:
            temporary.write_bytes(content)


def _load(file: Path) -> dict[str, Any] | None:
    try:
        with np.load(file, allow_pickle=False) as saved:
            return dict(saved)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return None  # older than artefacts, or damaged with its disk: criteria that need it say so
