"""Criteria of artefacts, as columns of the table of trials: a pure function of tables and arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .criteria import COLUMN, CRITERIA, Criterion, Model, Pool, Row

#: A trained model: trial and seed.
Key = tuple[int, int]

Artefacts = Mapping[Key, Mapping[str, Any]]

#: Told what is computed.
Tell = Callable[[str], None]


def compute(
    rows: Iterable[Row], artefacts: Artefacts, tell: Tell | None = None, *, names: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """The rows with a column ``criteria/<name>`` for each criterion of artefacts.

    NaN where a row has no artefacts or not those that a criterion needs: `missing` says which. A collapsed model
    (fewer than 1.5 effective sprites) gets the criterion's value for degenerate labellings. Criteria of a
    configuration or the pool compare models that were looked at through the same images.

    Args:
        rows: of `study.table.rows`; labels in them are not read.
        artefacts: the arrays of each trial and seed, see `trainers.artefacts.collect`, with ``images`` and
            ``invariant`` added where there are any.
        tell: hears the name of each criterion before it is computed.
        names: of the criteria; all that there are by default.
    """
    table = [dict(row) for row in rows]
    models = _models(table, artefacts)
    pools: dict[tuple[Key, ...], Pool] = {}  # what pools have in common is computed once
    for criterion in _computed() if names is None else [CRITERIA[n] for n in names]:
        if tell is not None:
            tell(criterion.name)
        values = _values(criterion, [m for m in models.values() if not _lacks(criterion, m)], pools)
        for row in table:
            row[COLUMN + criterion.name] = values.get(_key(row), math.nan)
    return table


def missing(rows: Iterable[Row], artefacts: Artefacts) -> dict[Key, dict[str, str]]:
    """Why criteria have no value: for each trial and seed, criterion -> the reason in words."""
    rows = list(rows)
    models = _models(rows, artefacts)
    reasons: dict[Key, dict[str, str]] = {}
    for row in rows:
        key = _key(row)
        found = {c.name: _why(c, models.get(key), models) for c in _computed()}
        reasons[key] = {name: why for name, why in found.items() if why}
    return reasons


def _computed() -> list[Criterion]:
    return [c for c in CRITERIA.values() if c.compute is not None]


def _key(row: Row) -> Key:
    seed = row.get("seed")
    return int(row["trial"]), -1 if seed is None else int(seed)


def _models(rows: Iterable[Row], artefacts: Artefacts) -> dict[Key, Model]:
    return {_key(row): Model(row, artefacts[_key(row)]) for row in rows if _key(row) in artefacts}


def _lacks(criterion: Criterion, model: Model) -> str:
    """Why a model is not one that the criterion can look at; "" when it is."""
    if criterion.only == "single" and model.scenes:
        return "is for images of one sprite, and this model has layers with masks"
    if criterion.only == "scenes" and not model.scenes:
        return "is for scenes of several layers with masks"
    if "E" in model.arrays and not np.isfinite(model.arrays["E"]).all():
        return "its errors are not finite numbers"
    absent = model.missing(criterion.needs)
    return f"needs {', '.join(absent)}, which its artefacts do not have" if absent else ""


def _why(criterion: Criterion, model: Model | None, models: Mapping[Key, Model]) -> str:
    if model is None:
        return "there are no artefacts of this model: it was trained before they were kept, or they were lost"
    why = _lacks(criterion, model)
    if why or criterion.scope == "checkpoint":
        return why
    alike = [m for m in models.values() if m.subset == model.subset and not _lacks(criterion, m)]
    if criterion.scope == "config" and sum(m.trial == model.trial for m in alike) < 2:
        return "needs two seeds of a configuration: set replicates to 3"
    if criterion.scope == "pool" and not Pool([model, *alike]).others[0].any():
        return "needs another finished trial on the same images"
    return ""


def _values(criterion: Criterion, models: Sequence[Model], pools: dict[tuple[Key, ...], Pool]) -> dict[Key, float]:
    compute = criterion.compute
    assert compute is not None
    values: dict[Key, float] = {}
    if criterion.scope == "checkpoint":
        return {_key(m.row): _one(criterion, m) for m in models}
    for subset in dict.fromkeys(m.subset for m in models):
        alike = [m for m in models if m.subset == subset]
        if criterion.scope == "pool":
            keys = tuple(_key(m.row) for m in alike)
            found = compute(pools.setdefault(keys, Pool(alike)))
            values |= {key: float(v) for key, v in zip(keys, found, strict=True)}
            continue
        for trial in dict.fromkeys(m.trial for m in alike):
            seeds = [m for m in alike if m.trial == trial]
            values |= dict.fromkeys((_key(m.row) for m in seeds), float(compute(seeds)))
    return values


def _one(criterion: Criterion, model: Model) -> float:
    if criterion.degenerate is not None and not model.missing(("A", "sprites")) and model.collapsed:
        return criterion.degenerate
    assert criterion.compute is not None
    return float(criterion.compute(model))
