"""Checkpoints of trials: whole or not there, kept apart from Ray so that any driver can take them up."""

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
from typing import Any

from .errors import InputError, WorkError

WEIGHTS = "checkpoint.pt"


class CheckpointStore:
    """`<root>/<study>/<trial>/<epoch>/` with what a training saves, `history.json` and `pictures/`.

    Only a trial's newest checkpoint is kept. `history.json` holds all its reports so far, so that a
    curve can be completed after any crash.
    """

    def __init__(self, root: str | Path):
        if "://" in str(root):
            raise InputError(
                f"{root}: checkpoints are kept in a folder so far; set SPRITE_CHECKPOINTS to a shared path"
            )
        self.root = Path(root)

    def trial(self, study: str, number: int) -> Path:
        """Folder of one trial's checkpoints."""
        return self.root / study / f"{number:06d}"

    def save(
        self, study: str, number: int, epoch: int, write: Callable[[Path], None], history: list[dict[str, Any]]
    ) -> Path:
        """Writes a checkpoint in full, then makes it the trial's only one.

        Args:
            write: fills the folder it is given.
            history: all reports so far.
        Raises:
            OSError: as the system says (no space, no permission); the one before stays in place.
        """
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
        """The newest checkpoint, None when there is none."""
        with contextlib.suppress(FileNotFoundError):
            whole = sorted(p for p in self.trial(study, number).iterdir() if p.is_dir() and p.name.isdigit())
            return whole[-1] if whole else None
        return None

    def history(self, study: str, number: int) -> list[dict[str, Any]]:
        """All reports the newest checkpoint knows of: ``{"epoch", "time", "metrics": [per seed]}``."""
        for _ in range(3):  # a worker may put a newer one in its place just now
            latest = self.latest(study, number)
            if latest is None:
                return []
            with contextlib.suppress(OSError, ValueError):
                return list(json.loads((latest / "history.json").read_text()))
        return []

    def retain(self, study: str, keep: set[int]) -> None:
        """Drops the weights (not the history or pictures) of all trials but those to keep."""
        folder = self.root / study
        if not folder.is_dir():
            return
        for trial in folder.iterdir():
            if trial.name.isdigit() and int(trial.name) not in keep:
                for weights in trial.glob(f"*/{WEIGHTS}"):
                    weights.unlink(missing_ok=True)

    @contextmanager
    def owned(self, study: str, number: int, *, wait: float = 30.0) -> Iterator[None]:
        """Holds a trial's folder: a worker left over from a killed driver must not write beside a new one."""
        folder = self.trial(study, number)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as handle:
            until = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise WorkError(f"{folder}: another worker still trains this trial") from None
                    time.sleep(0.2)
            yield
