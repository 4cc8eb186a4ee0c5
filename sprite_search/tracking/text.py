"""What people read about a trial in MLflow: its name, its note, its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.metrics import shown_metrics

from ..study.intervals import Interval, interval
from ..study.records import TrialRecord

_WORDS = 4  #: most parts of a name


def title(record: TrialRecord) -> str:
    """A short name from what was searched, as ``#7 linear gumbel_softmax``; numbers only where there are no words."""
    words = [record.point] if record.point else []
    words += [f"({record.confirms} again)"] if record.confirms is not None else []
    words += [v for v in record.params.values() if isinstance(v, str)]
    if not words:
        numbers = {n: v for n, v in record.params.items() if isinstance(v, (int, float)) and "|" not in n}
        words = [f"{n.rpartition('.')[2]}={_short(v)}" for n, v in numbers.items()][:2]
    return " ".join([f"#{record.number}", *words[:_WORDS]])


def note(record: TrialRecord) -> str:
    """Markdown that says in a sentence how the trial ended, then what was searched and what the seeds came to."""
    seeds = [s["metrics"] for s in record.seeds]
    lines = [_ending(record)]
    if record.params:
        lines.append("Searched: " + ", ".join(f"`{n}` {_short(v)}" for n, v in record.params.items() if "|" not in n))
    names = [n for n in ("val/reconstruction", *shown_metrics()) if any(n in m for m in seeds)]
    if names:
        head = ["| seed | " + " | ".join(f"`{n}`" for n in names) + " |", "|---" * (len(names) + 1) + "|"]
        rows = [
            f"| {s['seed']} | " + " | ".join(_short(s["metrics"].get(n, math.nan)) for n in names) + " |"
            for s in record.seeds
        ]
        if len(seeds) > 1:
            over = [interval(own) if len(own := [m[n] for m in seeds if n in m]) > 1 else None for n in names]
            rows.append("| **mean** | " + " | ".join(_spread(o) for o in over) + " |")
        lines.append("\n".join([*head, *rows]))
        lines.append("Pictures of each seed are in the artifacts of its child run; here are those of the first.")
    return "\n\n".join(lines)


def _spread(over: Interval | None) -> str:
    """Mean ± standard error [95 % interval]."""
    if over is None or over.error is None:
        return "–"
    return f"{_short(over.mean)} ± {_short(over.error)} [{_short(over.low)}, {_short(over.high)}]"


def _ending(record: TrialRecord) -> str:
    where = f"epoch {record.epoch} of {record.epochs}" if record.epochs else "its first report"
    value = f" Objective: **{_short(record.value)}**." if record.value is not None else ""
    return {
        "complete": f"**Complete**, {record.epochs} epochs.{value}",
        "pruned": f"**Pruned** at {where}: behind the others so far.{value}",
        "failed": f"**Failed** at {where}: {record.reason or 'no reason was given'}.",
    }.get(record.state, f"**{record.state.capitalize()}**, {where}.")


def means(metrics: Sequence[Mapping[str, float]], objectives: Sequence[str] = ()) -> dict[str, float]:
    """Mean over seeds of each metric, and its standard error as ``<name>_se`` but for train/ ones.

    Args:
        objectives: metrics whose 95 % interval is added, as ``<name>_low`` and ``<name>_high``.
    """
    found = {}
    for name in sorted(set().union(*metrics)) if metrics else []:
        values = [m[name] for m in metrics if name in m]
        over = interval(values)
        found[name] = over.mean
        if over.error is not None and not name.startswith("train/"):
            found[f"{name}_se"] = over.error
        if over.low is not None and over.high is not None and name in objectives:
            found |= {f"{name}_low": over.low, f"{name}_high": over.high}
    return found


def text(value: Any) -> str:
    """A setting as an MLflow parameter, exact: true, 0.001, gumbel_softmax."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return "–" if value is None else text(value)
    return f"{value:.4g}" if math.isfinite(value) else "–"
