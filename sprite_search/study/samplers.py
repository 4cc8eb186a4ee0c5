"""Samplers and pruners of a space, as Optuna has them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna

from ..space import Space
from .bounded import Bounded
from .seeds import SeedPruner, beyond_interval, wilcoxon

_STARTUP = 10
_POPULATION = 20  #: of NSGA-II; Optuna's 50 are more than most of our searches have in all
GP_SEES = 300  #: trials that a Gaussian process looks at: a suggestion takes 0.4 s with 200, 3 s with 1,000


def sampler(space: Space, number: int) -> optuna.samplers.BaseSampler:
    """The sampler that asks for trial `number`.

    Its seed follows from the study's seed and the number, so that a relaunched study goes on instead of
    repeating its start.
    """
    given = space.sampler
    seed = _seed(given, number)
    startup = int(given.get("startup", _STARTUP))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match given["name"]:
            case "random" | "grid" | "sequential_grid":  # the ledger itself takes a grid's configurations one by one
                return optuna.samplers.RandomSampler(seed=seed)
            case "qmc":  # one sequence for the whole study: its seed must not change
                return optuna.samplers.QMCSampler(seed=int(given.get("seed", 0)), warn_independent_sampling=False)
            case "gp":
                gp = optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
                return Bounded(gp, most=GP_SEES)
            case "cmaes":
                return Bounded(
                    optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
                )
            case "nsga2":  # sees the whole study, which takes it milliseconds: parents may be old
                population = int(given.get("population", _POPULATION))
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
            case _:
                # group: conditional settings are modelled where they apply, instead of sampled at random
                return Bounded(
                    optuna.samplers.TPESampler(
                        seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
                    )
                )


def random_sampler(space: Space, number: int) -> optuna.samplers.BaseSampler:
    """For the random arm."""
    return optuna.samplers.RandomSampler(seed=_seed(space.sampler, number) + 1)


def _seed(given: Mapping[str, Any], number: int) -> int:
    return (int(given.get("seed", 0)) * 1_000_003 + number * 7919 + 1) % 2**31


def rungs(space: Space) -> int:
    """At how many points of a training a pruner may end it."""
    return max(1, int(space.pruner.get("rungs", 4)))


def pruner(space: Space) -> optuna.pruners.BasePruner:
    """The pruner; its steps are the rungs 1, 2, … of `rung_fractions`."""
    given = space.pruner
    match given["name"]:
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=int(given.get("startup", 5)))
        case "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=1, max_resource=rungs(space), reduction_factor=max(2, int(given.get("reduction", 3)))
            )
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=max(2, int(given.get("reduction", 3)))
            )
        case "wilcoxon" | "interval" as name:
            worse = wilcoxon if name == "wilcoxon" else beyond_interval
            return SeedPruner(worse, p=float(given.get("p", 0.1)), startup=int(given.get("startup", 1)))
        case _:
            return optuna.pruners.NopPruner()


def rung_fractions(settled: float, count: int) -> list[float]:
    """Shares of the training at which trials are compared.

    All lie after `settled`, when the last transformation has joined: before that, losses of different
    curricula do not compare.
    """
    return [settled + (1 - settled) * (i + 1) / (count + 1) for i in range(count)]
