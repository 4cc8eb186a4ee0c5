"""What the image runs before a machine is taken away: nothing is lost, and no trial is blamed."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from hosts import hosts
from launching import EPOCHS, TINY, check_books, finish, records, space_file, start, wait_for
from servers import wait_until

from sprite_search.home import Home

PROGRAMS = Path(__file__).parents[1] / "infra" / "docker" / "bin"
SPACE = {"pruner": {"name": "none"}, "budget": {"trials": 2}}


def test_a_driver_whose_machine_goes_lets_trials_end_at_their_next_report(tmp_path):
    home = Home(tmp_path / "home")
    for name, pid in (("stale", os.getpid()), ("elsewhere", 1)):
        home.study(name).mkdir(parents=True)
        host = socket.gethostname() if name == "stale" else "another"
        (home.study(name) / "lease").write_text(f'{{"pid": {pid}, "host": "{host}", "since": 0}}')
    driver = start(space_file(tmp_path, **SPACE), home)
    wait_for(driver, "trial 0 ")
    subprocess.run([PROGRAMS / "drain-driver"], check=True, env={**os.environ, "SPRITE_HOME": str(home.root)})
    status, said = finish(driver)
    assert status == 130, said
    assert "running trials end at their next report" in said
    (begun, *_) = records(home)
    assert begun.state == "running" and begun.epoch, "to be taken up again"


def test_trials_of_a_worker_that_was_drained_are_not_blamed_for_its_end(mlflow_home, tmp_path):
    with hosts(2, tmp_path) as net:
        net.ray(1)
        net.ray(2)
        training = {"epochs": EPOCHS, "batch_size": 2}
        slow = {**TINY["trial"], "dataset": {"name": "digits", "images": 1600}, "training": training}
        space = space_file(tmp_path, **SPACE, trial=slow)
        command = [*net.inside(1), sys.executable, "-m", "sprite_search", "launch", space, "--home", mlflow_home.root]
        driver = subprocess.Popen(
            [*command, "--address", "10.77.0.1:6379"],
            env=net.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for(driver, "trial 1 ")
        wait_until(lambda: net.processes(2, "ray::SpriteTrial"), "a trial on host 2")
        subprocess.run(
            [*net.inside(2), PROGRAMS / "drain-worker", "1"],
            check=True,
            env=net.environment(RAY_ADDRESS="10.77.0.1:6379"),
        )
        for raylet in net.processes(2, "raylet/raylet"):
            os.kill(raylet, signal.SIGTERM)  # as `ray start --block` does when its pod is ended
        net.kill(2)
        status, said = finish(driver)
        assert status == 0, said
        assert "is started again" in said
    found = records(mlflow_home)
    assert max(r.attempt for r in found) == 2 and {r.crashes for r in found} == {0}
    check_books(mlflow_home, 2)
