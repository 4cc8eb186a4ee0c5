"""Servers of a cluster for tests: PostgreSQL, an object store, MLflow; each its own, gone afterwards.

`inside` is put before a command that is to run elsewhere, as in a network namespace.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def process(command, **more):
    """A process in a group of its own, killed with its children."""
    running = subprocess.Popen([str(c) for c in command], start_new_session=True, **{**QUIET, **more})
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def wait_until(ready, what, seconds=180):
    """Polls; `ready` may raise OSError until then."""
    end = time.monotonic() + seconds
    while True:
        try:
            if ready():
                return
        except OSError:
            pass
        assert time.monotonic() < end, f"{what} does not come"
        time.sleep(0.1)


class Database:
    """A PostgreSQL server, to be stopped and started again."""

    def __init__(self, host="127.0.0.1", inside=()):
        pytest.importorskip("psycopg", reason="no driver for PostgreSQL is installed")
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            pytest.skip("PostgreSQL is not installed")
        # not below pytest's folder, which only its owner may enter
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self.programs, self.host, self.port = programs[-1], host, free_port()
        self.other = [*inside, "runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else list(inside)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self.run("initdb", "-D", self.folder / "db", "-A", "trust", "-U", "me", "--no-sync")
        with open(self.folder / "db" / "pg_hba.conf", "a") as access:
            access.write("host all all 10.77.0.0/24 trust\n")

    def run(self, program, *arguments):
        with open(self.folder / "told", "w") as output:  # not a pipe, which the server would keep open
            command = [*self.other, self.programs / program, *arguments]
            done = subprocess.run(command, cwd="/", stdout=output, stderr=output)
        assert done.returncode == 0, (self.folder / "told").read_text()

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses={self.host} -c fsync=off"
        self.run("pg_ctl", "-D", self.folder / "db", "-w", "-o", options, "-l", self.folder / "log", "start")

    def stop(self, how="immediate"):
        self.run("pg_ctl", "-D", self.folder / "db", "-m", how, "stop")

    def create(self, name):
        """Makes a database and returns its address."""
        self.run("createdb", "-h", self.folder, "-p", str(self.port), "-U", "me", name)
        return f"postgresql://me@{self.host}:{self.port}/{name}"


@contextmanager
def postgresql(**more):
    database = Database(**more)
    try:
        database.start()
        yield database
        database.stop()
    finally:
        shutil.rmtree(database.folder, ignore_errors=True)


@contextmanager
def s3(host="127.0.0.1", inside=()):
    """Address of an object store in memory with a bucket `sprites`."""
    pytest.importorskip("moto.server", reason="no server of objects is installed")
    port = free_port()
    address = f"http://{host}:{port}"
    program = f"""
import threading, boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer({host!r}, {port}, verbose=False)
server.start()
boto3.client("s3", endpoint_url={address!r}).create_bucket(Bucket="sprites")
print("ready", flush=True)
threading.Event().wait()
"""
    command = [*inside, sys.executable, "-c", program]
    with process(command, env={**os.environ, **KEYS}, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        yield address
        server.stdout.close()


@contextmanager
def mlflow_server(store, artifacts, host="127.0.0.1", inside=(), port=None, **environment):
    """Address of an MLflow server that hands artifacts on, and its process."""
    port = port or free_port()
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quick = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": binaries}
    command = [*inside, sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", 1]
    command += ["--backend-store-uri", store, "--artifacts-destination", artifacts, "--allowed-hosts", "*"]
    with process(command, env={**os.environ, **quick, **environment}) as server:
        if not inside:
            wait_until(
                lambda: urllib.request.urlopen(f"http://{host}:{port}/health").status == 200, "the MLflow server"
            )
        yield f"http://{host}:{port}", server
