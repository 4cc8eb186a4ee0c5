"""All configurations of a space, where they can be listed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from trainers.settings import Scalar, SettingError, TrialConfig

from ..errors import InputError
from ..space import Space

#: Larger spaces are treated as endless.
MOST = 5000


def digest(config: Mapping[str, Any]) -> str:
    """Identity of a configuration; numbers count as equal when their first 12 digits are."""
    rounded = {n: _rounded(v) if isinstance(v, float) else v for n, v in config.items()}
    return TrialConfig.from_flat({**rounded, "seed": 0}).digest()


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def configurations(space: Space) -> Iterator[tuple[dict[str, Scalar], dict[str, Scalar]]]:
    """(searched parameters by their Optuna name, whole configuration) of every configuration, each once.

    Conditional settings vary only where they apply, so that no two are the same training. Without an end
    where a dimension is continuous; see `continuous`.
    """
    taken: list[int] = []
    while True:
        walk = _Walk(taken)
        whole = space.suggest(walk)
        yield walk.params, whole
        taken = walk.taken
        while taken and taken[-1] + 1 == walk.counts[len(taken) - 1]:
            taken.pop()
        if not taken:
            return
        taken[-1] += 1


def continuous(space: Space) -> str | None:
    """Name of a dimension that has no list of values; None when all have one."""
    return next((n for n, d in space.search.items() if not d.listed()), None)


class Grid:
    """The possible configurations of a space in a random order; not `finite` where they are too many to list."""

    def __init__(self, space: Space):
        self.hash, self.finite = space.hash, False
        self.entries: list[tuple[str, dict[str, Scalar]]] = []
        if (endless := continuous(space)) is not None:
            self._refuse(space, f"{endless} has no list of values; give it choices, or a step")
            return
        found = list(islice(configurations(space), MOST + 1))
        if len(found) > MOST:
            self._refuse(space, f"the space has more than {MOST:,} configurations; search less, or use tpe")
            return
        self.finite = True
        for params, config in found:
            try:
                self.entries.append((digest(config), params))
            except SettingError:
                continue  # settings that do not go together
        random.Random(int(space.sampler.get("seed", 0))).shuffle(self.entries)

    def _refuse(self, space: Space, why: str) -> None:
        if space.sampler["name"] == "grid":
            raise InputError(f"{space.path or space.name}: sampler: grid cannot list this space: {why}")

    def unseen(self, seen: Collection[str]) -> dict[str, Scalar] | None:
        """Parameters of the first configuration whose digest is not in `seen`; None when all are."""
        return next((params for key, params in self.entries if key not in seen), None)


class _Walk:
    """Answers like an Optuna trial: first as told, then each time the first value."""

    def __init__(self, first: list[int]):
        self.first = first
        self.taken: list[int] = []
        self.counts: list[int] = []
        self.params: dict[str, Scalar] = {}

    def _take(self, count: int) -> int:
        index = self.first[len(self.taken)] if len(self.taken) < len(self.first) else 0
        self.taken.append(index)
        self.counts.append(count)
        return index

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.params[name] = choices[self._take(len(choices))]
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        self.params[name] = low + step * self._take((high - low) // step + 1)
        return self.params[name]

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Any:
        # without a step only the lower end: `continuous` tells
        value = low + (step or 0.0) * self._take(int((high - low) / step + 1e-9) + 1 if step else 1)
        self.params[name] = min(high, _rounded(value))
        return self.params[name]
