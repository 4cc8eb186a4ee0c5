"""What this machine lends to the process."""

from __future__ import annotations

import os


def cpus() -> int:
    """Processors that this process may use: fewer than there are under Slurm, taskset or in some containers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
