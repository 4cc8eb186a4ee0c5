"""What a study may still spend, counted from its trials each time it is asked: no counter can be lost."""

from __future__ import annotations

from collections.abc import Iterable

from .records import TrialRecord

_USED = ("running", "complete", "pruned")


def trials_left(records: Iterable[TrialRecord], budget: int) -> int:
    """How many more configurations may be asked; failed ones do not count, they have a budget of their own."""
    return max(0, budget - sum(r.state in _USED for r in records))


def busy_hours(records: Iterable[TrialRecord]) -> float:
    """Hours in which at least one trial ran, counted once however many ran side by side.

    Time between the end of a driver and its relaunch is left out (`TrialRecord.breaks`).
    """
    spans = sorted(span for r in records for span in _spans(r))
    seconds, until = 0.0, float("-inf")
    for start, end in spans:
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return seconds / 3600


def _spans(record: TrialRecord) -> list[tuple[float, float]]:
    """When a trial ran, in seconds since 1970."""
    if record.started is None:
        return []
    starts = [record.started, *(b[1] for b in record.breaks)]
    last = record.finished or record.reported or starts[-1]
    return list(zip(starts, [*(b[0] for b in record.breaks), last], strict=True))
