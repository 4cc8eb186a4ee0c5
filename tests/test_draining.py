"""What the image runs before a machine is taken away: nothing is lost, and no trial is blamed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from hosts import hosts
from launching import finish, records, space_file, start, wait_for
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


TRIAL = """
import sys, time, ray
ray.init(address="10.77.0.1:6379", logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=0, resources={"second": 1})
class ResourceTrainable:
    def train(self):
        time.sleep(600)

trial = ResourceTrainable.remote()
report = trial.train.remote()
try:
    ray.get(report)
except ray.exceptions.ActorDiedError as error:
    print("preempted:", error.preempted)
"""


def test_a_trial_whose_worker_was_drained_is_not_blamed_for_its_end(tmp_path):
    with hosts(2, tmp_path) as net:
        net.ray(1)
        net.ray(2, '--resources={"second": 1}')
        command = [*net.inside(1), sys.executable, "-c", TRIAL]
        with subprocess.Popen(command, env=net.environment(), stdout=subprocess.PIPE, text=True) as driver:
            wait_until(lambda: net.processes(2, "ray::ResourceTrainable.train"), "a trial on host 2")
            subprocess.run(
                [*net.inside(2), PROGRAMS / "drain-worker", "2"],
                check=True,
                env=net.environment(RAY_ADDRESS="10.77.0.1:6379"),
            )
            net.kill(2)
            said, _ = driver.communicate(timeout=200)
    assert said == "preempted: True\n", "the driver starts such a trial again without counting"
