"""A sampler that looks at a bounded part of a long history, so that asking does not take ever longer."""

from __future__ import annotations

import heapq
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

MOST = 1000  #: trials that a sampler looks at
_BEST = 100  #: as many of them are the best ones, the others the newest


class Bounded(optuna.samplers.BaseSampler):
    """Another sampler, shown the newest and the best trials only.

    TPE models the best 25 trials against the others, of which it weighs the older ones less; so it loses
    little, and its time per suggestion stops growing.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler):
        self.sampler = sampler
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
        return _View(study, self._best)


class _View:
    """A study of which only some trials are seen; otherwise the study itself."""

    def __init__(self, study: optuna.Study, best: dict[Any, list[FrozenTrial]]):
        self._study, self._best = study, best

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """As of a study, whose private method samplers call."""
        trials = self._study._get_trials(deepcopy, states, use_cache)
        if len(trials) <= MOST:
            return trials
        newest, older = trials[-(MOST - _BEST) :], trials[: -(MOST - _BEST)]
        key = older[-1].number, len(older)
        if key not in self._best:
            sign = 1 if self._study.direction == optuna.study.StudyDirection.MINIMIZE else -1
            complete = (t for t in older if t.state is TrialState.COMPLETE)
            best = heapq.nsmallest(_BEST, complete, key=lambda t: sign * (t.value or 0.0))
            self._best[key] = sorted(best, key=lambda t: t.number)
        return [*self._best[key], *newest]
