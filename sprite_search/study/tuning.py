"""The search as Ray Tune runs it. With `trial`, the only place that knows Ray."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ..errors import InputError, WorkError
from ..trial import SpriteTrial
from .driver import Driver

_PACKAGES = Path(__file__).resolve().parents[2]
_RETRIES = 2  #: how often a trial whose worker died is started again


class StudySearcher(Searcher):
    """Asks the driver for the next job; keeps nothing itself, so there is nothing to pickle."""

    def __init__(self, driver: Driver):
        super().__init__(metric="epoch", mode="max")
        self.driver = driver

    def suggest(self, trial_id: str) -> Any:
        job = self.driver.next(trial_id)
        return {"job": job} if job is not None else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error:
            self.driver.crashed(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerScheduler(FIFOScheduler):
    """Stops trials as the ledger says."""

    def __init__(self, driver: Driver):
        super().__init__()
        self.driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        going = self.driver.reported(trial.trial_id, result)
        return TrialScheduler.CONTINUE if going else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        # a trial's last report comes here instead
        self.driver.reported(trial.trial_id, result)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RetryCounter(tune.Callback):
    """Counts the attempts of trials that Tune starts again."""

    def __init__(self, driver: Driver):
        self.driver = driver

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.driver.retried(trial.trial_id)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def capacity(cpu: float, gpu: float) -> int:
    """How many trials run side by side on the connected machines; InputError when not even one fits."""
    there = ray.cluster_resources()
    for name, asked, key in (("CPUs", cpu, "CPU"), ("GPUs", gpu, "GPU")):
        if asked > there.get(key, 0):
            raise InputError(
                f"resources.{key.lower()}: a trial asks for {asked:g} {name}, but there are {there.get(key, 0):g};"
                f" ask for fewer with --set resources.{key.lower()}=…, or choose another profile"
            )
    fits = [there["CPU"] / cpu if cpu else 1e9, there.get("GPU", 0) / gpu if gpu else 1e9]
    return max(1, int(min(fits)))


@contextmanager
def connected(home: Path, address: str | None) -> Iterator[None]:
    """Ray, started here or joined at `address`; stopped again when it was started here."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled" if address is None else "token")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is handled below
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # our own progress is shown instead of Tune's
    os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _code(home) as code:
        try:
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                runtime_env={"working_dir": str(code)},
            )
        except (ConnectionError, TimeoutError, ValueError) as error:
            where = f"the Ray cluster at {address}" if address else "Ray on this machine"
            raise InputError(f"--address: cannot reach {where} ({error}); check that it runs") from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _code(home: Path) -> Iterator[Path]:
    """A folder with our two packages alone: what workers run, wherever they are started."""
    folder = Path(tempfile.mkdtemp(prefix="sprite-code-"))
    try:
        for package in ("sprite_search", "trainers"):
            shutil.copytree(_PACKAGES / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def code_identity() -> str:
    """Hash of the sources of both packages: equal code, equal identity."""
    digest = hashlib.sha256()
    for package in ("sprite_search", "trainers"):
        for file in sorted((_PACKAGES / package).rglob("*.py")):
            digest.update(file.relative_to(_PACKAGES).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def run(driver: Driver) -> None:
    """Runs the search until the driver has no more jobs; needs a connected Ray."""
    space = driver.space
    resources = {"cpu": space.resources.cpu, "gpu": space.resources.gpu}
    at_once = capacity(**resources)
    folder = tempfile.mkdtemp(prefix="sprite-tune-")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tuner = tune.Tuner(
            tune.with_resources(SpriteTrial, resources),
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(driver),
                scheduler=LedgerScheduler(driver),
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=folder,
                verbose=0,
                callbacks=[RetryCounter(driver)],
                failure_config=tune.FailureConfig(max_failures=_RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
            ),
        )
        with _interruptible(driver.drain):
            tuner.fit()
    except ray.exceptions.RayError as error:
        raise WorkError(f"Ray failed: {str(error).splitlines()[0]}; run the same command again to go on") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _interruptible(drain: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) drains, the second stops at once."""
    pressed = 0

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt
        drain()

    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread, as in a notebook's
        before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
