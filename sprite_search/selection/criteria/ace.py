"""ACE: in which of the spaces that models learnt the models are to be judged (G7). Its group is `geometry`.

Wang & Ye, "Deep Clustering Evaluation: How to Validate Internal Clustering Validation Measures", 2403.14830. The steps
are theirs; where no space passes the first, or none is like another in the second, all are kept.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

from ..dip import p_of_one_mode
from ..page_rank import page_rank
from ..significance import holm
from .base import computed
from .models import Pool

#: Level of the tests, after Holm's correction; share of the walk on the graph of spaces that follows its edges.
LEVEL, FOLLOWED = 0.05, 0.9

#: Groups of more spaces than this are divided further.
MANY = 5

Floats = NDArray[np.float64]


@computed("G7", "more", "A Z", scope="pool", only="single", group="geometry", source="ACE, Wang & Ye 2403.14830")
def ace(pool: Pool) -> Floats:
    """silhouette in the features of finished trials that have clusters, rank models alike and score them best (G7).

    Spaces without clusters are left out: those with one mode along their first principal component (dip test). The
    others are grouped by the rank correlation of the scores they give to all models, then by the scores themselves,
    and averaged in each group by their PageRank in the graph of correlations. The group of the best scores counts.
    """
    at, scores = pool.silhouettes
    if len(pool.models) < 2 or not len(at):
        return np.full(len(pool.models), math.nan)
    return combined(scores[admissible([pool.features(int(i)) for i in at])])


def admissible(spaces: list[NDArray[np.float32]]) -> NDArray[np.int64]:
    """Which of these features (n, d) have more than one mode, all where none has."""
    ps = np.array(holm([p_of_one_mode(first_component(z)) for z in spaces]))
    return np.flatnonzero(ps <= LEVEL) if (ps <= LEVEL).any() else np.arange(len(spaces))


def first_component(features: NDArray[np.float32]) -> Floats:
    """Standardised features (n, d) along their first principal component, (n,)."""
    z = features.astype(np.float64)
    z = z - z.mean(0)
    spread = z.std(0)
    z = z / np.where(spread > 0, spread, 1)
    return np.asarray(z @ np.linalg.svd(z, full_matrices=False)[2][0])


def combined(scores: Floats) -> Floats:
    """One score of each model, (M,), from those in S spaces, (S, M)."""
    telling = scores[np.ptp(scores, 1) > 0]
    if not len(telling):
        return np.asarray(scores.mean(0))
    alike, graph = correlations(telling)
    found = []
    for members in groups(1 - alike):
        for own in divided(telling[members]):
            part = members[own]
            weights = page_rank(graph[np.ix_(part, part)], FOLLOWED)
            found.append(weights @ telling[part])
    return max(found, key=lambda one: float(one.sum()))


def correlations(scores: Floats) -> tuple[Floats, Floats]:
    """Rank correlation of each two rows of scores (S, M), and the same where it is above 0 beyond chance, else 0."""
    count, models = scores.shape
    ranks = rankdata(scores, axis=1) - (models + 1) / 2
    norms = np.sqrt((ranks**2).sum(1))
    alike = (ranks @ ranks.T / np.outer(norms, norms)).clip(-1, 1)
    one, other = np.triu_indices(count, 1)
    r = alike[one, other]
    with np.errstate(divide="ignore"):
        ps = student.sf(r * np.sqrt((models - 2) / (1 - r**2)), models - 2) if models > 2 else np.ones(len(r))
    graph = np.zeros_like(alike)
    graph[one, other] = np.where(np.array(holm(list(ps))) <= LEVEL, r.clip(min=0), 0)
    return alike, graph + graph.T


def groups(distance: Floats) -> list[NDArray[np.int64]]:
    """Indices of each cluster of spaces (S, S); all together where there are none (HDBSCAN, clusters from two on)."""
    labels = _clusters(distance)
    names = sorted(set(labels[labels >= 0].tolist()))
    return [np.flatnonzero(labels == name) for name in names] or [np.arange(len(distance))]


def divided(scores: Floats) -> list[NDArray[np.int64]]:
    """Indices of rows (S, M) that have alike scores, where there are many; what is like no other stands alone."""
    if len(scores) <= MANY:
        return [np.arange(len(scores))]
    labels = _clusters(np.sqrt(((scores[:, None] - scores[None]) ** 2).sum(-1)))
    if (labels < 0).all():
        return [np.arange(len(scores))]
    alone = [np.array([i]) for i in np.flatnonzero(labels < 0)]
    return [*(np.flatnonzero(labels == name) for name in sorted(set(labels[labels >= 0].tolist()))), *alone]


def _clusters(distance: Floats) -> NDArray[np.int64]:
    """Cluster of each, −1 for those in none."""
    from sklearn.cluster import HDBSCAN

    if len(distance) < 2:
        return np.full(len(distance), -1)
    distance = distance.clip(min=0)
    np.fill_diagonal(distance, 0)
    return np.asarray(HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True).fit(distance).labels_)
