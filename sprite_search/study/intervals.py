"""What a few seeds say about the mean of a configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its standard error s/√n and its two-sided interval by Student's t; both None for one value."""

    mean: float
    error: float | None = None
    low: float | None = None
    high: float | None = None


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The interval of the mean of values, one for each seed: mean ± t s/√n with n - 1 degrees of freedom.

    Raises:
        ValueError: there are no values.
    """
    n = len(values)
    if not n:
        raise ValueError("no values; an interval needs at least one")
    mean = sum(values) / n
    if n == 1:
        return Interval(mean)
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = student(n - 1, (1 + level) / 2) * error
    return Interval(mean, error, mean - half, mean + half)


def student(freedom: int, p: float) -> float:
    """The p-quantile of Student's t distribution."""
    from scipy.special import stdtrit  # not at the top: it takes a tenth of a second

    return float(stdtrit(freedom, p))
