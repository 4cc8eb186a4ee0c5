"""Checkpoints of trials: whole or not there, kept apart from Ray so that any driver can take them up."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError, WorkError

WEIGHTS = "checkpoint.pt"
PICTURES = "pictures"

History = list[dict[str, Any]]  #: reports: {"epoch", "time", "metrics": [per seed]}


class CheckpointStore(ABC):
    """What a training saves, with `history.json` and `pictures/`, by study and trial.

    Only a trial's newest checkpoint is kept. Its history holds all reports so far, so that a curve can be
    completed after any crash.
    """

    root: Any

    @abstractmethod
    def check(self) -> None:
        """InputError where nothing can be kept."""

    @abstractmethod
    def save(self, study: str, number: int, epoch: int, write: Callable[[Path], None], history: History) -> Path | None:
        """Writes a checkpoint in full, then makes it the trial's only one; returns its folder, if it has one.

        Args:
            write: fills the folder it is given.
            history: all reports so far.
        Raises:
            OSError: as the system says (no space, no permission); the one before stays in place.
        """

    @abstractmethod
    def latest(self, study: str, number: int) -> Path | None:
        """A folder with the newest checkpoint, None when there is none."""

    @abstractmethod
    def pictures(self, study: str, number: int) -> Path | None:
        """A folder with the pictures of the newest checkpoint, by seed; None when it has none."""

    @abstractmethod
    def history(self, study: str, number: int) -> History:
        """All reports the newest checkpoint knows of."""

    @abstractmethod
    def numbers(self, study: str) -> list[int]:
        """The trials that have something here, in order."""

    @abstractmethod
    def drop(self, study: str, number: int) -> None:
        """Drops the weights of a trial; history and pictures stay."""

    @abstractmethod
    def owned(self, study: str, number: int, attempt: int = 1) -> AbstractContextManager[None]:
        """Holds a trial: a worker left over from a killed driver must not write beside a new one.

        Args:
            attempt: which start of the trial this is; a later one takes the trial from an earlier.
        Raises:
            WorkError: another worker still writes, or, from `save`, a later attempt has begun.
        """

    def retain(self, study: str, keep: set[int]) -> None:
        """Drops the weights of all trials but those to keep."""
        for number in self.numbers(study):
            if number not in keep:
                self.drop(study, number)


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
        for weights in self.trial(study, number).glob(f"*/{WEIGHTS}"):
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


def open_store(root: str | Path) -> CheckpointStore:
    """The store at `root`: a folder, or an address such as ``s3://bucket/prefix``; InputError where that is none."""
    if "://" not in str(root):
        return FolderStore(root)
    from .objects import ObjectStore

    return ObjectStore(str(root))
