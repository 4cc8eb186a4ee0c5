"""Memory of a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


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
