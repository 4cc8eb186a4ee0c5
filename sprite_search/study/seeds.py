"""Pruners that compare configurations seed by seed: all configurations are trained from the same seeds.

What a seed does to every configuration (an easy order of images, a lucky start) drops out of the difference between
two of them on that seed, so these differences say more than two means do. A trial is compared at each rung with the
incumbent, the best complete trial, at the same rung. Rungs are not taken together: the values of a seed at several
rungs are one draw, not several. Over several rungs a trial that is as good as the incumbent is ended by chance more
often than `p`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .intervals import interval

RUNGS = "rungs"  #: user attribute of a trial: its objective at each rung by seed, {"1": {"0": value}}

#: Whether differences to the incumbent, above 0 where a trial is worse, are no chance.
Worse = Callable[[Sequence[float], float], bool]


def beyond_interval(differences: Sequence[float], p: float) -> bool:
    """The better end of the one-sided interval of the mean difference does not reach 0. For few seeds too."""
    low = interval(differences, 1 - 2 * p).low
    return low is not None and low > 0


def wilcoxon(differences: Sequence[float], p: float) -> bool:
    """Wilcoxon's signed-rank test with the safeguard of Optuna's `WilcoxonPruner`, at a single rung.

    It asks nothing of how values are distributed, and with n seeds finds nothing below 1/2ⁿ.
    """
    from scipy import stats  # not at the top: it takes a second

    found = stats.wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue
    return bool(found < p) and sum(differences) > 0


class SeedPruner(optuna.pruners.BasePruner):
    """Ends a trial that is worse than the incumbent on the seeds they share, unless that may be chance.

    Args:
        worse: the test.
        p: the chance, at one rung, of ending a trial that is as good as the incumbent.
        startup: how many complete trials there must be.
    """

    def __init__(self, worse: Worse, p: float, startup: int):
        self.worse, self.p, self.startup = worse, p, startup

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        best = self._incumbent(study)
        if best is None or trial.last_step is None:
            return False
        own, others = _at(trial, trial.last_step), _at(best, trial.last_step)
        sign = _sign(study)
        differences = [sign * (own[seed] - others[seed]) for seed in own if seed in others]
        return len(differences) > 1 and self.worse(differences, self.p)

    def _incumbent(self, study: optuna.Study) -> FrozenTrial | None:
        """The best complete trial whose rungs were noted and that keeps all constraints.

        Trials of the second stage have other seeds.
        """
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        done = [t for t in complete if RUNGS in t.user_attrs and "confirms" not in t.user_attrs]
        if len(done) < self.startup:
            return None
        done = [t for t in done if all(violation <= 0 for violation in t.constraints.values())]
        return min(done, key=lambda t: _sign(study) * (t.value or 0.0), default=None)


def _sign(study: optuna.Study) -> int:
    return 1 if study.direction is StudyDirection.MINIMIZE else -1


def _at(trial: FrozenTrial, rung: int) -> dict[str, float]:
    found: dict[str, Any] = trial.user_attrs.get(RUNGS, {})
    return found.get(str(rung), {})
