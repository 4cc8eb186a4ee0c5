"""Hartigan's dip test: whether a sample of numbers has more than one mode."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Samples of the uniform distribution that a dip is compared with: the smallest p is one in so many and one.
DRAWS = 1000

Floats = NDArray[np.float64]


def dip(sample: NDArray[np.floating]) -> float:
    """Largest distance of the distribution function of a sample (n,) from the nearest unimodal one, at most 1/4.

    Hartigan & Hartigan 1985: within an interval the convex function below and the concave one above touch the step
    function; where they are farthest apart the interval of the mode is cut, until outside of it the steps are as far
    from the two as these are from each other.
    """
    x, counts = np.unique(np.asarray(sample, dtype=float), return_counts=True)
    above = np.cumsum(counts) / counts.sum()
    below = above - counts / counts.sum()
    jumps = np.sort(above - below)
    first, last, farthest = 0, len(x) - 1, float(jumps[-2:][0]) if len(x) > 1 else 0.0  # it may jump at its mode only
    while first < last:
        own = slice(first, last + 1)
        low, high = _hull(x[own], below[own]), _hull(x[own], -above[own])
        minorant = np.interp(x[own], x[own][low], below[own][low])
        majorant = np.interp(x[own], x[own][high], above[own][high])
        gap = majorant - minorant
        at_low, at_high = low[gap[low].argmax()], high[gap[high].argmax()]
        if gap[at_low] > gap[at_high]:
            left, right = at_low, high[high >= at_low][0]
        else:
            left, right = low[low <= at_high][-1], at_high
        widest = float(max(gap[at_low], gap[at_high]))
        if widest <= farthest:
            break
        before, after = (above[own] - minorant)[:left], (majorant - below[own])[right + 1 :]
        farthest = float(max(farthest, before.max(initial=0.0), after.max(initial=0.0)))
        if (left, right) == (0, last - first):
            break
        first, last = first + int(left), first + int(right)
    return farthest / 2


def p_of_one_mode(sample: NDArray[np.floating]) -> float:
    """How often a sample of the uniform distribution, the worst of all with one mode, has as large a dip."""
    null = _uniform(len(sample))
    return float((1 + (null >= dip(sample) - 1e-12).sum()) / (1 + len(null)))


@lru_cache(maxsize=8)
def _uniform(count: int) -> Floats:
    generator = np.random.default_rng(0)
    return np.array([dip(generator.random(count)) for _ in range(DRAWS)])


def _hull(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Indices of the lower convex hull of points in order of x."""
    kept: list[int] = []
    across, up = x.tolist(), y.tolist()
    for i, (a, b) in enumerate(zip(across, up, strict=True)):
        while len(kept) > 1:
            j, k = kept[-2], kept[-1]
            if (up[k] - up[j]) * (a - across[j]) < (b - up[j]) * (across[k] - across[j]):
                break
            kept.pop()
        kept.append(i)
    return np.array(kept)
