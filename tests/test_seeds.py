"""Pruners that compare configurations seed by seed: the tests against Optuna's and scipy's, and what they end."""

import math
import random
import warnings

import numpy as np
import optuna
import pytest
from scipy import stats
from searching import EPOCHS, RATE, Killed, Runner, space

from sprite_search.home import Home
from sprite_search.space import load_space, problems
from sprite_search.space.model import MOST_REPLICATES, Budget, Confirm, Constraint, Objective
from sprite_search.study.seeds import beyond_interval, wilcoxon

NAMES = ("wilcoxon", "interval")


def optunas(differences, p):
    """What Optuna's pruner says of a trial that differs so from the best one on as many instances."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=p, n_startup_steps=0)
        study = optuna.create_study(pruner=pruner)
    for values in (np.zeros(len(differences)), differences):
        trial = study.ask()
        for step, value in enumerate(values):
            trial.report(1.0 + value, step)
        if trial.number == 0:
            study.tell(trial, 1.0)
    return trial.should_prune()


@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_wilcoxon_test_is_optunas(n):
    said = set()
    for seed in range(20):
        differences = np.random.default_rng(seed).normal(0.4, 1.0, n).tolist()
        for p in (0.06, 0.2, 0.45):
            assert wilcoxon(differences, p) == optunas(differences, p)
            said.add(wilcoxon(differences, p))
    assert said == {True, False}


def test_the_interval_is_a_one_sided_t_test_of_the_differences():
    said = set()
    for seed in range(30):
        differences = np.random.default_rng(seed).normal(0.5, 1.0, 3).tolist()
        wanted = stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue < 0.1
        assert beyond_interval(differences, 0.1) == wanted
        said.add(wanted)
    assert said == {True, False}


def noisy(values, noise):
    """Trial n has the error values[n] and on each seed what that seed does to all trials; `noise` adds its own."""
    numbers = {}

    def metrics(config, seed, epoch):
        number = numbers.setdefault((config[RATE], config["sprites.count"]), len(numbers))
        shared = 10 * math.sin(seed)  # much more than trials differ by
        return {"val/reconstruction": 20 + shared + values[number] + noise * math.sin(7 * seed + number)}

    return metrics


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_that_is_worse_on_every_seed_ends_although_seeds_differ_by_more(home, name):
    given = space(pruner={"name": name, "rungs": 2}, replicates=5, budget=Budget(trials=4))
    run = Runner(home, given, metrics=noisy([0.0, 0.5, -0.5, 0.1], 0.01)).run()
    assert [r.state for r in run.records] == ["complete", "pruned", "complete", "pruned"]
    assert [r.epoch for r in run.records] == [EPOCHS, 5, EPOCHS, 5], "at the first rung"
    assert run.study.trials[1].last_step == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_that_may_be_as_good_goes_on(home, name):
    given = space(pruner={"name": name, "rungs": 4}, replicates=5, budget=Budget(trials=3))
    run = Runner(home, given, metrics=noisy([0.0, 0.1, -0.1], 2.0)).run()
    assert [r.state for r in run.records] == ["complete"] * 3


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_value_is_better_where_the_objective_says_so(home, name):
    given = space(
        pruner={"name": name, "rungs": 2}, replicates=5, budget=Budget(trials=3),
        objective=Objective("val/reconstruction", "maximize"),
    )  # fmt: skip
    run = Runner(home, given, metrics=noisy([0.0, 0.5, -0.5], 0.01)).run()
    assert [r.state for r in run.records] == ["complete", "complete", "pruned"]


def test_nothing_is_compared_before_there_are_enough_or_across_other_seeds(home):
    given = space(
        pruner={"name": "interval", "rungs": 2, "startup": 3}, replicates=3, confirm=Confirm(2, 3),
        budget=Budget(trials=3),
    )  # fmt: skip
    values = [0.0, 0.5, 0.6, 0.7, 0.8]
    first = noisy(values, 0.01)

    def metrics(config, seed, epoch):
        """On fresh seeds all are much better."""
        better = 15 if seed >= MOST_REPLICATES else 0
        return {"val/reconstruction": first(config, seed, epoch)["val/reconstruction"] - better}

    run = Runner(home, given, metrics=metrics).run()
    assert [r.state for r in run.records] == ["complete"] * 5
    more = space(pruner=given.pruner, replicates=3, budget=Budget(trials=5))
    after = Runner(home, more, metrics=noisy([-0.5, 0.5], 0.01)).run()
    assert [r.state for r in after.records[5:]] == ["complete", "pruned"], "compared with trial 0, then with the better"


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_killed_again_and_again_ends_the_same_trials(home, tmp_path, name):
    """Each configuration has an error of its own, whoever asks for it and whenever."""
    given = space(pruner={"name": name, "rungs": 3}, replicates=4, sampler={"name": "random", "seed": 0})

    def metrics(config, seed, epoch):
        return {"val/reconstruction": config[RATE] * 100 + math.sin(seed) + 1e-6 * math.sin(seed * config[RATE] * 1e4)}

    whole = Runner(Home(tmp_path / "other"), given, metrics=metrics).run()
    draw = random.Random(0)
    for _ in range(4):
        try:
            Runner(home, given, metrics=metrics, kill_after=draw.randint(5, 40)).run()
        except Killed:
            continue
    run = Runner(home, given, metrics=metrics).run()
    assert [(r.state, r.epoch) for r in run.records] == [(r.state, r.epoch) for r in whole.records]
    assert {r.state for r in run.records} == {"complete", "pruned"}


BAD = {
    "seeds to compare, but one": ("pruner: interval", "interval compares seeds, but each configuration has one"),
    "too few seeds for the test": ("pruner: wilcoxon\nreplicates: 3", "give replicates of 4 or more, a larger p"),
    "a chance that is none": ("pruner: {name: interval, p: 0.5}", "pruner.p: is 0.5; give a chance between 0 and 0.5"),
    "a pruner misspelt": ("pruner: wilcoxn\nreplicates: 5", "did you mean wilcoxon"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_what_to_do(tmp_path, case):
    text, said = BAD[case]
    path = tmp_path / "space.yaml"
    path.write_text(f"study: s\n{text}\n")
    (found,) = problems(path)
    assert found.startswith(f"{path}:2: ") and said in found


def test_enough_seeds_or_a_larger_p_make_it_right(tmp_path):
    path = tmp_path / "space.yaml"
    for text in ("pruner: wilcoxon\nreplicates: 4", "pruner: {name: wilcoxon, p: 0.2}\nreplicates: 3"):
        path.write_text(f"study: s\n{text}\n")
        assert load_space(path).pruner["name"] == "wilcoxon"


def test_a_trial_that_breaks_a_constraint_is_nothing_to_reach(home):
    bound = Constraint("val/used_sprites", min=0.5)
    given = space(pruner={"name": "interval", "rungs": 2}, replicates=3, budget=Budget(trials=3), constraints=(bound,))
    values = [-0.5, 0.0, 0.5]
    first = noisy(values, 0.01)

    def metrics(config, seed, epoch):
        found = first(config, seed, epoch)
        return {**found, "val/used_sprites": 0.1 if found["val/reconstruction"] < 19.8 + 10 * math.sin(seed) else 0.9}

    run = Runner(home, given, metrics=metrics).run()
    assert [r.feasible for r in run.records][:2] == [False, True]
    assert [r.state for r in run.records] == ["complete", "complete", "pruned"]
