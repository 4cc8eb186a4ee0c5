"""Ranks of several criteria combined into one: no criterion is safe alone, and they fail in different ways.

Pure functions of arrays. Costs are (configurations or models, criteria), less is better, NaN where a criterion has
no value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .page_rank import page_rank

Costs = NDArray[np.float64]

#: Most times that all rows are tried elsewhere in Kemeny's ranking.
SWEEPS = 50

#: Robust scores beyond this count as this.
FARTHEST = 3.0


def shares(costs: Costs) -> Costs:
    """Rank of each row by each criterion, from 0 (best) to 1 (worst); ties share the mean of their ranks.

    A row without a value is ranked worst, with the others that have none, as nothing speaks for it; a criterion
    without any value is NaN for all.
    """
    rows = len(costs)
    if rows < 2:
        return np.where(np.isnan(costs), np.nan, 0.0)
    filled = np.where(np.isnan(costs), np.inf, costs)
    ranks = (rankdata(filled, axis=0) - 1) / (rows - 1)
    return np.where(np.isnan(costs).all(0), np.nan, ranks)


def borda(costs: Costs) -> NDArray[np.float64]:
    """Mean rank over criteria (A1), 0 for a row that is first by all; criteria without any value are left out."""
    return _mean(shares(costs))


def scores(costs: Costs) -> Costs:
    """(value − median) / (1.4826 · median absolute deviation), cut at ±3; NaN for a criterion without any value."""
    middle = _median(costs)
    spread = 1.4826 * _median(np.abs(costs - middle))
    z = np.divide(costs - middle, spread, out=np.sign(costs - middle) * FARTHEST, where=spread > 0)
    z = np.where(np.isnan(costs) & ~np.isnan(costs).all(0), FARTHEST, z)
    return np.asarray(z.clip(-FARTHEST, FARTHEST))


def robust(costs: Costs) -> NDArray[np.float64]:
    """Mean over criteria of robust scores, (value − median) / (1.4826 · median absolute deviation), cut at ±3 (A2)."""
    return _mean(scores(costs))


def kemeny(costs: Costs) -> NDArray[np.float64]:
    """Place (0, 1, …) in a ranking of least total Kendall distance to the criteria's rankings (A3).

    From Borda's ranking rows are moved to wherever they disagree least, one at a time, until none moves: a local
    optimum, exact where criteria agree enough.
    """
    ranks = shares(costs)
    ranks = ranks[:, ~np.isnan(ranks).any(0)]
    # wins[i, j]: criteria that put i before j, less those that put j before i
    wins = np.sign(ranks[None] - ranks[:, None]).sum(-1)
    order = list(np.argsort(borda(costs), kind="stable"))
    for _ in range(SWEEPS):
        before = list(order)
        for row in before:
            order.remove(row)
            gains = np.concatenate([[0.0], np.cumsum([wins[other, row] for other in order])])
            order.insert(int(gains.argmax()), row)
        if order == before:
            break
    places = np.empty(len(order))
    places[order] = np.arange(len(order))
    return places


def knee(costs: Costs) -> NDArray[np.float64]:
    """Worst rank by any criterion, behind all rows that fewer others are better than by every criterion (A7).

    The first is on the Pareto front and nearest to the corner where it would be first by all: what gives up least in
    what it does worst.
    """
    ranks = shares(costs)
    ranks = ranks[:, ~np.isnan(ranks).any(0)]
    if not ranks.shape[1]:
        return np.full(len(costs), np.nan)
    better = (ranks[None] <= ranks[:, None]).all(-1) & (ranks[None] < ranks[:, None]).any(-1)
    front, left = np.zeros(len(ranks)), np.ones(len(ranks), dtype=bool)
    while left.any():
        beaten = (better & left[None]).any(1)
        front[left & beaten] += 1
        left &= beaten
    return front + ranks.max(1) / 2


def _median(x: Costs) -> NDArray[np.float64]:
    """Median of each column over the values that there are; many times as fast as `np.nanmedian` in redraws."""
    ordered, count = np.sort(x, 0), (~np.isnan(x)).sum(0)  # NaN comes last
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2])
    return np.asarray(np.take_along_axis(ordered, middle, 0).mean(0))


def _mean(x: Costs) -> NDArray[np.float64]:
    """Mean over criteria that have values."""
    there = ~np.isnan(x).all(0)
    return x[:, there].mean(1) if there.any() else np.full(len(x), np.nan)


#: What a combination is the mean over criteria of, for those that are one.
TERMS: dict[str, Callable[[Costs], Costs]] = {"catalogue": scores, "borda": shares, "robust": scores}


def catalogue(costs: Costs) -> NDArray[np.float64]:
    """`robust` over all criteria that neither steer nor audit a search (`roles.electorate`) instead of the seven."""
    return robust(costs)


def criterion_graph(costs: Costs) -> NDArray[np.float64]:
    """Mean of robust scores over groups of criteria, weighed by how much the other groups agree with each (A4).

    The weights are the PageRank of the graph of positive rank correlations, so that a group which orders the rows
    against all others hardly counts; cf. ACE, Wang & Ye 2403.14830, of spaces. Columns are means of groups (`combine`):
    among single criteria a clique of redundant ones would win.
    """
    z = scores(costs)
    z = z[:, ~np.isnan(z).any(0)]
    if not z.shape[1]:
        return np.full(len(costs), np.nan)
    ranks = rankdata(z, axis=0) - (len(z) + 1) / 2
    norms = np.sqrt((ranks**2).sum(0))
    alike = ranks.T @ ranks / np.maximum(np.outer(norms, norms), 1e-12)
    np.fill_diagonal(alike, 0)
    return np.asarray(z @ page_rank(alike.clip(min=0)))


def grouped(costs: Costs, groups: Sequence[str]) -> Costs:
    """Mean robust score of each row by the criteria of each group, (rows, groups) in order of name."""
    z = scores(costs)
    return np.stack([_mean(z[:, [g == name for g in groups]]) for name in sorted(set(groups))], 1)


#: Ways to combine, by name; all but those in `WHOLE` are over the pre-registered criteria.
WAYS: dict[str, Callable[[Costs], NDArray[np.float64]]] = {
    "catalogue": catalogue,
    "borda": borda,
    "robust": robust,
    "kemeny": kemeny,
    "knee": knee,
    "criterion_graph": criterion_graph,
}

#: Ways that are over the whole electorate, and those of them that combine groups of criteria instead of criteria.
WHOLE, BY_GROUP = ("catalogue", "criterion_graph"), ("criterion_graph",)


def combine(way: str, costs: Costs, groups: Sequence[str]) -> NDArray[np.float64]:
    """Combined cost of each row, (rows,), by one of `WAYS`.

    Args:
        costs: (rows, criteria).
        groups: of each criterion.
    """
    return WAYS[way](grouped(costs, groups) if way in BY_GROUP and groups else costs)
