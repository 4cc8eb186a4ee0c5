"""Artefacts of checkpoints on disk: `artefacts/seed<n>.npz` and, once for all seeds, `artefacts/images.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER, IMAGES = "artefacts", "images.npz"

Arrays = Mapping[str, Any]


def write(folder: Path, found: Mapping[int, Arrays], *, images: Arrays, before: Mapping[int, Any]) -> None:
    """Writes what `Progress.artefacts` and `.thumbnails` gave into the folder of a checkpoint.

    Args:
        folder: of the new checkpoint.
        found: the arrays of each seed.
        images: small versions of the images they are of.
        before: assignments of each seed at the checkpoint before this one, kept as ``A_prev``.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    np.savez_compressed(folder / FOLDER / IMAGES, **images)
    for seed, arrays in found.items():
        kept = {"A_prev": before[seed]} if seed in before else {}
        np.savez_compressed(folder / FOLDER / f"seed{seed}.npz", **arrays, **kept)


def read(folder: Path, seed: int) -> dict[str, Any] | None:
    """The arrays of one seed in the folder of a checkpoint; None where there are none that can be read."""
    return _load(folder / FOLDER / f"seed{seed}.npz")


def assignments(folder: Path, seeds: Iterable[int]) -> dict[int, Any]:
    """The assignments ``A`` of those seeds that have any in the folder of a checkpoint."""
    return {seed: found["A"] for seed in seeds if (found := read(folder, seed)) is not None}


def images(folder: Path) -> dict[str, Any] | None:
    """``images`` (N, C, h, w) uint8 and the ``subset`` they are; None where there are none that can be read."""
    return _load(folder / FOLDER / IMAGES)


def _load(file: Path) -> dict[str, Any] | None:
    try:
        with np.load(file, allow_pickle=False) as saved:
            return dict(saved)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return None  # older than artefacts, or damaged with its disk: criteria that need it say so
