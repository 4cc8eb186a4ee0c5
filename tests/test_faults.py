"""Whatever is killed, whenever: the same command again goes on, and the books are right in the end."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from launching import EPOCHS, TINY, check_books, finish, launch, records, space_file, start, wait_for
from servers import mlflow_server, postgresql, wait_until

from sprite_search.checkpoints import open_store
from sprite_search.home import Home

ROOT = Path(__file__).parents[1]
BEFORE_ANYTHING_RUNS = 1 / 8  #: share of random kills that come this early
FAULTS = ("after_checkpoint", "after_create_run")


def check_a_kill(space, home, kill):
    """A kill changes nothing of what had ended; what had not can be taken up."""
    before = {r.number: r for r in records(home) if r.done} if home.root.exists() else {}
    kill(space, home)
    after = {r.number: r for r in records(home)}
    assert all(after[n] == record for n, record in before.items())


def kill_by_fault(fault):
    def kill(space, home):
        status, said = launch(space, home, fault=fault)
        assert status == -signal.SIGKILL, said

    return kill


def kill_at_random(chance):
    def kill(space, home):
        process = start(space, home)
        if chance.random() > BEFORE_ANYTHING_RUNS:
            wait_for(process, "trial ")
        time.sleep(chance.uniform(0, 5))
        process.send_signal(signal.SIGKILL)
        finish(process)

    return kill


def kill_in_the_second_stage(space, home):
    process = start(space, home)
    wait_for(process, "again, on fresh seeds")
    wait_until(lambda: any(r.confirms is not None and r.epoch for r in records(home)), "a report of it")
    process.send_signal(signal.SIGKILL)
    finish(process)


#: A study with a second stage: of two trials, as Min-Loss on sprites of pixels never collapses.
CONFIRMING = {
    "trial": {**TINY["trial"], "sprites": {"count": 4, "kind": "pixels"}, "decision": {"kind": "min_loss"}},
    "search": {"optimizer.learning_rate": {"log": [0.0001, 0.01]}},
    "replicates": 2,
    "confirm": {"top": 2, "seeds": 2},
}


def check_survives(folder, kills, trials=12):
    home, space = Home(folder / "home"), space_file(folder, **CONFIRMING, budget={"trials": trials})
    for number, kill in enumerate(kills, 1):
        check_a_kill(space, home, kill)
        states = Counter(r.state for r in records(home)) if home.root.exists() else {}
        print(f"kill {number}: {dict(states)}", flush=True)  # `pytest -s` records a soak
    left = [r.number for r in records(home) if r.state == "running"]
    status, said = launch(space, home)
    assert status == 0, said
    check_books(home, trials, again=CONFIRMING["confirm"]["top"])
    print(f"in the end: {dict(Counter(r.state for r in records(home)))}, attempts {[r.attempt for r in records(home)]}")
    after = {r.number: r for r in records(home)}
    assert all(after[n].attempt > 1 for n in left), "what a killed driver left is taken up, not asked anew"


def test_a_study_whose_driver_is_killed_three_times_loses_nothing(tmp_path):
    check_survives(tmp_path, [*map(kill_by_fault, FAULTS), kill_in_the_second_stage], trials=8)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_a_driver_killed_at_any_time_loses_nothing(tmp_path, seed):
    check_survives(tmp_path, [kill_by_fault(FAULTS[seed % 2]), kill_at_random(random.Random(seed))])


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_study_whose_driver_is_killed_twenty_times_loses_nothing(tmp_path):
    check_survives(tmp_path, [kill_at_random(random.Random(seed)) for seed in range(20)], trials=40)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "name",
    [
        "test_a_study_whose_driver_is_killed_three_times_loses_nothing",
        "test_what_goes_wrong_in_a_worker_concerns_its_trial_alone",
    ],
)
def test_the_same_on_postgresql_and_an_mlflow_server(tmp_path, name):
    with postgresql() as database:
        runs = database.create("runs").replace("://", "+psycopg://")
        with mlflow_server(runs, str(tmp_path / "runs")) as (address, _):
            stores = {"SPRITE_STUDY_STORE": database.create("studies"), "MLFLOW_TRACKING_URI": address}
            # in a process of its own, which ends its connections; that it leaves them to the end is no matter here
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
            command += ["-o", "timeout=3000"]  # the limit is that of this test
            done = subprocess.run(
                [*command, f"{__file__}::{name}"], env={**os.environ, **stores}, capture_output=True, text=True
            )
    assert done.returncode == 0, done.stdout[-5000:]


def test_what_goes_wrong_in_a_worker_concerns_its_trial_alone(tmp_path):
    home, space = Home(tmp_path / "home"), space_file(tmp_path, pruner={"name": "none"})
    status, said = launch(space, home, fault="worker_dies:2,nan:4,poison:5")
    assert status == 0, said
    found = {r.number: r for r in records(home)}
    assert {n for n, r in found.items() if r.state == "failed"} == {4, 5}
    check_books(home)

    killed, diverged, poison = found[2], found[4], found[5]
    assert (killed.state, killed.attempt, killed.epoch) == ("complete", 2, EPOCHS)
    assert diverged.reason == "val/reconstruction is not a finite number"
    assert diverged.attempt == 1, "the same numbers would come again"
    assert poison.attempt == 3
    assert "3 times" in poison.reason
    assert all(r.attempt == 1 for n, r in found.items() if n not in (2, 5))
    assert "trial 5 failed" in said

    store, best = open_store(home.checkpoints), min(found.values(), key=lambda r: r.value or 1e9)
    kept = {n for n in found if (latest := store.latest("tiny", n)) and (latest / "checkpoint.pt").exists()}
    assert best.number in kept and len(kept) < len(found), "weights are kept of the best, not of all"
    drawn = {p.name for p in (store.latest("tiny", 2) / "pictures" / "seed0").iterdir()}
    assert drawn >= {"sprites.png", "reconstructions.png"}

    space_file(tmp_path, pruner={"name": "none"}, budget={"trials": 13, "max_failed": 1})
    status, said = launch(space, home)
    assert status == 1, said
    assert "2 trials failed" in said and "budget.max_failed" in said and "Traceback" not in said
    assert len(records(home)) == len(found), "more than the user allows have failed: nothing is begun"


def test_every_test_that_the_page_of_faults_names_is_there():
    page = (ROOT / "docs" / "faults.md").read_text()
    for row in page.splitlines():
        file = None
        for module, name in re.findall(r"`(?:(test_\w+\.py)::)?(test_\w+)`", row):
            file = module or file
            assert file and re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE), row
