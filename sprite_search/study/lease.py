"""One driver per study: a lock that the system frees when its holder dies.

Two drivers on one study would both take up its unfinished trials. In the home the lock is the kernel's, on a
database the database's own, held by a connection: neither outlives a killed driver, and neither needs a clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import InputError

_TRY = "SELECT pg_try_advisory_lock(:program, :study)"
_WHO = (
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND classid::bigint = :program AND objid::bigint = :study"
)


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Holds the study of this folder; InputError names the process that already does."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lease", "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = holder(folder) or {}
            raise _taken(folder.name, other.get("pid", "?"), other.get("host", "?")) from None
        handle.truncate(0)
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        handle.flush()
        yield
        handle.truncate(0)


@contextmanager
def store_lease(store: str, study: str) -> Iterator[None]:
    """The same among homes that share a database; nothing for a journal, which is in its home.

    Args:
        store: address of a database, or path of a journal.
    """
    if store.startswith("sqlite:///"):
        database = Path(store.removeprefix("sqlite:///").partition("?")[0]).absolute()
        with lease(database.with_name(f"{database.name}.leases") / study):
            yield
    elif store.startswith("postgresql"):
        with _postgresql(store, study):
            yield
    else:
        yield


@contextmanager
def _postgresql(url: str, study: str) -> Iterator[None]:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    # an advisory lock has two 32-bit numbers: ours name this program and the study
    numbers = {"program": zlib.crc32(b"sprite-search") % 2**31, "study": zlib.crc32(study.encode()) % 2**31}
    try:
        engine = sqlalchemy.create_engine(
            with_driver(url), isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.pool.NullPool
        )
        connection = engine.connect()
    except (SQLAlchemyError, ImportError) as error:
        raise InputError(f"SPRITE_STUDY_STORE: cannot reach the database ({str(error).splitlines()[0]})") from None
    try:
        name = f"sprite-search {os.getpid()} {socket.gethostname()}"[:63]
        connection.execute(sqlalchemy.text("SELECT set_config('application_name', :name, false)"), {"name": name})
        if not connection.execute(sqlalchemy.text(_TRY), numbers).scalar():
            other = str(connection.execute(sqlalchemy.text(_WHO), numbers).scalar() or "").split()
            raise _taken(study, *other[1:]) if len(other) == 3 else _taken(study, "?", "?")
        yield
    finally:
        connection.close()  # and with it the lock
        engine.dispose()


def with_driver(address: str) -> str:
    """`postgresql://…` with the installed driver named: SQLAlchemy takes psycopg2 otherwise, there or not."""
    if address.startswith("postgresql://") and find_spec("psycopg2") is None and find_spec("psycopg") is not None:
        return address.replace("postgresql://", "postgresql+psycopg://", 1)
    return address


def _taken(study: str, pid: Any, host: Any) -> InputError:
    return InputError(
        f"{study}: this study is being run by process {pid} on {host}; wait for it, or stop it with"
        f" `sprite-search stop {study}`"
    )


def holder(folder: Path) -> dict[str, object] | None:
    """Who runs the study of this folder now: pid, host and since when; None when nobody does."""
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
