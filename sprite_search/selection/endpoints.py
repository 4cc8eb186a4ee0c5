"""How well one criterion selects, in numbers: regret first, correlation second. Pure functions of arrays.

`values` are of a criterion, larger is better; `accuracy` is of labels, between 0 and 1. Both are (…, M): M things to
choose from, redraws in the leading dimensions. Ties share: whoever chooses by a constant draws at random. Regrets leave
out what is absent, where accuracy is NaN. The protocol and its sources are in docs/selection.md.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import rankdata, weightedtau

#: Below this spread between the best and the mean there is nothing to select: one point of accuracy.
POINT = 0.01

#: How many trials a person looks at.
TOP = 5

Floats = NDArray[np.float64]


def picked(values: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Accuracy of what is chosen: the mean over all that share the largest value, (…)."""
    v, a = _both(values, accuracy)
    v = np.where(np.isnan(a), np.nan, v)
    best = v == np.fmax.reduce(v, axis=-1, keepdims=True)
    return np.asarray(np.where(best, a, 0.0).sum(-1) / best.sum(-1))


def regret(values: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Accuracy lost to the best choice, (…)."""
    best = np.fmax.reduce(np.asarray(accuracy, dtype=float), axis=-1)
    return np.asarray(
        np.maximum(best - picked(values, accuracy), 0.0)
    )  # a mean of equal numbers may be off by rounding


def normalised_regret(values: ArrayLike, accuracy: ArrayLike, noise: ArrayLike = 0.0) -> Floats:
    """Regret over that of a random pick, (…): 0 the best, 1 as good as random, above 1 harmful.

    NaN where best − mean is below one point of accuracy or twice `noise`, the standard error of an accuracy owing
    to seeds: there is nothing to select.
    """
    return normalised(regret(values, accuracy), accuracy, noise)


def normalised(lost: ArrayLike, accuracy: ArrayLike, noise: ArrayLike = 0.0) -> Floats:
    """A regret over that of a random pick, NaN where there is nothing to select, (…)."""
    a = np.asarray(accuracy, dtype=float)
    spread = np.asarray(np.fmax.reduce(a, axis=-1) - np.nanmean(a, axis=-1))
    enough = spread >= np.maximum(POINT, 2 * np.asarray(noise))
    return np.divide(lost, spread, out=np.full(spread.shape, np.nan), where=enough)


def harmful(values: ArrayLike, accuracy: ArrayLike) -> Any:
    """Whether the choice is below the median of all, (…)."""
    return picked(values, accuracy) < np.median(np.asarray(accuracy), axis=-1)


def top_regret(values: ArrayLike, accuracy: ArrayLike, top: int = TOP) -> Floats:
    """Regret of the best among the `top` first, (…); its expectation where some tie for the last of these places."""
    v, a = _both(values, accuracy)
    count = v.shape[-1]
    top = min(top, count)
    order = np.argsort(-a, axis=-1, kind="stable")
    v, a = np.take_along_axis(v, order, -1), np.take_along_axis(a, order, -1)
    last = np.sort(v, axis=-1)[..., count - top, None]
    sure, tied = v > last, v == last
    floor = np.where(sure, a, -np.inf).max(-1, keepdims=True)
    places = top - sure.sum(-1, keepdims=True)
    # the best of m drawn from t tied ones is the j-th best of them with probability C(t − j, m − 1) / C(t, m)
    left = tied.sum(-1, keepdims=True) - np.cumsum(tied, -1)
    possible = tied & (left >= places - 1)
    with np.errstate(invalid="ignore"):
        log = _log_choose(np.maximum(left, places - 1), places - 1) - _log_choose(tied.sum(-1, keepdims=True), places)
    found = (np.where(possible, np.exp(log), 0.0) * np.maximum(a, floor)).sum(-1)
    return a[..., 0] - found


def top_overlap(values: ArrayLike, accuracy: ArrayLike, top: int = TOP) -> Floats:
    """Share of the `top` first by the criterion that are among the `top` by labels, (…); by chance it is top / M."""
    v, a = _both(values, accuracy)
    top = min(top, v.shape[-1])
    return (_membership(v, top) * _membership(a, top)).sum(-1) / top


def spearman(values: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Rank correlation with mean ranks for ties, (…); 0 for a constant, NaN for fewer than three."""
    v, a = _both(values, accuracy)
    if v.shape[-1] < 3:
        return np.full(v.shape[:-1], np.nan)
    return _correlation(rankdata(v, axis=-1), rankdata(a, axis=-1), np.ones_like(v))


def weighted_spearman(values: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Rank correlation in which the top counts more, (…); 0 for a constant, NaN for fewer than three.

    As in powerful-benchmarker (Musgrave 2022): weight max(r(v), r(a))² with r the dense rank over the largest one;
    then the weighted correlation of weighted ranks (a rank is the weight of all below, and half that of its ties).
    """
    v, a = _both(values, accuracy)
    if v.shape[-1] < 3:
        return np.full(v.shape[:-1], np.nan)
    dense = [rankdata(x, method="dense", axis=-1) for x in (v, a)]
    weights = np.maximum(*(r / r.max(-1, keepdims=True) for r in dense)) ** 2
    x, y = (_weighted_ranks(r, weights) for r in dense)
    return _correlation(x, y, weights)


def kendall(values: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Kendall's τ-b, which knows ties, (…); 0 for a constant, NaN for fewer than three."""
    v, a = _both(values, accuracy)
    count = v.shape[-1]
    if count < 3:
        return np.full(v.shape[:-1], np.nan)
    one, other = np.triu_indices(count, 1)
    order, right = (np.sign(x[..., one] - x[..., other]) for x in (v, a))
    pairs = np.sqrt(np.abs(order).sum(-1) * np.abs(right).sum(-1))
    return np.divide((order * right).sum(-1), pairs, out=np.zeros(np.shape(pairs)), where=pairs > 0)


def weighted_kendall(values: ArrayLike, accuracy: ArrayLike) -> float:
    """scipy's weighted τ of two (M,), hyperbolic weights, the top counts more; 0 for a constant."""
    v, a = _both(values, accuracy)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # 0/0 of a constant
        return _zero_if_constant(weightedtau(v, a).statistic, v)


def endpoints(values: ArrayLike, accuracy: ArrayLike, noise: float = 0.0) -> dict[str, Any]:
    """All endpoints of one criterion over M ≥ 2 things to choose from, as plain numbers.

    Returns:
        n, picked, regret, normalised_regret (None: nothing to select), top5_regret, top5_overlap and its
        expectation by chance, harm, spearman, kendall, weighted_spearman, weighted_kendall (None for fewer than
        three), constant: whether the criterion tells nothing apart.
    """
    v, a = _both(values, accuracy)
    found: dict[str, Any] = {
        "n": len(v),
        "picked": float(picked(v, a)),
        "regret": float(regret(v, a)),
        "normalised_regret": float(normalised_regret(v, a, noise)),
        "top5_regret": float(top_regret(v, a)),
        "top5_overlap": float(top_overlap(v, a)),
        "top5_overlap_by_chance": min(TOP, len(v)) / len(v),
        "harm": bool(harmful(v, a)),
        "spearman": float(spearman(v, a)),
        "kendall": float(kendall(v, a)),
        "weighted_spearman": float(weighted_spearman(v, a)),
        "weighted_kendall": weighted_kendall(v, a),
        "constant": bool((v == v[0]).all()),
    }
    return {n: None if isinstance(x, float) and np.isnan(x) else x for n, x in found.items()}


def seed_noise(accuracy: ArrayLike) -> Floats:
    """Standard error of a configuration's mean accuracy owing to seeds, from (…, M, S) with NaN for absent seeds.

    The root of the mean variance within configurations over their mean number of seeds; 0 where none has two.
    """
    a = np.asarray(accuracy, dtype=float)
    counts = (~np.isnan(a)).sum(-1)
    means = np.nansum(a, -1) / np.maximum(counts, 1)
    squares = np.nansum((a - means[..., None]) ** 2, -1).sum(-1)
    freedom = np.maximum(counts - 1, 0).sum(-1)
    variance = np.divide(squares, freedom, out=np.zeros(np.shape(freedom)), where=freedom > 0)
    return np.asarray(np.sqrt(variance / counts.mean(-1)))


def seed_mean(x: ArrayLike) -> Floats:
    """Mean over seeds of (…, M, S), NaN for absent ones, which every configuration has fewer than S of."""
    return np.asarray(np.nanmean(np.asarray(x, dtype=float), axis=-1))


def on_other_seeds(values: ArrayLike, accuracy: ArrayLike) -> dict[str, Any]:
    """Configurations ranked on all seeds but one and judged on that one, mean over which one is left out.

    With accuracy for `values` this is the noise floor: what labels themselves lose to the noise of seeds.

    Args:
        values, accuracy: (M, S); configurations with an absent (NaN) seed are left out.
    Returns:
        n configurations; regret and normalised_regret, means over the left-out seeds; None without two seeds.
    """
    v, a = _both(values, accuracy)
    whole = ~np.isnan(v + a).any(1)
    v, a = v[whole], a[whole]
    seeds = v.shape[1]
    if len(v) < 2 or seeds < 2:
        return {"n": len(v), "regret": None, "normalised_regret": None}
    left = np.stack([np.delete(v, s, axis=1).mean(1) for s in range(seeds)])
    lost = regret(left, a.T)
    shares = normalised(lost, a.T)
    kept = shares[~np.isnan(shares)]
    return {
        "n": len(v),
        "regret": float(lost.mean()),
        "normalised_regret": float(kept.mean()) if len(kept) else None,
    }


def restart(values: ArrayLike, accuracy: ArrayLike) -> dict[str, Any]:
    """Choosing the best seed inside a configuration, from (M, S) with NaN for absent seeds.

    Returns:
        n configurations whose best seed is at least one point above their mean; gain, the mean over these of
        (picked − mean) / (best − mean): 1 the best seed, 0 as good as random, negative harmful; None without any.
    """
    shares = 1 - normalised_regret(values, accuracy)
    gain = float(restart_gain(values, accuracy))
    return {"n": int((~np.isnan(shares)).sum()), "gain": None if np.isnan(gain) else gain}


def restart_gain(values: ArrayLike, accuracy: ArrayLike) -> Floats:
    """The gain of `restart`, (…), from (…, M, S); NaN where no configuration has seeds to tell apart."""
    shares = 1 - normalised_regret(values, accuracy)
    there = ~np.isnan(shares)
    count = there.sum(-1)
    return np.divide(np.where(there, shares, 0.0).sum(-1), count, out=np.full(count.shape, np.nan), where=count > 0)


def _both(values: ArrayLike, accuracy: ArrayLike) -> tuple[Floats, Floats]:
    v, a = np.broadcast_arrays(np.asarray(values, dtype=float), np.asarray(accuracy, dtype=float))
    return v, a


def _membership(x: Floats, top: int) -> Floats:
    """Probability of each to be among the `top` largest, ties drawn at random."""
    last = np.sort(x, axis=-1)[..., x.shape[-1] - top, None]
    sure, tied = x > last, x == last
    return np.where(sure, 1.0, tied * (top - sure.sum(-1, keepdims=True)) / tied.sum(-1, keepdims=True))


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Weighted correlation along the last dimension, 0 for a constant."""
    total = weights.sum(-1, keepdims=True)
    x = x - (x * weights).sum(-1, keepdims=True) / total
    y = y - (y * weights).sum(-1, keepdims=True) / total
    scale = np.sqrt((weights * x * x).sum(-1) * (weights * y * y).sum(-1))
    return np.divide((weights * x * y).sum(-1), scale, out=np.zeros(np.shape(scale)), where=scale > 1e-12)


def _weighted_ranks(dense: NDArray[np.int64], weights: Floats) -> Floats:
    """From dense ranks 1, 2, … (…, M): the weight of all below, and (t + 1) / 2 times the mean one of t that tie."""
    count = dense.shape[-1]
    place = dense.astype(np.int64).reshape(-1, count) - 1
    at = (place + count * np.arange(len(place))[:, None]).ravel()
    mass, ties = (np.bincount(at, w, len(at)).reshape(place.shape) for w in (weights.ravel(), None))
    ranks = np.cumsum(mass, -1) - mass + (ties + 1) / 2 * mass / np.maximum(ties, 1)
    return np.asarray(np.take_along_axis(ranks, place, -1).reshape(dense.shape))


def _zero_if_constant(found: float, values: Floats) -> float:
    if len(values) < 3:
        return float("nan")
    return 0.0 if np.isnan(found) else float(found)
