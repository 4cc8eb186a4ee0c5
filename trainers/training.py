"""The training loop: members in, progress out.

One loop trains all members of a stack at once. Nothing in a step waits for the device: sums stay there and are
read once per report. Order and noise of an epoch follow from a member's seed and the epoch alone, so what is
saved between epochs is all that a resumed training needs to go on, bit for bit on a CPU; a GPU adds in no fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checkpoint, datasets
from .artefacts import Arrays, Subset, collect
from .checkpoint import Models
from .cpu import flushed_denormals
from .cuda_graph import GraphStep, Step
from .decisions import gumbel
from .errors import DataError
from .evaluation import evaluate
from .kinds import OfImages
from .members import build, check_members, common, seed_of
from .metrics import measured
from .models import Model, Phase, SpriteModel
from .optimizer import Rate, StackedAdam, learning_rates
from .settings import MULTILAYER, TrialConfig, setting

#: Most random numbers that are drawn ahead for each member.
NOISE_AHEAD = 1_000_000

#: Noise added to the rows of a restarted sprite, so that it can part from its donor, as in DTI-Clustering.
RESTART_NOISE = 1e-4

#: Most training images that sprites and background are initialised from.
MOST_SAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    epochs: int = setting(40, "passes over the training images", low=1)
    batch_size: int = setting(128, "images per step", low=1)
    mask_noise: float = setting(
        0.4, "amplitude of the uniform noise added to masks while training", low=0, high=1, when=MULTILAYER
    )
    focus: float = setting(
        0.0,
        "std of a Gaussian weight of the pixels in the training error, as a share of the side; 0 weighs all alike",
        low=0,
        high=10,
        source="the published code: 0.22 for SVHN and GTSRB",
        when={"model.kind": OfImages},
    )
    compile: bool = setting(
        False,
        "compile the step: minutes at the start and at each change of the curriculum; for long trainings",
    )
    cuda_graph: bool = setting(
        True, "on a GPU, record the step once and replay it: the same result, several times faster", when={}
    )
    report_every: int = setting(1, "epochs between two reports (evaluation and checkpoint)", low=1)


class Diverged(ArithmeticError):
    """The loss of a member is no longer a finite number; `member` is its index, `epoch` the last one done."""

    def __init__(self, member: int, epoch: int, seed: object):
        super().__init__(
            f"the loss of member {member} (seed {seed}) was not finite in epoch {epoch}; lower optimizer.learning_rate"
        )
        self.member, self.epoch = member, epoch


@dataclass(frozen=True)
class Progress:
    """A training after `epoch` of `epochs` epochs: metrics of each member by name.

    `save` writes the training as it stands when it is called, so call it before asking for the next progress.
    """

    epoch: int
    epochs: int
    fraction: float
    metrics: tuple[dict[str, float], ...]
    trainer: Trainer = field(repr=False, compare=False)

    @property
    def settled(self) -> bool:
        """Whether all parts of the curriculum had joined in the epoch that ended."""
        joined = self.trainer.model.phase(self.epoch - 1, training=False).joined
        return all(part for parts in joined.values() for part in parts)

    def artefacts(self) -> list[Arrays]:
        """What criteria that need no labels read of each member, see `artefacts.collect`: one evaluation pass."""
        return self.trainer.artefacts()

    def thumbnails(self) -> Arrays:
        """The images that artefacts are of, made small; the same for all trials on the same images."""
        return self.trainer.subset.thumbnails()

    def save(self, folder: Path | str) -> None:
        """Writes checkpoint.pt and members.json, from which `train` resumes and `load` reads a model."""
        self.trainer.save(Path(folder))

    def keep(self, models: Models, taken: Sequence[bool]) -> None:
        """Puts the models of the members that are `taken`, as they stand, in the place of those kept."""
        models.take(self.trainer.stack.state(), self.epoch, taken)

    def save_models(self, folder: Path | str, models: Models) -> None:
        """Writes models that were kept in the format of `save`; `load` reads them, `train` cannot resume from them."""
        self.trainer.write(Path(folder), {"epoch": models.epochs, "model": models.weights})


def train(
    members: Sequence[TrialConfig],
    *,
    data: Path | None = None,
    device: str | None = None,
    resume: Path | str | None = None,
) -> Iterator[Progress]:
    """Trains the members together; yields every `training.report_every` epochs and after the last.

    Args:
        members: configurations that differ only in seed, learning rate and weights of regularisers.
        data: folder with prepared data sets.
        device: "cpu", "cuda", …; by default the GPU where there is one.
        resume: folder that `Progress.save` wrote for the same members; training goes on after it.

    Raises:
        SettingError: members that cannot be trained together.
        DataError: a missing or damaged data set or checkpoint, or one of other members.
        Diverged: a loss that is not finite, at the end of its epoch.
    """
    check_members(members)
    dataset = datasets.load(members[0], data)
    trainer = Trainer(members, dataset, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if resume is not None:
        trainer.resume(Path(resume))
    return trainer.run()


class Trainer:
    """The state of a training: the stack, its optimizer, and how far it is."""

    def __init__(self, members: Sequence[TrialConfig], dataset: datasets.Dataset, device: str):
        self.members, self.dataset, self.device = tuple(members), dataset, torch.device(device)
        self.config = common(members)
        self.images = dataset.images.to(self.device)
        self.train_index = dataset.train.to(self.device)
        self.shape = self.config.parts["model"].Shape(*dataset.images.shape[1:])
        self.seeds = [int(m["seed"]) for m in members]
        self.stack = build(self._build, self.seeds, self.device)
        self.model: Model = self.stack.template  # type: ignore[assignment]
        self.optimizer = StackedAdam(self.stack.parameters)
        self.step = _compiled(self.stack.call) if self.config.training.compile else self.stack.call
        self.weights = self._weights()
        self.rows = self.model.rows() if self.config.get("decision.reassignment") else {}
        self.usage = torch.zeros(len(members), self.model.count, device=self.device)
        self.sums = {n: torch.zeros(len(members), device=self.device) for n in ("loss", "error")}
        self.graph: tuple[object, GraphStep] | None = None  # of the newest phase and learning rates
        self.epoch, self.steps = 0, 0

    def _build(self, member: int) -> Model:
        g = torch.Generator().manual_seed(seed_of(self.seeds[member], "sprites"))
        index = self.dataset.train
        index = index[torch.randperm(len(index), generator=g)[:MOST_SAMPLES]]
        samples = datasets.floats(self.dataset.images[index])
        return self.config.parts["model"](self.config, self.shape, samples, g)

    def _weights(self) -> dict[str, Tensor]:
        """λ of each regulariser that some member uses, (G,)."""
        names = [n for n in self.config.sections if n.startswith("regularisers.")]
        weights = {n.partition(".")[2]: [float(m.get(f"{n}.weight", 0.0)) for m in self.members] for n in names}
        return {n: torch.tensor(w, device=self.device) for n, w in weights.items() if any(w)}

    def run(self) -> Iterator[Progress]:
        """Trains on from where it stands."""
        epochs, every = self.config.training.epochs, self.config.training.report_every
        while self.epoch < epochs:
            sums = self.one_epoch()
            self.epoch += 1
            finite = sums["loss"].isfinite()
            if not finite.all():
                member = int(finite.logical_not().nonzero()[0])
                raise Diverged(member, self.epoch, self.seeds[member])
            if self.epoch % every == 0 or self.epoch == epochs:
                yield Progress(self.epoch, epochs, self.epoch / epochs, self.metrics(sums), self)

    def metrics(self, sums: Mapping[str, Tensor]) -> tuple[dict[str, float], ...]:
        """Metrics of each member: sums over the last epoch, and an evaluation on held-out images."""
        trained = {name: values.tolist() for name, values in sums.items()}
        phase = self.model.phase(self.epoch - 1, training=False)
        evaluated = evaluate(self.stack, self.dataset, self.images, self.weights, phase)
        return tuple(
            {**measured({"training": ({n: v[m] for n, v in trained.items()}, self.taken)}), **evaluated[m]}
            for m in range(len(self.members))
        )

    @cached_property
    def subset(self) -> Subset:
        """The images that artefacts are of."""
        model: SpriteModel = self.model  # type: ignore[assignment]
        return Subset.of(self.dataset, scenes=model.masked, device=self.device)

    def artefacts(self) -> list[Arrays]:
        """The artefacts of each member as it stands; none of a model that cannot be inspected."""
        if not self.model.inspectable:
            return []
        phase = self.model.phase(self.epoch - 1, training=False)
        return collect(self.stack, self.subset, self.weights, phase)

    @property
    def taken(self) -> int:
        """Images of an epoch: all, but for a last batch of a single one, as nothing can be normalised over it."""
        count = len(self.train_index)
        return count - 1 if count > 1 and count % self.config.training.batch_size == 1 else count

    @flushed_denormals()
    def one_epoch(self) -> dict[str, Tensor]:
        """One pass over the training images; returns the sums (G,) of loss and error over them."""
        phase, rates = self.model.phase(self.epoch, training=True), self._rates()
        order = self._order()
        size, total = min(self.config.training.batch_size, order.shape[1]), self.taken
        for value in self.sums.values():
            value.zero_()
        plain = partial(self._one_step, phase, rates)
        whole = self._recorded(plain, phase, rates)
        noise = self._noise(size, math.ceil(total / size))
        for start in range(0, total, size):
            index = order[:, start : min(start + size, total)]
            batch = index.shape[1]
            drawn = {n: u[:, :batch] if n == "gumbel" else u for n, u in next(noise).items()}
            p = (whole if batch == size else plain)(index, drawn)
            self.steps += 1
            if self.rows:
                self._reassign(p, phase)
        return self.sums

    def _one_step(self, phase: Phase, rates: Mapping[str, Rate], index: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """A step on the images `index` (G, B) of each member; adds to `sums` and returns p (G, B, L, K')."""
        names, parameters = zip(*self.stack.parameters.items(), strict=True)
        x = datasets.floats(self.images[index])
        outcome = self.step("loss", (x, noise, self.weights), training=True, phase=phase)
        gradients = torch.autograd.grad(outcome.loss.sum(), parameters, allow_unused=True)
        self.optimizer.step(zip(names, gradients, strict=True), rates)
        self.sums["loss"].add_(outcome.loss.detach(), alpha=index.shape[1])
        self.sums["error"].add_(outcome.error.detach(), alpha=index.shape[1])
        return outcome.p.detach()

    def _recorded(self, step: Step, phase: Phase, rates: Mapping[str, Rate]) -> Step:
        """The step as a CUDA graph where there is a GPU to replay it, recorded anew when what it depends on changes."""
        if self.device.type != "cuda" or not self.config.training.cuda_graph:
            return step
        if self.graph is None or self.graph[0] != (phase, rates):
            self.graph = None  # its memory first
            self.graph = ((phase, rates), GraphStep(step))
        return self.graph[1]

    def _rates(self) -> dict[str, Rate]:
        """Learning rates and decays of this epoch, by parameter."""
        config, done = self.config.optimizer, self.epoch / self.config.training.epochs
        base = [float(m["optimizer.learning_rate"]) for m in self.members]
        kinds = {
            sprites: Rate(
                learning_rates(base, config, done=done, sprites=sprites), 0.0 if sprites else config.weight_decay
            )
            for sprites in (True, False)
        }
        return {n: kinds[self.model.is_sprite_parameter(n)] for n in self.stack.parameters}

    def _order(self) -> Tensor:
        """The training images of this epoch in each member's order, (G, N) indices."""
        rows = []
        for seed in self.seeds:
            g = torch.Generator().manual_seed(seed_of(seed, "order", self.epoch))
            rows.append(torch.randperm(len(self.train_index), generator=g))
        return self.train_index[torch.stack(rows).to(self.device)]

    def _noise(self, batch: int, steps: int) -> Iterator[dict[str, Tensor]]:
        """Noise (G, ...) of each step of this epoch, drawn for many steps at a time."""
        shapes = self.model.noise(batch)
        generators = [
            torch.Generator(self.device).manual_seed(seed_of(seed, "noise", self.epoch)) for seed in self.seeds
        ]
        # the number of members must not matter here: how draws are cut into calls changes them on some devices
        ahead = max(1, min(steps, NOISE_AHEAD // max(1, sum(math.prod(s) for s in shapes.values()))))
        for first in range(0, steps, ahead):
            count = min(ahead, steps - first)
            drawn = {
                name: torch.stack([torch.rand(count, *s, generator=g, device=self.device) for g in generators], 1)
                for name, s in shapes.items()
            }
            if "gumbel" in drawn:
                drawn["gumbel"] = gumbel(drawn["gumbel"])
            for step in range(count):
                yield {name: values[step] for name, values in drawn.items()}

    @torch.no_grad()
    def _reassign(self, p: Tensor, phase: Phase) -> None:
        """Restarts rarely used sprites as copies of the most used one (DTI-Clustering, Monnier et al. 2020).

        Usage counts over all layers, the empty sprite left out (the published code looks at one random layer).
        Runs on the device without reading it: sprites that stay are copied onto themselves.
        """
        decision = self.config.decision
        if phase.frozen_sprites:
            return
        self.usage += p.detach()[..., : self.model.count].sum((1, 2))
        if self.steps % decision.reassign_every:
            return
        total = self.usage.sum(1, keepdim=True)
        rare = (self.usage < decision.reassign_below / self.model.count * total) & (total > 0)
        own = torch.arange(self.model.count, device=self.device).expand_as(self.usage)
        source = torch.where(rare, self.usage.argmax(1, keepdim=True), own)
        for name, repeats in self.rows.items():
            rows = torch.cat([source + layer * self.model.count for layer in range(repeats)], 1)
            noise = self._restart_noise(name, rare) if name.startswith("sprites.") and "mask" not in name else None
            self.optimizer.copy_rows(name, rows, noise)
        self.usage.zero_()

    def _restart_noise(self, name: str, rare: Tensor) -> Tensor:
        shape = self.stack.parameters[name].shape[1:]
        drawn = []
        for seed in self.seeds:
            g = torch.Generator(self.device).manual_seed(seed_of(seed, "restart", name, self.steps))
            drawn.append(torch.randn(shape, generator=g, device=self.device))
        mask = rare.reshape(*rare.shape, *[1] * (len(shape) - 1))
        return RESTART_NOISE * torch.stack(drawn) * mask

    def save(self, folder: Path) -> None:
        """Writes all that `resume` needs."""
        self.write(
            folder,
            {
                "epoch": self.epoch,
                "steps": self.steps,
                "usage": self.usage,
                "model": self.stack.state(),
                "optimizer": self.optimizer.state(),
            },
        )

    def write(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Writes a state with what it was made for."""
        facts = {"shape": astuple(self.shape), "fingerprint": self.dataset.fingerprint}
        checkpoint.save(folder, self.members, state, **facts)

    def resume(self, folder: Path) -> None:
        """Takes up the training that `save` wrote; DataError when it is of other members or other images."""
        state = checkpoint.read(folder, self.device)
        if "optimizer" not in state:
            raise DataError(f"{folder}: holds models but no training to go on with; resume from the folder above")
        checkpoint.check_same(folder, state, self.members, self.dataset.fingerprint)
        self.epoch, self.steps = state["epoch"], state["steps"]
        self.usage.copy_(state["usage"])
        self.stack.load(state["model"])
        self.optimizer.load(state["optimizer"])


def _compiled(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call as one compiled graph for each shape of a batch and each phase."""
    torch._dynamo.config.recompile_limit = 64  # more than all phases of a curriculum
    return torch.compile(call, dynamic=False)
