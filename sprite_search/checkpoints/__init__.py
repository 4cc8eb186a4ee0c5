"""Checkpoints of trials: whole or not there, kept apart from Ray so that any driver can take them up."""

from __future__ import annotations

from pathlib import Path

from .base import ARTEFACTS, PICTURES, TRUSTED, WEIGHTS, CheckpointStore, History
from .folder import FolderStore

__all__ = ["ARTEFACTS", "PICTURES", "TRUSTED", "WEIGHTS", "CheckpointStore", "FolderStore", "History", "open_store"]


def open_store(root: str | Path) -> CheckpointStore:
    """The store at `root`: a folder, or an address such as ``s3://bucket/prefix``; InputError where that is none."""
    if "://" not in str(root):
        return FolderStore(root)
    from .objects import ObjectStore

    return ObjectStore(str(root))
