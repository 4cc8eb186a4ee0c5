"""What this machine lends to the process."""

from __future__ import annotations

import os


def cpus() -> int:
    """Processors that this process may use: fewer than there are under Slurm, taskset or in some containers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[tuple[str, float]]:
    """(name, memory in GiB) of each GPU that this process sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    devices = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [(d.name, d.total_memory / 2**30) for d in devices]


def too_little_memory(name: str, memory: float, *, share: float, needed: float) -> str | None:
    """Why a trial does not fit its share of a GPU, and what to do; None when it does.

    Args:
        name, memory: the device, and its memory in GiB.
        share: what a trial is given of it (`resources.gpu`); Ray only counts it.
        needed: GiB that a trial takes (`resources.gpu_memory`).
    """
    given = memory * min(share, 1)
    if needed <= given:
        return None
    who = f"resources.gpu: {share:g} of the {memory:.3g} GiB of {name} is {given:.3g}, but a trial needs {needed:g}"
    if needed > memory:
        return f"{who} (resources.gpu_memory): take larger GPUs, or search smaller models or batches"
    return f"{who} (resources.gpu_memory): give it {fitting(needed, memory):g}"


def fitting(needed: float, memory: float) -> float:
    """The share of a GPU that holds so many GiB and lets as many trials as possible run side by side."""
    count = int(min(memory / needed, 100)) if needed else 100
    while count > 1 and memory * _share(count) < needed:
        count -= 1
    return _share(max(1, count))


def _share(count: int) -> float:
    return int(1e4 / count) / 1e4  # Ray counts ten-thousandths
