"""One driver per study: a lock that the system frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Holds the study of this folder; InputError names the process that already does.

    Two drivers on one study would both take up its unfinished trials. The lock is the kernel's, so a
    killed driver frees it at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lease", "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = holder(folder) or {}
            who = f"process {other.get('pid', '?')} on {other.get('host', '?')}"
            raise InputError(
                f"{folder.name}: this study is being run by {who}; wait for it, or stop it with"
                f" `sprite-search stop {folder.name}`"
            ) from None
        handle.truncate(0)
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        handle.flush()
        yield
        handle.truncate(0)


def holder(folder: Path) -> dict[str, object] | None:
    """Who runs the study now: pid, host and since when; None when nobody does."""
    try:
        with open(folder / "lease") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                with contextlib.suppress(ValueError):
                    return dict(json.loads(handle.read()))
                return {}
    except OSError:
        return None
