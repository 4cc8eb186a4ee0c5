"""What a store of checkpoints does, whatever it is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

WEIGHTS = "checkpoint.pt"
PICTURES, ARTEFACTS = "pictures", "artefacts"

#: Folder in a checkpoint with the models of its seeds at the reports that are trusted, where one is not the last.
TRUSTED = "trusted"

History = list[dict[str, Any]]  #: reports: {"epoch", "time", "metrics": [per seed]}


class CheckpointStore(ABC):
    """What a training saves, with `history.json` and `pictures/`, by study and trial.

    Only a trial's newest checkpoint is kept, as a training that goes on needs no other; in it are the models (a third
    of a checkpoint) that its own reports speak more for, where there are such. Its history holds all reports so far,
    so that a curve can be completed after any crash.
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
    def artefacts(self, study: str, number: int) -> Path | None:
        """A folder with the `artefacts` of the newest checkpoint (see the module of that name); None without one."""

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
