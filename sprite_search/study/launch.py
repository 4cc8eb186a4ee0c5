"""Launching a study: the lease, the books put in order, the search, and the end."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainers.settings import TrialConfig

from ..checkpoints import CheckpointStore, open_store
from ..errors import InputError, WorkError
from ..home import Home
from ..machine import cpus, gpus, too_little_memory
from ..space import Space
from ..trusted import folder
from . import goals
from .budget import busy_hours, trials_left, used_up
from .lease import holder, lease, store_lease
from .records import TrialRecord

if TYPE_CHECKING:
    from trainers.datasets import Dataset

    from ..tracking import Tracker
    from .driver import Driver
    from .ledger import Ledger


class Progress(Protocol):
    """Shows a running study (`sprite_search.console`)."""

    def start(self, space: Space, records: Sequence[TrialRecord]) -> None: ...
    def update(self, records: Sequence[TrialRecord], note: str | None = None) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Result:
    """How a launch ended: all trials of the study, how many were started now, and what is worth saying."""

    records: tuple[TrialRecord, ...]
    interrupted: bool
    seconds: float
    started: int
    note: str | None = None


def launch(
    space: Space,
    home: Home,
    *,
    address: str | None = None,
    allow_space_change: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Runs a study, or goes on with it: the same call again does whatever is left.

    Args:
        space: what to search.
        home: where everything is kept.
        address: a Ray cluster; without it Ray is started on this machine.
        allow_space_change: go on although the study was started with another space.
        progress: shows what happens.
    Raises:
        InputError: the study is being run already, its space changed, or resources are not there.
        WorkError: too many trials failed, or the disk is full; what was found is kept.
    """
    began = time.monotonic()
    _check_machine(space, address)
    if _is_new(space, home):
        _dataset(space, home)  # what is missing is told before anything is made
    home.create()
    folder = home.study(space.name)
    with lease(folder), store_lease(home.study_store, space.name):
        from .ledger import Ledger

        ledger = Ledger.create(home, space, allow_space_change=allow_space_change)
        (folder / "stop").unlink(missing_ok=True)
        if ledger.remaining(space) and not any(r.state == "running" for r in ledger.records()):
            _refuse_failures(space, ledger.records())
        if _nothing_to_do(ledger, space, home):
            _reconcile(ledger, space, home)
            note = _left_undone(ledger, space, used_up(space, ledger.records(), busy_hours(ledger.records())))
            return Result(tuple(ledger.records()), False, time.monotonic() - began, 0, note)
        driver = _run(ledger, space, home, address, progress)
        if driver.fatal:
            raise WorkError(f"{driver.fatal}; mend that and run the same command again: nothing is lost")
        records = tuple(ledger.records())
        _refuse_failures(space, records)
        interrupted = driver.draining or driver.stop_file.exists()
        driver.stop_file.unlink(missing_ok=True)
        note = None if interrupted else _left_undone(ledger, space, driver.closed())
        return Result(records, interrupted, time.monotonic() - began, driver.started, note)


def _is_new(space: Space, home: Home) -> bool:
    from .ledger import Ledger

    try:
        Ledger.open(home, space.name)
    except InputError:
        return True
    return False


def _nothing_to_do(ledger: Ledger, space: Space, home: Home) -> bool:
    from .confirmation import pending

    records = ledger.records()
    if any(r.state == "running" for r in records):
        return False
    busy = busy_hours(records)
    if ledger.remaining(space) and not used_up(space, records, busy):
        return False
    if used_up(space, records, busy, confirming=True):
        return True
    return not pending(ledger, space, home, open_store(home.checkpoints))


def _refuse_failures(space: Space, records: Sequence[TrialRecord]) -> None:
    failed = [r for r in records if r.state == "failed"]
    if len(failed) > space.budget.max_failed:
        raise WorkError(
            f"{space.name}: {len(failed)} trials failed, the last because {failed[-1].reason};"
            f" see `sprite-search trials {space.name}`, or allow more with budget.max_failed"
        )


def _left_undone(ledger: Ledger, space: Space, closed: str | None) -> str | None:
    """Why fewer configurations were tried, or trained again, than were asked for; None when all were.

    Args:
        closed: of `Driver.closed`.
    """
    records = ledger.records()
    said = []
    if left := trials_left(records, space.budget.trials):
        why = closed or "the sampler found nothing new; try sampler random"
        if ledger.exhausted(space):
            why = "the space has no more; widen a range or add choices"
        said.append(f"{space.budget.trials - left} of {space.budget.trials} configurations: {why}")
    again = sum(r.confirms is not None for r in records)
    if space.confirm is not None:
        front = ledger.leaders(space.confirm.top) if space.further_objectives else None
        if again < (space.confirm.top if front is None else len(front)):
            why = closed or "no more can be compared"
            said.append(f"{again} of {goals.confirmed(space)} trained again on fresh seeds: {why}")
    return "\n".join(said) or None


def _reconcile(ledger: Ledger, space: Space, home: Home) -> None:
    """Mends what a crash left undone in the record of a finished study."""
    store = open_store(home.checkpoints)
    tracker = open_tracker(space, home, store)
    try:
        tracker.reconcile(ledger.records(), lambda r: store.history(space.name, r.number))
        _judge(ledger, space, home, store, tracker)
    finally:
        tracker.close()


def _judge(ledger: Ledger, space: Space, home: Home, store: CheckpointStore, tracker: Tracker) -> None:
    """Computes the criteria of the study as it stands, so that whoever reads it need not wait, and records them."""
    from ..artefacts import with_criteria
    from .table import rows

    records = ledger.records()
    front = {r.key for r in goals.front(space, records)} if space.further_objectives else None
    tracker.judge(with_criteria(rows(records), store, space.name, home.study(space.name)), front)


def open_tracker(space: Space, home: Home, store: CheckpointStore, tags: Mapping[str, str] | None = None) -> Tracker:
    """The writer of a study's record in MLflow; InputError where that cannot be used."""
    from ..tracking import Tracker

    tags = {"sprite.profile": space.profile or "none", "sprite.oracle": str(space.oracle).lower(), **(tags or {})}
    return Tracker(
        home,
        space.name,
        space_hash=space.hash,
        tags=tags,
        objectives=[(o.metric, o.direction == "minimize") for o in space.objectives],
        searched=list(space.search),
        pictures_of=lambda record: store.pictures(space.name, record.number),
    )


def _run(ledger: Ledger, space: Space, home: Home, address: str | None, progress: Progress | None) -> Driver:
    from ..trial import check_packages
    from . import tuning
    from .driver import Driver

    check_packages()
    store = open_store(home.checkpoints)
    store.check()
    dataset = _dataset(space, home)
    # its schema is made here, before there are others who could
    tags = {"sprite.code": tuning.code_identity(), "sprite.data": dataset.fingerprint}
    tracker = open_tracker(space, home, store, tags)
    if progress is not None:
        progress.start(space, ledger.records())
        for said in ledger.transfers().values():
            progress.update(ledger.records(), said)
    try:
        tracker.reconcile(ledger.records(), lambda r: store.history(space.name, r.number))
        driver = Driver(ledger, space, home, tracker, watch=progress.update if progress is not None else None)
        with _work_folder(home.study(space.name)) as work, tuning.connected(work, address):
            tuning.run(driver, work)
        if progress is not None and not driver.fatal:
            progress.update(ledger.records())
        if not driver.stopping():
            _judge(ledger, space, home, store, tracker)
        return driver
    finally:
        tracker.close()
        if progress is not None:
            progress.stop()


def _dataset(space: Space, home: Home) -> Dataset:
    """The data of the study, made or read once so that workers find it, and a missing file is told at once."""
    from trainers import datasets

    dataset = datasets.load(TrialConfig.from_flat({**space.sample(0), "seed": 0}), home.data)
    labelled = next((o.metric for o in space.objectives if o.metric.startswith("labels/")), None)
    if labelled and dataset.labels is None and dataset.classes is None:
        raise InputError(f"objective: {labelled} needs labels, but the data set has none; use val/reconstruction")
    return dataset


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """A folder for what need not be kept; whoever holds the lease clears what a killed driver left in it."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_machine(space: Space, address: str | None) -> None:
    """Refuses what this machine cannot give, before anything is started."""
    if address is not None:
        return
    there, resources = gpus(), space.resources
    if resources.gpu > len(there):
        raise InputError(
            f"resources.gpu: a trial asks for {resources.gpu:g} GPUs, but this machine has {len(there)};"
            " use --set resources.gpu=0, --profile laptop where the space has one, or a cluster with --address"
        )
    if resources.gpu and resources.gpu_memory:
        smallest = min(there, key=lambda device: device[1])
        if small := too_little_memory(*smallest, share=resources.gpu, needed=resources.gpu_memory):
            raise InputError(small)
    if space.resources.cpu > cpus():
        raise InputError(
            f"resources.cpu: a trial asks for {space.resources.cpu:g} CPUs, but this process may use {cpus()};"
            f" use --set resources.cpu={cpus()}"
        )


def stop(home: Home, study: str) -> dict[str, Any]:
    """Asks the driver of a study to drain: running trials end at their next report and stay resumable."""
    from .ledger import Ledger

    Ledger.open(home, study)
    who = holder(home.study(study))
    if who is None:
        raise InputError(f"{study}: is not running; nothing to stop")
    (home.study(study) / "stop").touch()
    return who


def dry_run(space: Space, count: int = 5) -> dict[str, Any]:
    """What a launch would do, without doing any of it: sampled configurations and what they would hold."""
    return {
        "study": space.name,
        "profile": space.profile,
        "aim": space.aim,
        "sampler": space.sampler["name"],
        "samples": [{n: v for n, v in space.sample(seed).items() if n in space.search} for seed in range(count)],
        "trials": space.budget.trials,
        "replicates": space.replicates,
        "confirm": dataclasses.asdict(space.confirm) if space.confirm is not None else None,
        "hours": space.budget.hours,
        "resources": {"cpu": space.resources.cpu, "gpu": space.resources.gpu},
        "points": [name for name, _ in space.start_from],
    }


def history(home: Home, study: str, number: int) -> list[dict[str, Any]]:
    """All reports of a trial."""
    return open_store(home.checkpoints).history(study, number)


def checkpoint(home: Home, study: str, number: int) -> Path | None:
    """The newest checkpoint of a trial, or the part of it that is trusted more; None when its weights are gone."""
    latest = open_store(home.checkpoints).latest(study, number)
    return folder(latest) if latest is not None and (latest / "checkpoint.pt").exists() else None
