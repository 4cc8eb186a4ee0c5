"""Is a choice that calls itself reliable a good one? Counted on searches drawn from studies with labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import endpoints as e
from .choice import AUTO, GOOD, choose
from .criteria import COLUMN, Row
from .evaluation import Labels, survivors, target_of
from .redraws import at_places, grid, key, recompute_with
from .tables import Study

#: Searches drawn from each study, and the share of its configurations that is in each.
SEARCHES, SHARE = 200, 0.5

#: Fewer configurations are no search.
FEWEST = 6

#: Thresholds of reliability that could be asked for.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def choices(study: Study, *, by: str = AUTO, searches: int = SEARCHES, seed: int = 0) -> list[dict[str, Any]]:
    """What `choose` does in smaller searches drawn from a study, and how good that was by labels.

    Each has half of the configurations with all their seeds, drawn without repeats, as equal configurations would
    tie; criteria of the pool are computed again among these where `study.pairs` allows.

    Returns:
        {trial, reliability (None: unknown), abstained, normalised_regret} of the draws in which there was something
        to select; empty where fewer than `FEWEST` configurations could be drawn.
    """
    target = target_of(study.labels)
    pool = survivors(study.rows, study.labels, target)["finished"] if target else []
    trials = sorted({int(r["trial"]) for r in pool})
    size = math.ceil(SHARE * len(trials))
    if target is None or size < FEWEST:
        return []
    generator = np.random.default_rng(seed)
    recompute = recompute_with(study.rows, study.pairs)
    found = []
    for _ in range(searches):
        drawn = set(generator.choice(trials, size, replace=False).tolist())
        rows = [dict(r) for r in pool if r["trial"] in drawn]
        for name, values in (recompute([key(r) for r in rows]) if recompute else {}).items():
            for row, value in zip(rows, values, strict=True):
                row[COLUMN + name] = float(value)
        made = choose(rows, by=by)
        if (share := _judged(rows, study.labels, target, made.trial)) is not None:
            one = {"trial": made.trial, "reliability": made.reliability, "abstained": made.abstained}
            found.append({**one, "normalised_regret": share})
    return found


def _judged(rows: Sequence[Row], labels: Labels, target: str, trial: int | None) -> float | None:
    """Normalised regret of a trial among these; None where there is nothing to select, or nothing was."""
    places = grid([key(r) for r in rows])
    accuracy = at_places(np.array([labels[key(r)][target] for r in rows], dtype=float), places)
    means = e.seed_mean(accuracy)
    trials = sorted({int(r["trial"]) for r in rows})
    if trial not in trials:
        return None
    share = float(e.normalised(means.max() - means[trials.index(trial)], means, e.seed_noise(accuracy)))
    return None if math.isnan(share) else share


def calibrate(studies: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """How often a choice is good when it calls itself reliable; each study weighs the same.

    Args:
        studies: of `choices`, by study.
    Returns:
        {searches; reliable: share of choices without abstention; good_when_reliable, good_when_abstained: share with
        a normalised regret of at most 0.2; thresholds: [{threshold, reliable, good}] if as much reliability were
        asked for; studies: {study: the same without thresholds}}; None for shares of nothing.
    """
    there = {name: own for name, own in studies.items() if own}
    each = {name: _shares(own) for name, own in there.items()}
    return {
        "searches": sum(map(len, there.values())),
        **{n: _mean(s[n] for s in each.values()) for n in ("reliable", "good_when_reliable", "good_when_abstained")},
        "thresholds": [
            {
                "threshold": threshold,
                "reliable": _mean(_mean(_sure(c, threshold) for c in own) for own in there.values()),
                "good": _mean(_good([c for c in own if _sure(c, threshold)]) for own in there.values()),
            }
            for threshold in THRESHOLDS
        ],
        "studies": each,
    }


def _shares(own: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    return {
        "reliable": _mean(not c["abstained"] for c in own),
        "good_when_reliable": _good([c for c in own if not c["abstained"]]),
        "good_when_abstained": _good([c for c in own if c["abstained"]]),
    }


def _sure(choice: Mapping[str, Any], threshold: float) -> bool:
    trust = choice["reliability"]
    return trust is not None and trust >= threshold


def _good(own: Sequence[Mapping[str, Any]]) -> float | None:
    return _mean(c["normalised_regret"] <= GOOD for c in own)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [float(v) for v in values if v is not None]
    return sum(there) / len(there) if there else None
