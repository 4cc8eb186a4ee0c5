"""Did the search exploit its objective rather than find better models? Asked of criteria that nothing else may use.

A measure that becomes a target ceases to be a good measure (Goodhart). The audit's criteria (`roles.AUDIT`) were set on
24 November 2026, and may enter neither an objective nor the combination that `choose` uses. An alarm is a
reason to look at pictures, no proof: the audit's criteria are not infallible either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from . import endpoints as e
from .combination import borda
from .criteria import CRITERIA, Criterion, Row, metric
from .evaluation import UNSTEERED
from .roles import AUDIT, AUDIT_SCENES

#: What an objective should leave alone.
DRIFT = ("redundancy", "displacement", "overlap")

#: Redraws of configurations, and the share of them that a bound leaves out at one side.
DRAWS, BEYOND = 1000, 0.05

#: Fewest configurations at the top, of the optimised arm and of the random arm that say anything.
TOP, OPTIMISED, RANDOM = 10, 6, 6

#: An audit compares itself with the one so many trials before.
EVERY = 50

#: Below this even at best, the objective and the audit do not agree at the top; so much less agreement is a fall.
AGREE, FALL = 0.1, 0.3

Floats = NDArray[np.float64]


def audit(rows: Iterable[Row], *, metric_name: str, direction: str) -> dict[str, Any]:
    """Four questions about the finished configurations of a study; no label is read.

    Args:
        rows: one per trial and seed, with the columns of `compute`.
        metric_name, direction: the objective of the search.
    Returns:
        objective; criteria: the audit's, those without values left out; n configurations; questions: {question,
        alarm (None: cannot be asked), says}; best_of_n: {n, audit} the audit's score (1 best, 0 worst) of what the
        objective chooses among n configurations of the arm that no sampler steered.
    """
    found = scored(rows, metric_name=metric_name, direction=direction)
    about: dict[str, Any] = {"objective": metric_name, "criteria": found.criteria, "n": len(found.trials)}
    if not found.criteria:
        return {**about, "questions": [], "best_of_n": []}
    cost, against, free, optimised = found.cost, 1 - found.score, found.free, found.optimised
    pool = free if free.sum() >= RANDOM else np.ones(len(cost), dtype=bool)
    generator = np.random.default_rng(0)
    return {
        **about,
        "questions": [
            _top(cost, against, generator),
            _more(cost[pool], against[pool], generator),
            _arms(cost, against, free, optimised, generator),
            _drift(found),
        ],
        "best_of_n": [{"n": n + 1, "audit": float(x)} for n, x in enumerate(best_of_n(cost[pool], 1 - against[pool]))],
    }


@dataclass(frozen=True)
class Scored:
    """The finished configurations of a study by its objective and by the audit, in order of trial.

    Attributes:
        rows: of these, one per seed.
        trials: their numbers, (M,).
        criteria: the audit's, those without values left out.
        cost: by the objective, less is better, (M,).
        score: mean rank by the audit's criteria, 1 best to 0 worst, (M,).
        free, optimised: the arm that no sampler steered, and the one that a sampler did, (M,) bool.
    """

    rows: Sequence[Row]
    trials: Sequence[int]
    criteria: Sequence[str]
    cost: Floats
    score: Floats
    free: NDArray[np.bool_]
    optimised: NDArray[np.bool_]


def scored(rows: Iterable[Row], *, metric_name: str, direction: str) -> Scored:
    """What the audit looks at; see `audit`. Configurations without a finite objective are left out."""
    finished = [r for r in rows if r.get("state") == "complete" and r.get("arm") != "confirm"]
    scenes = any(r.get("model.kind") in ("multilayer", "anchors") for r in finished)
    trials = sorted({int(r["trial"]) for r in finished})
    cost = _mean_costs(finished, trials, metric(metric_name, direction))
    there = np.isfinite(cost)
    trials = [t for t, ok in zip(trials, there, strict=True) if ok]
    wanted = [n for n in (AUDIT_SCENES if scenes else AUDIT) if n != metric_name.removeprefix("criteria/")]
    table = np.stack([_mean_costs(finished, trials, CRITERIA[n]) for n in wanted], 1)
    arms = {int(r["trial"]): str(r.get("arm")) for r in finished}
    return Scored(
        rows=finished,
        trials=trials,
        criteria=[n for n, column in zip(wanted, table.T, strict=True) if np.isfinite(column).any()],
        cost=cost[there],
        score=1 - borda(table),
        free=np.array([arms[t] in UNSTEERED for t in trials], dtype=bool),
        optimised=np.array([arms[t] == "optimised" for t in trials], dtype=bool),
    )


def alarms(found: Mapping[str, Any]) -> list[str]:
    """The sentences of the questions that raised an alarm."""
    return [q["says"] for q in found["questions"] if q["alarm"]]


def best_of_n(cost: Floats, score: Floats) -> Floats:
    """Expected score of the one of least cost among n drawn without repeats, for n = 1 … M; both (M,)."""
    ranked = score[np.argsort(cost, kind="stable")]
    return np.array([_best_of(n, ranked) for n in range(1, len(cost) + 1)])


def _best_of(n: int, ranked: Floats) -> float:
    """Mean score of the first of n, from scores in order of cost: the j-th is first if n − 1 come from behind it."""
    count = len(ranked)
    behind = np.arange(count - 1, n - 2, -1)
    return float(np.exp(_log_choose(behind, n - 1) - _log_choose(count, n)) @ ranked[: len(behind)])


def _top(cost: Floats, against: Floats, generator: np.random.Generator) -> dict[str, Any]:
    question = "do objective and audit agree among the best by the objective?"
    size = max(TOP, len(cost) // 10)
    if len(cost) < size:
        return _unasked(question, f"fewer than {TOP} configurations finished")
    now, upper = _agreement(cost, against, size, generator)
    said = f"rank correlation {now:+.2f} among the best {size} by the objective, at most {upper:+.2f}"
    if upper < AGREE:
        return _answer(question, True, f"{said}: where it counts, a better objective is no better model")
    if len(cost) - EVERY >= size:
        before, _ = _agreement(cost[:-EVERY], against[:-EVERY], size, generator)
        if now < before - FALL:
            return _answer(question, True, f"{said}; it was {before:+.2f} before the last {EVERY} trials")
    return _answer(question, False, said)


def _agreement(cost: Floats, against: Floats, size: int, generator: np.random.Generator) -> tuple[float, float]:
    """Rank correlation among the `size` best, and its upper bound over redraws of these."""
    best = np.argsort(cost, kind="stable")[:size]
    at = best[generator.integers(size, size=(DRAWS, size))]
    redrawn = e.spearman(cost[at], against[at])
    return float(e.spearman(cost[best], against[best])), float(np.quantile(redrawn, 1 - BEYOND))


def _more(cost: Floats, against: Floats, generator: np.random.Generator) -> dict[str, Any]:
    question = "does the audit's score fall when the objective chooses among more configurations?"
    count = len(cost)
    few = max(1, count // 4)
    if count < TOP:
        return _unasked(question, f"fewer than {TOP} configurations finished")
    ranked = 1 - against[np.argsort(cost, kind="stable")]
    at = np.sort(generator.integers(count, size=(DRAWS, count)), axis=1)
    gained = [_best_of(count, own) - _best_of(few, own) for own in ranked[at]]
    upper = float(np.quantile(gained, 1 - BEYOND))
    said = (
        f"it is {_best_of(few, ranked):.2f} for the best of {few} and {_best_of(count, ranked):.2f} for the best of"
        f" {count} (1 best, 0 worst)"
    )
    return _answer(question, upper < 0, said + (": more trials made it worse" if upper < 0 else ""))


def _arms(
    cost: Floats, against: Floats, free: NDArray[np.bool_], optimised: NDArray[np.bool_], generator: np.random.Generator
) -> dict[str, Any]:
    question = "are optimised trials worse in the audit than random ones of the same objective?"
    if optimised.sum() < OPTIMISED or free.sum() < RANDOM:
        return _unasked(question, "one of the two arms has too few configurations")
    nearest = np.abs(cost[optimised][:, None] - cost[free]).argmin(1)
    worse = against[optimised] - against[free][nearest]
    redrawn = worse[generator.integers(len(worse), size=(DRAWS, len(worse)))].mean(1)
    alarm = float(np.quantile(redrawn, BEYOND)) > 0
    said = f"their mean rank is {worse.mean():+.2f} of the pool behind that of the nearest random trials"
    return _answer(question, alarm, said + (": the sampler exploits the objective" if alarm else ""))


def _drift(found: Scored) -> dict[str, Any]:
    question = "do optimised trials drift in what the objective should leave alone?"
    free, optimised = found.free, found.optimised
    late = np.flatnonzero(optimised)[optimised.sum() // 2 :]
    if optimised.sum() < OPTIMISED or free.sum() < RANDOM:
        return _unasked(question, "one of the two arms has too few configurations")
    left = []
    for name in DRIFT:
        values = _mean_costs(found.rows, found.trials, CRITERIA[name])
        if np.isnan(values).any():
            continue
        low, high = np.quantile(values[free], (0.05, 0.95))
        if not low <= np.median(values[late]) <= high:
            left.append(name)
    said = f"the later half of them left the range of random trials in {', '.join(left)}" if left else "they do not"
    return _answer(question, bool(left), said)


def _mean_costs(rows: Sequence[Row], trials: Sequence[int], judge: Criterion) -> Floats:
    """Mean cost over seeds of each trial, NaN where a seed has no value."""
    own: dict[int, list[float]] = {t: [] for t in trials}
    for row in rows:
        if int(row["trial"]) in own:
            own[int(row["trial"])].append(judge.cost(row))
    return np.array([np.mean(own[t]) for t in trials], dtype=float)


def _answer(question: str, alarm: bool, says: str) -> dict[str, Any]:
    return {"question": question, "alarm": alarm, "says": says}


def _unasked(question: str, why: str) -> dict[str, Any]:
    return {"question": question, "alarm": None, "says": f"cannot be asked: {why}"}


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(np.asarray(n) + 1) - gammaln(k + 1) - gammaln(np.asarray(n) - k + 1)
