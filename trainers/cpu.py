"""What makes training on a CPU fast, beyond PyTorch's defaults. Nothing here changes results beyond rounding."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def dedicate_process(threads: int) -> None:
    """Makes this process one that does little but train: a worker of a search, a benchmark.

    Args:
        threads: of PyTorch, of which a process has as many as CPUs are its own.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    with flushed_denormals():  # threads take on the mode of the one that starts them
        torch.ones(1 << 20).add_(1)


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that tensors free, for the tensors of the next step.

    By default the C library gives it back to the system each time, and the system clears every page again: half
    the time of a step with large tensors. Call it in a process of its own (a worker, a benchmark), as the process
    then stays as large as it ever was.

    Returns:
        Whether it did: only glibc (Linux) knows how.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_TRIM_THRESHOLD, -1) and mallopt(_MMAP_MAX, 0))


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within it, what this thread computes below 1.2e-38, the least normal float32, is 0.

    A CPU takes some fifty times as long for such denormal numbers, and long trainings are full of them: Adam's
    moments of a unit without gradient, and weights that decay, shrink towards 0 and never get there, as the least of
    these numbers times 0.9 is rounded to itself.
    """
    flushed = _halved_to_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def _halved_to_zero() -> bool:
    """Whether denormals are flushed in this thread; PyTorch only lets one set it."""
    least = torch.tensor(torch.finfo(torch.float32).tiny)
    return bool(least * 0.5 == 0)
