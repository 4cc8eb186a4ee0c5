"""A search on several machines: what workers get and do not get, and machines that go away."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from hosts import hosts
from launching import EPOCHS, TINY, check_books, finish, records, space_file, start, wait_for
from ray.cluster_utils import Cluster
from servers import KEYS, Database, mlflow_server, s3, wait_until

from sprite_search.errors import InputError, WorkError
from sprite_search.home import Home
from sprite_search.space.model import Resources
from sprite_search.study.tuning import SECRETS, capacity, connected, request

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster():
    """Two machines of Ray on this one; the second has a label, and is lost in the last test that has it."""
    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small, labels={"market": "spot"}, resources={"accelerator_type:H100": 1})
    try:
        yield made
    finally:
        made.shutdown()


def test_workers_get_the_code_and_no_credentials(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "__init__.py").write_text("raise ImportError('a stranger')")
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")

    def look():
        import sprite_search
        import trainers

        return {
            "secrets": [n for n in SECRETS if os.environ.get(n)],
            "together": Path(trainers.__file__).parents[1] == Path(sprite_search.__file__).parents[1],
            "where": trainers.__file__,
        }

    with connected(tmp_path / "work", cluster.address):
        found = ray.get(ray.remote(look).remote())
    assert found["secrets"] == [] and found["together"]
    assert not found["where"].startswith(str(tmp_path)), "what was shipped, not what lies where the driver was started"
    assert os.environ["SPRITE_STUDY_STORE"] == "secret", "the driver keeps them"


def test_trials_run_where_labels_and_accelerators_say(cluster, tmp_path):
    with connected(tmp_path, cluster.address):
        spot = next(n["NodeID"] for n in ray.nodes() if n["Labels"].get("market") == "spot")
        for wanted in (Resources(labels={"market": "spot"}), Resources(accelerator="H100")):
            assert capacity(wanted) == 1
            reserved = request(wanted, 0).to_placement_group()
            assert ray.get(reserved.ready(), timeout=60)
            assert list(ray.util.placement_group_table(reserved)["bundles_to_node_id"].values()) == [spot]
            ray.util.remove_placement_group(reserved)
        assert capacity(Resources()) == 2 and capacity(Resources(cpu=0.5)) == 4
        with pytest.raises(InputError, match=r"resources\.cpu: a trial asks for 2 CPU"):
            capacity(Resources(cpu=2))
        with pytest.raises(InputError, match=r"resources\.accelerator: .*H200.*at_once"):
            capacity(Resources(accelerator="H200"))
        with pytest.raises(InputError, match=r"resources\.labels: no machine"):
            capacity(Resources(labels={"market": "none"}))
        assert capacity(Resources(gpu=1, at_once=7)) == 7, "machines may come"


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        (None, WorkError, "did not start on this machine .*timed out.*run the same command again"),
        ("10.0.0.1:6379", InputError, "--address: cannot reach the Ray cluster at 10.0.0.1:6379"),
    ],
)
def test_ray_that_does_not_come_is_told(tmp_path, monkeypatch, address, kind, words):
    def slow(**given):
        raise Exception("The current node timed out during startup.")  # as Ray itself does on a busy machine

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(kind, match=words), connected(tmp_path, address):
        pass


#: A hundred steps an epoch: after the first is told, its trial still runs for long when its machine is lost.
LONG = {"epochs": EPOCHS, "batch_size": 16}


def test_a_search_loses_a_machine_and_nothing_else(cluster, mlflow_home, tmp_path):
    long = {**TINY["trial"], "dataset": {"name": "digits", "images": 1500}, "training": LONG}
    space = space_file(tmp_path, trial=long, pruner={"name": "none"}, budget={"trials": 4})
    driver = start(space, mlflow_home, "--address", cluster.address)
    wait_for(driver, "trial 1 starts")
    wait_until(lambda: any(r.number == 1 and r.epoch for r in records(mlflow_home)), "a report of trial 1")
    cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)
    status, said = finish(driver)
    assert status == 0, said
    check_books(mlflow_home, 4)
    assert any(r.attempt > 1 for r in records(mlflow_home)), said


# -- machines with addresses of their own -----------------------------------------------------------

TRIALS = 9
SCENES = {
    "trial": {
        "dataset": {"name": "multi_dsprites", "source": "generated", "images": 300, "size": 16, "objects_max": 2},
        "dataset.radius_min": 0.25,
        "dataset.radius_max": 0.3,
        "model.kind": "multilayer",
        "sprites": {"count": 3, "size": 12, "hidden": 16},
        "encoder": {"width": 4, "pool": 1},
        "training": {"epochs": EPOCHS, "batch_size": 16},
    },
    "pruner": {"name": "none"},
    "budget": {"trials": TRIALS},
}


@pytest.mark.soak
@pytest.mark.parametrize("checkpoints", ["s3", "folder"])
def test_a_search_on_three_hosts_survives_each_of_them_but_the_first(tmp_path, checkpoints):
    """One is killed and started again, one is cut off and comes back; PostgreSQL, MLflow and S3 are on the first."""
    with hosts(3, tmp_path) as net:
        first = net.inside(1)
        database = Database(host="10.77.0.1", inside=first)
        database.start()
        studies, runs = database.create("studies"), database.create("runs").replace("://", "+psycopg://")
        home = Home(tmp_path / "home")
        with s3("10.77.0.1", first) as objects:
            keys = {**KEYS, "AWS_ENDPOINT_URL": objects}
            with mlflow_server(
                runs, "s3://sprites/runs", "10.77.0.1", first, **keys, MLFLOW_S3_ENDPOINT_URL=objects
            ) as (tracking, _):
                kept = "s3://sprites/checkpoints" if checkpoints == "s3" else str(tmp_path / "shared")
                mine = {"SPRITE_STUDY_STORE": studies, "MLFLOW_TRACKING_URI": tracking, "SPRITE_CHECKPOINTS": kept}
                data = {h: {"SPRITE_DATA": str(tmp_path / f"data{h}"), **keys} for h in (1, 2, 3)}
                for host in (1, 2, 3):
                    net.ray(host, **data[host])

                def run(*command):
                    command = [*first, sys.executable, *command]
                    return subprocess.run(
                        command, env=net.environment(**mine, **data[1]), cwd=TESTS, capture_output=True, text=True
                    )

                health = f"import urllib.request as u; u.urlopen('{tracking}/health')"
                wait_until(lambda: run("-c", health).returncode == 0, "the MLflow server")
                command = [*first, sys.executable, "-m", "sprite_search", "launch", space_file(tmp_path, **SCENES)]
                driver = subprocess.Popen(
                    [*command, "--home", home.root, "--address", "10.77.0.1:6379"],
                    env=net.environment(**mine, **data[1]),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                wait_for(driver, "trial 2 starts")
                wait_until(lambda: net.processes(2, "SpriteTrial"), "a trial on host 2")
                secrets = [n for p in net.processes(2, "SpriteTrial") for n in leaked(p)]
                net.kill(2)
                net.ray(2, **data[2])
                wait_until(lambda: net.processes(2, "SpriteTrial"), "a trial on host 2 again")
                wait_until(lambda: net.processes(3, "SpriteTrial"), "a trial on host 3")
                net.cut(3)
                time.sleep(25)
                net.heal(3)
                wait_until(lambda: not net.processes(3, "raylet/raylet"), "the end of the old node", 60)
                net.kill(3)
                net.ray(3, **data[3])
                status, said = finish(driver)
                assert status == 0, said
                books = f"from launching import *; check_books(Home(Path({str(home.root)!r})), {TRIALS})"
                done = run("-c", books)
                assert done.returncode == 0, done.stderr
                done = run("-m", "sprite_search", "doctor", "tiny", "--json", "--home", home.root)
                assert done.returncode == 0, done.stdout
                counts = json.loads(done.stdout)["counts"]
                assert counts["mlflow"] == counts["checkpoints"] == {"complete": TRIALS}
                assert counts["optuna"] == {**dict.fromkeys(counts["optuna"], 0), "complete": TRIALS}
                assert said.count("is started again") >= 2, said
                assert secrets == []
                for host in (1, 2, 3):
                    there = [f.name for f in (tmp_path / f"data{host}").iterdir()]
                    assert len([f for f in there if not f.endswith(".lock")]) == 1, "prepared once on each"


def leaked(pid):
    """Addresses of databases in the environment of a process."""
    given = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return [g for g in given if g.partition("=")[0] in SECRETS and g.partition("=")[2]]


@pytest.mark.soak
def test_a_worker_that_hangs_is_given_up_and_its_trial_goes_on(tmp_path):
    home = Home(tmp_path / "home")
    space = space_file(tmp_path, pruner={"name": "none"}, budget={"trials": 4}, resources={"cpu": 1, "patience": 0.01})
    driver = start(space, home, fault="hangs:1")
    status, said = finish(driver)
    assert status == 0, said
    assert "trial 1 is started again: it reported nothing for 0.01 hours" in said
    check_books(home, 4)
    assert {r.number: r.attempt for r in records(home)} == {0: 1, 1: 2, 2: 1, 3: 1}
    assert driver.returncode != -signal.SIGKILL
