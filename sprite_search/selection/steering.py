"""Which criteria may steer a search, and which may not: what chooses or audits afterwards must not be what was sought.

A worker reports `REPORTED` of each of its models; a search space names them ``criteria/…``. No label is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .compute import compute
from .criteria import COLUMN, CRITERIA
from .roles import AUDIT, AUDIT_SCENES, OBJECTIVES

#: What may be improved beside something else only: collapsed models are the most stable.
BESIDE = ("seed_agreement",)

#: What may be bounded: gates that a good model passes, and that tell good models apart no further.
GATES = ("composition_gap", "redundancy", "outside", "torn", "checkpoint_agreement")

#: What workers report, as each is computed from the artefacts of one trial in well under a second.
REPORTED = (*OBJECTIVES, *BESIDE, *GATES)


def reported(
    config: Mapping[str, Any], seeds: Iterable[int], arrays: Mapping[int, Mapping[str, Any]]
) -> dict[int, dict[str, float]]:
    """`REPORTED` of the models of one trial, by seed and column; what a model has no value of is left out.

    Args:
        config: settings of the trial.
        seeds: that were trained.
        arrays: artefacts by seed, see `trainers.artefacts.collect`.
    """
    rows = [{**config, "trial": 0, "seed": seed, "state": "running"} for seed in seeds]
    table = compute(rows, {(0, seed): own for seed, own in arrays.items()}, names=REPORTED)
    return {
        row["seed"]: {n: v for n in map(COLUMN.__add__, REPORTED) if (v := row[n]) == v and abs(v) != float("inf")}
        for row in table
    }


def refusal(
    name: str,
    *,
    bound: bool = False,
    direction: str | None = None,
    alone: bool = True,
    artefacts: bool = True,
    scenes: bool = False,
    replicates: int = 3,
    searched: Iterable[str] = (),
) -> str | None:
    """Why a search may not have a criterion as its objective, or bound it; None where it may.

    Args:
        name: of `CRITERIA`.
        bound: whether it is bounded rather than improved.
        direction: minimize or maximize, where it is improved.
        alone: whether nothing else is improved.
        artefacts: whether artefacts are kept of every model that may be searched.
        scenes: whether one of them has layers with masks.
        replicates: seeds of a configuration.
        searched: settings that are searched.
    """
    if name in (*AUDIT, *AUDIT_SCENES):
        return "audits the search afterwards, so it must not steer it; use criteria/description_length"
    if name not in REPORTED:
        return "is not known of one trial while it is trained; use criteria/description_length"
    criterion = CRITERIA[name]
    if not bound and name in GATES:
        return "tells good models no further apart: bound it under constraints: instead"
    if not bound and alone and name in BESIDE:
        return "is best for models that collapsed, so it must not be sought alone; add val/hard_reconstruction"
    better = "minimize" if criterion.smaller_is_better else "maximize"
    if direction not in (None, better):
        return f"is worse where that leads: write {better}:"
    if not artefacts:
        return "is not computed for this model.kind, of which no artefacts are kept; use val/hard_reconstruction"
    if criterion.only == "single" and scenes:
        return "is for images of one sprite (model.kind clustering); use criteria/description_length"
    if criterion.scope == "config" and replicates < 2:
        return "compares the seeds of a configuration: set replicates to 2 or more"
    across = sorted(set(criterion.not_across).intersection(searched))
    if across:
        return f"does not compare across {', '.join(across)}, which is searched; use criteria/description_length"
    return None
