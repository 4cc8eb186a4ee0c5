"""The ledger as a table: one row per trial and seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .records import TrialRecord


def rows(records: Iterable[TrialRecord], *, labels: bool = False) -> list[dict[str, Any]]:
    """Flat rows: trial, seed, state, arm, the trial it confirms, attempt, reason, metrics, cost and settings.

    A trial that breaks constraints has a column ``violates``.

    Args:
        records: from the ledger.
        labels: include metrics that needed labels; selection is never given those.
    """
    table = []
    for record in records:
        broken = ", ".join(name for name, by in record.violations.items() if by > 0)
        for replicate in record.seeds or ({"seed": None, "metrics": {}},):
            metrics = {n: v for n, v in replicate["metrics"].items() if labels or not n.startswith("labels/")}
            table.append(
                {
                    "trial": record.number,
                    "seed": replicate["seed"],
                    "state": record.state,
                    "arm": record.arm,
                    "confirms": record.confirms,
                    "attempt": record.attempt,
                    "reason": record.reason,
                    "epoch": record.epoch,
                    "epochs": record.epochs,
                    "value": record.value,
                    **({} if record.feasible else {"violates": broken}),
                    "hours": record.hours,
                    "gpu_hours": record.gpu_hours,
                    **metrics,
                    **record.config,
                }
            )
    return table
