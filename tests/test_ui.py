"""The UI starts on the right store, and says why when it cannot."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.tracking import Tracker, connect
from sprite_search.ui import check_port, serve


def test_a_port_in_use_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="give another"):
            check_port(taken.getsockname()[1])


def test_a_home_without_runs_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="has no runs yet"):
        serve(Home(tmp_path), 5999)


def test_with_a_server_its_address_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.test:5000")
    serve(Home(tmp_path), 5999)
    assert "http://example.test:5000" in capsys.readouterr().out


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_the_store_until_it_is_ended(mlflow_home, end):
    home = mlflow_home
    Tracker(home, "a study", space_hash="abc")
    connect(home).create_experiment("of somebody else")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sprite_search", "ui", "--port", str(port), "--home", str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        _look(server, port, end)
    time.sleep(0.5)
    check_port(port)  # nothing is left behind


def _look(server, port, end):
    try:
        said = [server.stdout.readline() for _ in range(3)]
        assert f"browse at http://127.0.0.1:{port}" in said[1], said
        assert f"a study: http://127.0.0.1:{port}/#/experiments/1/runs?" in said[2], said
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search",
            data=b'{"max_results": 10}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b"a study" in answer.read()
    finally:
        os.kill(server.pid, end)
        server.wait(timeout=30)
