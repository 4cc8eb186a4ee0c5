"""The MLflow store of a home: the embedded one, made once, or a server."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..home import Home


def connect(home: Home, *, create: bool = True) -> Any:
    """An MLflow client on the right store.

    Args:
        create: make the embedded store, its schema once, where it is not there yet.
    Raises:
        InputError: it cannot be reached or read, or is not there and `create` is False.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else it asks for each run that ends
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    uri = home.tracking_uri
    database = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
    if database is not None and not create and not database.exists():
        raise InputError(
            f"{home.root}: has no record in MLflow yet; run `sprite-search launch SPACE`, or give another --home"
        )
    import mlflow
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # it prints the traceback of an error, as of a full disk, and raises it as well, which is where it is told
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if database is not None:
            home.create()
            stack.enter_context(_alone(database))  # two processes that make the schema at once spoil it
            _prepare(database)
        try:
            client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            if database is not None:
                _trust_the_system(client._tracking_client.store.engine)
            client.search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            raise InputError(_unusable(uri, database, str(error))) from None
    return client


@contextlib.contextmanager
def _alone(database: Path) -> Iterator[None]:
    with open(database.with_suffix(".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _prepare(database: Path) -> None:
    """Lets readers (the UI) and the writer work at the same time."""
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{database}: is no MLflow database ({error}); move it away, or restore it from a copy"
        ) from None


def _trust_the_system(engine: Any) -> None:
    """Has what is committed handed to the operating system without a wait for the disk.

    A killed process loses nothing by that. A machine that loses power may lose the last commits, never the database
    (SQLite's documentation of ``PRAGMA synchronous``, with WAL); the next launch writes them again.
    """
    from sqlalchemy import event

    engine.dispose()  # what was opened before waits still
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))


def _unusable(uri: str, database: Path | None, said: str) -> str:
    if "out-of-date database schema" in said or "Can't locate revision" in said:
        return f"{shown(uri)}: was written by another version of MLflow; copy it, then run `mlflow db upgrade {uri}`"
    if database is not None:
        return f"{database}: cannot be used ({said.partition(chr(10))[0][:200]}); restore it from a copy"
    refused = next((f"refuses with status {n}" for n in (401, 403) if f"error code {n}" in said), None)
    what = refused or "does not answer"
    return (
        f"MLFLOW_TRACKING_URI: {shown(uri)} {what}; check that server and MLFLOW_TRACKING_USERNAME/_PASSWORD or _TOKEN,"
        " or unset the variable to keep the record in the home"
    )


def shown(uri: str) -> str:
    """An address without the password in it."""
    head, at, tail = uri.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at and "://" in head else uri
