"""What a criterion is, and the table of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainers.families import suggestion

Row = Mapping[str, Any]

#: Computed criteria are columns of this name and the criterion's.
COLUMN = "criteria/"

#: What lets a model explain more without being more right.
CAPACITY = ("sprites.count", "model.layers", "transformations.sprite", "transformations.layer")

#: What decides how soft a choice is: a mix of sprites fits better than any one of them.
SOFTNESS = ("decision.kind", "decision.activation", "decision.temperature")

Scope = Literal["row", "checkpoint", "config", "pool"]


@dataclass(frozen=True)
class Criterion:
    """A number of one trained model, computed without labels.

    Attributes:
        name: what users write.
        group: its module: criteria of one group fail together.
        about: what it is, in one line.
        smaller_is_better: direction.
        of: row -> value; NaN where the row does not have what it needs.
        not_across: settings across which values do not compare: a warning for those who search them.
        degenerate: what a model that puts nearly everything into one sprite gets: the worst there is, or what chance
            gives; None where the formula itself says what such a model is worth.
        key: in the catalogue of criteria (F1 … O7).
        source: where it is from.
        scope: what it is computed from: metrics of the row, artefacts of a checkpoint, of all seeds of a
            configuration, or of the whole pool of trials.
        needs: names of the artefacts it reads.
        only: "single" for images of one sprite, "scenes" for several layers, "" for both.
        compute: Model -> float, list of Models (seeds) -> float, or Pool -> a value for each of its models; None
            for metrics of the row.
    """

    name: str
    group: str
    about: str
    smaller_is_better: bool
    of: Callable[[Row], float]
    not_across: tuple[str, ...] = ()
    degenerate: float | None = None
    key: str = ""
    source: str = ""
    scope: Scope = "row"
    needs: frozenset[str] = frozenset()
    only: Literal["", "single", "scenes"] = ""
    compute: Callable[[Any], Any] | None = None

    def cost(self, row: Row) -> float:
        """The value with its sign such that less is better."""
        value = self.of(row)
        return value if self.smaller_is_better else -value

    def text(self, value: float) -> str:
        return f"{value:.4g}"


CRITERIA: dict[str, Criterion] = {}


def number(row: Row, name: str) -> float:
    """A metric of a row as a float; NaN when it is missing or no number."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def metric(name: str, direction: str) -> Criterion:
    """The criterion that is one logged metric."""
    return Criterion(name, "metric", f"the metric {name}", direction == "minimize", lambda row: number(row, name))


def criterion(name: str) -> Criterion:
    """The criterion of that name; ValueError with the nearest name."""
    if name not in CRITERIA:
        raise ValueError(f"{name!r} is no way to select; {suggestion(name, CRITERIA)}")
    return CRITERIA[name]


Better = Literal["less", "more"]


def from_row(key: str, better: Better, **more: Any) -> Callable[[Callable[[Row], float]], Callable[[Row], float]]:
    """Registers a function of a row as the criterion of its name; its docstring's first paragraph says what it is."""

    def add(function: Callable[[Row], float]) -> Callable[[Row], float]:
        _add(function, function, key, better, "row", None, **more)
        return function

    return add


def computed(
    key: str, better: Better, needs: str, *, scope: Scope = "checkpoint", group: str = "", **more: Any
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Registers a function of artefacts as the criterion of its name, a column of the rows once `compute` made it.

    Args:
        key: in the catalogue.
        better: which values are better.
        needs: names of the artefacts it reads, separated by blanks.
        group: where its module is not called so.
        scope, more: attributes of `Criterion`.
    """

    def add(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        column = COLUMN + function.__name__
        _add(
            lambda row: number(row, column),
            function,
            key,
            better,
            scope,
            function,
            needs=needs.split(),
            group=group,
            **more,
        )
        return function

    return add


def _add(
    of: Callable[[Row], float],
    written: Callable[[Any], Any],
    key: str,
    better: Better,
    scope: Scope,
    compute: Callable[[Any], Any] | None,
    needs: Iterable[str] = (),
    group: str = "",
    **more: Any,
) -> None:
    about = " ".join((written.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")
    name, group = written.__name__, group or written.__module__.rpartition(".")[2]
    if name in CRITERIA:
        raise ValueError(f"two criteria are called {name}; rename the one in {group}")
    CRITERIA[name] = Criterion(
        name, group, about, better == "less", of, key=key, scope=scope, needs=frozenset(needs), compute=compute, **more
    )
