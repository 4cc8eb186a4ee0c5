"""What could have told a search or a criterion about labels: the checklist of the protocol, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .criteria import CRITERIA
from .evaluation import UNSTEERED

#: Metrics of the search whose criterion has another name.
_OBJECTIVES = {"val/hard_reconstruction": "reconstruction", "val/reconstruction": "soft_reconstruction"}


def checklist(space: Mapping[str, Any]) -> list[dict[str, str]]:
    """{question, answer: yes | no | in part | you know, why} for a study.

    Args:
        space: of the study, as its `to_dict` gives it.
    """
    objective, search, fixed = space["objective"], space["search"], space["fixed"]
    metric = str(objective["metric"])
    steered = space["sampler"].get("name") != "random" and space["random_arm"] < 1
    pruned = space["pruner"].get("name", "none") != "none"
    aims = [objective, *space.get("further_objectives", ())]
    named = [str(one["metric"]) for one in (*aims, *space.get("constraints", ()))]
    tested = [n for m in named if (n := _OBJECTIVES.get(m, m.removeprefix("criteria/"))) in CRITERIA]
    weights = [n for n in search if n.endswith(".weight")]
    found = [
        (
            "did the search's objective use labels?",
            any(one["oracle"] for one in aims),
            f"the search read {', '.join(named)}",
        ),
        (
            "is the search's objective one of the criteria tested?",
            bool(tested) and steered,
            f"{', '.join(tested) or 'none of them'} steered the search: tested on a pool without what it did not like"
            if steered
            else "no sampler steered the search",
        ),
        (
            "was a trial stopped early by labels?",
            pruned and metric.startswith("labels/"),
            f"the pruner reads {metric}" if pruned else "no trial was stopped early",
        ),
        (
            "was the number of sprites given as the number of classes?",
            None if "sprites.count" not in search else False,
            "it was searched" if "sprites.count" in search else f"it was fixed at {fixed.get('sprites.count', '?')}",
        ),
        (
            "were the transformations chosen for this data set by somebody who saw labels?",
            False if any(n.startswith("transformations.") for n in search if n != "transformations.strategy") else None,
            "they were searched"
            if any(n.startswith("transformations.") for n in search if n != "transformations.strategy")
            else "they were fixed; the paper's Table 12 chose them per data set",
        ),
        (
            "are the ranges of weights centred on values tuned by labels?",
            None if weights else False,
            f"searched: {', '.join(weights)}" if weights else "no weight of a regulariser is searched",
        ),
        (
            "did the search start from published settings?",
            bool(space["start_from"]),
            ", ".join(name for name, _ in space["start_from"]) or "no",
        ),
        (
            "did a combination of criteria learn from this data set or its family?",
            None,
            "nothing is fitted, but `catalogue` became the default by studies of six data sets, see docs/selection.md",
        ),
        (
            "does the group of changes to images in augmentation_agreement know the labels?",
            None,
            "it is the same for all data sets: a shift and noise",
        ),
        ("were thresholds of criteria tuned on this search?", False, "they are constants of the code"),
        (
            "does the meaning of accuracy depend on the number of sprites?",
            False,
            "it is one-to-one: sprites beyond the number of classes count as wrong",
        ),
        (
            "were trials compared that a pruner or sampler had filtered?",
            None if pruned or steered else False,
            f"criteria are judged on the arms {' and '.join(UNSTEERED)} where these have enough trials"
            if pruned or steered
            else "all trials were drawn at random and none was stopped early",
        ),
    ]
    words = {True: "yes", False: "no", None: "perhaps"}
    return [{"question": q, "answer": words[answer], "why": why} for q, answer, why in found]
