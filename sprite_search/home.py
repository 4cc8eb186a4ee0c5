"""Where everything of a search is kept: the home folder, or the servers that replace parts of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError


@dataclass(frozen=True)
class Home:
    """Paths and addresses of one installation; nothing is created before it is needed."""

    root: Path

    @classmethod
    def locate(cls, path: Path | str | None = None) -> Home:
        """`path`, else $SPRITE_HOME, else ./sprite-home; InputError where that is no folder."""
        root = Path(path or os.environ.get("SPRITE_HOME") or "sprite-home").expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise InputError(f"{root}: the home must be a folder, but this is a file; choose another with --home")
        return cls(root)

    def create(self) -> Home:
        """Makes the folder; InputError where that is not allowed."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot make the home folder ({error.strerror}); choose another with --home"
            ) from None
        return self

    @property
    def study_store(self) -> str:
        """Optuna storage: $SPRITE_STUDY_STORE (a database URL), else the path of a journal file."""
        return os.environ.get("SPRITE_STUDY_STORE") or str(self.root / "studies.journal")

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking: $MLFLOW_TRACKING_URI, else an SQLite file in the home."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """MLflow artifacts of the embedded store."""
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> str:
        """Root of the checkpoint store: $SPRITE_CHECKPOINTS, else a folder in the home."""
        return os.environ.get("SPRITE_CHECKPOINTS") or str(self.root / "checkpoints")

    @property
    def data(self) -> Path:
        """Prepared and generated data sets, shared by all studies: $SPRITE_DATA, else a folder in the home."""
        return Path(os.environ.get("SPRITE_DATA") or self.root / "data")

    def study(self, name: str) -> Path:
        """Folder of one study: its lease, its resolved space, its log."""
        return self.root / "studies" / name
