"""What is searched of one setting."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trainers.settings import Scalar

_FOLLOWS = re.compile(r"(?:(\d+\.?\d*(?:[eE][-+]?\d+)?)\s*\*\s*)?([a-z_]\w*(?:\.\w+)*)")


class Suggests(Protocol):
    """The part of an Optuna trial that a space talks to."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any: ...


def followed(end: str) -> tuple[float, str] | None:
    """(factor, setting) of an end that follows another setting, ``sprites.count`` or ``0.5 * sprites.count``."""
    found = _FOLLOWS.fullmatch(end.strip())
    return (float(found[1] or 1), found[2]) if found else None


@dataclass(frozen=True)
class Dimension:
    """What is searched of one setting: `choices`, or numbers from `low` to `high`.

    `otherwise` is the value without the setting (``{log: [a, b], or: 0}``): whether it is taken is a
    choice of its own, `<name>|on` in Optuna. `low_of` and `high_of` make an end follow another setting;
    `low` and `high` are then the least and the most it can be, and the place within the range is what
    Optuna is asked for, as `<name>|share` from 0 to 1: samplers model no ranges that change from trial to trial.
    """

    kind: str  # categorical, float or int
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    otherwise: Scalar | None = None
    low_of: str = ""
    high_of: str = ""

    def suggest(self, trial: Suggests, name: str, values: Mapping[str, Scalar]) -> Scalar:
        """Asks an Optuna trial for a value, given those of the settings before it."""
        if self.otherwise is not None and not trial.suggest_categorical(switch(name), (True, False)):
            return self.otherwise
        if self.follows():
            return self._at(float(trial.suggest_float(share(name), 0.0, 1.0)), values)
        if self.kind == "categorical":
            return trial.suggest_categorical(name, self.choices)
        if self.kind == "int":
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def contains(self, value: Any, values: Mapping[str, Scalar] | None = None) -> bool:
        """Whether the search can reach this value: at all, or together with `values` of other settings."""
        if value == self.otherwise and self.otherwise is not None:
            return True
        if self.kind == "categorical":
            return value in self.choices
        low, high = (self.low, self.high) if values is None else self.ends(values)
        return isinstance(value, (int, float)) and low <= value <= high

    def params(self, name: str, value: Scalar, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The Optuna parameters that make `suggest` return `value`; none where the range is not known."""
        if self.otherwise is not None and value == self.otherwise:
            return {switch(name): False}
        on: dict[str, Scalar] = {} if self.otherwise is None else {switch(name): True}
        if not self.follows():
            return {**on, name: value}
        if not self.follows() <= set(values):
            return {}
        return {**on, share(name): self._share(float(value), values)}

    def follows(self) -> set[str]:
        """Settings that the range follows."""
        return {found[1] for end in (self.low_of, self.high_of) if (found := followed(end)) is not None}

    def ends(self, values: Mapping[str, Scalar]) -> tuple[float, float]:
        """The range, given the settings it follows."""
        low, high = (
            float(values[found[1]]) * found[0] if (found := followed(end)) is not None else given
            for end, given in ((self.low_of, self.low), (self.high_of, self.high))
        )
        return (math.ceil(low), math.floor(high)) if self.kind == "int" else (low, high)

    def _at(self, place: float, values: Mapping[str, Scalar]) -> Scalar:
        low, high = self.ends(values)
        if (count := self._count(low, high)) is not None:
            value = low + (self.step or 1) * min(count - 1, math.floor(place * count))
            return int(value) if self.kind == "int" else value
        value = low * (high / low) ** place if self.log else low + place * (high - low)
        value = min(high, max(low, value))
        return round(value) if self.kind == "int" else value

    def _share(self, value: float, values: Mapping[str, Scalar]) -> float:
        """The inverse of `_at`."""
        low, high = self.ends(values)
        if (count := self._count(low, high)) is not None:
            return (round((value - low) / (self.step or 1)) + 0.5) / count
        if low == high:
            return 0.0
        return math.log(value / low) / math.log(high / low) if self.log else (value - low) / (high - low)

    def _count(self, low: float, high: float) -> int | None:
        """How many values there are, evenly spaced; None where they are not."""
        even = bool(self.step) or (self.kind == "int" and not self.log)
        return math.floor((high - low) / (self.step or 1) + 1e-9) + 1 if even else None

    def possible(self) -> tuple[Scalar, ...] | None:
        """All values where they can be listed, else None."""
        if self.kind == "categorical":
            return self.choices if self.otherwise is None else (*self.choices, self.otherwise)
        return None

    def listed(self) -> bool:
        """Whether its values have a list: choices, whole numbers or steps between fixed ends."""
        return not self.follows() and (self.kind != "float" or bool(self.step))

    def first(self) -> Scalar:
        """The value to begin with: without the setting where that is possible, else the first."""
        if self.otherwise is not None:
            return self.otherwise
        if self.kind == "categorical":
            return self.choices[0]
        return int(self.low) if self.kind == "int" else self.low

    def describe(self) -> str:
        """For people and for diffs."""
        if self.kind == "categorical":
            text = " | ".join(map(str, self.choices))
        else:
            text = f"{self.low_of or f'{self.low:g}'} to {self.high_of or f'{self.high:g}'}"
            text += (" (log)" if self.log else "") + (f" by {self.step:g}" if self.step else "")
        return text if self.otherwise is None else f"{text}, or {self.otherwise}"


def switch(name: str) -> str:
    """Name of the Optuna parameter that says whether a setting with `or:` is on."""
    return f"{name}|on"


def share(name: str) -> str:
    """Name of the Optuna parameter that places a setting within a range that follows another."""
    return f"{name}|share"
