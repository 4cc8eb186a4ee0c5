"""The finished configurations of a study as columns: criteria, label metrics and settings, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..selection import CRITERIA, Choice, Study, without_labels
from ..selection import endpoints as e
from ..selection.choice import COMBINED, judged, places
from ..selection.combination import WAYS
from ..selection.evaluation import TARGETS

#: A count of sprites in use: how large a point is drawn.
SIZE = "val/effective_sprites"


@dataclass(frozen=True)
class Column:
    """One number of each configuration.

    Attributes:
        title: what is written at an axis, with the direction that is better.
        values: NaN where a configuration has none.
        group: what it is listed under.
        words: of a setting that is no number, the words that the values count.
    """

    title: str
    values: NDArray[np.float64]
    group: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Configurations:
    """The finished configurations of a study, in order of trial; `places` of each by each kind of criteria."""

    trials: tuple[int, ...]
    columns: Mapping[str, Column]
    sizes: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    places: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study, choice: Choice) -> Configurations:
        """Columns with a value in at least two configurations; that of the choice first."""
        finished = [r for r in without_labels(study.rows) if r.get("state") == "complete"]
        trials = tuple(sorted({int(r["trial"]) for r in finished}))
        columns = {
            **_criteria(finished, trials, choice),
            **_labels(study, trials),
            **_settings(study, finished, trials),
        }
        kept = {n: c for n, c in columns.items() if np.isfinite(c.values).sum() > 1}
        ways = places(finished, choice.by if choice.by in WAYS else COMBINED)
        return cls(trials, kept, _means(finished, trials, SIZE), ways)

    def named(self, group: str) -> list[str]:
        return [n for n, c in self.columns.items() if c.group == group]

    def ranks(self, name: str) -> NDArray[np.float64]:
        """Place of each configuration by a criterion or combination, 1 the best; NaN without a value."""
        values = self.columns[name].values
        less = name not in CRITERIA or CRITERIA[name].smaller_is_better
        return np.asarray(rankdata(values if less else -values, method="min", nan_policy="omit"))

    def correlation(self, one: str, other: str) -> float:
        """Rank correlation of two columns where both have values; NaN for fewer than three."""
        return correlation(self.columns[one].values, self.columns[other].values)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation where both have values; NaN for fewer than three."""
    both = np.isfinite(a) & np.isfinite(b)
    return float(e.spearman(a[both], b[both]))


def _criteria(finished: Sequence[dict[str, Any]], trials: Sequence[int], choice: Choice) -> dict[str, Column]:
    found = {}
    if choice.by in WAYS:
        ranked = judged(list(finished), choice.by, "", "")[1]
        values = _means(ranked, trials, choice.by)
        found[choice.by] = Column(f"combined score ({choice.by}), less is better", values, "combination")
    for name, criterion in CRITERIA.items():
        rows = [{"trial": r["trial"], name: criterion.of(r)} for r in finished]
        better = "less is better" if criterion.smaller_is_better else "more is better"
        title = f"{name.replace('_', ' ')}, {better}"
        found[name] = Column(title, _means(rows, trials, name), criterion.group)
    return found


def _labels(study: Study, trials: Sequence[int]) -> dict[str, Column]:
    rows = [{"trial": trial, **own} for (trial, _), own in study.labels.items()]
    names = dict.fromkeys([*TARGETS, *sorted({n for r in rows for n in r if n != "trial"})])
    return {n: Column(n.partition("/")[2].replace("_", " "), _means(rows, trials, n), "labels") for n in names}


def _settings(study: Study, finished: Sequence[Mapping[str, Any]], trials: Sequence[int]) -> dict[str, Column]:
    first = {int(r["trial"]): r for r in reversed(finished)}
    found = {}
    for name in study.searched:
        values = [first[t].get(name) for t in trials]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values if v is not None):
            numbers = np.array([math.nan if v is None else v for v in values], dtype=float)
            found[name] = Column(name, numbers, "settings")
        else:
            words = tuple(sorted({str(v) for v in values if v is not None}))
            numbers = np.array([math.nan if v is None else words.index(str(v)) for v in values], dtype=float)
            found[name] = Column(name, numbers, "settings", words)
    return found


def _means(rows: Iterable[Mapping[str, Any]], trials: Sequence[int], name: str) -> NDArray[np.float64]:
    """Mean over the seeds of each trial that have a finite value."""
    own: dict[int, list[float]] = {t: [] for t in trials}
    for row in rows:
        value = row.get(name)
        if row["trial"] in own and isinstance(value, (int, float)) and math.isfinite(value):
            own[row["trial"]].append(float(value))
    return np.array([sum(v) / len(v) if v else math.nan for v in own.values()])
