"""A sampler that looks at a bounded part of a long history, so that asking does not take ever longer."""

from __future__ import annotations

import heapq
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MOST = 1000  #: trials that a sampler looks at
_BEST = 10  #: one in so many of them is one of the best, the others are the newest


class Bounded(optuna.samplers.BaseSampler):
    """Another sampler, shown the newest and the best trials only.

    TPE models the best 25 trials against the others, of which it weighs the older ones less; so it loses
    little, and its time per suggestion stops growing.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler, most: int = MOST):
        self.sampler, self.most = sampler, most
        self._best: dict[Any, list[FrozenTrial]] = {}  # found once while a trial is asked for

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.sampler.sample_independent(self._view(study), trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self.sampler.reseed_rng()

    def _view(self, study: optuna.Study) -> Any:
        return _View(study, self._best, self.most)


class _View:
    """A study of which only some trials are seen; otherwise the study itself."""

    def __init__(self, study: optuna.Study, best: dict[Any, list[FrozenTrial]], most: int):
        self._study, self._best, self._most = study, best, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """As of a study, whose private method samplers call."""
        trials = self._study._get_trials(deepcopy, states, use_cache)
        if len(trials) <= self._most:
            return trials
        kept = self._most // _BEST
        newest, older = trials[-(self._most - kept) :], trials[: -(self._most - kept)]
        key = older[-1].number, len(older)
        if key not in self._best:
            self._best[key] = self._best_of([t for t in older if t.state is TrialState.COMPLETE], kept)
        return [*self._best[key], *newest]

    def _best_of(self, trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
        """So many trials, those that keep the constraints first: the best, of several objectives the best by each."""
        directions = self._study.directions
        found: dict[int, FrozenTrial] = {}
        for i, direction in enumerate(directions):
            sign = 1 if direction is StudyDirection.MINIMIZE else -1
            best = heapq.nsmallest(count, trials, key=lambda t: (_violated(t), sign * t.values[i]))
            share = (count - len(found)) // (len(directions) - i)
            found |= {t.number: t for t in [t for t in best if t.number not in found][:share]}
        return [found[n] for n in sorted(found)]


def _violated(trial: FrozenTrial) -> bool:
    return any(v > 0 for v in trial.constraints.values())
