"""Where studies are kept: a journal file in the home, or the database of $SPRITE_STUDY_STORE."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import optuna
import sqlalchemy.exc
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from ..errors import InputError
from ..home import Home
from .lease import with_driver

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: What reading or writing a ledger raises when its database or its disk is gone or full.
LOST = (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, OSError)

#: Databases whose locks guarantee one driver per study; see `lease`.
DATABASES = ("postgresql", "sqlite")


class FileLock(JournalFileOpenLock):
    """Lock of a journal that the kernel frees when its holder dies.

    Optuna's own are files that a killed process leaves behind; the next one would wait half a minute for them.
    """

    def __init__(self, path: Path):
        super().__init__(str(path))
        self.path = path
        self._held: int | None = None

    def acquire(self) -> bool:
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._held = handle
        return True

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            os.close(held)


def storage(home: Home, *, create: bool = False) -> optuna.storages.BaseStorage:
    """The storage of all studies of a home.

    Args:
        create: make it where it is not there, and mend what a full disk cut off.
    Raises:
        InputError: it cannot be reached or read, or is not there.
    """
    if "://" in home.study_store:
        return _database(home.study_store)
    journal = Path(home.study_store)
    if create:
        home.create()
    elif not journal.exists():
        raise InputError(f"{home.root}: has no studies yet; run `sprite-search launch SPACE`, or give another --home")
    lock = FileLock(journal.with_name(journal.name + ".held"))
    try:
        if create and journal.exists():
            lock.acquire()
            try:
                _mend(journal)
            finally:
                lock.release()
        return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{journal}: is no ledger of studies, or damaged ({_first(error)}); restore it from a copy or move it away"
        ) from None
    except OSError as error:
        raise InputError(f"{journal}: cannot be used ({error.strerror}); check its permissions") from None


def _mend(journal: Path) -> None:
    """Drops an incomplete last line, as a disk that ran full leaves it; ValueError where it is no journal."""
    with open(journal, "r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        if not size:
            return
        handle.seek(0)
        if "op_code" not in json.loads(handle.readline()):
            raise ValueError("its first line is no operation")
        end, block = size, 1 << 16
        while end:  # backwards to the end of the last whole line
            start = max(0, end - block)
            handle.seek(start)
            newline = handle.read(end - start).rfind(b"\n")
            if newline >= 0:
                handle.truncate(start + newline + 1)
                return
            end = start


def _database(url: str) -> optuna.storages.RDBStorage:
    if not url.startswith(DATABASES):
        raise InputError(
            f"SPRITE_STUDY_STORE: {hidden(url)} cannot keep two drivers apart; use postgresql://…, or unset it"
        )
    try:
        return optuna.storages.RDBStorage(with_driver(url))
    except Exception as error:  # every database driver has errors of its own
        raise InputError(
            f"SPRITE_STUDY_STORE: cannot use {hidden(url)} ({_first(error)}); check address, password and driver"
        ) from None


def hidden(url: str) -> str:
    """A database address without its password."""
    head, _, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if head else url


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
