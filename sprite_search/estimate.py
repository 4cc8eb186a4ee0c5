"""How long a search will take: from trials of the study that ended, or from a few steps of training done now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .home import Home
from .machine import cpus, gpus
from .probe import drawn

if TYPE_CHECKING:
    from .space import Space
    from .study.records import TrialRecord

#: Configurations of which a few steps are trained.
MEASURED = 3


def estimate(space: Space, home: Home, *, measure: bool = False) -> dict[str, Any]:
    """{hours: of this machine or None, says: how it is known, or what to do}; at most `budget.hours`.

    Args:
        measure: train a few steps where no trial of the study has ended; makes the data set where it is not here.
    """
    records = _records(space, home)
    ended = [r for r in records if r.state in ("complete", "pruned") and r.hours and r.confirms is None]
    if ended:
        hours, says = _from_trials(space, records, ended)
    elif measure:
        hours, says = _from_steps(space, home)
    else:
        says = "no trial of this study has ended yet; add --measure to train a few steps and reckon from them"
        return {"hours": None, "says": says}
    if space.budget.hours is not None and hours > space.budget.hours:
        return {"hours": space.budget.hours, "says": f"the budget ends it; without that {hours:.2g} hours: {says}"}
    return {"hours": hours, "says": says}


def _records(space: Space, home: Home) -> Sequence[TrialRecord]:
    from .study.ledger import Ledger

    with suppress(InputError):  # no such study, or no home yet
        return Ledger.open(home, space.name).records()
    return []


def _from_trials(space: Space, records: Sequence[TrialRecord], ended: Sequence[TrialRecord]) -> tuple[float, str]:
    """Hours left, at the pace of the trials that ended; pruned ones count with what they took."""
    from .study.budget import busy_hours, trials_left

    each = sum(r.hours for r in ended) / len(ended)
    beside = max(1.0, sum(r.hours for r in records) / (busy_hours(records) or 1.0))
    left = trials_left(records, space.budget.trials)
    work = left * each + _second_stage(space, each) * (not any(r.confirms is not None for r in records))
    took = f"{len(ended)} trials of this study took {60 * each:.2g} minutes each, {beside:.2g} side by side"
    return work / beside, f"for the {left} that are left: {took}"


def _from_steps(space: Space, home: Home) -> tuple[float, str]:
    from .trial import seconds

    if space.resources.gpu and not gpus():
        raise InputError("--measure: trials take a GPU, but this machine has none; measure where they will run")
    seeds = list(range(space.replicates))
    took = [seconds(config, seeds, home.data, space.resources.cpu) / 3600 for config in islice(drawn(space), MEASURED)]
    each, beside = sum(took) / len(took), _side_by_side(space)
    work = space.budget.trials * each + _second_stage(space, each)
    spread = f"{60 * min(took):.2g} to {60 * max(took):.2g}" if len(took) > 1 else f"{60 * each:.2g}"
    pruned = ", without what pruning saves" if space.pruner["name"] != "none" else ""
    says = (
        f"a few steps of {len(took)} configurations drawn at random, trained alone on this machine, say {spread}"
        f" minutes for a trial; {beside} side by side here{pruned}, pictures and checkpoints left out"
    )
    return work / beside, says


def _second_stage(space: Space, each: float) -> float:
    """Hours for training the best again, a seed taking its share of a trial."""
    return space.confirm.top * space.confirm.seeds / space.replicates * each if space.confirm is not None else 0.0


def _side_by_side(space: Space) -> int:
    """Trials that this machine runs at once."""
    if space.resources.at_once is not None:
        return space.resources.at_once
    fits = [cpus() / space.resources.cpu]
    if space.resources.gpu:
        fits.append(len(gpus()) / space.resources.gpu)
    return max(1, math.floor(min(fits) + 1e-9))
