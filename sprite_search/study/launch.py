"""Launching a study: the lease, the books put in order, the search, and the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trainers.settings import TrialConfig

from ..checkpoints import CheckpointStore
from ..errors import InputError, WorkError
from ..home import Home
from ..space import Space
from .lease import holder, lease
from .records import TrialRecord, counts


class Progress(Protocol):
    """Shows a running study (`sprite_search.console`)."""

    def start(self, space: Space, records: Sequence[TrialRecord]) -> None: ...
    def update(self, records: Sequence[TrialRecord], note: str | None = None) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Result:
    """How a launch ended."""

    records: tuple[TrialRecord, ...]
    interrupted: bool
    seconds: float
    started: int


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
    home.create()
    with lease(home.study(space.name)):
        from .ledger import Ledger

        ledger = Ledger.create(home, space, allow_space_change=allow_space_change)
        (home.study(space.name) / "stop").unlink(missing_ok=True)
        open_jobs = [r for r in ledger.records() if r.state in ("running", "queued")]
        if not ledger.remaining(space) and not open_jobs:
            return Result(tuple(ledger.records()), False, time.monotonic() - began, 0)
        before = len(ledger.records())
        driver = _run(ledger, space, home, address, progress)
        records = tuple(ledger.records())
        if driver.fatal:
            raise WorkError(f"{driver.fatal}; make room and run the same command again: nothing is lost")
        failed = counts(records)["failed"]
        if failed > space.budget.max_failed:
            reason = next(r.reason for r in reversed(records) if r.state == "failed")
            raise WorkError(
                f"{space.name}: {failed} trials failed, the last because {reason}; see `sprite-search trials`"
            )
        interrupted = driver.draining or driver.stop_file.exists()
        driver.stop_file.unlink(missing_ok=True)
        return Result(records, interrupted, time.monotonic() - began, len(records) - before)


def _run(ledger: Any, space: Space, home: Home, address: str | None, progress: Progress | None) -> Any:
    from trainers import datasets

    from ..tracking import Tracker
    from . import tuning
    from .driver import Driver

    # made or read once here, so that workers find it and a missing file is told before anything runs
    config = TrialConfig.from_flat({**space.sample(0), "seed": 0})
    dataset = datasets.load(config, home.data)
    store = CheckpointStore(home.checkpoints)
    tags = {
        "sprite.code": tuning.code_identity(),
        "sprite.data": dataset.fingerprint,
        "sprite.profile": space.profile or "none",
    }
    tracker = Tracker(home, space.name, space_hash=space.hash, tags=tags)
    if progress is not None:
        progress.start(space, ledger.records())
    try:
        tracker.reconcile(ledger.records(), lambda r: store.history(space.name, r.number))
        watch = progress.update if progress is not None else None
        driver = Driver(ledger, space, home, tracker, watch=watch)
        with tuning.connected(home.root, address):
            tuning.run(driver)
        driver.retain()
        return driver
    finally:
        tracker.close()
        if progress is not None:
            progress.stop()


def _check_machine(space: Space, address: str | None) -> None:
    """Refuses what this machine cannot give, before anything is started."""
    import os

    import torch

    if address is not None:
        return
    gpus = torch.cuda.device_count()
    if space.resources.gpu > gpus:
        raise InputError(
            f"resources.gpu: a trial asks for {space.resources.gpu:g} GPUs, but this machine has {gpus};"
            " use --set resources.gpu=0, --profile laptop where the space has one, or a cluster with --address"
        )
    cpus = os.cpu_count() or 1
    if space.resources.cpu > cpus:
        raise InputError(
            f"resources.cpu: a trial asks for {space.resources.cpu:g} CPUs, but this machine has {cpus};"
            f" use --set resources.cpu={cpus}"
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
        "samples": [{n: v for n, v in space.sample(seed).items() if n in space.search} for seed in range(count)],
        "trials": space.budget.trials,
        "replicates": space.replicates,
        "hours": space.budget.hours,
        "resources": {"cpu": space.resources.cpu, "gpu": space.resources.gpu},
        "points": [name for name, _ in space.start_from],
    }


def history(home: Home, study: str, number: int) -> list[dict[str, Any]]:
    """All reports of a trial."""
    return CheckpointStore(home.checkpoints).history(study, number)


def checkpoint(home: Home, study: str, number: int) -> Path | None:
    """A trial's newest checkpoint, None when its weights are gone."""
    latest = CheckpointStore(home.checkpoints).latest(study, number)
    return latest if latest is not None and (latest / "checkpoint.pt").exists() else None
