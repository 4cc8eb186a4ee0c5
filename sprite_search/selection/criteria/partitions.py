"""Groupings of images compared: contingency, entropies, agreement by chance left out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

#: Below this effective number of clusters a grouping says nothing: nearly everything is in one of them.
#: Two clusters of shares 0.9 and 0.1 have 1.38, of 0.8 and 0.2 have 1.65.
FEWEST = 1.5


def entropy(shares: NDArray[np.float64]) -> float:
    """−Σ p ln p of shares or counts."""
    total = shares.sum()
    p = shares[shares > 0] / total if total > 0 else shares[:0]
    return float(-(p * np.log(p)).sum())


def effective(labels: Labels) -> float:
    """exp of the entropy of a grouping, from 1 to the number of clusters; 0 for no labels at all."""
    return math.exp(entropy(np.bincount(labels).astype(float))) if len(labels) else 0.0


def contingency(a: Labels, b: Labels) -> NDArray[np.int64]:
    """Counts of pairs (a, b); labels are 0, 1, …"""
    from trainers.metrics import contingency as table

    return table(a, b)


def ami(a: Labels, b: Labels) -> float:
    """Adjusted mutual information (Vinh et al. 2010), at most 1 and 0 by chance; 0 where one of them is constant."""
    from trainers.metrics import ami as adjusted

    return adjusted(a, b) if len(np.unique(a)) > 1 and len(np.unique(b)) > 1 else 0.0


def rand(a: Labels, b: Labels) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985); 0 where one of the groupings is constant."""
    from trainers.metrics import adjusted_rand

    table = contingency(a, b)
    if (table.sum(0) > 0).sum() < 2 or (table.sum(1) > 0).sum() < 2:
        return 0.0

    return adjusted_rand(table)


def distances(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Euclidean distances of rows (n, d)."""
    squares = (points * points).sum(1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * points @ points.T, 0))
    np.fill_diagonal(distance, 0)
    return distance


def silhouette(distance: NDArray[np.float32], labels: Labels) -> float:
    """Mean silhouette from a matrix of distances (Rousseeuw 1987); 0 for images alone in their cluster."""
    names, own = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return -1.0
    member = np.eye(len(names), dtype=distance.dtype)[own]
    sizes = member.sum(0)
    sums = distance @ member
    at = np.arange(len(own))
    others = sizes[own] - 1
    within = sums[at, own] / np.maximum(others, 1)
    means = sums / sizes
    means[at, own] = np.inf
    nearest = means.min(1)
    larger = np.maximum(within, nearest)
    score = np.where((others > 0) & (larger > 0), (nearest - within) / np.where(larger > 0, larger, 1), 0.0)
    return float(score.mean())


def purity(distance: NDArray[np.float32], labels: Labels, neighbours: int) -> float:
    """Share of the nearest neighbours with the same label, chance left out: (share − Σf²) / (1 − Σf²)."""
    d = distance.copy()
    np.fill_diagonal(d, np.inf)
    nearest = np.argsort(d, axis=1, kind="stable")[:, : min(neighbours, len(d) - 1)]
    share = float((labels[nearest] == labels[:, None]).mean())
    f = np.bincount(labels) / len(labels)
    chance = float((f * f).sum())
    return (share - chance) / (1 - chance) if chance < 1 else 0.0
