"""Tests with few data sets and many criteria: permutations, Holm, Wilcoxon and sign tests, all exact or by counting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from . import endpoints as e

Floats = NDArray[np.float64]

#: Up to so many differences all signs are tried; 2 to this power is the work.
MOST = 16


def permutation(values: Floats, accuracy: Floats, draws: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Regret and rank correlation of criteria when accuracies are dealt out at random, both (draws, C).

    Args:
        values: of C criteria, larger is better, (C, M).
        accuracy: of M configurations; every criterion meets the same permutation of it, as they are related.
    """
    dealt = generator.permuted(np.tile(accuracy, (draws, 1)), axis=1)
    regrets = np.stack([e.regret(v, dealt) for v in values], 1) if len(values) else np.empty((draws, 0))
    correlations = np.stack([e.spearman(v, dealt) for v in values], 1) if len(values) else np.empty((draws, 0))
    return regrets, correlations


def by_luck(correlations: Floats, found: Sequence[float | None]) -> list[float | None]:
    """Of each criterion, how often the best of all is as good under permutation (max-T), from (draws, C)."""
    if not correlations.size or np.isnan(correlations).any():
        return [None] * len(found)
    best = correlations.max(1)
    return [None if f is None else float((1 + (best >= f - 1e-12).sum()) / (1 + len(best))) for f in found]


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's correction: p of each hypothesis such that all of them together err as seldom as one would."""
    corrected, floor = [0.0] * len(ps), 0.0
    for place, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        floor = max(floor, min(1.0, (len(ps) - place) * ps[i]))
        corrected[i] = floor
    return corrected


def wilcoxon(differences: Sequence[float]) -> float | None:
    """Exact one-sided p that differences are above 0 (signed ranks), by trying all signs; None without any.

    Zeros are left out and ties get mean ranks. With 8 differences the least p is 1/256.
    """
    d = np.asarray([x for x in differences if x != 0], dtype=float)
    if not 0 < len(d) <= MOST:
        return None
    ranks = rankdata(np.abs(d))
    seen = ranks[d > 0].sum()
    sums = np.array(list(itertools.product((0, 1), repeat=len(d)))) @ ranks
    return float((sums >= seen - 1e-9).mean())


def sign_test(differences: Sequence[float]) -> float | None:
    """Exact one-sided p that more differences are above 0 than below; zeros are left out, None without any."""
    from scipy.stats import binom

    d = [x for x in differences if x != 0]
    return float(binom.sf(sum(x > 0 for x in d) - 1, len(d), 0.5)) if d else None
