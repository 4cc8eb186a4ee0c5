"""Criteria over several studies: the study is the unit, never a pool of trials of different studies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoints import judge_checkpoints
from .evaluation import DRAWS, evaluate, interval
from .labels_needed import worth
from .leakage import checklist
from .preregistered import PRIMARY
from .redraws import recompute_with
from .significance import holm, sign_test, wilcoxon
from .tables import Study

#: What every criterion is compared with besides a random pick.
BASELINE = "reconstruction"

Floats = NDArray[np.float64]


def judge(study: Study, *, criteria: Iterable[str] | None = None, draws: int = DRAWS) -> dict[str, Any] | None:
    """What `evaluate` finds in a study, with `labels` (how many each criterion is worth), its curve and checklist,
    `aggregate` (also a baseline) and `checkpoints` (see `judge_checkpoints`).

    None where fewer than two configurations have labels. `redrawn` holds normalised regrets of redraws by
    criterion, for `over_studies`.
    """
    recompute = recompute_with(study.rows, study.pairs)
    found = evaluate(
        study.rows, study.labels, criteria=criteria, draws=draws, recompute=recompute, searched=study.searched
    )
    if found is None:
        return None
    curve = [dict(one) for one in study.label_curve]
    if study.aggregate is not None:
        lost = {n: study.aggregate[n] for n in ("regret", "normalised_regret")}
        found["baselines"].append({"name": f"aggregate of {study.aggregate['configurations']} trials", **lost})
    redrawn = {}
    for row in found["rows"]:
        row["labels"] = worth(curve, row["normalised_regret"])
        redrawn[row["criterion"]] = row.pop("redrawn")
    return {
        "study": study.name,
        "dataset": study.dataset,
        "searched": study.searched,
        "family": study.family,
        "oracle": bool(study.space.get("objective", {}).get("oracle", False)),
        **found,
        "label_curve": curve,
        "aggregate": study.aggregate,
        "checkpoints": judge_checkpoints(study.reports, study.report_labels),
        "checklist": checklist(study.space) if study.space.get("objective") else [],
        "redrawn": redrawn,
    }


def over_studies(found: Sequence[Mapping[str, Any]], *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """How criteria fare over studies; studies in which there is nothing to select are listed, not averaged.

    Args:
        found: of `judge`, one for each study.
        draws, seed: of the redraws of studies, and within each of its pool, for the interval of the mean.
    Returns:
        studies, families, left_out: names; rows: for each criterion in how many `studies` it has a value; mean,
        median and worst normalised regret, with a 95 % interval of the mean; mean and worst rank correlation and
        regret; flat (any model), harm (share of studies), restart gain, labels (the median number it is worth);
        p_random, p_random_sign and p_baseline, p_baseline_sign: exact one-sided p that it does better than a random
        pick and than `BASELINE`; for the pre-registered ones p_random_holm and p_baseline_holm.
    """
    used = [f for f in found if not f["nothing_to_select"]]
    names = list(dict.fromkeys([*PRIMARY, *(r["criterion"] for f in used for r in f["rows"])]))
    rows = [row for name in names if (row := _over(name, used, draws, seed)) is not None]
    _correct(rows)
    order = {name: i for i, name in enumerate(PRIMARY)}
    rows.sort(
        key=lambda r: (order.get(r["criterion"], len(order)), -r["studies"], r["normalised_regret"], r["criterion"])
    )
    return {
        "studies": [f["study"] for f in used],
        "families": sorted({f["family"] for f in used}),
        "left_out": [f["study"] for f in found if f["nothing_to_select"]],
        "rows": rows,
    }


def _over(name: str, used: Sequence[Mapping[str, Any]], draws: int, seed: int) -> dict[str, Any] | None:
    """One criterion over the studies in which it has a value."""
    by_study = [{r["criterion"]: r for r in f["rows"]} for f in used]
    there = [i for i, rows in enumerate(by_study) if name in rows]
    if not there:
        return None
    own = [by_study[i][name] for i in there]
    shares = np.array([r["normalised_regret"] for r in own], dtype=float)
    rivals = [by_study[i].get(BASELINE, {}).get("normalised_regret") for i in there]
    better = [rival - float(share) for rival, share in zip(rivals, shares, strict=True) if rival is not None]
    redrawn = [used[i]["redrawn"][name] for i in there]
    return {
        "criterion": name,
        "group": own[0]["group"],
        "about": own[0]["about"],
        "primary": own[0]["primary"],
        "studies": len(own),
        "normalised_regret": float(shares.mean()),
        "normalised_regret_interval": _interval(redrawn, draws, seed),
        "normalised_regret_median": float(np.median(shares)),
        "normalised_regret_worst": float(shares.max()),
        "spearman": _mean(r["spearman"] for r in own),
        "spearman_worst": _of(min, (r["spearman"] for r in own)),
        "regret": _mean(r["regret"] for r in own),
        "regret_worst": _of(max, (r["regret"] for r in own)),
        "flat": _mean(r["flat"]["normalised_regret"] for r in own),
        "top5_regret": _mean(r["top5_regret"] for r in own),
        "harm": float(np.mean([r["harm"] for r in own])),
        "restart": _mean(r["restart"]["gain"] for r in own),
        "labels": _of(np.median, (r["labels"] for r in own)),
        "p_random": wilcoxon([1 - float(s) for s in shares]),
        "p_random_sign": sign_test([1 - float(s) for s in shares]),
        "p_baseline": None if name == BASELINE else wilcoxon(better),
        "p_baseline_sign": None if name == BASELINE else sign_test(better),
    }


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    """Holm's correction over the pre-registered criteria, of each of the two questions; none for the others."""
    for question in ("p_random", "p_baseline"):
        own = [r for r in rows if r["primary"] and r[question] is not None]
        for row in rows:
            row[f"{question}_holm"] = None
        for row, p in zip(own, holm([r[question] for r in own]), strict=True):
            row[f"{question}_holm"] = p


def _interval(redrawn: Sequence[Floats], draws: int, seed: int) -> list[float] | None:
    """Of the mean over studies: these redrawn, and in each drawn one its pool."""
    generator = np.random.default_rng(seed)
    studies = generator.integers(len(redrawn), size=(draws, len(redrawn)))
    values = np.full(studies.shape, np.nan)
    for i, own in enumerate(redrawn):
        at = studies == i
        values[at] = own[generator.integers(len(own), size=int(at.sum()))]
    counts = (~np.isnan(values)).sum(1)
    return interval(np.divide(np.nansum(values, 1), counts, out=np.full(draws, np.nan), where=counts > 0))


def by_family(found: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Mean normalised regret of one criterion in each family of data sets."""
    shares: dict[str, list[float]] = {}
    for one in found:
        for row in one["rows"]:
            if row["criterion"] == name and row["normalised_regret"] is not None and not one["nothing_to_select"]:
                shares.setdefault(one["family"], []).append(row["normalised_regret"])
    return {family: float(np.mean(x)) for family, x in sorted(shares.items())}


def _mean(values: Iterable[float | None]) -> float | None:
    return _of(np.mean, values)


def _of(function: Callable[[Any], Any], values: Iterable[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return float(function(there)) if there else None
