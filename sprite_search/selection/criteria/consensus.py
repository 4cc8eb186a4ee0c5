"""Consensus: agreement with the finished trials of the study. The majority can be wrong, and it depends on what
was searched. A model is compared with other configurations only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import computed
from .models import Pool
from .partitions import Labels, ami, contingency

#: Most images, or points of scenes, whose pairs are compared.
PAIRS = 500

#: Of how many configurations the aggregate is made.
BEST = 10

_NEEDS = "A sprites E_hard held_out"


def _mean(values: NDArray[np.float64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Weighted mean of each row, NaN where all its weights are 0."""
    total = weights.sum(1)
    return np.where(total > 0, (values * weights).sum(1) / np.where(total > 0, total, 1), math.nan)


@computed("S6", "more", _NEEDS, scope="pool", source="ModelCentrality, Lin 2020, 1906.06034")
def centrality(pool: Pool) -> NDArray[np.float64]:
    """mean AMI of the choices with those of finished trials of other configurations (S6)."""
    return _mean(pool.agreement, pool.others)


@computed("S7", "more", _NEEDS, scope="pool", source="UOMS, Ma 2021, 2104.01422")
def eigen_centrality(pool: Pool) -> NDArray[np.float64]:
    """mean AMI with finished trials of other configurations, each weighed by its own centrality among them (S7).

    The weights are the leading eigenvector of the table of AMIs between finished trials.
    """
    at = np.flatnonzero(pool.reference)
    weight = pool.reference * 1e-3  # none is left out, not even where nothing agrees
    if len(at):
        graph = np.maximum(pool.agreement * pool.others, 0)[np.ix_(at, at)]
        _, vectors = np.linalg.eigh((graph + graph.T) / 2)
        weight[at] += np.abs(vectors[:, -1])
    return _mean(pool.agreement, pool.others * weight)


@computed("S8", "less", _NEEDS, scope="pool", not_across=("sprites.count",), source="Ohl & Lindsten, 2505.04464")
def consensus_distance(pool: Pool) -> NDArray[np.float64]:
    """mean over pairs of images of |together here − share of other trials that put them together| (S8)."""
    partitions = [m.partition for m in pool.models]
    step = -(-len(partitions[0]) // PAIRS)
    together = [(p := q[::step])[:, None] == p[None] for q in partitions]
    total = sum((t.astype(np.float32) for t, r in zip(together, pool.reference, strict=True) if r), np.float32(0))
    values = np.full(len(pool.models), math.nan)
    for i, own in enumerate(together):
        same = [j for j in range(len(together)) if pool.reference[j] and not pool.others[i, j]]
        left = int(pool.others[i].sum())
        if left:
            share = (total - sum((together[j].astype(np.float32) for j in same), np.float32(0))) / left
            off = ~np.eye(len(own), dtype=bool)
            values[i] = float(np.abs(own - share)[off].mean(dtype=np.float64))
    return values


@computed("S9", "more", _NEEDS, scope="pool", source="EnsV, Hu, NeurIPS D&B 2024")
def role_model(pool: Pool) -> NDArray[np.float64]:
    """AMI with the majority of the finished trials, their sprites matched to those of the most central one (S9)."""
    central = np.where(pool.reference, centrality(pool), math.nan)
    if np.isnan(central).all():
        return np.full(len(pool.models), math.nan)
    medoid = pool.models[int(np.nanargmax(central))].partition
    others = [m.partition for m, r in zip(pool.models, pool.reference, strict=True) if r]
    votes = np.stack([aligned(p, medoid) for p in others])
    count = int(votes.max()) + 1
    tally = np.stack([(votes == k).sum(0) for k in range(count)])
    majority = tally.argmax(0).astype(np.int64)
    return np.array([0.0 if m.collapsed else ami(m.partition, majority) for m in pool.models])


def aligned(labels: Labels, to: Labels) -> Labels:
    """Labels renamed to the matched ones of `to` (Hungarian); those without a match get names of their own."""
    from scipy.optimize import linear_sum_assignment

    table = contingency(labels, to)
    rows, columns = linear_sum_assignment(-table)
    names = np.arange(len(table)) + table.shape[1]
    names[rows] = columns
    return names[labels]


@computed("S10", "more", _NEEDS, scope="pool")
def good_fit_centrality(pool: Pool) -> NDArray[np.float64]:
    """centrality among the trials of the better half by held-out error, for each number of sprites (S10)."""
    return _mean(pool.agreement, pool.others & pool.good_fit[None])


@computed("A8", "more", _NEEDS, scope="pool", source="evidence accumulation, Fred & Jain 2005")
def aggregate_agreement(pool: Pool) -> NDArray[np.float64]:
    """AMI with what the ten configurations of the best good_fit_centrality make together (A8).

    The aggregate stands beside the trials as a candidate that is no model, and says which model is nearest to it.
    """
    best = leaders(pool)
    if not best:
        return np.full(len(pool.models), math.nan)
    partitions = [m.partition for m in pool.models]
    step = -(-len(partitions[0]) // PAIRS)
    together = aggregate([partitions[i][::step] for i in best])
    return np.array(
        [0.0 if m.collapsed else ami(p[::step], together) for m, p in zip(pool.models, partitions, strict=True)]
    )


def leaders(pool: Pool) -> list[int]:
    """The finished model of the best good_fit_centrality of each of the `BEST` best configurations."""
    scores = np.where(pool.reference, good_fit_centrality(pool), math.nan)
    first: dict[Any, int] = {}
    for i in np.argsort(-scores, kind="stable"):
        if not np.isnan(scores[i]):
            first.setdefault(pool.models[i].settings, int(i))
    return list(first.values())[:BEST]


def aggregate(partitions: Sequence[Labels]) -> Labels:
    """One grouping of n items from several (n,): average linkage over the share of them that put two items together.

    It has as many groups as the median of these.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    apart = np.mean([p[:, None] != p[None] for p in partitions], axis=0)
    count = int(np.median([len(np.unique(p)) for p in partitions]))
    tree = linkage(squareform(apart, checks=False), "average")
    return np.asarray(fcluster(tree, count, "maxclust") - 1, dtype=np.int64)
