"""The part of a study that cannot change any more, looked at once however long the study is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from .records import TrialRecord


@dataclass
class Past:
    """The trials up to the first that has not ended, by number."""

    length: int = 0  #: how many numbers it covers, skipped ones included
    records: list[TrialRecord] = field(default_factory=list)
    digests: dict[str, int] = field(default_factory=dict)  #: of configurations, and the trial that has each

    def follow(
        self, trials: Sequence[FrozenTrial], record: Callable[[FrozenTrial], TrialRecord | None]
    ) -> Sequence[FrozenTrial]:
        """Takes in what has ended since, and returns the trials behind it.

        Args:
            trials: all of the study.
            record: a trial as a record; None for one that does not count.
        """
        for trial in trials[self.length :]:
            if not trial.state.is_finished():
                break
            self.length += 1
            if (kept := record(trial)) is not None:
                self.records.append(kept)
                self.digests.setdefault(str(trial.user_attrs.get("digest")), trial.number)
        return trials[self.length :]
