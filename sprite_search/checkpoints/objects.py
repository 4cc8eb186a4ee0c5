"""Checkpoints in an object store (S3 and what speaks like it), where nothing can be renamed or locked."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError, WorkError
from .base import ARTEFACTS, PICTURES, WEIGHTS, CheckpointStore, History

_PATIENCE = 300.0  #: seconds for which a store that does not answer is tried again
_KEPT = 20  #: downloads kept at a time
#: What a store says that will not change by waiting.
_REFUSALS = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT")

T = TypeVar("T")


class ObjectStore(CheckpointStore):
    """`<root>/<study>/<trial>/`, and in it per attempt a: `a-<epoch>/…`, `newest-a.json` and `claim-a`.

    A checkpoint is there once `newest-a.json` names it: one object, which holds the history too and is
    written last. The newest of the highest attempt counts. A worker that was thought dead (its machine was
    cut off) may go on writing, but under a lower number, so that nobody reads it; it ends when it sees the
    claim of the attempt that took its trial. So no lock is needed, and no clock.
    """

    def __init__(self, root: str):
        from pyarrow import fs

        self.root = root.rstrip("/")

        try:
            self.fs, self.path = fs.FileSystem.from_uri(self.root)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"SPRITE_CHECKPOINTS: {_hidden(self.root)}: {_first(error)}") from None
        self._attempts: dict[tuple[str, int], int] = {}  # of the trials that are held here

    def check(self) -> None:
        try:
            self._put(f"{self.path}/.check", b"")
            self.fs.delete_file(f"{self.path}/.check")
        except OSError as error:
            raise InputError(
                f"SPRITE_CHECKPOINTS: cannot write to {_hidden(self.root)} ({_first(error)}); check the bucket, the"
                " credentials (AWS_ACCESS_KEY_ID, …) and, for a server of your own, AWS_ENDPOINT_URL"
            ) from None

    def trial(self, study: str, number: int) -> str:
        """Prefix of one trial's objects."""
        return f"{self.path}/{study}/{number:06d}"

    def save(self, study: str, number: int, epoch: int, write: Callable[[Path], None], history: History) -> None:
        prefix, attempt = self.trial(study, number), self._attempts.get((study, number), 1)
        name = f"{attempt}-{epoch:06d}"
        with tempfile.TemporaryDirectory(prefix="sprite-") as temporary:
            write(Path(temporary))
            files = sorted(f.relative_to(temporary).as_posix() for f in Path(temporary).rglob("*") if f.is_file())
            self._refuse_if_taken(prefix, attempt)
            _patiently(lambda: self._upload(temporary, f"{prefix}/{name}", files))
        entry = {"folder": name, "files": files, "history": history}
        _patiently(lambda: self._put(f"{prefix}/newest-{attempt}.json", json.dumps(entry).encode()))
        self._clear(prefix, attempt, name)

    def _upload(self, folder: str, key: str, files: list[str]) -> None:
        for file in files:
            with open(f"{folder}/{file}", "rb") as source, self.fs.open_output_stream(f"{key}/{file}") as target:
                shutil.copyfileobj(source, target)

    def _put(self, key: str, content: bytes) -> None:
        with self.fs.open_output_stream(key) as target:
            target.write(content)

    def _refuse_if_taken(self, prefix: str, attempt: int) -> None:
        if any(a > attempt for a in self._numbered(prefix, "claim-")):
            raise WorkError(f"{prefix}: a later attempt has taken this trial over")

    def _clear(self, prefix: str, attempt: int, name: str) -> None:
        """Deletes what this checkpoint replaced, of earlier attempts too."""
        for there in _patiently(lambda: self._list(prefix)):
            number = int(there.partition("-")[0]) if there[0].isdigit() else _number(there)
            if number <= attempt and there not in (name, f"newest-{attempt}.json", f"claim-{attempt}"):
                with contextlib.suppress(OSError):  # the next one tries again
                    (self.fs.delete_dir if there[0].isdigit() else self.fs.delete_file)(f"{prefix}/{there}")

    def _newest(self, study: str, number: int) -> tuple[str, dict[str, Any]] | None:
        """Prefix of the newest checkpoint, and what is written of it."""
        prefix = self.trial(study, number)
        for _ in range(3):  # a worker may put a newer one in its place just now
            found = max(self._numbered(prefix, "newest-"), default=None)
            if found is None:
                return None
            key = f"{prefix}/newest-{found}.json"
            with contextlib.suppress(FileNotFoundError):
                entry = dict(json.loads(_patiently(lambda key=key: self.fs.open_input_stream(key).read())))  # type: ignore[misc]
                return f"{prefix}/{entry['folder']}", entry
        return None

    def _numbered(self, prefix: str, kind: str) -> list[int]:
        return [_number(n) for n in _patiently(lambda: self._list(prefix)) if n.startswith(kind)]

    def _list(self, prefix: str) -> list[str]:
        from pyarrow.fs import FileSelector

        return [i.base_name for i in self.fs.get_file_info(FileSelector(prefix, allow_not_found=True)) if i.base_name]

    def latest(self, study: str, number: int) -> Path | None:
        return self._download(study, number, "")

    def pictures(self, study: str, number: int) -> Path | None:
        folder = self._download(study, number, f"{PICTURES}/")
        return folder / PICTURES if folder is not None and (folder / PICTURES).is_dir() else None

    def artefacts(self, study: str, number: int) -> Path | None:
        return self._download(study, number, f"{ARTEFACTS}/")

    def _download(self, study: str, number: int, under: str) -> Path | None:
        """A folder with those files of the newest checkpoint whose path begins with `under`."""
        for _ in range(3):
            newest = self._newest(study, number)
            if newest is None:
                return None
            prefix, entry = newest
            folder = _room()
            try:
                for file in entry["files"]:
                    if file.startswith(under):
                        self._fetch(f"{prefix}/{file}", folder / file)
            except FileNotFoundError:  # replaced while it was read
                continue
            (folder / "history.json").write_text(json.dumps(entry["history"]))
            return folder
        return None

    def _fetch(self, key: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = _patiently(lambda: self.fs.open_input_stream(key).read())
        except FileNotFoundError:
            if target.name == WEIGHTS:  # dropped
                return
            raise
        target.write_bytes(content)

    def history(self, study: str, number: int) -> History:
        newest = self._newest(study, number)
        return list(newest[1]["history"]) if newest is not None else []

    def numbers(self, study: str) -> list[int]:
        names = _patiently(lambda: self._list(f"{self.path}/{study}"))
        return sorted(int(n) for n in names if n.isdigit())

    def retain(self, study: str, keep: set[int]) -> None:
        from pyarrow.fs import FileSelector

        everything = FileSelector(f"{self.path}/{study}", recursive=True, allow_not_found=True)
        for info in _patiently(lambda: self.fs.get_file_info(everything)):  # one request for a thousand objects
            number = info.path.removeprefix(f"{self.path}/{study}/").partition("/")[0]
            if info.base_name == WEIGHTS and number.isdigit() and int(number) not in keep:
                with contextlib.suppress(FileNotFoundError):
                    self.fs.delete_file(info.path)

    def drop(self, study: str, number: int) -> None:
        if (newest := self._newest(study, number)) is not None:
            for file in (f for f in newest[1]["files"] if f.rpartition("/")[2] == WEIGHTS):
                with contextlib.suppress(FileNotFoundError):
                    self.fs.delete_file(f"{newest[0]}/{file}")

    @contextmanager
    def owned(self, study: str, number: int, attempt: int = 1) -> Iterator[None]:
        prefix = self.trial(study, number)
        self._refuse_if_taken(prefix, attempt)
        _patiently(lambda: self._put(f"{prefix}/claim-{attempt}", b""))
        self._attempts[study, number] = attempt
        try:
            yield
        finally:
            del self._attempts[study, number]


def _patiently(do: Callable[[], T]) -> T:
    """The result of `do`, tried again while the store does not answer."""
    until, pause = time.monotonic() + _PATIENCE, 0.5
    while True:
        try:
            return do()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            # an error of this machine has a number, one of the store has not
            if error.errno or any(r in str(error) for r in _REFUSALS) or time.monotonic() > until:
                raise
            logging.getLogger(__name__).debug("%s", error)
        time.sleep(pause)
        pause = min(2 * pause, 15.0)


@functools.cache
def _downloads() -> Path:
    """Where this process keeps what it downloads, until it ends."""
    folder = Path(tempfile.mkdtemp(prefix="sprite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _room() -> Path:
    """An empty folder; the oldest give way, so that a long search does not fill its disk."""
    folders = sorted(_downloads().iterdir(), key=lambda f: f.stat().st_ctime_ns)
    for old in folders[: max(0, len(folders) - _KEPT + 1)]:
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=_downloads()))


def _number(name: str) -> int:
    """The attempt in `newest-3.json` or `claim-3`."""
    return int(name.partition("-")[2].removesuffix(".json") or 0)


def _hidden(root: str) -> str:
    """An address without the key in it."""
    scheme, _, rest = root.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
