"""Which checkpoint of one training to trust, and whether that is better than the last: no label chooses, labels judge.

The rule was set on 26 November 2026, before any study was judged by it. Criteria jump when a transformation joins, so
only reports after the last one joined compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import endpoints as e
from .criteria import COLUMN, CRITERIA, Row, number
from .evaluation import interval, target_of
from .pool import problem

#: Errors that differ by less than this share are as good as each other, and choices that changed by so much more.
ALIKE, CALM = 0.01, 0.05

#: The training has been at its best when so many reports in a row were no better.
PATIENCE = 5

#: What each report says that the rule reads, besides what gates read.
FIT, STABILITY = CRITERIA["reconstruction"], COLUMN + "checkpoint_agreement"

#: Redraws of configurations for the intervals.
DRAWS = 2000

#: A report of a model: trial, seed and epoch.
Report = tuple[int, int, int]


def trusted(reports: Sequence[Row]) -> int | None:
    """The place of the report whose checkpoint to trust among those of one model, in order of epoch; None for none.

    From the first report after the curriculum on, a later one takes over when its held-out error is lower by more than
    a hundredth, or is within a hundredth of the least so far while its choices agree with those of the report before
    nearly (0.05) as well as ever (F5 and S5). After five reports in a row that did not, nothing takes over any more.
    Degenerate models are passed over. So the choice among the first n reports is n or the choice among the first n - 1:
    nothing but the model that is trusted so far has to be kept.

    Args:
        reports: metrics, with ``settled`` (whether the last transformation had joined), ``sprites.count`` and
            ``model.kind``; where none is settled and sound, the last one is trusted.
    """
    best: int | None = None
    least, calmest, waited = math.inf, -math.inf, 0
    for i, row in enumerate(reports):
        if not row.get("settled") or problem(row, FIT) is not None:
            continue
        error, agreement = FIT.of(row), number(row, STABILITY)
        least, calmest = min(least, error), max(calmest, agreement)  # a NaN leaves calmest as it is
        as_good = error <= (1 + ALIKE) * least and not agreement < calmest - CALM
        if best is not None and not as_good and error >= (1 - ALIKE) * FIT.of(reports[best]):
            waited += 1
            if waited == PATIENCE:
                break
            continue
        best, waited = i, 0
    return len(reports) - 1 if best is None and reports else best


def _settled(reports: Sequence[Row]) -> list[int]:
    return [i for i, r in enumerate(reports) if r.get("settled")]


def _least(reports: Sequence[Row]) -> int | None:
    return min(_settled(reports), key=lambda i: (FIT.cost(reports[i]), -i), default=None)


def _calmest(reports: Sequence[Row]) -> int | None:
    known = [i for i in _settled(reports) if not math.isnan(number(reports[i], STABILITY))]
    return max(known, key=lambda i: (number(reports[i], STABILITY), i), default=None)


#: Rules that are compared, by name: place of the report, or None where a rule has nothing to go by.
RULES: dict[str, Callable[[Sequence[Row]], int | None]] = {
    "trusted": trusted,
    "last": lambda reports: len(reports) - 1,
    "least held-out error": _least,
    "least change of choices": _calmest,
}


#: What a report is told by, and what gates and rules read of it.
_READ = (
    "trial", "seed", "epoch", "settled", "sprites.count", "model.kind", "val/reconstruction", "val/hard_reconstruction",
    "val/effective_sprites", "val/used_sprites", "val/empty_share", "val/mask_area", STABILITY,
)  # fmt: skip


def read_by_rule(report: Row) -> dict[str, Any]:
    """A report without what no rule reads."""
    return {n: report[n] for n in _READ if n in report}


def by_model(reports: Iterable[Row]) -> dict[tuple[int, int], list[Row]]:
    """The reports of each trial and seed, in order of epoch."""
    found: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(reports, key=lambda r: (int(r["trial"]), int(r["seed"]), int(r["epoch"]))):
        found.setdefault((int(row["trial"]), int(row["seed"])), []).append(row)
    return found


def judge_checkpoints(
    reports: Iterable[Row], labels: Mapping[Report, Mapping[str, float]], *, target: str | None = None, seed: int = 0
) -> dict[str, Any] | None:
    """How rules choose the checkpoint inside a training, by labels (task T4); None where no training can tell.

    Args:
        reports: of `trusted`, with trial, seed and epoch.
        labels: label metrics by trial, seed and epoch.
        target: a label metric; the first of `evaluation.TARGETS` by default.
        seed: of the redraws of configurations.
    Returns:
        target; trainings with three reports after the curriculum or more; differ: how many of these have something to
        choose (best − mean of one point or more); rules: {rule, regret, normalised_regret (over those that differ) with
        a 95 % interval, gain against the last checkpoint with one, moved: share of trainings in which it is not
        the last}.
    """
    target = target or target_of({(t, s): own for (t, s, _), own in labels.items()})
    if target is None:
        return None
    trainings = [
        (key[0], own, np.array([labels.get((*key, int(r["epoch"])), {}).get(target, math.nan) for r in own], float))
        for key, own in by_model(reports).items()
    ]
    trainings = [t for t in trainings if len(_settled(t[1])) >= 3 and not np.isnan(t[2]).any()]
    if not trainings:
        return None
    trials = np.array([trial for trial, _, _ in trainings])
    rules = [r for name in RULES if (r := _rule(name, trainings, trials, np.random.default_rng(seed))) is not None]
    return {
        "target": target,
        "trainings": len(trainings),
        "differ": sum(not math.isnan(float(e.normalised(0.0, a[_settled(own)]))) for _, own, a in trainings),
        "rules": rules,
    }


def _rule(name: str, trainings: Sequence[Any], trials: Any, generator: np.random.Generator) -> dict[str, Any] | None:
    regrets, shares, gains, moved = [], [], [], []
    for _, own, accuracy in trainings:
        if (at := RULES[name](own)) is None:
            return None
        after = accuracy[_settled(own)]
        regrets.append(max(0.0, float(after.max() - accuracy[at])))
        shares.append(float(e.normalised(regrets[-1], after)))
        gains.append(float(accuracy[at] - accuracy[-1]))
        moved.append(at != len(own) - 1)
    return {
        "rule": name,
        "regret": float(np.mean(regrets)),
        "normalised_regret": None if np.isnan(shares).all() else float(np.nanmean(shares)),
        "normalised_regret_interval": _interval(np.array(shares), trials, generator),
        "gain": float(np.mean(gains)),
        "gain_interval": _interval(np.array(gains), trials, generator),
        "moved": float(np.mean(moved)),
    }


def _interval(values: Any, trials: Any, generator: np.random.Generator) -> list[float] | None:
    """Of the mean: configurations redrawn, each with all its seeds."""
    names = np.unique(trials)
    there = ~np.isnan(values)
    sums = np.array([values[(trials == t) & there].sum() for t in names])
    counts = np.array([((trials == t) & there).sum() for t in names])
    at = generator.integers(len(names), size=(DRAWS, len(names)))
    total = counts[at].sum(1)
    return interval(np.divide(sums[at].sum(1), total, out=np.full(DRAWS, np.nan), where=total > 0))


def separated_reports(
    reports: Iterable[Row],
) -> tuple[list[dict[str, Any]], dict[Report, dict[str, float]]]:
    """Reports without labels, and the labels of each trial, seed and epoch."""
    plain: list[dict[str, Any]] = []
    labels: dict[Report, dict[str, float]] = {}
    for row in reports:
        plain.append({n: v for n, v in row.items() if not n.startswith("labels/")})
        if own := {n: v for n, v in row.items() if n.startswith("labels/")}:
            labels[int(row["trial"]), int(row["seed"]), int(row["epoch"])] = own
    return plain, labels
