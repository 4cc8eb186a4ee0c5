"""What a study is for: the values told to a sampler, bounds kept or not, the best trial or the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .records import TrialRecord, mean_over_seeds, searched

if TYPE_CHECKING:
    from ..space import Space

Metrics = Sequence[Mapping[str, float]]  #: of each replicate


def values(space: Space, metrics: Metrics) -> list[float]:
    """The value of each objective: the mean over replicates."""
    return [mean_over_seeds(metrics, o.metric) for o in space.objectives]


def violations(space: Space, metrics: Metrics) -> dict[str, float]:
    """How far each constraint is violated, above 0; 0 or less where it holds."""
    return {c.describe(): c.violation(mean_over_seeds(metrics, c.metric)) for c in space.constraints}


def problem(space: Space, seeds: Sequence[int], metrics: Metrics) -> str | None:
    """Why a report cannot be judged: a metric that is missing or not finite; None where all is well."""
    for name in [*(o.metric for o in space.objectives), *(c.metric for c in space.constraints)]:
        if not all(name in m for m in metrics):
            return f"{name} was not reported" + (": the data has no labels" if name.startswith("labels/") else "")
        if wrong := [str(s) for s, m in zip(seeds, metrics, strict=True) if not math.isfinite(m[name])]:
            return f"{name} is not a finite number" + (f" for seed {', '.join(wrong)}" if len(seeds) > 1 else "")
    return None


def ranked(space: Space, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Complete trials that keep the constraints, the best by the leading objective first.

    Where configurations were trained again, on fresh seeds, only these.
    """
    done = [r for r in records if r.state == "complete" and r.value is not None and r.feasible]
    done = [r for r in done if r.confirms is not None] or done
    sign = 1 if space.objective.direction == "minimize" else -1
    return sorted(done, key=lambda r: (sign * (r.value or 0.0), r.number))


def best(space: Space, records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The best trial; None before there is one, and where several objectives have a front instead."""
    if space.further_objectives:
        return None
    return next(iter(ranked(space, records)), None)


def front(space: Space, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The Pareto front, by the leading objective: trials that none other is as good as and better in something.

    Empty where there is one objective only.
    """
    if not space.further_objectives:
        return []
    done = {r.number: r for r in ranked(space, records)}
    costs = {n: _costs(space, r) for n, r in done.items()}
    found: list[int] = []
    for number in sorted(costs, key=lambda n: (costs[n], n)):
        # only what comes before can dominate, and if anything does, so does one of the front
        if not any(_dominates(costs[f], costs[number]) for f in found):
            found.append(number)
    return [done[n] for n in found]


def spread(space: Space, front: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """At most `count` trials of a Pareto front that stand for all of it, in its order.

    Those of least crowding, as NSGA-II keeps them (Deb et al. 2002): the best by each objective, then those whose
    neighbours on the front are farthest apart. Of equals the better by the leading objective.
    """
    costs = {r.number: _costs(space, r) for r in front}
    room = dict.fromkeys(costs, 0.0)
    for objective in range(len(space.objectives)):
        row = sorted(costs, key=lambda n: costs[n][objective])
        whole = costs[row[-1]][objective] - costs[row[0]][objective] if row else 0.0
        for before, number, after in zip(row, row[1:], row[2:], strict=False):
            room[number] += (costs[after][objective] - costs[before][objective]) / whole if whole else 0.0
        room.update(dict.fromkeys(row[:1] + row[-1:], math.inf))
    kept = sorted(costs, key=lambda n: -room[n])[:count]
    return [r for r in front if r.number in kept]


def confirmed(space: Space) -> str:
    """Which configurations are trained again in the end, in words."""
    assert space.confirm is not None
    several = f"the Pareto front (at most {space.confirm.top})"
    return several if space.further_objectives else f"the best {space.confirm.top}"


def since_best(space: Space, records: Iterable[TrialRecord]) -> int:
    """How many configurations ended, complete or pruned, since the best one did, or the last that joined the front."""
    ended = [r for r in searched(records) if r.state in ("complete", "pruned")]
    best: list[list[float]] = []  # of one objective the best alone
    since = 0
    for record in sorted(ended, key=lambda r: (r.finished or 0.0, r.number)):
        since += 1
        own = _costs(space, record)
        if own and record.feasible and not any(b == own or _dominates(b, own) for b in best):
            since, best = 0, [own, *(b for b in best if not _dominates(own, b))]
    return since


def _costs(space: Space, record: TrialRecord) -> list[float]:
    """Values of which less is better; empty of a trial that has none."""
    values = record.values if space.further_objectives else () if record.value is None else (record.value,)
    return [v if o.direction == "minimize" else -v for o, v in zip(space.objectives, values, strict=False)]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
