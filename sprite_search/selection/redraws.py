"""Costs of models by many criteria, in a pool and in redraws of it: configurations first, then their seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choice import combined_criteria, groups_of
from .combination import WAYS, combine
from .criteria import CRITERIA, Model, Pool, Row

#: A trained model: trial and seed.
Key = tuple[int, int]

#: Values of the criteria that depend on the pool, for the models of a redraw, each as often as it was drawn.
Recompute = Callable[[Sequence[Key]], Mapping[str, Any]]

#: Criteria of the pool that cost little once the agreement of all pairs is known, and those that do not move in a
#: redraw: the latter's intervals are too short.
CHEAP = ("centrality", "eigen_centrality", "good_fit_centrality")

#: Combinations that are ranked again inside each redraw.
RERANKED = ("catalogue", "borda", "robust", "knee", "criterion_graph")

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def key(row: Row) -> Key:
    """The model of a row."""
    seed = row.get("seed")
    return int(row["trial"]), -1 if seed is None else int(seed)


def grid(keys: Sequence[Key]) -> Places:
    """Where the seeds of each configuration are in the list, (M, S) in order of trial; -1 for absent ones."""
    own: dict[int, list[int]] = {}
    for i in sorted(range(len(keys)), key=lambda i: keys[i]):
        own.setdefault(keys[i][0], []).append(i)
    places = np.full((len(own), max(map(len, own.values()), default=0)), -1)
    for row, at in enumerate(own.values()):
        places[row, : len(at)] = at
    return places


def redraw(places: Places, draws: int, generator: np.random.Generator) -> Places:
    """Pools redrawn in two levels, (draws, M, S): configurations, then as many seeds as each has, with repeats."""
    count, most = places.shape
    sizes = (places >= 0).sum(1)
    at = generator.integers(count, size=(draws, count))
    size = sizes[at][..., None]
    seeds = (generator.random((draws, count, most)) * size).astype(np.int64)
    return np.where(np.arange(most) < size, places[at[..., None], seeds], -1)


def at_places(x: Floats, places: Places) -> Floats:
    """x of the models at these places, NaN where there is none."""
    return np.where(places >= 0, x[places], np.nan)


class Costs:
    """Costs of models (less is better) by criteria and combinations.

    Args:
        rows: one per model.
        names: of `CRITERIA` and `WAYS`; those without any finite value are left out.
        recompute: see `Recompute`; None leaves these criteria as they are in the whole pool.
    """

    def __init__(self, rows: Sequence[Row], names: Iterable[str], recompute: Recompute | None = None):
        self.keys, self.count = [key(r) for r in rows], len(rows)
        wanted = list(names)
        self.parts = {way: combined_criteria(rows, way) for way in wanted if way in WAYS}
        plain = dict.fromkeys([*(n for n in wanted if n in CRITERIA), *(p for own in self.parts.values() for p in own)])
        table = {n: np.array([CRITERIA[n].cost(r) for r in rows], dtype=float) for n in plain}
        self._plain = {n: x for n, x in table.items() if np.isfinite(x).any()}
        self._recompute = recompute
        self._plain |= self._fresh(np.arange(len(rows)))
        self.ways = [way for way, own in self.parts.items() if own]
        self.names = [n for n in wanted if n in self._plain or n in self.ways]
        self._whole = {**self._plain, **self._combined(self._plain)}

    def whole(self, name: str) -> Floats:
        """Costs of all models by one criterion, (models,); models without a value count as the worst."""
        return _filled(self._whole[name])

    def without(self, name: str) -> int:
        """How many models have no value."""
        return int((~np.isfinite(self._whole[name])).sum())

    def stale(self, name: str) -> list[str]:
        """Criteria behind this one that depend on the pool or on all seeds and are not computed again in redraws."""
        if name in WAYS:
            return [name] if name not in RERANKED else [p for part in self.parts[name] for p in self.stale(part)]
        moves = self._recompute is not None and name in CHEAP
        return [name] if CRITERIA[name].scope in ("config", "pool") and not moves else []

    def redrawn(self, places: Places) -> dict[str, Floats]:
        """Costs by each of `names` at the places (draws, M, S) of redraws, NaN where there is no model."""
        drawn = {n: at_places(x, places) for n, x in self._whole.items()}
        moving = [n for n in self.ways if n in RERANKED]
        if moving or self._recompute is not None:
            for draw, own in enumerate(places):
                there = own >= 0
                for name, x in self._again(own[there], moving).items():
                    drawn[name][draw][there] = x
        return {n: _filled_draws(drawn[n], places >= 0) for n in self.names}

    def _again(self, at: Places, ways: Sequence[str]) -> dict[str, Floats]:
        """Costs that depend on the pool, of the models drawn."""
        fresh = self._fresh(at)
        return {**fresh, **self._combined({n: fresh.get(n, x[at]) for n, x in self._plain.items()}, ways)}

    def _fresh(self, at: Places) -> dict[str, Floats]:
        if self._recompute is None:
            return {}
        found = self._recompute([self.keys[i] for i in at])
        signs = {n: 1 if CRITERIA[n].smaller_is_better else -1 for n in found if n in self._plain}
        return {n: sign * np.asarray(found[n], dtype=float) for n, sign in signs.items()}

    def _combined(self, plain: Mapping[str, Floats], ways: Sequence[str] | None = None) -> dict[str, Floats]:
        ways = self.ways if ways is None else ways
        made = {}
        for way in ways:
            names = self.parts[way]
            made[way] = combine(way, np.stack([plain[n] for n in names], 1), groups_of(names))
        return made


@dataclass(frozen=True)
class Pairs:
    """What redraws need to know of a pool: its models (C), their held-out errors (C,) and agreements (C, C)."""

    keys: tuple[Key, ...]
    errors: Floats
    agreement: Floats


def pairs_of(rows: Iterable[Row], artefacts: Mapping[Key, Mapping[str, Any]]) -> Pairs | None:
    """The agreement of all pairs of models; None where there are no artefacts, or none of the same images."""
    models = [Model(r, artefacts[key(r)]) for r in rows if key(r) in artefacts]
    needs = frozenset().union(*(CRITERIA[n].needs for n in CHEAP))
    known = [m for m in models if not m.missing(needs)]
    if len({m.subset for m in known}) != 1:
        return None
    pool = Pool(known)
    return Pairs(tuple(key(m.row) for m in known), pool.errors, pool.agreement)


def recompute_with(rows: Iterable[Row], pairs: Pairs | None) -> Recompute | None:
    """Computes the criteria in `CHEAP` again for any redraw of the models; None without `pairs`.

    A configuration that is drawn twice is no reference for itself.
    """
    if pairs is None:
        return None
    index = {k: i for i, k in enumerate(pairs.keys)}
    by_key = {key(r): r for r in rows}
    known = [Model(by_key.get(k, {"trial": k[0], "seed": k[1]}), {}) for k in pairs.keys]

    def recompute(keys: Sequence[Key]) -> dict[str, Floats]:
        there = [i for i, k in enumerate(keys) if k in index]
        at = np.array([index[keys[i]] for i in there], dtype=np.int64)
        pool = Pool([known[i] for i in at])
        pool.agreement, pool.errors = pairs.agreement[np.ix_(at, at)], pairs.errors[at]
        found = {name: np.full(len(keys), np.nan) for name in CHEAP}
        for name, x in found.items():
            compute = CRITERIA[name].compute
            assert compute is not None
            x[there] = compute(pool)
        return found

    return recompute


def recompute_from(rows: Iterable[Row], artefacts: Mapping[Key, Mapping[str, Any]]) -> Recompute | None:
    """`recompute_with` of models whose artefacts are at hand."""
    rows = list(rows)
    return recompute_with(rows, pairs_of(rows, artefacts))


def _filled(costs: Floats) -> Floats:
    """Costs that are not finite count as the worst of the pool."""
    finite = np.isfinite(costs)
    return np.where(finite, costs, costs[finite].max() if finite.any() else 0.0)


def _filled_draws(costs: Floats, there: NDArray[np.bool_]) -> Floats:
    finite = np.isfinite(costs)
    worst = np.where(finite, costs, -np.inf).max((-2, -1), keepdims=True)
    filled = np.where(finite, costs, np.where(np.isfinite(worst), worst, 0.0))
    return np.where(there, filled, np.nan)
