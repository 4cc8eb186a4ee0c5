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
    `crashes` counts workers that died while training it. `gpu` is the share of a GPU it was given when
    it ran out of memory with that of all trials.
    """

    number: int
    key: str
    state: str
    arm: str = "optimised"
    attempt: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
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

    @property
    def done(self) -> bool:
        return self.state in ("complete", "pruned", "failed")


def mean_over_seeds(metrics: Iterable[Mapping[str, float]], name: str) -> float:
    """Mean of a metric over replicates; NaN where one of them lacks it or none is there."""
    values = [m.get(name, math.nan) for m in metrics]
    return sum(values) / len(values) if values else math.nan


def best(records: Iterable[TrialRecord], direction: str) -> TrialRecord | None:
    """The complete trial of best objective."""
    done = [r for r in records if r.state == "complete" and r.value is not None]
    if not done:
        return None
    sign = 1 if direction == "minimize" else -1
    return min(done, key=lambda r: sign * (r.value or 0.0))


def counts(records: Iterable[TrialRecord]) -> dict[str, int]:
    """How many trials are in each state."""
    found = dict.fromkeys(STATES, 0)
    for record in records:
        found[record.state] += 1
    return found
