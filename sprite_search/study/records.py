"""One row of the ledger, free of Optuna."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: States of a trial: waiting to start, running (or to be taken up again), and the three ends.
STATES = ("queued", "running", "complete", "pruned", "failed")


@dataclass(frozen=True)
class TrialRecord:
    """What the ledger knows of one configuration.

    `config` is the whole flat configuration without seed, `params` what was searched of it. `seeds` holds
    one ``{"seed": s, "metrics": {...}}`` per replicate, from the last report. Times are seconds since 1970:
    `reported` is that of the last report, `breaks` are (ended, went on) of each driver that left it unfinished.
    `value` is that of the leading objective, `values` of all; `violations` say how far each constraint is violated,
    0 or less where it holds.
    `crashes` counts workers that died while training it. `gpu` is the share of a GPU it was given when
    it ran out of memory with that of all trials; `shares` are the GPUs that each of its attempts held.
    `replicates` are the seeds it is trained from. `confirms` is the trial whose configuration it trains again
    (arm "confirm").
    """

    number: int
    key: str
    state: str
    arm: str = "optimised"
    attempt: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    values: tuple[float, ...] = ()
    violations: Mapping[str, float] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 0
    seeds: tuple[Mapping[str, Any], ...] = ()
    reason: str | None = None
    started: float | None = None
    finished: float | None = None
    point: str | None = None
    reported: float | None = None
    breaks: tuple[tuple[float, float], ...] = ()
    crashes: int = 0
    gpu: float | None = None
    shares: tuple[float, ...] = ()
    replicates: tuple[int, ...] = ()
    confirms: int | None = None

    @property
    def done(self) -> bool:
        return self.state in ("complete", "pruned", "failed")

    @property
    def feasible(self) -> bool:
        """Whether it keeps all constraints of the study."""
        return all(v <= 0 for v in self.violations.values())

    @property
    def spans(self) -> list[tuple[float, float]]:
        """(began, ended) of each attempt, in seconds since 1970; one that broke off ended at its last report."""
        if self.started is None:
            return []
        starts = [self.started, *(b[1] for b in self.breaks)]
        last = self.finished or self.reported or starts[-1]
        return list(zip(starts, [*(b[0] for b in self.breaks), max(last, starts[-1])], strict=True))

    @property
    def hours(self) -> float:
        """Hours in which it was trained."""
        return sum(end - start for start, end in self.spans) / 3600

    @property
    def gpu_hours(self) -> float:
        """The same times the GPUs it held."""
        held = zip(self.spans, self.shares, strict=False)
        return sum(share * (end - start) for (start, end), share in held) / 3600


def mean_over_seeds(metrics: Iterable[Mapping[str, float]], name: str) -> float:
    """Mean of a metric over replicates; NaN where one of them lacks it or none is there."""
    values = [m.get(name, math.nan) for m in metrics]
    return sum(values) / len(values) if values else math.nan


def searched(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials of the search: without those that train a configuration again."""
    return [r for r in records if r.confirms is None]


def counts(records: Iterable[TrialRecord]) -> dict[str, int]:
    """How many trials are in each state."""
    found = dict.fromkeys(STATES, 0)
    for record in records:
        found[record.state] += 1
    return found
