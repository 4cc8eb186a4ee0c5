"""Memory of GPUs: what a trial needs is measured, and a share that is too small is refused."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from launching import EPOCHS, TINY, space_file

from sprite_search.cli import main
from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.machine import fitting, too_little_memory
from sprite_search.space import load_space
from sprite_search.space.model import Resources
from sprite_search.study.driver import Driver
from sprite_search.study.launch import launch
from sprite_search.study.ledger import Ledger
from sprite_search.trial import SpriteTrial

GIB = 2**30


class NoTracker:
    def begin(self, record, seeds): ...
    def log(self, record, history): ...
    def end(self, record, history): ...


@pytest.fixture
def device(monkeypatch):
    """A GPU of 16 GiB, as far as it can be looked at."""
    looks = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda i: SimpleNamespace(name="Toy", total_memory=16 * GIB),
        "set_per_process_memory_fraction": lambda share: None,
    }
    for name, look in looks.items():
        monkeypatch.setattr(torch.cuda, name, look)


@pytest.mark.parametrize(
    ("needed", "memory"), [(14, 80), (26, 79.2), (39.6, 79.2), (70, 79), (0.1, 79), (7, 7), (0, 16)]
)
def test_the_share_that_is_advised_holds_what_is_needed_and_no_larger_number_would(needed, memory):
    share = fitting(needed, memory)
    assert too_little_memory("Toy", memory, share=share, needed=needed) is None
    count = int(1 / share)
    assert count * share <= 1 and (count >= 100 or memory / (count + 1) <= needed * 1.001)


def test_a_share_that_is_too_small_is_refused_with_one_that_is_not():
    said = too_little_memory("Toy", 16, share=0.25, needed=7)
    assert said == (
        "resources.gpu: 0.25 of the 16 GiB of Toy is 4, but a trial needs 7 (resources.gpu_memory): give it 0.5"
    )
    assert "take larger GPUs" in too_little_memory("Toy", 16, share=1, needed=17)


def test_a_launch_refuses_it_before_anything_starts(device, tmp_path, mlflow_home):
    space = load_space(space_file(tmp_path))
    with pytest.raises(InputError, match=r"resources\.gpu: 0\.25 of the 16 GiB .* give it 0\.5"):
        launch(dataclasses.replace(space, resources=Resources(gpu=0.25, gpu_memory=7)), mlflow_home)
    assert not (mlflow_home.root / "studies.journal").exists()


def test_a_worker_on_a_smaller_gpu_than_was_thought_ends_the_search_and_blames_no_trial(device, tmp_path):
    job = {"study": "tiny", "number": 0, "attempt": 1, "config": {}, "seeds": [0], "cpu": 1, "driver": 0}
    job |= {"checkpoints": str(tmp_path / "c"), "data": str(tmp_path), "gpu": 0.25, "gpu_memory": 7.0, "rungs": []}
    trial = SpriteTrial(config={"job": job})
    try:
        result = trial.step()
    finally:
        trial.cleanup()
    assert result["fatal"] and "0.25 of the 16 GiB of Toy" in result["failed"]


def probed(folder, *more, **changes):
    return CliRunner().invoke(main, ["probe", str(space_file(folder, **changes)), "--home", str(folder / "h"), *more])


@pytest.mark.parametrize(("reserved", "status"), [(3, 0), (15, 1)])
def test_the_largest_of_some_configurations_is_what_trials_need(device, tmp_path, monkeypatch, reserved, status):
    """On a stand-in for the GPU: the steps are trained on the CPU."""
    from trainers import training

    seen = []
    on_cpu = training.Trainer.__init__

    def build(self, members, dataset, device):
        seen.append((len(members), len(dataset.images), members[0]["transformations.strategy"]))
        on_cpu(self, members, dataset, "cpu")

    monkeypatch.setattr(training.Trainer, "__init__", build)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    peaks = iter([1 * GIB, reserved * GIB])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: next(peaks))
    trial = {**TINY["trial"], "dataset": {"name": "digits"}, "training": {"epochs": EPOCHS, "batch_size": 64}}
    done = probed(tmp_path, "--samples", "2", "--json", trial=trial, replicates=2)
    assert done.exit_code == status, done.output
    found = json.loads(done.output)
    assert found["needed"] == [1.0, pytest.approx(reserved, abs=0.01)]
    assert found["gpu_memory"] == pytest.approx(1.1 * reserved, abs=0.02) and found["fits"] is (status == 0)
    assert seen == [(2, 512, "all")] * 2, "a few images, all seeds together, nothing left out of the model"
    if not status:
        assert (found["share"], found["at_once"]) == (0.25, 4)


def test_without_a_gpu_the_probe_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = probed(tmp_path)
    assert isinstance(done.exception, InputError) or done.exit_code == 2
    assert "no GPU to measure on" in (str(done.exception) + done.output)


def test_a_trial_that_runs_out_of_its_share_gets_twice_the_share_once_and_then_fails_alone(tmp_path):
    space = load_space(space_file(tmp_path, budget={"trials": 3}))
    space = dataclasses.replace(space, resources=Resources(gpu=0.25))
    home = Home(tmp_path / "home").create()
    driver = Driver(Ledger.create(home, space), space, home, NoTracker())
    spent = {"failed": "GPU memory ran out; search smaller models", "oom": True}
    first, second = driver.next("a"), driver.next("b")
    assert (first["gpu"], second["gpu"]) == (0.25, 0.25)
    assert not driver.reported("a", spent)
    again = driver.next("c")
    assert (again["number"], again["attempt"], again["gpu"]) == (first["number"], 2, 0.5)
    relaunched = Driver(Ledger.create(home, space), space, home, NoTracker())
    taken = {job["number"]: job["gpu"] for job in (relaunched.next("d"), relaunched.next("e"))}
    assert taken == {first["number"]: 0.5, second["number"]: 0.25}, "a new driver knows"
    assert not relaunched.reported("d" if relaunched.jobs["d"].number == first["number"] else "e", spent)
    states = {r.number: (r.state, r.reason) for r in relaunched.ledger.records()}
    assert states[first["number"]] == ("failed", spent["failed"]) and states[second["number"]][0] == "running"


def test_a_worker_tells_memory_of_the_gpu_from_that_of_the_machine(tmp_path):
    job = {"study": "tiny", "number": 0, "attempt": 1, "config": {}, "seeds": [0], "cpu": 1, "driver": 0}
    job |= {"checkpoints": str(tmp_path / "c"), "data": str(tmp_path), "gpu": 0, "gpu_memory": None, "rungs": []}
    trial = SpriteTrial(config={"job": job})

    def ends(error):
        raise error
        yield

    try:
        for error, gpu in ((torch.OutOfMemoryError("CUDA out of memory"), True), (MemoryError(), False)):
            trial.reports = ends(error)
            result = trial.step()
            assert result["oom"] is gpu and "memory ran out" in result["failed"] and not result["fatal"]
    finally:
        trial.cleanup()
