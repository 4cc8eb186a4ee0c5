"""One driver per study, known by name, and no longer than it lives."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from servers import postgresql

from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.study.lease import holder, lease, store_lease
from sprite_search.study.storage import FileLock, storage

HOLD = """
    import sys, time
    from pathlib import Path
    from sprite_search.study.lease import {lock}
    with {lock}({arguments}):
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def held():
    """Starts processes that hold something until they are killed."""
    running = []

    def hold(lock, arguments):
        program = textwrap.dedent(HOLD.format(lock=lock, arguments=arguments))
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_driver_is_refused_and_told_who_the_first_is(tmp_path, held):
    folder = tmp_path / "digits"
    first = held("lease", f"Path({str(folder)!r})")
    who = holder(folder)
    assert (who["pid"], who["host"]) == (first.pid, socket.gethostname())
    with pytest.raises(InputError, match=f"process {first.pid} on {socket.gethostname()}.*sprite-search stop digits"):
        lease(folder).__enter__()


def test_a_killed_driver_holds_nothing(tmp_path, held):
    folder = tmp_path / "digits"
    first = held("lease", f"Path({str(folder)!r})")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert holder(folder) is None
    with lease(folder):
        assert holder(folder)["pid"] == os.getpid()
    assert holder(folder) is None


def test_a_child_that_outlives_its_driver_does_not_keep_the_lease(tmp_path):
    """Ray's processes are children of the driver, and some are still there when it was killed."""
    folder = tmp_path / "digits"
    program = f"""
        import subprocess, os, signal
        from pathlib import Path
        from sprite_search.study.lease import lease
        with lease(Path({str(folder)!r})):
            child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, start_new_session=True)
            print(child.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    child = int(done.stdout)
    try:
        with lease(folder):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_other_studies_are_free(tmp_path, held):
    held("lease", f"Path({str(tmp_path / 'digits')!r})")
    with lease(tmp_path / "faces"):
        pass
    assert holder(tmp_path / "signs") is None


def test_an_error_frees_the_lease(tmp_path):
    with pytest.raises(ZeroDivisionError), lease(tmp_path / "digits"):
        raise ZeroDivisionError
    with lease(tmp_path / "digits"):
        pass


def test_two_homes_that_share_a_database_share_its_leases(tmp_path, held):
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    first = held("store_lease", f"{store!r}, 'digits'")
    with pytest.raises(InputError, match=str(first.pid)):
        store_lease(store, "digits").__enter__()
    with store_lease(store, "faces"):
        pass


def test_a_journal_needs_no_lease_beside_that_of_its_home(tmp_path):
    with (
        store_lease(str(tmp_path / "studies.journal"), "digits"),
        store_lease(str(tmp_path / "studies.journal"), "digits"),
    ):
        pass


def test_a_database_that_cannot_be_reached_is_the_users_to_mend():
    with pytest.raises(InputError, match="SPRITE_STUDY_STORE"):
        store_lease("postgresql://127.0.0.1:1/nothing", "digits").__enter__()


def test_a_database_without_such_locks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SPRITE_STUDY_STORE", "mysql://user:secret@host/studies")
    with pytest.raises(InputError, match="keep two drivers apart") as refused:
        storage(Home(tmp_path), create=True)
    assert "secret" not in str(refused.value)


def test_the_lock_of_a_journal_dies_with_its_holder(tmp_path):
    path = tmp_path / "studies.journal.held"
    program = f"""
        import os, signal
        from pathlib import Path
        from sprite_search.study.storage import FileLock
        FileLock(Path({str(path)!r})).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    lock = FileLock(path)
    assert lock.acquire()
    lock.release()


# -- PostgreSQL, where it is installed --------------------------------------------------------------


@pytest.fixture(scope="module")
def database():
    """Address of a PostgreSQL server of its own; skips where there is none or no driver for it."""
    with postgresql() as server:
        yield server.create("studies")


def test_homes_that_share_a_postgresql_database_share_its_leases(database, held):
    first = held("store_lease", f"{database!r}, 'toy'")
    said = f"process {first.pid} on {socket.gethostname()[:20]}"
    with pytest.raises(InputError, match=said), store_lease(database, "toy"):
        pass
    with store_lease(database, "another"):
        pass
    first.kill()
    end = time.monotonic() + 30
    while True:
        try:
            with store_lease(database, "toy"):
                return
        except InputError:
            assert time.monotonic() < end, "the lease of a killed driver is not freed"


def test_a_study_on_postgresql_is_taken_up_from_another_home(database, tmp_path, monkeypatch):
    from sprite_search.home import Home
    from sprite_search.space import Budget, Dimension, Space
    from sprite_search.study.ledger import Ledger

    monkeypatch.setenv("SPRITE_STUDY_STORE", database)
    rate = {"optimizer.learning_rate": Dimension("float", low=1e-4, high=1e-2, log=True)}
    space = Space(name="toy", search=rate, budget=Budget(trials=3), sampler={"name": "random", "seed": 0})
    first = Ledger.create(Home(tmp_path / "one"), space)
    asked = [first.ask(space) for _ in range(2)]
    second = Ledger.create(Home(tmp_path / "two"), space)
    assert [j.config for j in second.unfinished(space)] == [j.config for j in asked]
    assert second.take_up(space, 0) == 2 and second.remaining(space) == 1
    second.report(space, 0, 1, 1, [0], [{"val/reconstruction": 0.5}])
    second.complete(space, 0)
    assert first.record(0).value == 0.5 and not (tmp_path / "one").exists()
    for ledger in (first, second):
        ledger.study._storage.remove_session()
        ledger.study._storage._backend.engine.dispose()
