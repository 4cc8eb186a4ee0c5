"""Did the choice agree with labels? Read after the choice, never by it.

Endpoints of the evaluation protocol: regret first, correlation second, intervals by a bootstrap
over configurations and their seeds. One study never decides whether a criterion is good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .choice import FALLBACK, Choice, judged
from .criteria import CRITERIA, Criterion, Row, number
from .pool import by_trial, without_labels

#: Label metrics that can be the target, the usual one of each kind of data first.
TARGETS = ("labels/accuracy", "labels/mean_accuracy", "labels/ari_foreground", "labels/nmi")

#: Below this spread between the best and the mean configuration there is nothing to select.
NOTHING = 0.01

DRAWS = 1000


def target_of(rows: Sequence[Row]) -> str | None:
    """The first of `TARGETS` that the table has; None when it has no labels."""
    return next((t for t in TARGETS if any(math.isfinite(number(r, t)) for r in rows)), None)


def agreement(rows: Iterable[Row], choice: Choice, *, target: str | None = None) -> dict[str, Any] | None:
    """How the chosen trial fares by labels, among the trials that finished; None without labels.

    Returns:
        target; n configurations; chosen and best_by_labels {trial, value}; regret = best - chosen;
        normalised_regret = regret / (best - mean): 0 is the best pick, 1 a random one, above 1 is
        harmful, None where there is nothing to select; spearman of what it was chosen by with the
        target, over configurations that have both; the label value of the chosen seed and of the best seed in
        its trial.
    """
    rows = list(rows)
    target = target or target_of(rows)
    if target is None or choice.trial is None or choice.by == "objective":
        return None
    pool = _pool(rows, CRITERIA[FALLBACK], target)
    chosen = next((p for p in pool if p[0] == choice.trial), None)
    if chosen is None:
        return None
    labels = np.array([p[2].mean() for p in pool])
    _, table, judge, _ = judged(without_labels(rows), choice.by, "", "")
    cost = {trial: np.mean([judge.cost(r) for r in own]) for trial, own in by_trial(table).items()}
    ranked = np.array([(-cost[p[0]], p[2].mean()) for p in pool if np.isfinite(cost[p[0]])])
    best = pool[int(labels.argmax())]
    own = {int(r["seed"]): number(r, target) for r in by_trial(rows)[choice.trial]}
    return {
        "target": target,
        "n": len(pool),
        "chosen": {"trial": choice.trial, "value": float(chosen[2].mean())},
        "best_by_labels": {"trial": best[0], "value": float(labels.max())},
        "regret": float(labels.max() - chosen[2].mean()),
        "normalised_regret": normalised_regret(labels, float(chosen[2].mean())),
        "spearman": spearman(*ranked.T) if len(ranked) else None,
        "chosen_seed": {"seed": choice.seed, "value": own.get(choice.seed or 0)},
        "best_seed_of_it": max(own.values()),
    }


def criteria_table(
    rows: Iterable[Row], *, target: str | None = None, searched: Iterable[str] = (), draws: int = DRAWS
) -> dict[str, Any] | None:
    """Every label-free criterion against labels in one study; None without labels.

    The pool is the finished trials that were not steered by the sampler (arms start and random) when
    there are at least four of them, else all finished ones: a sampler that minimises reconstruction
    narrows its range and so its correlation.

    Returns:
        {target, n, pool, spread, rows: one dict per criterion with n, regret, normalised_regret,
        spearman and their 95 % intervals, warning}; rows best (least regret) first.
    """
    rows, searched = list(rows), set(searched)
    target = target or target_of(rows)
    if target is None:
        return None
    honest = [r for r in rows if r.get("arm") in ("start", "random")]
    few = len({r["trial"] for r in honest if r.get("state") == "complete"}) < 4
    pool_rows, pool_name = (rows, "all finished trials") if few else (honest, "trials asked first or at random")
    table = [_judged(pool_rows, c, target, searched, draws) for c in CRITERIA.values()]
    table = sorted((t for t in table if t["n"] >= 2), key=lambda t: (t["regret"], t["criterion"]))
    labels = [p[2].mean() for p in _pool(pool_rows, CRITERIA["reconstruction"], target)]
    spread = float(max(labels) - np.mean(labels)) if labels else 0.0
    return {"target": target, "n": len(labels), "pool": pool_name, "spread": spread, "rows": table}


def _judged(rows: Sequence[Row], by: Criterion, target: str, searched: set[str], draws: int) -> dict[str, Any]:
    pool = _pool(rows, by, target)
    made: dict[str, Any] = {"criterion": by.name, "group": by.group, "about": by.about, "n": len(pool)}
    across = sorted(searched.intersection(by.not_across))
    made["warning"] = f"does not compare across {', '.join(across)}, which this study searches" if across else ""
    if len(pool) < 2:
        return made
    costs = np.array([costs.mean() for _, costs, _ in pool])
    labels = np.array([labels.mean() for _, _, labels in pool])
    picked = float(labels[costs == costs.min()].mean())  # ties share the pick
    made["regret"] = float(labels.max() - picked)
    made["normalised_regret"] = normalised_regret(labels, picked)
    made["spearman"] = spearman(-costs, labels)
    costs, labels = _redrawn(pool, draws)
    best = costs == costs.min(1, keepdims=True)
    regrets = labels.max(1) - (labels * best).sum(1) / best.sum(1)
    made["regret_interval"] = _interval(regrets)
    made["spearman_interval"] = _interval(_correlations(-costs, labels)) if len(pool) >= 3 else None
    return made


def _interval(values: Any) -> list[float]:
    """From the 2.5 to the 97.5 per cent quantile."""
    return [float(q) for q in np.quantile(values, (0.025, 0.975))]


def _redrawn(pool: Sequence[tuple[int, Any, Any]], draws: int) -> tuple[Any, Any]:
    """Mean costs and labels (draws, n) of pools redrawn in two levels: configurations, then seeds within each."""
    generator = np.random.default_rng(0)
    sizes = np.array([len(p[1]) for p in pool])
    padded = np.zeros((2, len(pool), sizes.max()))
    for row, (_, costs, labels) in enumerate(pool):
        padded[:, row, : len(costs)] = costs, labels
    at = generator.integers(len(pool), size=(draws, len(pool)))
    size = sizes[at][..., None]
    seeds = (generator.random((*at.shape, sizes.max())) * size).astype(int)
    counted = np.arange(sizes.max()) < size  # as many draws as a configuration has seeds
    costs, labels = (padded[:, at[..., None], seeds] * counted).sum(-1) / size[..., 0]
    return costs, labels


def _pool(rows: Iterable[Row], by: Criterion, target: str) -> list[tuple[int, Any, Any]]:
    """(trial, costs of its seeds, label values of its seeds) of finished trials where both are finite."""
    made = []
    for trial, group in by_trial(rows).items():
        pairs = np.array([(by.cost(r), number(r, target)) for r in group if r.get("state") == "complete"])
        if len(pairs) and np.isfinite(pairs).all():
            made.append((trial, pairs[:, 0], pairs[:, 1]))
    return made


def normalised_regret(labels: Any, picked: float) -> float | None:
    """(best - picked) / (best - mean); None when best - mean is below one point: nothing to select."""
    spread = float(labels.max() - labels.mean())
    return (float(labels.max()) - picked) / spread if spread >= NOTHING else None


def spearman(a: Any, b: Any) -> float | None:
    """Rank correlation with average ranks for ties; None for fewer than 3 points, 0 for a constant."""
    if len(a) < 3:
        return None
    return float(_correlations(np.asarray(a)[None], np.asarray(b)[None])[0])


def _correlations(a: Any, b: Any) -> Any:
    """Rank correlation of each row of a with that of b, (rows,); 0 for a constant."""
    from scipy.stats import rankdata

    first, second = (r - r.mean(1, keepdims=True) for r in (rankdata(a, axis=1), rankdata(b, axis=1)))
    scale = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.divide((first * second).sum(1), scale, out=np.zeros(len(scale)), where=scale > 0)
