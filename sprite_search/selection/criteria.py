"""Label-free criteria: numbers by which trials can be ranked when nobody knows the answer.

To add one, add it to `CRITERIA`: `select --by` and `criteria` know it from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainers.families import suggestion

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Criterion:
    """A number of one trained model (one row of the table), computed without labels.

    Attributes:
        name: what users write.
        group: fit or usage; criteria of one group fail together.
        about: what it is, in one line.
        smaller_is_better: direction.
        of: row -> value; NaN where the row does not have what it needs.
        not_across: settings across which values do not compare: a warning for those who search them.
        degenerate: what a model that puts every image into one sprite gets.
    """

    name: str
    group: str
    about: str
    smaller_is_better: bool
    of: Callable[[Row], float]
    not_across: tuple[str, ...] = ()
    degenerate: str = ""

    def cost(self, row: Row) -> float:
        """The value with its sign such that less is better."""
        value = self.of(row)
        return value if self.smaller_is_better else -value

    def text(self, value: float) -> str:
        return f"{value:.4g}"


def number(row: Row, name: str) -> float:
    """A metric of a row as a float; NaN when it is missing or no number."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def metric(name: str, direction: str) -> Criterion:
    """The criterion that is one logged metric."""
    return Criterion(name, "metric", f"the metric {name}", direction == "minimize", lambda row: number(row, name))


def _gap(row: Row) -> float:
    train, held_out = number(row, "train/reconstruction"), number(row, "val/reconstruction")
    return held_out / train - 1 if train > 0 else math.nan


def _balance(row: Row) -> float:
    count, effective = number(row, "sprites.count"), number(row, "val/effective_sprites")
    return math.log(effective) / math.log(count) if count > 1 and effective > 0 else math.nan


#: What lets a model explain more without being more right.
_CAPACITY = ("sprites.count", "model.layers", "transformations.sprite", "transformations.layer")

#: What decides how soft a choice is: a mix of sprites fits better than any one of them.
_SOFTNESS = ("decision.kind", "decision.activation", "decision.temperature")


def hard_error(row: Row) -> float:
    """Held-out error with the likeliest sprite alone in each layer; the plain error where that was not recorded."""
    name = "val/hard_reconstruction"
    return number(row, name if name in row else "val/reconstruction")


CRITERIA: dict[str, Criterion] = {
    entry.name: entry
    for entry in (
        Criterion(
            "reconstruction",
            "fit",
            "mean squared error on held-out images, each layer showing its likeliest sprite alone (F2 of F5)",
            True,
            hard_error,
            _CAPACITY,
            "the error of the mean image: large",
        ),
        Criterion(
            "soft_reconstruction",
            "fit",
            "mean squared error on held-out images, sprites mixed as the model mixes them (F5)",
            True,
            lambda row: number(row, "val/reconstruction"),
            (*_CAPACITY, *_SOFTNESS),
            "the error of the mean image: large",
        ),
        Criterion(
            "training_reconstruction",
            "fit",
            "mean squared error on training images (F1)",
            True,
            lambda row: number(row, "train/reconstruction"),
            (*_CAPACITY, *_SOFTNESS),
            "the error of the mean image: large",
        ),
        Criterion(
            "generalisation_gap",
            "fit",
            "held-out error over training error, less one (F6)",
            True,
            _gap,
            (),
            "near 0, as for good models: never use it alone",
        ),
        Criterion(
            "balance",
            "usage",
            "entropy of sprite usage over its largest value ln K (U1)",
            False,
            _balance,
            (),
            "0",
        ),
        Criterion(
            "effective_sprites",
            "usage",
            "exp of the entropy of sprite usage (U2)",
            False,
            lambda row: number(row, "val/effective_sprites"),
            ("sprites.count",),
            "1",
        ),
        Criterion(
            "used_sprites",
            "usage",
            "share of sprites used at least 0.2/K of the time (U3)",
            False,
            lambda row: number(row, "val/used_sprites"),
            (),
            "1/K",
        ),
    )
}


def criterion(name: str) -> Criterion:
    """The criterion of that name; ValueError with the nearest name."""
    if name not in CRITERIA:
        raise ValueError(f"{name!r} is no way to select; {suggestion(name, CRITERIA)}")
    return CRITERIA[name]
