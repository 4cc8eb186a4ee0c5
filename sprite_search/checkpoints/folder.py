"""Checkpoints in a folder, where a rename is whole and a lock dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError, WorkError
from .base import PICTURES, WEIGHTS, CheckpointStore, History


class FolderStore(CheckpointStore):
    """`<root>/<study>/<trial>/<epoch>/`, on this machine or on a file system that all machines share."""

    def __init__(self, root: str | Path, *, wait: float = 120.0):
        """`wait`: seconds that a worker waits for the one before it to be gone."""
        self.root = Path(root)
        self.wait = wait

    def check(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot keep checkpoints ({error.strerror}); choose another folder with"
                " SPRITE_CHECKPOINTS or --home"
            ) from None

    def trial(self, study: str, number: int) -> Path:
        """Folder of one trial's checkpoints."""
        return self.root / study / f"{number:06d}"

    def save(self, study: str, number: int, epoch: int, write: Callable[[Path], None], history: History) -> Path:
        folder = self.trial(study, number)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
        try:
            write(temporary)
            (temporary / "history.json").write_text(json.dumps(history))
            target = folder / f"{epoch:06d}"
            if target.exists():
                shutil.rmtree(target)
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        for old in folder.iterdir():
            if old.is_dir() and old != target:
                shutil.rmtree(old, ignore_errors=True)
        return target

    def latest(self, study: str, number: int) -> Path | None:
        with contextlib.suppress(FileNotFoundError):
            whole = sorted(p for p in self.trial(study, number).iterdir() if p.is_dir() and p.name.isdigit())
            return whole[-1] if whole else None
        return None

    def pictures(self, study: str, number: int) -> Path | None:
        latest = self.latest(study, number)
        return latest / PICTURES if latest is not None and (latest / PICTURES).is_dir() else None

    def artefacts(self, study: str, number: int) -> Path | None:
        return self.latest(study, number)

    def history(self, study: str, number: int) -> History:
        for _ in range(3):  # a worker may put a newer one in its place just now
            latest = self.latest(study, number)
            if latest is None:
                return []
            with contextlib.suppress(OSError, ValueError):
                return list(json.loads((latest / "history.json").read_text()))
        return []

    def numbers(self, study: str) -> list[int]:
        folder = self.root / study
        return sorted(int(f.name) for f in folder.iterdir() if f.name.isdigit()) if folder.is_dir() else []

    def drop(self, study: str, number: int) -> None:
        for weights in self.trial(study, number).rglob(WEIGHTS):
            weights.unlink(missing_ok=True)

    @contextmanager
    def owned(self, study: str, number: int, attempt: int = 1) -> Iterator[None]:
        folder = self.trial(study, number)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as handle:
            until = time.monotonic() + self.wait
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise WorkError(f"{folder}: another worker still trains this trial") from None
                    time.sleep(0.2)
            yield
