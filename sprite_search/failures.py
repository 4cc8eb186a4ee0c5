"""From an exception to what the user reads and the exit status: 2 for wrong input, 1 for failed work."""

from __future__ import annotations

import errno

from .errors import InputError, WorkError

#: What damaged or missing databases say, whoever wraps it.
_DATABASE = {
    "file is not a database": "is no database or is damaged; restore it from a copy, or move it away to start afresh",
    "disk image is malformed": "is damaged; restore it from a copy, or move it away to start afresh",
    "unable to open database file": "cannot be opened; check that its folder exists and may be written",
    "readonly database": "may not be written; check its permissions, or choose another --home",
    "database is locked": "is held by another process; wait for it or end it",
}
_FULL = "no space is left on the disk; what was finished is kept: free some space and run the same command again"


def explain(error: BaseException) -> tuple[str, int] | None:
    """(message, exit status) for what has an explanation; None for what is a fault of this program."""
    from trainers.errors import DataError
    from trainers.settings import SettingError

    if isinstance(error, (InputError, DataError, SettingError)):
        return str(error), 2
    if isinstance(error, WorkError):
        return str(error), 1
    if isinstance(error, MemoryError):
        return "memory ran out; search fewer trials side by side (resources), or smaller models", 1
    return _system(error) or _database(error)


def _system(error: BaseException) -> tuple[str, int] | None:
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}{_FULL}", 1
    if error.errno == errno.EADDRINUSE:
        return f"{where}the port is in use; choose another with --port", 2
    if not error.filename:
        return None
    told = {
        errno.ENOENT: "there is no such file; check the path",
        errno.EACCES: "permission denied; check who may read and write it",
        errno.EPERM: "permission denied; check who may read and write it",
        errno.EROFS: "is on a disk that cannot be written; choose another place",
        errno.EISDIR: "is a folder; name a file",
        errno.ENOTDIR: "goes through a file where a folder must be; check the path",
        errno.ENAMETOOLONG: "is too long a name; choose a shorter one",
    }.get(error.errno or 0)
    return (f"{where}{told}", 2) if told else None


def _database(error: BaseException) -> tuple[str, int] | None:
    """Errors of SQLite, bare or wrapped by SQLAlchemy, by what they say."""
    if not any(c.__module__.partition(".")[0] in ("sqlite3", "sqlalchemy") for c in type(error).__mro__):
        return None
    said = str(error)
    if "disk is full" in said:
        return _FULL, 1
    found = next((advice for sign, advice in _DATABASE.items() if sign in said), None)
    return (f"the database of the home {found}", 2) if found else None
