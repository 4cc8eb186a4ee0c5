"""The search as Ray Tune runs it. With `trial`, the only place that knows Ray."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ..errors import InputError, WorkError
from ..machine import cpus
from ..space.model import Resources
from ..trial import SpriteTrial
from .driver import Driver

_OBJECTS = 128 << 20  #: bytes for Ray's shared memory here; jobs and reports are small
#: What only the driver needs to know: workers are started without it.
SECRETS = (
    "SPRITE_STUDY_STORE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD",
)  # fmt: skip
_PACKAGES = Path(__file__).resolve().parents[2]


class StudySearcher(Searcher):
    """Asks the driver for the next job; keeps nothing itself, so there is nothing to pickle."""

    def __init__(self, driver: Driver):
        super().__init__(metric="epoch", mode="max")
        self.driver = driver

    def suggest(self, trial_id: str) -> Any:
        job = self.driver.next(trial_id)
        if job is not None:
            return {"job": job}
        return Searcher.FINISHED if self.driver.finished() else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler and the callback tell the driver, with more to say."""

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

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Called several times a second: the place to end what is silent."""
        for trial_id in self.driver.silent():
            if (actor := tune_controller.get_trial(trial_id).temporary_state.ray_actor) is not None:
                ray.kill(actor)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        # a trial's last report comes here instead
        self.driver.reported(trial.trial_id, result)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class CrashReporter(tune.Callback):
    """Tells the driver of workers that died; Tune's own retries are off, as their count would die with it."""

    def __init__(self, driver: Driver):
        self.driver = driver

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = _error(trial)
        preempted = bool(getattr(error, "preempted", False))
        self.driver.crashed(trial.trial_id, _why(error), counts=not preempted)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _error(trial: Any) -> BaseException | None:
    """What ended a Tune trial; Tune's own getters look where it has not been copied to yet."""
    with contextlib.suppress(Exception):  # whatever does not unpickle here leaves us with no reason, not without trial
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return None


def _why(error: BaseException | None) -> str:
    """What went wrong in a worker, in a few words."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "memory ran out"
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return f"{type(cause).__name__}: {_line(cause)}" if cause is not None else _line(error)
    if isinstance(error, ray.exceptions.RayActorError):
        return "its process or its machine was gone"
    return _line(error) if error is not None else "the reason is not known"


def _line(error: BaseException) -> str:
    """The last line of a message, where exceptions from other processes say what they are."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1][:500]


def capacity(resources: Resources) -> int:
    """How many trials run side by side: as the space says, or as many as fit on the connected machines.

    Raises:
        InputError: not even one fits, and the space does not say that machines may come.
    """
    if resources.at_once is not None:
        return resources.at_once
    machines = [n for n in ray.nodes() if n["Alive"] and resources.labels.items() <= n.get("Labels", {}).items()]
    if not machines:
        raise InputError(f"resources.labels: no machine has {dict(resources.labels)}; see `ray list nodes`")
    wanted = {key: asked for key, asked in _bundle(resources, resources.gpu).items() if asked}
    fits = sum(min(int(n["Resources"].get(key, 0) / a + 1e-9) for key, a in wanted.items()) for n in machines)
    if fits:
        return fits
    most = {key: max(n["Resources"].get(key, 0) for n in machines) for key in wanted}
    missing = next((key for key, asked in wanted.items() if most[key] < asked), None)
    setting = {"CPU": "cpu", "GPU": "gpu", None: "cpu"}.get(missing, "accelerator")
    asked_for = ", ".join(f"{asked:g} {key}" for key, asked in wanted.items())
    what = "all of it at once" if missing is None else f"more than {most[missing]:g} {missing}"
    raise InputError(
        f"resources.{setting}: a trial asks for {asked_for}, but no machine has {what}; change it with"
        f" --set resources.{setting}=…, choose another profile, or, where machines come when they are asked for,"
        " say how many trials to run with resources.at_once"
    )


def request(resources: Resources, gpu: float) -> tune.PlacementGroupFactory:
    """What Ray is to reserve for one trial."""
    more: dict[str, Any] = {"bundle_label_selector": [dict(resources.labels)]} if resources.labels else {}
    return tune.PlacementGroupFactory([_bundle(resources, gpu)], **more)


def _bundle(resources: Resources, gpu: float) -> dict[str, float]:
    bundle = {"CPU": resources.cpu, "GPU": gpu}
    if resources.accelerator:
        bundle[f"accelerator_type:{resources.accelerator}"] = 0.001  # as Ray itself does: a machine that has it
    return bundle


@contextmanager
def connected(work: Path, address: str | None) -> Iterator[None]:
    """Ray, started here or joined at `address`; stopped again when it was started here.

    Args:
        work: a folder of ours for the code that workers run.
    """
    settings = {
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is handled below
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # nobody reads Tune's own files
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # its snapshots are not used
        "RAY_AIR_NEW_OUTPUT": "0",  # our own progress is shown instead of Tune's
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if address is None:
        # Ray listens on every interface and runs what it is sent: only who knows the token may send
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with _environment(settings):
        try:
            ray.init(
                address=address or "local",
                num_cpus=None if address else cpus(),
                object_store_memory=None if address else _OBJECTS,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                runtime_env={"working_dir": str(_code(work)), "env_vars": dict.fromkeys(SECRETS, "")},
            )
        except Exception as error:  # of a start that takes too long Ray raises no more than that
            if address is None:
                raise WorkError(
                    f"Ray did not start on this machine ({_line(error)}); nothing is lost: run the same command again,"
                    " when the machine has less to do"
                ) from None
            raise InputError(
                f"--address: cannot reach the Ray cluster at {address} ({_line(error)}); check that it runs"
            ) from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that are not set already, for a while."""
    added = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in added})
    _reread_authentication()
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        _reread_authentication()


def _reread_authentication() -> None:
    """Makes Ray look at the environment again: it reads its authentication once, when it is imported."""
    Config.initialize("")  # before the token: a thread that still talks must not ask for one that is gone
    AuthenticationTokenLoader.instance().reset_cache()


def _code(work: Path) -> Path:
    """A folder with our two packages alone: what workers run, wherever they are started."""
    folder = work / "code"
    for package in ("sprite_search", "trainers"):
        shutil.copytree(_PACKAGES / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def code_identity() -> str:
    """Hash of the sources of both packages: equal code, equal identity."""
    digest = hashlib.sha256()
    for package in ("sprite_search", "trainers"):
        for file in sorted((_PACKAGES / package).rglob("*.py")):
            digest.update(file.relative_to(_PACKAGES).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def run(driver: Driver, work: Path, *, trainable: type[tune.Trainable] = SpriteTrial) -> None:
    """Runs the search until the driver has no more jobs; needs a connected Ray.

    Args:
        work: a folder of ours for what Tune writes.
        trainable: what runs a trial; a benchmark of the search alone has one that does nothing.
    """
    space = driver.space
    at_once = capacity(space.resources)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        tuner = tune.Tuner(
            tune.with_resources(trainable, lambda config: request(space.resources, config["job"]["gpu"])),
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(driver),
                scheduler=LedgerScheduler(driver),
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=str(work / "tune"),
                verbose=0,
                callbacks=[CrashReporter(driver)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
            ),
        )
        with _interruptible(driver.drain):
            tuner.fit()
    except ray.exceptions.RayError as error:
        raise WorkError(f"Ray failed: {_line(error)}; run the same command again to go on") from None


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
