"""Criteria that need no labels, judged by labels in one study: the protocol of docs/selection.md.

Labels come in a table of their own and meet the criteria here, after these were computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import endpoints as e
from .choice import COMBINED
from .combination import WAYS
from .criteria import CRITERIA, Row, number
from .labels_needed import curve
from .preregistered import PRIMARY
from .redraws import Costs, Key, Places, Recompute, at_places, grid, key, redraw
from .significance import by_luck, holm, permutation

#: Label metrics that can be the target, the usual one of each kind of data first.
TARGETS = ("labels/accuracy", "labels/mean_accuracy", "labels/ari_foreground", "labels/nmi")

#: Redraws of the pool; 2,000 give the ends of a 95 % interval to about half a per cent of the draws.
DRAWS = 2000

#: Fewer configurations of the random arm than this are not a pool.
FEWEST = 4

#: Arms that no sampler steered.
UNSTEERED = ("start", "random")

Labels = Mapping[Key, Mapping[str, float]]
Floats = NDArray[np.float64]


def separated(rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[Key, dict[str, float]]]:
    """The table without labels, and the labels of each trial and seed."""
    plain: list[dict[str, Any]] = []
    labels: dict[Key, dict[str, float]] = {}
    for row in rows:
        plain.append({n: v for n, v in row.items() if not n.startswith("labels/")})
        own = {n: v for n, v in row.items() if n.startswith("labels/")}
        if own and row.get("seed") is not None:
            labels[key(row)] = own
    return plain, labels


def target_of(labels: Labels) -> str | None:
    """The first of `TARGETS` that labels give; None when there are none."""
    return next((t for t in TARGETS if any(_finite(own.get(t)) for own in labels.values())), None)


def evaluate(
    rows: Iterable[Row],
    labels: Labels,
    *,
    criteria: Iterable[str] | None = None,
    target: str | None = None,
    draws: int = DRAWS,
    recompute: Recompute | None = None,
    searched: Iterable[str] = (),
    seed: int = 0,
) -> dict[str, Any] | None:
    """Every criterion against labels in one study; None where fewer than two configurations have labels.

    Args:
        rows: one per trial and seed, with the columns of `compute` and without any of labels.
        labels: label metrics by trial and seed, see `separated`.
        criteria: names of `CRITERIA` and `WAYS`; all by default.
        target: a label metric; the first of `TARGETS` by default.
        draws: redraws of the pool for the intervals.
        recompute: computes criteria of the pool again in each redraw, see `recompute_from`; without it the
            intervals of these are too short, which their notes say.
        searched: settings that the study searches, for warnings about criteria that do not compare across them.
        seed: of the redraws.
    Returns:
        target; pool, its name; n configurations; seeds; best, mean and noise (standard error of a configuration owing
        to seeds); nothing_to_select; rows, one dict per criterion: what it is, `endpoints.endpoints` of
        configurations by the mean of their seeds, other_seeds, flat (any model), restart, 95 % intervals as
        ``…_interval`` (of flat its regrets), p of the regret by permutation, and of the rank correlation corrected for
        the number of criteria (p_corrected), note; baselines; by_luck; pools, the pre-registered criteria in pools
        with fewer survivors.
    Raises:
        ValueError: the rows have columns of labels.
    """
    rows = list(rows)
    _guard(rows)
    target = target or target_of(labels)
    if target is None:
        return None
    pools = survivors(rows, labels, target)
    name = _main(pools)
    if _count(pools[name]) < 2:
        return None
    wanted = list(dict.fromkeys([*PRIMARY, *CRITERIA, *WAYS])) if criteria is None else list(criteria)
    judged = _Judged.of(pools[name], labels, target, wanted, recompute)
    table = judged.table(set(searched))
    judged.add_intervals(table, draws, np.random.default_rng(seed))
    luck = judged.add_significance(table, draws, np.random.default_rng(seed))
    return {
        "target": target,
        "pool": POOLS[name],
        "n": len(judged.places),
        "seeds": judged.places.shape[1],
        "best": float(judged.means.max()),
        "mean": float(judged.means.mean()),
        "noise": judged.noise,
        "nothing_to_select": math.isnan(float(e.normalised(0.0, judged.means, judged.noise))),
        "rows": table,
        "baselines": judged.baselines(pools[name]),
        "by_luck": luck,
        "pools": [r for n in POOLS for r in _in_pool(n, pools, labels, target, [p for p in PRIMARY if p in wanted])],
    }


#: Pools of trials, from the one that no pruner or sampler touched to the one with everything.
POOLS = {
    "random": "finished trials that no sampler steered",
    "finished": "all finished trials",
    "last": "all trials at their last checkpoint",
}


def survivors(rows: Iterable[Row], labels: Labels, target: str, *, fresh: bool = False) -> dict[str, list[Row]]:
    """The rows with a finite target in each of `POOLS`; with `fresh`, trials trained again on fresh seeds too."""
    known = [r for r in rows if (fresh or r.get("arm") != "confirm") and _finite(labels.get(key(r), {}).get(target))]
    finished = [r for r in known if r.get("state") == "complete"]
    return {"random": [r for r in finished if r.get("arm") in UNSTEERED], "finished": finished, "last": known}


def main_pool(pools: Mapping[str, list[Row]]) -> list[Row]:
    """The pool that criteria are judged on."""
    return pools[_main(pools)]


def _main(pools: Mapping[str, Sequence[Row]]) -> str:
    return "random" if _count(pools["random"]) >= FEWEST else "finished"


def label_curve(
    rows: Iterable[Row], labels: Labels, assignments: Mapping[Key, NDArray[np.int64]], classes: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """What selecting by labels of n images loses, in the pool of `evaluate`; see `labels_needed.curve`.

    Args:
        assignments: sprite of each of N images by each model, (N,).
        classes: of these images, (N,); no images that the label metrics are of.
    Returns:
        of `labels_needed.curve`, with `shortlisted`, the normalised regret where `COMBINED` leaves five and labels
        decide.
    """
    target = target_of(labels)
    if target is None:
        return []
    pools = survivors(rows, labels, target)
    pool = [r for r in main_pool(pools) if key(r) in assignments]
    if _count(pool) < 2 or not len(classes):
        return []
    places = grid([key(r) for r in pool])
    accuracy = at_places(np.array([labels[key(r)][target] for r in pool], dtype=float), places)
    given = np.stack([assignments[key(r)] for r in pool]), classes, places, e.seed_mean(accuracy)
    costs = Costs(pool, [COMBINED])
    first = np.argsort(e.seed_mean(at_places(costs.whole(COMBINED), places)))[: e.TOP] if costs.names else None
    shortlisted = [one["normalised_regret"] for one in curve(*given, first=first)]
    return [{**one, "shortlisted": share} for one, share in zip(curve(*given), shortlisted, strict=True)]


@dataclass(frozen=True)
class _Judged:
    """A pool: costs by criteria, places (M, S) of its models, their accuracy (M, S) and that of configurations (M,)."""

    costs: Costs
    places: Places
    accuracy: Floats
    means: Floats
    noise: float

    @classmethod
    def of(
        cls, rows: Sequence[Row], labels: Labels, target: str, names: Iterable[str], recompute: Recompute | None
    ) -> _Judged:
        places = grid([key(r) for r in rows])
        accuracy = at_places(np.array([labels[key(r)][target] for r in rows], dtype=float), places)
        costs = Costs(rows, names, recompute)
        return cls(costs, places, accuracy, e.seed_mean(accuracy), float(e.seed_noise(accuracy)))

    def values(self, name: str) -> Floats:
        """Of each model, larger is better, (M, S)."""
        return -at_places(self.costs.whole(name), self.places)

    def table(self, searched: set[str]) -> list[dict[str, Any]]:
        """The rows without intervals: pre-registered criteria first, then by regret."""
        there = self.places >= 0
        table = []
        for name in self.costs.names:
            v = self.values(name)
            table.append(
                {
                    **_about(name, searched),
                    "without_value": self.costs.without(name),
                    **e.endpoints(e.seed_mean(v), self.means, self.noise),
                    "other_seeds": e.on_other_seeds(v, self.accuracy),
                    "flat": e.endpoints(v[there], self.accuracy[there]),
                    "restart": e.restart(v, self.accuracy),
                }
            )
        order = {name: i for i, name in enumerate(PRIMARY)}
        return sorted(table, key=lambda r: (order.get(r["criterion"], len(order)), r["regret"], r["criterion"]))

    def add_intervals(self, table: Sequence[dict[str, Any]], draws: int, generator: np.random.Generator) -> None:
        """Percentile intervals by redrawing configurations, then seeds; the redrawn values for pooling studies."""
        places = redraw(self.places, draws, generator)
        flat = np.full(self.costs.count, np.nan)
        flat[self.places[self.places >= 0]] = self.accuracy[self.places >= 0]
        accuracy = at_places(flat, places)
        means, noise = e.seed_mean(accuracy), e.seed_noise(accuracy)
        costs = self.costs.redrawn(places)
        for row in table:
            v = -e.seed_mean(costs[row["criterion"]])
            found = {
                "regret": e.regret(v, means),
                "normalised_regret": e.normalised_regret(v, means, noise),
                "top5_regret": e.top_regret(v, means),
                "spearman": e.spearman(v, means),
                "kendall": e.kendall(v, means),
                "weighted_spearman": e.weighted_spearman(v, means),
            }
            row.update({f"{name}_interval": interval(values) for name, values in found.items()})
            single = -costs[row["criterion"]]
            of_all = single.reshape(draws, -1), accuracy.reshape(draws, -1)
            row["flat"]["regret_interval"] = interval(e.regret(*of_all))
            row["flat"]["normalised_regret_interval"] = interval(e.normalised_regret(*of_all))
            row["restart"]["gain_interval"] = interval(e.restart_gain(single, accuracy))
            row["redrawn"] = found["normalised_regret"]
            stale = self.costs.stale(row["criterion"])
            what = "it" if stale == [row["criterion"]] else ", ".join(stale)
            row["note"] = f"intervals are too short: redraws do not compute {what} again" if stale else ""

    def add_significance(
        self, table: Sequence[dict[str, Any]], draws: int, generator: np.random.Generator
    ) -> dict[str, Any]:
        """p of each criterion by permuting accuracies over configurations; what the luckiest criterion gets."""
        values = np.stack([e.seed_mean(self.values(r["criterion"])) for r in table])
        regrets, correlations = permutation(values, self.means, draws, generator)
        primary = [i for i, r in enumerate(table) if r["primary"]]
        others = [i for i, r in enumerate(table) if not r["primary"]]
        for i, row in enumerate(table):
            row["p"] = float((1 + (regrets[:, i] <= row["regret"] + 1e-12).sum()) / (1 + draws))
        lucky = by_luck(correlations[:, others], [table[i]["spearman"] for i in others])
        corrected = [*holm([table[i]["p"] for i in primary]), *lucky]
        for i, p in zip([*primary, *others], corrected, strict=True):
            table[i]["p_corrected"] = p
        if not len(table) or len(self.means) < 3:
            return {}
        least = e.normalised(regrets.min(1), np.tile(self.means, (draws, 1)), self.noise)
        return {
            "criteria": len(table),
            "best_spearman": float(np.quantile(correlations.max(1), 0.95)),
            "least_normalised_regret": None if np.isnan(least).all() else float(np.median(least)),
        }

    def baselines(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """What needs no criterion: a random pick, labels on other seeds, labels, training loss, published settings."""
        best, mean = float(self.means.max()), float(self.means.mean())
        floor = e.on_other_seeds(self.accuracy, self.accuracy)
        share = float(e.normalised(best - mean, self.means, self.noise))
        found = [
            {"name": "random pick", "regret": best - mean, "normalised_regret": _plain(share)},
            {"name": "labels on other seeds (noise floor)", **{n: floor[n] for n in ("regret", "normalised_regret")}},
            {"name": "labels (oracle)", "regret": 0.0, "normalised_regret": _plain(0 * share)},
        ]
        if any("train/loss" in r for r in rows):
            values = np.array([-number(r, "train/loss") for r in rows], dtype=float)
            worst = np.where(np.isfinite(values), values, np.nanmin(values[np.isfinite(values)], initial=0.0))
            lost = float(e.regret(e.seed_mean(at_places(worst, self.places)), self.means))
            share = float(e.normalised(lost, self.means, self.noise))
            found.append({"name": "training loss", "regret": lost, "normalised_regret": _plain(share)})
        published = {int(r["trial"]) for r in rows if r.get("arm") == "start"}
        if published:
            trials = np.array(sorted({int(r["trial"]) for r in rows}))
            lost = best - float(self.means[np.isin(trials, list(published))].mean())
            share = float(e.normalised(lost, self.means, self.noise))
            found.append({"name": "published settings", "regret": lost, "normalised_regret": _plain(share)})
        return found


def _about(name: str, searched: set[str]) -> dict[str, Any]:
    known = CRITERIA.get(name)
    across = sorted(searched.intersection(known.not_across)) if known else []
    return {
        "criterion": name,
        "group": known.group if known else "combination",
        "about": known.about if known else " ".join((WAYS[name].__doc__ or "").split()),
        "primary": name in PRIMARY,
        "warning": f"does not compare across {', '.join(across)}, which this study searches" if across else "",
    }


def _in_pool(
    name: str, pools: Mapping[str, Sequence[Row]], labels: Labels, target: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    """The endpoints of criteria in one pool; regret is against the best of the largest."""
    if _count(pools[name]) < 2:
        return []
    judged = _Judged.of(pools[name], labels, target, names, None)
    everything = _Judged.of(pools["last"], labels, target, (), None).means
    made = []
    for criterion in judged.costs.names:
        v = e.seed_mean(judged.values(criterion))
        lost = float(everything.max() - e.picked(v, judged.means))
        made.append(
            {
                "pool": POOLS[name],
                "criterion": criterion,
                "n": len(judged.means),
                "regret": lost,
                "normalised_regret": _plain(float(e.normalised(lost, everything))),
                "spearman": _plain(float(e.spearman(v, judged.means))),
            }
        )
    return made


def interval(values: Floats) -> list[float] | None:
    """From the 2.5 to the 97.5 per cent quantile of the values that there are."""
    there = values[~np.isnan(values)]
    return [float(q) for q in np.quantile(there, (0.025, 0.975))] if len(there) else None


def _guard(rows: Iterable[Row]) -> None:
    leaked = sorted({n for r in rows for n in r if n.startswith("labels/")})
    if leaked:
        raise ValueError(f"the rows have labels ({', '.join(leaked)}); give these as a table of their own: `separated`")


def _count(rows: Iterable[Row]) -> int:
    return len({r["trial"] for r in rows})


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
