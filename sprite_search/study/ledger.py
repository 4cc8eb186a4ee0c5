"""The ledger: an Optuna study is the only account of what was asked, what became of it and why."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from trainers.families import suggestion
from trainers.settings import SettingError, TrialConfig
from trainers.transformations import settled

from ..errors import InputError
from ..home import Home
from ..space import Space
from . import samplers
from .records import TrialRecord, mean_over_seeds

optuna.logging.set_verbosity(optuna.logging.ERROR)

_STATES = {
    TrialState.WAITING: "queued",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_MOST_DUPLICATES = 20


@dataclass(frozen=True)
class Job:
    """A configuration to train: a new one, or one that a driver before this left unfinished."""

    number: int
    config: Mapping[str, Any]
    attempt: int
    arm: str


def storage(home: Home, *, create: bool = False) -> optuna.storages.BaseStorage:
    """Where studies are kept; InputError when it cannot be reached or does not exist yet."""
    store = home.study_store
    if "://" in store:
        try:
            return optuna.storages.RDBStorage(store)
        except Exception as error:  # every driver has errors of its own
            raise InputError(
                f"SPRITE_STUDY_STORE: cannot reach {_hidden(store)} ({_first(error)}); check address"
            ) from None
    if create:
        home.create()
    if not create and not Path(store).exists():
        raise InputError(f"{home.root}: has no studies yet; run `sprite-search launch SPACE`, or give another --home")
    try:
        # the lock by an open file: freed by the system when its holder dies
        backend = JournalFileBackend(store, lock_obj=JournalFileOpenLock(store))
        return optuna.storages.JournalStorage(backend)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{store}: the ledger of studies cannot be read ({_first(error)}); restore it from a copy"
        ) from None


def _hidden(url: str) -> str:
    """A database address without its password."""
    head, _, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if head else url


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def studies(home: Home) -> list[str]:
    """Names of all studies of this home."""
    return sorted(optuna.study.get_all_study_names(storage(home)))


class Ledger:
    """One study. Whoever writes holds its lease."""

    def __init__(self, study: optuna.Study):
        self.study = study
        self.name = study.study_name
        self._trials: dict[int, optuna.trial.Trial] = {}

    @classmethod
    def open(cls, home: Home, name: str) -> Ledger:
        """An existing study; InputError names those there are."""
        store = storage(home)
        try:
            return cls(optuna.load_study(study_name=name, storage=store))
        except KeyError:
            known = sorted(optuna.study.get_all_study_names(store))
            advice = suggestion(name, known) if known else "there are none yet"
            raise InputError(f"{name}: no such study in {home.root}; {advice}") from None

    @classmethod
    def create(cls, home: Home, space: Space, *, allow_space_change: bool = False) -> Ledger:
        """The study of a space, made or taken up again.

        Raises:
            InputError: the study exists with another space, and that was not allowed.
        """
        study = optuna.create_study(
            study_name=space.name,
            storage=storage(home, create=True),
            direction=cast(Literal["minimize", "maximize"], space.objective.direction),
            load_if_exists=True,
        )
        ledger = cls(study)
        known = study.user_attrs.get("space")
        if known is None:
            ledger._enqueue(space)
        else:
            before = Space.from_dict(known)
            changes = before.diff(space)
            if changes and not allow_space_change:
                raise InputError(
                    f"{space.name}: this study was started with another space:\n  "
                    + "\n  ".join(changes)
                    + "\nlaunch it as another study with --study, or mix the two with --allow-space-change"
                )
        if known != space.to_dict():
            study.set_user_attr("space", space.to_dict())
        return ledger

    def _enqueue(self, space: Space) -> None:
        for name, point in space.start_from:
            self.study.enqueue_trial(space.point_params(point), user_attrs={"arm": "start", "point": name})

    def space(self) -> Space:
        """The space the study was last launched with."""
        return Space.from_dict(self.study.user_attrs["space"])

    # -- asking -----------------------------------------------------------------------------------

    def unfinished(self) -> list[Job]:
        """Trials that a driver before this one left running, each with one attempt more."""
        jobs = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "config" not in trial.user_attrs:  # its driver died while asking
                self._skip(trial.number, "the driver died before the configuration was complete")
                continue
            attempt = int(trial.user_attrs.get("attempt", 1)) + 1
            self._trial(trial.number).set_user_attr("attempt", attempt)
            jobs.append(Job(trial.number, trial.user_attrs["config"], attempt, trial.user_attrs.get("arm", "")))
        return jobs

    def retry(self, number: int) -> int:
        """Counts one more attempt of a running trial."""
        attempt = int(self._frozen(number).user_attrs.get("attempt", 1)) + 1
        self._trial(number).set_user_attr("attempt", attempt)
        return attempt

    def remaining(self, space: Space) -> int:
        """How many more configurations the budget allows; trials that failed do not count."""
        states = [t.state for t in self.study.get_trials(deepcopy=False) if not _skipped(t)]
        used = sum(s in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED) for s in states)
        return max(0, space.budget.trials - used)

    def failures(self) -> int:
        """How many trials failed."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return sum(not _skipped(t) for t in trials)

    def ask(self, space: Space) -> Job | None:
        """The next configuration, None when the budget is used or nothing new is found."""
        if not self.remaining(space):
            return None
        for _ in range(_MOST_DUPLICATES):
            job = self._ask(space)
            if job is not None:
                return job
        return None

    def _ask(self, space: Space) -> Job | None:
        number = len(self.study.get_trials(deepcopy=False))
        at_random = int((number + 1) * space.random_arm) > int(number * space.random_arm)
        self.study.sampler = (samplers.random_sampler if at_random else samplers.sampler)(space, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.study.ask()
            arm = trial.user_attrs.get("arm") or ("random" if at_random else "optimised")
            if arm == "start":  # points come in their own order, whatever the arm of the number
                self.study.sampler = samplers.sampler(space, trial.number)
            config = space.suggest(trial)
        self._trials[trial.number] = trial
        try:
            digest = TrialConfig.from_flat({**config, "seed": 0}).digest()
        except SettingError as error:
            self._skip(trial.number, f"not a possible configuration: {error}")
            return None
        twin = next((t.number for t in self._done() if t.user_attrs.get("digest") == digest), None)
        if twin is not None:
            self._skip(trial.number, f"same configuration as trial {twin}")
            return None
        for key, value in {"arm": arm, "digest": digest, "attempt": 1, "config": config}.items():
            trial.set_user_attr(key, value)
        return Job(trial.number, config, 1, arm)

    def _done(self) -> list[FrozenTrial]:
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return self.study.get_trials(deepcopy=False, states=states)

    def _skip(self, number: int, reason: str) -> None:
        """Takes a number out of the account: nothing was or will be trained under it."""
        trial = self._trial(number)
        trial.set_user_attr("skipped", True)
        trial.set_user_attr("reason", reason)
        self.study.tell(number, state=TrialState.FAIL)

    # -- telling ----------------------------------------------------------------------------------

    def report(
        self,
        space: Space,
        number: int,
        epoch: int,
        epochs: int,
        seeds: Sequence[int],
        metrics: Sequence[Mapping[str, float]],
    ) -> bool:
        """Notes a report; True when the pruner ends the trial here.

        Args:
            metrics: of each replicate, in the order of `seeds`.
        """
        trial, frozen = self._trial(number), self._frozen(number)
        replicates = [{"seed": s, "metrics": _finite(m)} for s, m in zip(seeds, metrics, strict=True)]
        trial.set_user_attr("last", {"epoch": epoch, "epochs": epochs, "seeds": replicates})
        if space.pruner["name"] == "none" or epoch >= epochs:
            return False
        config = TrialConfig.from_flat({**frozen.user_attrs["config"], "seed": 0})
        fractions = samplers.rung_fractions(settled(config.transformations), samplers.rungs(space))
        reached = sum(epoch / epochs >= f for f in fractions)
        if reached <= len(frozen.intermediate_values):
            return False
        value = mean_over_seeds(metrics, space.objective.metric)
        trial.report(value, step=reached)
        if frozen.user_attrs.get("arm") == "random":  # the honest pool is never pruned
            return False
        self.study.pruner = samplers.pruner(space)
        return bool(trial.should_prune())

    def complete(self, space: Space, number: int) -> None:
        """Ends a trial with its objective: the mean over replicates at the last report."""
        last = self._frozen(number).user_attrs["last"]
        value = mean_over_seeds([s["metrics"] for s in last["seeds"]], space.objective.metric)
        if not math.isfinite(value):
            self.fail(number, f"{space.objective.metric} is not a finite number")
            return
        self.study.tell(number, value)

    def prune(self, number: int) -> None:
        """Ends a trial that the pruner stopped; never counted as complete."""
        self.study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """Ends a trial that went wrong, with the reason."""
        self._trial(number).set_user_attr("reason", reason)
        self.study.tell(number, state=TrialState.FAIL)

    def _trial(self, number: int) -> optuna.trial.Trial:
        if number not in self._trials:
            # a handle on a trial asked by a driver before this one; the sampler is not asked again
            self.study.sampler = optuna.samplers.RandomSampler(seed=0)
            self._trials[number] = optuna.trial.Trial(self.study, self._frozen(number)._trial_id)
        return self._trials[number]

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    # -- reading ----------------------------------------------------------------------------------

    def records(self) -> list[TrialRecord]:
        """All trials, in the order they were asked; numbers that were skipped are left out."""
        return [_record(self.name, t) for t in self.study.get_trials(deepcopy=False) if not _skipped(t)]


def _skipped(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("skipped"))


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as JSON can hold them: what is not finite is left out."""
    return {n: float(v) for n, v in metrics.items() if math.isfinite(v)}


def _record(study: str, trial: FrozenTrial) -> TrialRecord:
    attrs, last = trial.user_attrs, trial.user_attrs.get("last", {})
    value = None
    if trial.state is TrialState.COMPLETE:
        with contextlib.suppress(RuntimeError, TypeError):
            value = trial.value
    return TrialRecord(
        number=trial.number,
        key=f"{study}/{trial.number}",
        state=_STATES[trial.state],
        arm=attrs.get("arm", "optimised"),
        attempt=int(attrs.get("attempt", 1)),
        params=dict(trial.params),
        config=json.loads(json.dumps(attrs.get("config", {}))),
        value=value,
        epoch=int(last.get("epoch", 0)),
        epochs=int(last.get("epochs", 0)),
        seeds=tuple(last.get("seeds", ())),
        reason=attrs.get("reason"),
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        finished=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        point=attrs.get("point"),
    )
