"""One driver per study: the second is told who the first is, and a killed one frees its study at once."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sprite_search.errors import InputError
from sprite_search.study.lease import holder, lease, store_lease
from sprite_search.study.storage import FileLock

HOLD = """
import sys, time
from pathlib import Path
from sprite_search.study.lease import lease, store_lease
what, where, study = sys.argv[1:]
with (lease(Path(where)) if what == "home" else store_lease(where, study)):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def process(code, *args):
    """A Python process that has said its first word."""
    child = subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline().strip() == "held"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_the_second_driver_is_told_pid_and_host_of_the_first(tmp_path):
    with process(HOLD, "home", tmp_path / "toy", "") as first:
        said = f"toy: this study is being run by process {first.pid} on {socket.gethostname()};"
        with pytest.raises(InputError, match=said) as refused, lease(tmp_path / "toy"):
            pass
        assert "sprite-search stop toy" in str(refused.value)
        found = holder(tmp_path / "toy")
        assert (found["pid"], found["host"]) == (first.pid, socket.gethostname())
        with lease(tmp_path / "another"):
            pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_dies_frees_its_study(tmp_path, number):
    with process(HOLD, "home", tmp_path / "toy", "") as first:
        os.kill(first.pid, number)
        first.wait()
        assert holder(tmp_path / "toy") is None
        with lease(tmp_path / "toy"):
            assert holder(tmp_path / "toy")["pid"] == os.getpid()


def test_nobody_holds_a_study_that_ended_failed_or_never_was(tmp_path):
    assert holder(tmp_path / "never") is None
    with lease(tmp_path / "toy"):
        pass
    assert holder(tmp_path / "toy") is None
    with pytest.raises(ZeroDivisionError), lease(tmp_path / "toy"):
        raise ZeroDivisionError
    assert holder(tmp_path / "toy") is None
    with lease(tmp_path / "toy"):
        pass


def test_homes_that_share_an_sqlite_database_share_its_leases(tmp_path):
    store = f"sqlite:///{tmp_path / 'studies.db'}"
    with process(HOLD, "store", store, "toy") as first:
        with pytest.raises(InputError, match=f"process {first.pid} "), store_lease(store, "toy"):
            pass
        with store_lease(store, "another"), store_lease(str(tmp_path / "studies.journal"), "toy"):
            pass


LOCK = """
import sys, time
from pathlib import Path
from sprite_search.study.storage import FileLock
FileLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_the_lock_of_the_journal_is_free_as_soon_as_its_holder_is_dead(tmp_path):
    with process(LOCK, tmp_path / "held") as first:
        waiting = subprocess.Popen([sys.executable, "-c", LOCK, tmp_path / "held"], stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(0.5)
            assert waiting.poll() is None
            first.kill()
            assert waiting.stdout.readline().strip() == "held"
        finally:
            waiting.kill()
            waiting.wait()
            waiting.stdout.close()
    lock = FileLock(tmp_path / "held")
    for _ in range(2):
        assert lock.acquire()
        lock.release()
    lock.release()


# -- PostgreSQL, where it is installed --------------------------------------------------------------


def _postgresql():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []
    return found[-1] if found else None


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Address of a PostgreSQL server of its own; skips where there is none or no driver for it."""
    psycopg = pytest.importorskip("psycopg", reason="no driver for PostgreSQL is installed")
    programs = _postgresql()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("pg")
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        for part in (folder, *list(folder.parents)[:2]):
            part.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*other, programs / "initdb", "-D", folder / "db", "-A", "trust", "-U", "me"], **quiet)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run(
        [*other, programs / "pg_ctl", "-D", folder / "db", "-w", "-o", options, "-l", folder / "log", "start"], **quiet
    )
    try:
        psycopg.connect(f"postgresql://me@127.0.0.1:{port}/postgres").close()
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*other, programs / "pg_ctl", "-D", folder / "db", "-m", "immediate", "stop"], **quiet)


def test_homes_that_share_a_postgresql_database_share_its_leases(database):
    with process(HOLD, "store", database, "toy") as first:
        said = f"process {first.pid} on {socket.gethostname()[:20]}"
        with pytest.raises(InputError, match=said), store_lease(database, "toy"):
            pass
        with store_lease(database, "another"):
            pass

    def free():
        try:
            with store_lease(database, "toy"):
                return True
        except InputError:
            return False

    until(free)


def test_a_study_on_postgresql_is_taken_up_from_another_home(database, tmp_path, monkeypatch):
    from sprite_search.home import Home
    from sprite_search.space.model import Budget, Dimension, Space
    from sprite_search.study.ledger import Ledger

    monkeypatch.setenv("SPRITE_STUDY_STORE", database)
    rate = {"optimizer.learning_rate": Dimension("float", low=1e-4, high=1e-2, log=True)}
    space = Space(name="toy", search=rate, budget=Budget(trials=3), sampler={"name": "random", "seed": 0})
    first = Ledger.create(Home(tmp_path / "one"), space)
    asked = [first.ask(space) for _ in range(2)]
    second = Ledger.create(Home(tmp_path / "two"), space)
    assert [j.config for j in second.unfinished(space)] == [j.config for j in asked]
    assert second.take_up(0) == 2 and second.remaining(space) == 1
    second.report(space, 0, 1, 1, [0], [{"val/reconstruction": 0.5}])
    second.complete(space, 0)
    assert first.record(0).value == 0.5 and not (tmp_path / "one").exists()
    for ledger in (first, second):
        ledger.study._storage.remove_session()
        ledger.study._storage._backend.engine.dispose()
