"""What a search gains from more trials: the audit's score and the accuracy of its incumbent, the best so far."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audit import best_of_n, scored
from .criteria import Row
from .evaluation import Labels, target_of

#: The two courses: trials that no sampler steered, in any order; all trials, in the order they were asked.
COURSES = ("drawn at random", "as it went")

Floats = NDArray[np.float64]


def incumbents(
    rows: Iterable[Row], labels: Labels, *, metric_name: str, direction: str, target: str | None = None
) -> list[dict[str, Any]]:
    """The configuration of the best objective among the first n, for n = 1 … M, as audit and labels see it.

    Args:
        rows: one per trial and seed, without labels.
        labels: by trial and seed; empty where there are none.
        metric_name, direction: the objective of the search.
        target: a label metric; the first of `evaluation.TARGETS` by default.
    Returns:
        {course, n, trial, audit, accuracy}: `course` is one of `COURSES`; "drawn at random" are expectations over
        all orders, so `trial` is None there. audit is between 0 (worst) and 1 (best), None where the audit has no
        criteria; accuracy is None unless all configurations of a course have labels.
    """
    found = scored(rows, metric_name=metric_name, direction=direction)
    if not len(found.trials):
        return []
    audited = found.score if found.criteria else np.full(len(found.trials), math.nan)
    accuracy = _accuracy(found.trials, labels, target or target_of(labels))
    first = np.array([found.cost[: n + 1].argmin() for n in range(len(found.cost))])
    made = [
        _one(COURSES[1], n, audited[at], accuracy[at], trial=found.trials[at])
        for n, at in enumerate(first.tolist(), start=1)
    ]
    if found.free.any():
        cost = found.cost[found.free]
        expected = [best_of_n(cost, scores[found.free]) for scores in (audited, accuracy)]
        made += [_one(COURSES[0], n, a, b) for n, (a, b) in enumerate(zip(*expected, strict=True), start=1)]
    return made


def _one(course: str, n: int, audit: float, accuracy: float, trial: int | None = None) -> dict[str, Any]:
    return {"course": course, "n": n, "trial": trial, "audit": _plain(audit), "accuracy": _plain(accuracy)}


def _accuracy(trials: Iterable[int], labels: Labels, target: str | None) -> Floats:
    """Mean over seeds of each trial, NaN without labels."""
    own: dict[int, list[float]] = {t: [] for t in trials}
    for (trial, _), found in labels.items():
        if target is not None and trial in own and target in found:
            own[trial].append(float(found[target]))
    return np.array([sum(v) / len(v) if v else math.nan for v in own.values()])


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
