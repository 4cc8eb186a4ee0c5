"""Prepared and generated data sets on disk: made once, by one process, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from .base import Arrays

_PARTS = ("images", "labels", "instances", "classes", "groups")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock beside `path`; other processes wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write(folder: Path, arrays: Arrays) -> None:
    """Keeps arrays in `folder`, replacing what is there; atomic.

    Raises:
        DataError: the disk is full or the folder may not be written; nothing is left behind.
    """
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for part in _PARTS:
            tensor = getattr(arrays, part)
            if tensor is not None:
                np.save(temporary / f"{part}.npy", tensor.numpy())
        (temporary / "about.json").write_text(json.dumps({"class_names": arrays.class_names}))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        full = error.errno == errno.ENOSPC
        advice = "free some space, or choose another home" if full else "choose a home that can be written"
        raise DataError(f"{folder}: cannot keep the data set ({error.strerror}); {advice}") from None


def read(folder: Path) -> Arrays:
    """Arrays kept by `write`, mapped into memory so that processes share them; DataError when damaged."""
    try:
        about = json.loads((folder / "about.json").read_text())
        found = {p: _map(folder / f"{p}.npy") for p in _PARTS if (folder / f"{p}.npy").exists()}
        return Arrays(class_names=tuple(about["class_names"]), **found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete this folder, it is made again") from None


def _map(path: Path) -> torch.Tensor:
    # copy-on-write: torch wants writable memory, the file stays as it is
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def cached(folder: Path | None, make: Callable[[], Arrays]) -> Arrays:
    """What `make` gives, kept in `folder` for the next time; several processes make it once."""
    if folder is None:
        return make()
    if not folder.exists():
        try:
            lock = locked(folder)
            with lock:
                if not folder.exists():
                    write(folder, make())
        except PermissionError as error:
            raise DataError(f"{folder.parent}: cannot be written ({error.strerror}); choose another home") from None
    return read(folder)
