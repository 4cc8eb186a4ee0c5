"""One trial on a worker: the only place where a search meets the training."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ray import tune

from . import artefacts
from .checkpoints import TRUSTED, open_store
from .machine import gpus, too_little_memory


def check_packages() -> None:
    """Fails where another package is called `trainers`: ours sits beside this one."""
    import trainers

    here = Path(__file__).resolve().parents[1]
    theirs = Path(str(trainers.__file__)).resolve().parents[1]
    if theirs != here:
        raise ImportError(
            f"`trainers` was imported from {theirs}, but sprite_search is in {here}; start from another folder,"
            " or rename the other package"
        )


class SpriteTrial(tune.Trainable):
    """Trains all replicates of one configuration as members of one training, a report per `step`.

    ``config["job"]``: study, number, config (flat, without seed), seeds, checkpoints (root), data (folder),
    cpu, gpu, gpu_memory (GiB), driver (pid), rungs (epochs from which on it may be pruned). Resumes from the trial's
    newest checkpoint, whoever wrote it. What is wrong with the configuration or its data ends the trial with a
    reason; anything else is raised, and the driver starts the trial again.
    """

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        check_packages()
        from trainers.cpu import dedicate_process

        job = config["job"]
        dedicate_process(max(1, int(job["cpu"])))
        if 0 < job["gpu"] < 1 and torch.cuda.is_available():
            # Ray only counts fractions; this keeps one trial from taking its neighbours' memory
            torch.cuda.set_per_process_memory_fraction(float(job["gpu"]))
        self.store = open_store(job["checkpoints"])
        self.stack = ExitStack()
        self.stack.enter_context(self.store.owned(job["study"], job["number"], job["attempt"]))
        # a machine of a cluster may keep data sets elsewhere than the driver's
        self.job = {**job, "data": os.environ.get("SPRITE_DATA") or job["data"]}
        _fault("poison", job)
        self.reports = self._reports() if (small := _too_small(job)) is None else self._misplaced(small)

    def step(self) -> dict[str, Any]:
        import torch

        from trainers.errors import DataError
        from trainers.settings import SettingError
        from trainers.training import Diverged

        try:
            return next(self.reports)
        except (Diverged, DataError, SettingError) as error:
            return self._failed(str(error))
        except (torch.OutOfMemoryError, MemoryError) as error:
            torch.cuda.empty_cache()
            gpu = isinstance(error, torch.OutOfMemoryError)
            what = "GPU" if gpu else "main"
            reason = f"{what} memory ran out; give trials more of it, or search smaller models or batches"
            return {**self._failed(reason), "oom": gpu}
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return self._failed(f"no space left for checkpoints in {self.job['checkpoints']}", fatal=True)
            raise

    def _failed(self, reason: str, *, fatal: bool = False) -> dict[str, Any]:
        return {"failed": reason, "fatal": fatal, "epoch": 0, "epochs": 1, "metrics": [], tune.result.DONE: True}

    def _misplaced(self, reason: str) -> Iterator[dict[str, Any]]:
        """A trial that this machine cannot hold is not to blame, and no other would fare better."""
        yield self._failed(reason, fatal=True)

    def cleanup(self) -> None:
        self.reports = iter(())
        self.stack.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Checkpoints are our own; Tune keeps none."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See `save_checkpoint`."""

    def _reports(self) -> Iterator[dict[str, Any]]:
        from trainers import train
        from trainers.checkpoint import Models
        from trainers.settings import TrialConfig

        from .selection.steering import reported
        from .trusted import kept, places

        job = self.job
        members = [TrialConfig.from_flat({**job["config"], "seed": seed}) for seed in job["seeds"]]
        epochs = int(members[0]["training.epochs"])
        latest, history = self._begun()
        if history:
            # the driver may have died before it heard of the last report
            yield self._result(history[-1], epochs)
            if history[-1]["epoch"] >= epochs:
                return
        before = artefacts.assignments(latest, job["seeds"]) if latest is not None else {}
        models = kept(latest) if latest is not None else Models()
        for progress in train(members, data=Path(job["data"]), resume=latest):
            found = artefacts.after(before, dict(zip(job["seeds"], progress.artefacts(), strict=False)))
            before = {seed: arrays["A"] for seed, arrays in found.items()}
            own = reported(job["config"], job["seeds"], found)
            metrics = [{**m, **own[seed]} for m, seed in zip(progress.metrics, job["seeds"], strict=True)]
            stamp = {"epoch": progress.epoch, "time": int(time.time() * 1000), "settled": progress.settled}
            entry = {**stamp, "metrics": metrics}
            # the pruner may end the trial at this report, if it is not the last one
            seen = history[-1]["epoch"] if history else 0
            rung = any(seen < epoch <= progress.epoch for epoch in job["rungs"])
            history.append(entry)
            taken = [at == len(history) - 1 for at in places(job["config"], history)]
            progress.keep(models, taken)
            last = progress.epoch >= progress.epochs

            def write(
                folder: Path,
                progress: Any = progress,
                found: Any = found,
                taken: Any = taken,
                last: bool = last,
                rung: bool = rung,
            ) -> None:
                progress.save(folder)
                if not all(taken):
                    progress.save_models(folder / TRUSTED, models)
                if found:
                    artefacts.write(folder, found, images=progress.thumbnails())
                if last or rung:
                    self._draw(folder, history if last else [])

            self.store.save(job["study"], job["number"], progress.epoch, write, history)
            _fault("after_checkpoint", job)
            _fault("worker_dies", job, resumed=latest is not None)
            _fault("error", job)
            _fault("hangs", job, resumed=latest is not None)
            _fault("nan", job, metrics=metrics)
            yield self._result(entry, progress.epochs)

    def _begun(self) -> tuple[Path | None, list[dict[str, Any]]]:
        """The newest checkpoint and its reports; nothing where a failing disk left it unreadable.

        Starting again then repeats the same numbers: a training follows from its seeds.
        """
        from trainers import checkpoint
        from trainers.errors import DataError

        from .trusted import kept

        latest = self.store.latest(self.job["study"], self.job["number"])
        history = self.store.history(self.job["study"], self.job["number"]) if latest else []
        if latest is None or not history:
            return None, []
        try:
            checkpoint.read(latest, "cpu")
            kept(latest)
        except DataError:
            return None, []
        return latest, history

    def _draw(self, folder: Path, history: list[dict[str, Any]]) -> None:
        """Draws what each member learnt and, where there is a history, its course."""
        from trainers import datasets, load
        from trainers.kinds import OfPoints

        from . import pictures, point_pictures

        for member, seed in enumerate(self.job["seeds"]):
            model = load(folder, member=member)
            dataset = datasets.load(model.config, Path(self.job["data"]))
            drawn = point_pictures if issubclass(model.config.parts["dataset"], OfPoints) else pictures
            drawn.save_trial_pictures(model, dataset, folder / "pictures" / f"seed{seed}")
        if history:
            pictures.curves(history, folder / "pictures" / "curves.png")

    def _result(self, entry: dict[str, Any], epochs: int) -> dict[str, Any]:
        return {**entry, "epochs": epochs, tune.result.DONE: entry["epoch"] >= epochs}


def _too_small(job: dict[str, Any]) -> str | None:
    """Why the trial's share of the GPU here is less than the space says it needs."""
    if not job["gpu"] or not job["gpu_memory"] or not (there := gpus()):
        return None
    return too_little_memory(*there[0], share=job["gpu"], needed=job["gpu_memory"])


def peak_memory(config: dict[str, Any], seeds: list[int], data: Path) -> float:
    """GiB of this machine's GPU that a trial takes, found by training a few steps with all of its model in use.

    Counts what PyTorch reserves, which is what a share of the GPU limits, and the images of the whole data set.
    """
    import torch

    from trainers import datasets, train
    from trainers.cuda_graph import WARM_UP
    from trainers.evaluation import BATCH
    from trainers.settings import TrialConfig

    whole = datasets.load(TrialConfig.from_flat({**config, "seed": 0}), data).images
    # whole batches, in training and in evaluation; a step that is recorded has memory of its own
    few = min(len(whole), 2 * max(BATCH, (WARM_UP + 1) * int(config["training.batch_size"])))
    short = {"dataset.images": few, "dataset.held_out": 0.5, "training.epochs": 1, "transformations.strategy": "all"}
    every = {n: v for n, v in config.items() if n not in ("transformations.first", "transformations.last")}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for progress in train([TrialConfig.from_flat({**every, **short, "seed": seed}) for seed in seeds], data=data):
        progress.artefacts()
    return (torch.cuda.max_memory_reserved() + whole[few:].nbytes) / 2**30


def seconds(config: dict[str, Any], seeds: list[int], data: Path, cpu: float) -> float:
    """Seconds that a trial takes on this machine, reckoned from a few steps with all transformations in use.

    Training and evaluation on held-out images are timed apart, each on whole batches after a first time that does
    not count, and multiplied to all epochs and reports.
    """
    import torch

    from trainers import datasets
    from trainers.cuda_graph import WARM_UP
    from trainers.settings import TrialConfig
    from trainers.training import Trainer

    torch.set_num_threads(max(1, int(cpu)))
    every = {n: v for n, v in config.items() if n not in ("transformations.first", "transformations.last")}
    members = [TrialConfig.from_flat({**every, "transformations.strategy": "all", "seed": s}) for s in seeds]
    whole, training = datasets.load(members[0], data), members[0].training
    device = "cuda" if torch.cuda.is_available() else "cpu"
    few = whole.train[: (2 if device == "cpu" else WARM_UP + 1) * training.batch_size]
    held_out = whole.held_out[: 2 * training.batch_size]
    trainer = Trainer(members, datasets.Dataset(whole.arrays, few, held_out, whole.name), device)
    times = []
    for _ in range(2):
        began = _now(device)
        sums = trainer.one_epoch()
        trained = _now(device)
        trainer.epoch += 1
        trainer.metrics(sums)
        times.append((trained - began, _now(device) - trained))
    step, judged = times[1]
    reports = -(-training.epochs // training.report_every)
    return training.epochs * step * len(whole.train) / len(few) + reports * judged * len(whole.held_out) / len(held_out)


def _now(device: str) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _fault(
    name: str, job: dict[str, Any], *, resumed: bool = False, metrics: list[dict[str, float]] | None = None
) -> None:
    """For crash tests: does what $SPRITE_FAULT=NAME[:TRIAL],… says when it is NAME's turn.

    after_checkpoint kills the driver once, worker_dies this worker once, poison this worker at every attempt;
    error raises, hangs makes this worker silent once, nan replaces the metrics.
    """
    for wanted in os.environ.get("SPRITE_FAULT", "").split(","):
        what, _, number = wanted.partition(":")
        if what != name or (number and int(number) != job["number"]):
            continue
        if metrics is not None:
            metrics[:] = [dict.fromkeys(m, float("nan")) for m in metrics]
        elif name == "error":
            raise RuntimeError("a fault that a test asked for")
        elif name == "after_checkpoint" and job["attempt"] == 1:
            os.kill(job["driver"], signal.SIGKILL)
        elif name == "hangs":
            time.sleep(0 if resumed else 1e6)
        elif name == "poison" or (name == "worker_dies" and not resumed):
            os.kill(os.getpid(), signal.SIGKILL)
