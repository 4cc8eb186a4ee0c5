"""What several trials make together, as a candidate beside them (A8): it is no model, so it is judged, not chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import endpoints as e
from .criteria import CRITERIA, Row
from .criteria.consensus import BEST, aggregate
from .evaluation import Labels, main_pool, survivors, target_of
from .labels_needed import one_to_one
from .redraws import Key, at_places, grid, key

#: What says which trials lead.
LEADING = "good_fit_centrality"


def aggregated(
    rows: Iterable[Row], labels: Labels, assignments: Mapping[Key, NDArray[np.int64]], classes: NDArray[np.int64]
) -> dict[str, Any] | None:
    """How the aggregate of the leading configurations fares by labels of images, beside the configurations themselves.

    Args:
        rows, labels: as for `evaluate`: the pool is the same.
        assignments: sprite of each of N images by each model, (N,).
        classes: of these images, (N,).
    Returns:
        {configurations: how many are in it, accuracy (one to one), best and mean of all configurations on the same
        images, regret = best − accuracy, below 0 where it is better than all, normalised_regret}; None without
        labels, two configurations or leaders.
    """
    target = target_of(labels)
    pool = main_pool(survivors(rows, labels, target)) if target else []
    pool = [r for r in pool if key(r) in assignments]
    first: dict[int, Row] = {}
    for row in sorted(pool, key=lambda r: CRITERIA[LEADING].cost(r)):
        if np.isfinite(CRITERIA[LEADING].of(row)):
            first.setdefault(int(row["trial"]), row)
    if len({r["trial"] for r in pool}) < 2 or not first or not len(classes):
        return None
    leaders = list(first.values())[:BEST]
    together = aggregate([assignments[key(r)] for r in leaders])
    found = one_to_one(np.stack([together, *(assignments[key(r)] for r in pool)]).astype(np.int64), classes)
    means = e.seed_mean(at_places(found[1:], grid([key(r) for r in pool])))
    lost = float(means.max() - found[0])
    share = float(e.normalised(lost, means))
    return {
        "configurations": len(leaders),
        "accuracy": float(found[0]),
        "best": float(means.max()),
        "mean": float(means.mean()),
        "regret": lost,
        "normalised_regret": None if np.isnan(share) else share,
    }
