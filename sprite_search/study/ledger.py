"""The ledger: an Optuna study is the only account of what was asked, what became of it and why."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from trainers.families import suggestion
from trainers.settings import SettingError, TrialConfig

from ..errors import InputError
from ..home import Home
from ..space import Space
from ..space.names import SEED_PRUNERS
from . import goals, samplers
from .budget import trials_left
from .grid import Grid, digest
from .past import Past
from .records import TrialRecord, counts, mean_over_seeds, searched
from .seeds import RUNGS
from .sequential import SequentialGrid
from .storage import storage
from .transfer import searched_settings, transferred

_STATES = {
    TrialState.WAITING: "queued",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_LISTING = ("grid", "sequential_grid")  #: samplers that take configurations from a list
_MOST_DUPLICATES = 20  #: after as many in a row a continuous space is taken for exhausted


@dataclass(frozen=True)
class Job:
    """A configuration to train: a new one, or one that was begun and not finished."""

    number: int
    config: Mapping[str, Any]
    seeds: tuple[int, ...]
    begun: bool = False
    gpu: float | None = None  #: what it is to have of a GPU, where that is not what all have
    confirms: int | None = None  #: the trial whose configuration this is, trained again


def studies(home: Home) -> list[str]:
    """Names of all studies of this home."""
    return sorted(optuna.study.get_all_study_names(storage(home)))


class Ledger:
    """One study. Whoever writes holds its lease."""

    def __init__(self, study: optuna.Study):
        self.study = study
        self.name = study.study_name
        self._trials: dict[int, optuna.trial.Trial] = {}
        self._past = Past()
        self._grid: Grid | SequentialGrid | None = None

    @classmethod
    def open(cls, home: Home, name: str) -> Ledger:
        """An existing study; InputError names those there are."""
        store = storage(home)
        try:
            return cls(_load(name, store))
        except KeyError:
            known = sorted(optuna.study.get_all_study_names(store))
            advice = suggestion(name, known) if known else "there are none yet"
            raise InputError(f"{name}: no such study in {home.root}; {advice}") from None

    @classmethod
    def create(cls, home: Home, space: Space, *, allow_space_change: bool = False) -> Ledger:
        """The study of a space, made or taken up again; one that is taken up unchanged is not written to.

        A study that was never asked for a configuration holds nothing of its space yet, and may change freely.

        Raises:
            InputError: the study exists with another space, and that was not allowed.
        """
        store = storage(home, create=True)
        try:
            ledger = cls(_load(space.name, store))
        except KeyError:
            cls._sources(home, space)  # what is not there is told before anything is made
            ledger = cls(optuna.create_study(study_name=space.name, storage=store, directions=_directions(space)))
        known = ledger.study.user_attrs.get("space")
        if known not in (None, space.to_dict()) and not ledger._begun():
            optuna.delete_study(study_name=space.name, storage=store)
            return cls.create(home, space)
        if known is not None:
            ledger._refuse_change(Space.from_dict(known), space, allow_space_change)
        ledger._transfer(home, space)
        ledger._enqueue(space)
        if known != space.to_dict():
            ledger.study.set_user_attr("space", space.to_dict())
        return ledger

    def _begun(self) -> bool:
        return any(t.state != TrialState.WAITING for t in self._all())

    def _refuse_change(self, before: Space, space: Space, allowed: bool) -> None:
        changes = before.diff(space)
        if _directions(before) != _directions(space) or before.constraints != space.constraints:
            raise InputError(
                f"{space.name}: this study was started with another aim:\n  "
                + "\n  ".join(changes)
                + "\nits trials were judged by that; launch it as another study with --study, and let it learn from"
                " this one with transfer_from"
            )
        if changes and not allowed:
            raise InputError(
                f"{space.name}: this study was started with another space:\n  "
                + "\n  ".join(changes)
                + "\nlaunch it as another study with --study, or mix the two with --allow-space-change"
            )

    def _enqueue(self, space: Space) -> None:
        """Puts the points to start from first, each once, whatever a killed driver left of this."""
        self._try_first(space, dict(space.start_from))

    def _try_first(self, space: Space, points: Mapping[str, Mapping[str, Any]]) -> None:
        known = {t.user_attrs.get("point") for t in self._all()}
        for name, point in points.items():
            if name not in known:
                self.study.enqueue_trial(space.point_params(point), user_attrs={"arm": "start", "point": name})

    # -- what other studies found -------------------------------------------------------------------

    def transfers(self) -> dict[str, str]:
        """What was taken from other studies, in words, by their names."""
        return dict(self.study.user_attrs.get("transfers", {}))

    @classmethod
    def _sources(cls, home: Home, space: Space, done: Collection[str] = ()) -> dict[str, Ledger]:
        """The studies to learn from that are not `done`; InputError names one that is not there."""
        try:
            return {name: cls.open(home, name) for name in space.transfer_from if name not in done}
        except InputError as error:
            raise InputError(f"transfer_from: {error}") from None

    def _transfer(self, home: Home, space: Space) -> None:
        """Takes over what other studies found, each once, whatever a killed driver left of this.

        Such a trial is known to samplers, but it is none of this study: it has no record, uses no budget, and its
        configuration may be asked for again.
        """
        for name, source in self._sources(home, space, self.transfers()).items():
            found = transferred(space, source.space(), source.records())
            there = {t.user_attrs.get("transferred") for t in self._all()}
            for record in found.told:
                if record.key not in there:
                    self.study.add_trial(_told(space, record))
            self._try_first(space, {r.key: searched_settings(space, r.config) for r in found.tried})
            self.study.set_user_attr("transfers", {**self.transfers(), name: found.says(name)})

    def space(self) -> Space:
        """The space the study was last launched with."""
        known = self.study.user_attrs.get("space")
        if known is None:
            raise InputError(f"{self.name}: its launch was cut off before anything was asked; launch it again")
        return Space.from_dict(known)

    # -- asking -----------------------------------------------------------------------------------

    def unfinished(self, space: Space) -> list[Job]:
        """Trials that a driver before this one left running."""
        jobs = []
        for frozen in self._all(TrialState.RUNNING):
            config = frozen.user_attrs.get("config")
            # without a configuration its driver died while asking: what it had asked stays, the rest is asked now
            job = self.job(space, frozen.number) if config else self._settle(space, frozen.number)
            if job is not None:
                jobs.append(job)
        return jobs

    def job(self, space: Space, number: int) -> Job:
        """A trial that was begun, to go on with."""
        record = self.record(number)
        seeds = record.replicates or tuple(range(space.replicates))
        return Job(number, record.config, seeds, begun=True, gpu=record.gpu, confirms=record.confirms)

    def give(self, number: int, gpu: float) -> None:
        """Notes that a trial needs so much of a GPU."""
        self._trial(number).set_user_attr("gpu", gpu)

    def take_up(self, space: Space, number: int) -> int:
        """Counts one more attempt of a trial that was begun; returns which it is."""
        record = self.record(number)
        trial = self._trial(number)
        ended = record.reported or (record.breaks[-1][1] if record.breaks else record.started) or time.time()
        share = space.resources.gpu if record.gpu is None else record.gpu
        trial.set_user_attr("shares", [*record.shares[: len(record.breaks) + 1], share])
        trial.set_user_attr("breaks", [*record.breaks, (ended, time.time())])
        trial.set_user_attr("attempt", record.attempt + 1)
        return record.attempt + 1

    def crash(self, number: int) -> int:
        """Counts a worker that died; returns how many have."""
        crashes = self.record(number).crashes + 1
        self._trial(number).set_user_attr("crashes", crashes)
        return crashes

    def remaining(self, space: Space) -> int:
        """How many more configurations the budget and the space allow."""
        left = trials_left(self.records(), space.budget.trials)
        return left if left and not self._exhausted(space) else 0

    def exhausted(self, space: Space) -> bool:
        """Whether the budget asks for more configurations than the space has."""
        return bool(trials_left(self.records(), space.budget.trials)) and self._exhausted(space)

    def ask(self, space: Space) -> Job | None:
        """The next configuration; None when the budget is used or nothing new is found."""
        for duplicates in range(_MOST_DUPLICATES):
            if not self.remaining(space):
                return None
            job = self._ask(space, duplicates)
            if job is not None:
                return job
        return None

    def _ask(self, space: Space, duplicates: int) -> Job | None:
        number = len(self._all())
        if (duplicates or space.sampler["name"] in _LISTING) and not self._all(TrialState.WAITING):
            params = self._unseen(space)
            if params is not None:
                self.study.enqueue_trial(params)
        self._set_up(space, number, resampled=duplicates > 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.study.ask()
        self._trials[trial.number] = trial
        return self._settle(space, trial.number, arm=_arm(space, number), resampled=duplicates > 1)

    def _set_up(self, space: Space, number: int, *, resampled: bool = False) -> None:
        """Sampler and pruner for a trial; after two duplicates the sampler is stuck, and chance helps."""
        at_random = resampled or _arm(space, number) == "random"
        self.study.pruner = samplers.pruner(space)
        self.study.sampler = (samplers.random_sampler if at_random else samplers.sampler)(space, number)

    def _settle(self, space: Space, number: int, *, arm: str | None = None, resampled: bool = False) -> Job | None:
        """Asks for each parameter and enters the configuration; None where it is impossible or not new."""
        trial = self._trial(number, space)
        arm = trial.user_attrs.get("arm") or arm or _arm(space, number)
        if arm == "start":  # what a point leaves open is not left to chance
            self.study.sampler = samplers.sampler(space, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            config = space.suggest(trial)
        try:
            identity = digest(config)
        except SettingError as error:
            self._skip(number, f"not a possible configuration: {error}")
            return None
        twin = self._digests().get(identity, number)
        if twin != number:
            self._skip(number, f"same configuration as trial {twin}")
            return None
        seeds = tuple(range(space.replicates))  # the same for all: what differs between them is the configuration
        # the configuration last: a trial that has it has the rest
        attrs = {"arm": arm, "seeds": seeds, "shares": [space.resources.gpu], "digest": identity, "attempt": 1}
        for key, value in {**attrs, "config": config}.items():
            trial.set_user_attr(key, value)
        return Job(number, config, seeds)

    # -- a second stage ---------------------------------------------------------------------------

    def leaders(self, top: int) -> list[int] | None:
        """The configurations that `set_leaders` noted; None when the search went on since, or another number is wanted.

        They are noted because a ranking may change with what is trained later, and each is to be trained again once.
        """
        noted = self.study.user_attrs.get("leaders")
        return noted["trials"] if noted and (noted["of"], noted["top"]) == (self._ended(), top) else None

    def set_leaders(self, top: int, trials: Sequence[int]) -> None:
        """Notes the best configurations of the search as it stands, `top` of them where there are as many."""
        self.study.set_user_attr("leaders", {"of": self._ended(), "top": top, "trials": list(trials)})

    def _ended(self) -> int:
        return sum(r.done for r in searched(self.records()))

    def confirm(self, space: Space, number: int, seeds: Sequence[int]) -> Job:
        """Enters the configuration of a trial once more, to be trained from other seeds.

        In a single write: a driver that is killed leaves it entered or not, never half of it.
        """
        source = self._frozen(number)
        attrs = {n: source.user_attrs[n] for n in ("digest", "config")}
        attrs |= {"arm": "confirm", "confirms": number, "seeds": list(seeds), "shares": [space.resources.gpu]}
        made = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=source.params,
            distributions=source.distributions,
            user_attrs={**attrs, "attempt": 1},
        )
        self.study.add_trial(made)
        return Job(self._all()[-1].number, attrs["config"], tuple(seeds), confirms=number)

    def _skip(self, number: int, reason: str) -> None:
        """Takes a number out of the account: nothing was or will be trained under it."""
        trial = self._trial(number)
        trial.set_user_attr("skipped", True)
        trial.set_user_attr("reason", reason)
        self.study.tell(number, state=TrialState.FAIL)

    # -- configurations that can be listed ----------------------------------------------------------

    def _list(self, space: Space) -> Grid | SequentialGrid:
        if self._grid is None or self._grid.hash != space.hash:
            self._grid = SequentialGrid(space) if space.sampler["name"] == "sequential_grid" else Grid(space)
        return self._grid

    def _exhausted(self, space: Space) -> bool:
        return self._list(space).finite and self._unseen(space) is None

    def _unseen(self, space: Space) -> dict[str, Any] | None:
        """Parameters of a configuration nobody asked for yet; None when there is none or they cannot be listed."""
        listed = self._list(space)
        if isinstance(listed, SequentialGrid):
            return listed.unseen(self._digests(), self.record)
        return listed.unseen(self._digests())

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
        trial.set_user_attr("last", {"epoch": epoch, "epochs": epochs, "time": time.time(), "seeds": replicates})
        if epoch >= epochs:
            return False
        reached = sum(epoch >= r for r in self.rungs(space, frozen.user_attrs["config"], epochs))
        before = max(frozen.intermediate_values, default=0)
        if reached <= before:
            return False
        value = mean_over_seeds(metrics, space.objective.metric)
        passed = range(before + 1, reached + 1)  # reports further apart than rungs count for all they pass
        if space.pruner["name"] in SEED_PRUNERS:
            own = {str(s): m[space.objective.metric] for s, m in zip(seeds, metrics, strict=True)}
            noted = {**frozen.user_attrs.get(RUNGS, {}), **{str(rung): own for rung in passed}}
            trial.set_user_attr(RUNGS, noted)
        for rung in passed:
            trial.report(value, step=rung)
        self.study.pruner = samplers.pruner(space)
        # the honest pool is never pruned, but the others are compared with it
        pruned = bool(trial.should_prune()) and frozen.user_attrs.get("arm") not in ("random", "confirm")
        if pruned:
            self._judge(space, number, metrics)
        return pruned

    def rungs(self, space: Space, config: Mapping[str, Any], epochs: int) -> list[int]:
        """Epochs from which on the pruner compares a configuration; none where nothing is pruned."""
        if space.pruner["name"] == "none":
            return []
        made = TrialConfig.from_flat({**config, "seed": 0})
        shares = samplers.rung_fractions(made.parts["model"].settled(made), samplers.rungs(space))
        return [math.ceil((share - 1e-9) * epochs) for share in shares]

    def complete(self, space: Space, number: int) -> None:
        """Ends a trial with its objectives: each the mean over replicates at the last report."""
        metrics = [s["metrics"] for s in self.record(number).seeds]
        self._judge(space, number, metrics)
        self.study.tell(number, goals.values(space, metrics))

    def _judge(self, space: Space, number: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Enters how far a trial violates the constraints, where every sampler of Optuna finds it."""
        trial = self._trial(number)
        there = trial.constraints  # what a driver that was killed had entered
        for name, violation in goals.violations(space, metrics).items():
            if name not in there:
                trial.set_constraint(name, violation)

    def prune(self, number: int) -> None:
        """Ends a trial that the pruner stopped; never counted as complete."""
        self.study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """Ends a trial that went wrong, with the reason."""
        self._trial(number).set_user_attr("reason", reason)
        self.study.tell(number, state=TrialState.FAIL)

    def _trial(self, number: int, space: Space | None = None) -> optuna.trial.Trial:
        """A handle on a trial, also on one asked by a driver before this one."""
        if number not in self._trials:
            if space is not None:
                self._set_up(space, number)
            self._trials[number] = optuna.trial.Trial(self.study, self._frozen(number)._trial_id)
        return self._trials[number]

    # -- reading ----------------------------------------------------------------------------------

    def records(self) -> list[TrialRecord]:
        """All trials, in the order they were asked; numbers that were skipped are left out."""
        rest = self._rest()
        return [*self._past.records, *(_record(self.name, t) for t in rest if not _skipped(t))]

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return _record(self.name, self._frozen(number))

    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        return counts(self.records())

    def _all(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _rest(self) -> Sequence[FrozenTrial]:
        """The trials behind `_past`, which is brought up to date."""
        return self._past.follow(self._all(), lambda t: None if _skipped(t) else _record(self.name, t))

    def _digests(self) -> dict[str, int]:
        """Configurations that are not to be asked again, and the trial that has each."""
        rest = [t for t in self._rest() if t.state is not TrialState.WAITING and not _skipped(t)]
        # the first that has a configuration, as in the past
        return {**{str(t.user_attrs.get("digest")): t.number for t in reversed(rest)}, **self._past.digests}

    def _frozen(self, number: int) -> FrozenTrial:
        known = self._trials.get(number)
        return self.study._storage.get_trial(known._trial_id) if known is not None else self._all()[number]


def _load(name: str, store: optuna.storages.BaseStorage) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=store, sampler=optuna.samplers.RandomSampler(seed=0))


def _directions(space: Space) -> list[optuna.study.StudyDirection]:
    return [optuna.study.StudyDirection[o.direction.upper()] for o in space.objectives]


def _arm(space: Space, number: int) -> str:
    """Every so many numbers one goes to the random arm, so that its share is kept at any time."""
    return "random" if int((number + 1) * space.random_arm) > int(number * space.random_arm) else "optimised"


def _skipped(trial: FrozenTrial) -> bool:
    """Whether a number is none of this study's account."""
    return bool(trial.user_attrs.get("skipped") or trial.user_attrs.get("transferred"))


def _told(space: Space, record: TrialRecord) -> FrozenTrial:
    """A trial of another study as this one's samplers see it."""
    params = space.point_params(searched_settings(space, record.config))
    asked = optuna.trial.FixedTrial(params)
    space.suggest(asked)
    metrics = [s["metrics"] for s in record.seeds]
    return optuna.trial.create_trial(
        values=goals.values(space, metrics),
        params=asked.params,
        distributions=asked.distributions,
        user_attrs={"transferred": record.key},
        constraints=goals.violations(space, metrics),
    )


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as JSON can hold them: what is not finite is left out."""
    return {n: float(v) for n, v in metrics.items() if math.isfinite(v)}


def _record(study: str, trial: FrozenTrial) -> TrialRecord:
    attrs, last = trial.user_attrs, trial.user_attrs.get("last", {})
    values = tuple(trial.values or ()) if trial.state is TrialState.COMPLETE else ()
    return TrialRecord(
        number=trial.number,
        key=f"{study}/{trial.number}",
        state=_STATES[trial.state],
        arm=attrs.get("arm", "optimised"),
        attempt=int(attrs.get("attempt", 1)),
        params=dict(trial.params),
        config=dict(attrs.get("config", {})),
        value=values[0] if values else None,
        values=values,
        violations=trial.constraints,
        epoch=int(last.get("epoch", 0)),
        epochs=int(last.get("epochs", 0)),
        seeds=tuple(last.get("seeds", ())),
        reason=attrs.get("reason"),
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        finished=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        point=attrs.get("point"),
        reported=last.get("time"),
        breaks=tuple((a, b) for a, b in attrs.get("breaks", ())),
        crashes=int(attrs.get("crashes", 0)),
        gpu=attrs.get("gpu"),
        shares=tuple(attrs.get("shares", ())),
        replicates=tuple(attrs.get("seeds", ())),
        confirms=attrs.get("confirms"),
    )
