"""The MLflow UI on the store of this home."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, Any

from .errors import InputError, WorkError
from .home import Home

_PATIENCE = 120  #: seconds until the server must answer


def serve(home: Home, port: int) -> None:
    """Runs the UI in the foreground until Ctrl-C.

    Raises:
        InputError: the port is in use, or there is nothing to show yet.
        WorkError: the server ended by itself.
    """
    from .tracking import connect, shown, views

    uri = home.tracking_uri
    if uri.startswith("http"):
        print(f"MLflow runs at {shown(uri)}; open that address")
        return
    if uri.startswith("sqlite:///") and not os.path.exists(uri.removeprefix("sqlite:///")):
        raise InputError(f"{home.root}: has no runs yet; run `sprite-search launch SPACE`, or give another --home")
    check_port(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--default-artifact-root", home.artifacts.as_uri()]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "GIT_PYTHON_REFRESH": "quiet"}
    print(f"starting MLflow on {shown(uri)} …", flush=True)
    # not a pipe: one that nobody empties would stop the server when it is full
    with tempfile.TemporaryFile() as log:
        _run(command, environment, f"http://127.0.0.1:{port}", views.addresses(connect(home)), log)


def _run(
    command: list[str], environment: dict[str, str], address: str, studies: Mapping[str, str], log: IO[bytes]
) -> None:
    before = signal.signal(signal.SIGTERM, _interrupt)
    # a session of its own, so that all its workers can be ended together
    server = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=log)
    try:
        _await(server, address, log)
        print(f"browse at {address} (Ctrl-C ends it)")
        for study, path in studies.items():
            print(f"  {study}: {address}{path}")
        sys.stdout.flush()
        server.wait()
        raise WorkError(f"the MLflow server ended with status {server.returncode}")
    except KeyboardInterrupt:
        print("ended")
    finally:
        _end(server)
        signal.signal(signal.SIGTERM, before)


def _interrupt(*received: Any) -> None:
    raise KeyboardInterrupt


def check_port(port: int) -> None:
    """InputError when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"--port: {port} cannot be used ({error.strerror}); give another, e.g. --port {port + 1}"
            ) from None


def _await(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise WorkError(f"the MLflow server did not start: {said[-1] if said else 'it said nothing'}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise WorkError(f"the MLflow server did not answer within {_PATIENCE} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and all its workers, whatever state they are in."""
    try:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=10)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
