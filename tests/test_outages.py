"""What a search needs goes away and comes back: MLflow, the database, the disk. `pytest -m soak`."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from launching import check_books, finish, launch, records, space_file, start, tracking_problems, wait_for
from servers import free_port, mlflow_server, postgresql, wait_until

from sprite_search.home import Home

pytestmark = pytest.mark.soak
TRIALS = 5


@pytest.fixture
def space(tmp_path):
    return space_file(tmp_path, budget={"trials": TRIALS})


@pytest.fixture
def server(tmp_path):
    """Starts an MLflow server on one port and one store, again and again."""
    port = free_port()
    return lambda: mlflow_server(f"sqlite:///{tmp_path / 'runs.db'}", str(tmp_path / "runs"), port=port)


def test_mlflow_is_away_for_half_a_minute(tmp_path, space, server, monkeypatch):
    home = Home(tmp_path / "home")
    with server() as (address, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        search = start(space, home)
        wait_for(search, "trial 1 starts")
    before = sum(r.done for r in records(home))
    time.sleep(30)
    wait_until(lambda: sum(r.done for r in records(home)) > before, "the end of a trial without it", 300)
    with server():
        status, said = finish(search)
        assert status == 0, said
        if tracking_problems(home):  # it was over before the server was back, and its patience too
            assert launch(space, home)[0] == 0
        check_books(home, TRIALS)


def test_a_slow_mlflow_loses_nothing(tmp_path, space, server, monkeypatch):
    home = Home(tmp_path / "home")
    with server() as (address, _), slowed(int(address.rpartition(":")[2]), 0.5) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        status, said = launch(space, home)
        assert status == 0, said
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        check_books(home, TRIALS)


@contextlib.contextmanager
def slowed(port, seconds):
    """A port behind which everything that `port` answers comes that much later."""
    door = socket.create_server(("127.0.0.1", 0))

    def carry(source, target, pause):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(pause)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                here, _ = door.accept()
                there = socket.create_connection(("127.0.0.1", port))
                for ends in ((here, there, 0), (there, here, seconds)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield door.getsockname()[1]
    door.close()


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_the_database_of_studies_is_restarted(tmp_path, space, monkeypatch, how):
    home = Home(tmp_path / "home")
    with postgresql() as database:
        monkeypatch.setenv("SPRITE_STUDY_STORE", database.create("studies"))
        search = start(space, home)
        wait_for(search, "trial 2 starts")
        database.stop(how)
        database.start()
        status, said = finish(search)
        assert status == 1, said
        assert "cannot be written" in said and "run the same command again" in said and "Traceback" not in said
        status, said = launch(space, home)
        assert status == 0, said
        # in a process of its own, which ends its connections
        books = f"from launching import *; check_books(Home(Path({str(home.root)!r})), {TRIALS})"
        subprocess.run([sys.executable, "-c", books], cwd=Path(__file__).parent, check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets us mount no disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("what", ["checkpoints", "home"])
def test_the_disk_is_full(tmp_path, space, disk, monkeypatch, what):
    home = Home(disk / "home" if what == "home" else tmp_path / "home")
    if what == "checkpoints":
        monkeypatch.setenv("SPRITE_CHECKPOINTS", str(disk / "checkpoints"))
    search = start(space, home)
    wait_for(search, "trial 1 starts")
    with open(disk / "filler", "wb") as filler, contextlib.suppress(OSError):
        while True:
            os.write(filler.fileno(), bytes(1 << 12))
    status, said = finish(search)
    assert status == 1, said
    assert "space left" in said and "Traceback" not in said
    assert shutil.disk_usage(disk).free < 4 << 20  # of 100: what the driver frees as it ends is not much
    (disk / "filler").unlink()
    status, said = launch(space, home)
    assert status == 0, said
    check_books(home, TRIALS)
    wait_until(lambda: shutil.disk_usage(disk).free > 10 << 20, "room")
