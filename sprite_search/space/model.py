"""What a search space says, checked: frozen, picklable, and free of YAML."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trainers.settings import Scalar, Setting, catalogue, ordered

from .dimension import Dimension, Suggests


@dataclass(frozen=True)
class Objective:
    """The metric the search improves; `oracle` admits one that needed labels."""

    metric: str = "val/reconstruction"
    direction: str = "minimize"
    oracle: bool = False

    def describe(self) -> str:
        """For people and for diffs."""
        return f"{self.direction} {self.metric}" + (" (oracle)" if self.oracle else "")


@dataclass(frozen=True)
class Constraint:
    """Bounds of a label-free metric, the mean over the seeds of a trial."""

    metric: str
    min: float | None = None
    max: float | None = None

    def violation(self, value: float) -> float:
        """How far a value lies outside, above 0; within the bounds 0 or less, as Optuna has it."""
        ends = [self.min - value if self.min is not None else None, value - self.max if self.max is not None else None]
        return max(e for e in ends if e is not None)

    def describe(self) -> str:
        """For people and for diffs."""
        low = f"{self.min:g} ≤ " if self.min is not None else ""
        return f"{low}{self.metric}" + (f" ≤ {self.max:g}" if self.max is not None else "")


@dataclass(frozen=True)
class Budget:
    """When a study ends: configurations finished (or pruned), hours, failures, GPU-hours, nothing better found."""

    trials: int = 20
    hours: float | None = None
    max_failed: int = 10
    gpu_hours: float | None = None
    plateau: int | None = None  #: so many configurations in a row that bring nothing better


MOST_REPLICATES = 1000  #: seeds of the search are below it, fresh ones from it on


@dataclass(frozen=True)
class Confirm:
    """The second stage: the `top` best, or so many of the Pareto front, are trained again, each on fresh seeds."""

    top: int = 5
    seeds: int = 3


@dataclass(frozen=True)
class Keep:
    """Which ended trials keep their weights: the best by the objective, and those first in line for `select`.

    Besides them those trained again on fresh seeds and promoted ones.
    """

    best: int = 5
    likely: int = 20


@dataclass(frozen=True)
class Resources:
    """What one trial holds; all its replicates are trained together in it."""

    cpu: float = 1
    gpu: float = 0
    gpu_memory: float | None = None  #: GiB of a GPU that a trial needs, as `sprite-search probe` measures it
    accelerator: str | None = None  #: Ray's name of the GPUs to use, e.g. H100
    labels: Mapping[str, str] = field(default_factory=dict)  #: labels of the machines to use, as Ray has them
    at_once: int | None = None  #: trials side by side; None: as many as fit on the machines that are there
    patience: float = 2.0  #: hours without a report after which a trial is taken for lost and started again


@dataclass(frozen=True)
class Space:
    """A checked search space. `fixed` and `search` use dotted names; parents come first in `search`.

    `objective` leads: tables are sorted by it where there are `further_objectives`. `transfer_from` names
    studies of the same home whose trials this one starts with.
    """

    name: str
    about: str = ""
    path: str = ""
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    search: Mapping[str, Dimension] = field(default_factory=dict)
    start_from: tuple[tuple[str, Mapping[str, Scalar]], ...] = ()
    transfer_from: tuple[str, ...] = ()
    objective: Objective = Objective()
    further_objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    sampler: Mapping[str, Any] = field(default_factory=lambda: {"name": "tpe", "seed": 0})
    pruner: Mapping[str, Scalar] = field(default_factory=lambda: {"name": "none"})
    replicates: int = 1
    random_arm: float = 0.0
    confirm: Confirm | None = None
    budget: Budget = Budget()
    keep: Keep = Keep()
    resources: Resources = Resources()
    profile: str | None = None
    profile_reason: str = ""

    @property
    def hash(self) -> str:
        """Identity of what is searched; budget, resources, sampler and pruner may change in a running study."""
        return hashlib.sha256(json.dumps(self._meaning(), sort_keys=True).encode()).hexdigest()[:12]

    def _meaning(self) -> dict[str, Any]:
        whole = self.to_dict()
        parts = ("fixed", "search", "objective", "further_objectives", "constraints", "replicates")
        return {k: whole[k] for k in parts}

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives, the leading one first."""
        return (self.objective, *self.further_objectives)

    @property
    def oracle(self) -> bool:
        """Whether the search is told labels."""
        return any(o.oracle for o in self.objectives)

    @property
    def aim(self) -> str:
        """What the search is for, in words."""
        within = "".join(f", with {c.describe()}" for c in self.constraints)
        return " and ".join(o.describe() for o in self.objectives) + within

    @cached_property
    def order(self) -> Mapping[str, Setting]:
        """All settings, each behind those it applies with and those its range follows."""
        return ordered(catalogue(), {n: sorted(d.follows()) for n, d in self.search.items()})

    def suggest(self, trial: Suggests) -> dict[str, Scalar]:
        """A whole configuration (without seed): asks the trial only for what applies."""
        values: dict[str, Scalar] = {}
        for name, entry in self.order.items():
            if name == "seed" or not entry.applies(values):
                continue
            if name in self.search:
                values[name] = self.search[name].suggest(trial, name, values)
            else:
                values[name] = self.fixed.get(name, entry.default(values))
        return values

    def sample(self, seed: int) -> dict[str, Scalar]:
        """A random configuration, without Optuna."""
        return self.suggest(_Random(np.random.default_rng(seed)))

    def point_params(self, point: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Optuna parameters to enqueue for a start_from point; what it leaves open stays open."""
        params: dict[str, Scalar] = {}
        values = {**self.fixed, **point}
        for name, dimension in self.search.items():
            if name in point and dimension.contains(point[name]):
                params |= dimension.params(name, point[name], values)
        return params

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        whole = dataclasses.asdict(self)
        whole["start_from"] = [[name, dict(point)] for name, point in self.start_from]
        return json.loads(json.dumps(whole))

    @classmethod
    def from_dict(cls, whole: Mapping[str, Any]) -> Space:
        """The inverse of `to_dict`."""
        given = dict(whole)
        given["search"] = {n: Dimension(**{**d, "choices": tuple(d["choices"])}) for n, d in whole["search"].items()}
        given["start_from"] = tuple((name, point) for name, point in whole["start_from"])
        given["transfer_from"] = tuple(whole.get("transfer_from", ()))
        given["objective"] = Objective(**whole["objective"])
        given["further_objectives"] = tuple(Objective(**o) for o in whole.get("further_objectives", ()))
        given["constraints"] = tuple(Constraint(**c) for c in whole.get("constraints", ()))
        given["budget"] = Budget(**whole["budget"])
        if whole.get("confirm"):
            given["confirm"] = Confirm(**whole["confirm"])
        given["keep"] = Keep(**whole.get("keep", {}))
        given["resources"] = Resources(**whole["resources"])
        return cls(**given)

    def diff(self, other: Space) -> list[str]:
        """What `other` searches differently, one line each; empty when a study may go on."""
        lines = []
        mine, theirs = self._described(), other._described()
        for name in sorted({*mine, *theirs}):
            if mine.get(name) != theirs.get(name):
                lines.append(f"{name}: {mine.get(name, 'not there')} -> {theirs.get(name, 'not there')}")
        return lines

    def _described(self) -> dict[str, str]:
        return {
            **{n: str(v) for n, v in self.fixed.items()},
            **{n: f"search {d.describe()}" for n, d in self.search.items()},
            "objective": " and ".join(o.describe() for o in self.objectives),
            "constraints": ", ".join(c.describe() for c in self.constraints) or "none",
            "replicates": str(self.replicates),
        }


class _Random:
    """Answers like an Optuna trial, at random."""

    def __init__(self, random: np.random.Generator):
        self.random = random

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Any:
        if step:
            return low + step * int(self.random.integers(int((high - low) / step + 1e-9) + 1))
        if log:
            return math.exp(self.random.uniform(math.log(low), math.log(high)))
        return float(self.random.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        if log:
            return min(high, max(low, round(math.exp(self.random.uniform(math.log(low), math.log(high))))))
        return low + step * int(self.random.integers((high - low) // step + 1))
