"""How many labels a criterion is worth: the number of labelled images that select as well as it does.

Pure functions of arrays. The opponent labels n images at random, fits to them the one-to-one matching of each model's
sprites to classes, and selects the configuration of best accuracy on these n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from . import endpoints as e

#: How many images are labelled, and how often they are drawn again.
COUNTS, REPEATS = (5, 10, 20, 50, 100, 200, 500), 200

Floats = NDArray[np.float64]


def curve(
    assignments: ArrayLike,
    labels: ArrayLike,
    places: NDArray[np.int64],
    accuracy: Floats,
    *,
    counts: Sequence[int] = COUNTS,
    repeats: int = REPEATS,
    first: ArrayLike | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Mean regret of selecting configurations by n labels, for each n that there are images for.

    Args:
        assignments: sprite of each image by each of C models, (C, N), 0 or above.
        labels: class of each image, (N,), 0 or above; best of images that `accuracy` is not measured on.
        places: where the seeds of each of M configurations are among the models, (M, S), -1 for absent ones.
        accuracy: that judges configurations, (M,).
        first: configurations to choose among, all by default; regret is against the best of all nevertheless.
    Returns:
        {labels: n, regret, normalised_regret} in order of n; normalised_regret is None where there is nothing to
        select.
    """
    a, t = np.asarray(assignments, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    among = np.arange(len(places)) if first is None else np.asarray(first, dtype=np.int64)
    generator = np.random.default_rng(seed)
    found = []
    for n in (n for n in counts if n <= len(t)):
        fitted = np.stack([one_to_one(a[:, at], t[at]) for at in _drawn(len(t), n, repeats, generator)])
        means = np.nanmean(np.where(places >= 0, fitted[:, places], np.nan), -1)[:, among]
        lost = accuracy.max() - e.picked(means, np.tile(accuracy[among], (repeats, 1)))
        share = float(e.normalised(lost.mean(), accuracy))
        found.append(
            {"labels": n, "regret": float(lost.mean()), "normalised_regret": None if np.isnan(share) else share}
        )
    return found


def one_to_one(assignments: NDArray[np.int64], labels: NDArray[np.int64]) -> Floats:
    """Accuracy of each model on the images that its matching is fitted to, (C,) from (C, n) and (n,)."""
    sprites, classes = int(assignments.max()) + 1, int(labels.max()) + 1
    models = np.arange(len(assignments))[:, None]
    flat = (models * sprites + assignments) * classes + labels
    tables = np.bincount(flat.ravel(), minlength=len(assignments) * sprites * classes)
    tables = tables.reshape(len(assignments), sprites, classes)
    hits = [table[linear_sum_assignment(table, maximize=True)].sum() for table in tables]
    return np.array(hits) / len(labels)


def worth(found: Sequence[dict[str, Any]], normalised_regret: float | None) -> float | None:
    """The number of labels at which the curve comes down to this normalised regret; None where it has none.

    No label selects at random (normalised regret 1); between the points of the curve it is a line over log n, and it
    never rises again. What is better than the curve's end is worth as many labels as it ends with, or more.
    """
    points = [(r["labels"], r["normalised_regret"]) for r in found]
    if normalised_regret is None or not points or any(y is None for _, y in points):
        return None
    n = np.array([0, *(x for x, _ in points)], dtype=float)
    y = np.minimum.accumulate([1.0, *(y for _, y in points)])
    if normalised_regret >= 1:
        return 0.0
    if normalised_regret <= y[-1]:
        return float(n[np.argmax(y <= normalised_regret)]) if normalised_regret == y[-1] else float(n[-1])
    right = int(np.argmax(y < normalised_regret))
    left = right - 1
    share = (y[left] - normalised_regret) / (y[left] - y[right])
    return float(np.expm1(np.log1p(n[left]) + share * (np.log1p(n[right]) - np.log1p(n[left]))))


def _drawn(count: int, n: int, repeats: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return np.stack([generator.choice(count, n, replace=False) for _ in range(repeats)])
