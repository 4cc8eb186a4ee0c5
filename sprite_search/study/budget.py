"""What a study has spent and may still spend, counted from its trials each time it is asked: no counter can be lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..space import Space
from .goals import since_best
from .records import TrialRecord, counts, searched

_USED = ("running", "complete", "pruned")


def trials_left(records: Iterable[TrialRecord], budget: int) -> int:
    """How many more configurations may be asked; failed ones do not count, they have a budget of their own."""
    return max(0, budget - sum(r.state in _USED for r in searched(records)))


def busy_hours(records: Iterable[TrialRecord]) -> float:
    """Hours in which at least one trial ran, counted once however many ran side by side.

    Time between the end of a driver and its relaunch is left out (`TrialRecord.breaks`).
    """
    seconds, until = 0.0, float("-inf")
    for start, end in sorted(span for r in records for span in r.spans):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return seconds / 3600


def used_up(space: Space, records: Sequence[TrialRecord], busy: float, *, confirming: bool = False) -> str | None:
    """Why no more configurations are asked for although the budget of trials is not used; None while they are.

    What the second stage will take is kept for it, judged by what the trials took that finished.

    Args:
        busy: `busy_hours` of the records, or what the driver's clock says.
        confirming: for configurations that are trained again on fresh seeds, which use what was kept for them.
    """
    budget = space.budget
    if counts(records)["failed"] > budget.max_failed:
        return f"more than {budget.max_failed} trials failed"
    kept = 0.0 if confirming or (budget.hours is None and budget.gpu_hours is None) else _second_stage(space, records)
    ran = sum(r.hours for r in records) if kept else 0.0
    if budget.hours is not None and busy * (1 + (kept / ran if ran else 0.0)) >= budget.hours:
        return f"the {budget.hours:g} hours of the study are used; give it more with --time-budget or budget.hours"
    if budget.gpu_hours is not None:
        spent = sum(r.gpu_hours for r in records) + kept * space.resources.gpu
        if spent >= budget.gpu_hours:
            return f"the {budget.gpu_hours:g} GPU-hours of the study are used; give it more with budget.gpu_hours"
    if not confirming and budget.plateau is not None and since_best(space, records) >= budget.plateau:
        return f"the last {budget.plateau} brought nothing better (budget.plateau)"
    return None


def _second_stage(space: Space, records: Sequence[TrialRecord]) -> float:
    """Trial-hours that the second stage will still take."""
    done = [r for r in searched(records) if r.state == "complete" and r.replicates]
    if space.confirm is None or not done:
        return 0.0
    each = sum(r.hours for r in done) / sum(len(r.replicates) for r in done)
    spent = sum(r.hours for r in records if r.confirms is not None)
    return max(0.0, space.confirm.top * space.confirm.seeds * each - spent)


def spending(records: Iterable[TrialRecord]) -> dict[str, dict[str, float]]:
    """Hours of training and GPU-hours by what became of them: {state: {trials, hours, gpu_hours}}, and of "all"."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        if record.started is None:
            continue
        for key in (record.state, "all"):
            own = found.setdefault(key, {"trials": 0, "hours": 0.0, "gpu_hours": 0.0})
            own["trials"] += 1
            own["hours"] += record.hours
            own["gpu_hours"] += record.gpu_hours
    return found
