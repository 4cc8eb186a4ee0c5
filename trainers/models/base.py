"""What all models share.

A model is a pure function of images, noise and weights: it draws nothing, and what changes over the training
(which transformations have joined, what is frozen) comes in as a `Phase` of plain Python values, so that a call
batches over members and never waits for the device.

Shapes: B images of C channels and H x W pixels; K sprites of h x w pixels, K' with the empty one, which is last;
L layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..criteria import REGULARISERS, composition_error
from ..decisions import PredictsProbabilities
from ..encoder import ENCODERS, Encoder
from ..families import Family
from ..kinds import OfImages
from ..settings import TrialConfig, setting
from ..sprites import GENERATORS, SpriteSet
from ..transformations import active, milestones, parse, settled

MODELS = Family("model.kind")


@dataclass(frozen=True)
class Phase:
    """Where a training stands, for a model: plain values of the host."""

    training: bool
    joined: Mapping[str, tuple[bool, ...]]  # level -> which of its transformations have joined
    frozen_colours: bool = False
    frozen_sprites: bool = False


class Outcome(NamedTuple):
    """What one batch costs: `loss` () is minimised; `error` () is the mean squared error; `p` (B, L, K')."""

    loss: Tensor
    error: Tensor
    p: Tensor


class Inspection(NamedTuple):
    """What an explanation does not say about a choice of sprites, for criteria that need no labels.

    features (B, D); errors (B, L, K'), the mean squared error with each sprite in a layer, the other layers as
    chosen; betas (B, L, P), transformation parameters of the chosen sprites, 0 for empty layers; still_error (B,),
    the error with the chosen sprites' own transformations left out; lookup (B, L, 3, h, w), where the chosen
    sprites' own warps look (see `transformations.lookup`); outside (B, L), the share of a sprite that is moved
    out of the image.
    """

    features: Tensor
    errors: Tensor
    betas: Tensor
    still_error: Tensor
    lookup: Tensor
    outside: Tensor


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Settings of models that show several sprites at once."""

    layers: int = setting(2, "object layers L: the most objects that an image, or a place, can show", low=1, high=64)
    empty_sprite: bool = setting(True, "let a layer stay empty")


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of the images of a data set."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


class Model(nn.Module):
    """What the models of all kinds of data share: the curriculum, the decision, noise and regularisers.

    A model has `loss`, `explain` and `drawn`; `count` sprites K, `layers` L, `empty`, and a `decision` or None.
    """

    Shape: ClassVar[type]  # of what it explains: a dataclass of the sizes of one image
    #: whether `inspect` can be asked, and artefacts be kept
    inspectable: ClassVar[bool] = True
    config: TrialConfig
    count: int
    layers: int = 1
    empty: bool = False
    names: Mapping[str, tuple[str, ...]]  # level -> its parts that join the training one by one
    decision: PredictsProbabilities | None

    def forward(self, method: str, *args: Any, **flags: Any) -> Any:
        """Calls the method of that name, so that `functional_call` reaches all of them."""
        return getattr(self, method)(*args, **flags)

    def phase(self, epoch: int, *, training: bool) -> Phase:
        """Where the training stands in epoch 0, 1, …"""
        config, epochs = self.config, int(self.config["training.epochs"])
        joined = {n: active(milestones(config.transformations, s, epochs), epoch) for n, s in self.names.items()}
        return Phase(training=training, joined=joined)

    @staticmethod
    def settled(config: TrialConfig) -> float:
        """Share of the training after which no part joins any more: losses compare only from here on."""
        raise NotImplementedError

    def make_decision(self, features: int, layers: int) -> PredictsProbabilities | None:
        """What predicts the choice from `features`; None where sprites are tried."""
        made: Any = self.config.parts["decision"]
        if not issubclass(made, PredictsProbabilities):
            return None
        latent = int(self.config.get("sprites.latent", 0))
        sizes = dict(features=features, layers=layers, sprites=self.count, latent=latent)
        return made(self.config.decision, **sizes, empty=self.empty)

    @property
    def slots(self) -> int:
        """Layers of an image in what the model says of it."""
        return self.layers

    def cost(self) -> int:
        """Numbers that explaining one image takes at once."""
        raise NotImplementedError

    def noise(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the uniform noise in [0, 1) that `loss` wants for a batch."""
        gumbel = (batch, self.layers, self.count + self.empty)
        return {} if self.decision is None else {"gumbel": gumbel}

    def rows(self) -> dict[str, int]:
        """Parameters that belong to single sprites, for reassignment: name -> repeats of the K rows (L or 1)."""
        return {}

    def is_sprite_parameter(self, name: str) -> bool:
        """Whether a parameter is stepped with the sprites and the decision, not with encoder and heads."""
        return name.startswith(("sprites.", "background.", "decision."))

    def regularisation(self, p: Tensor, weights: Mapping[str, Tensor], phase: Phase) -> Tensor | float:
        """Σ λ L_reg over the regularisers with a weight (eq. 8)."""
        total: Tensor | float = 0.0
        for name, weight in weights.items():
            member = REGULARISERS[name]
            if not phase.frozen_sprites or member.while_frozen:
                total = total + weight * member.penalty(p, self.empty, self.config.section(f"regularisers.{name}"))
        return total


class SpriteModel(Model, OfImages):
    """What models of images share: encoder, sprites and their transformations, the decision, and the losses.

    Args:
        config: of the trial.
        shape: of the images.
        samples: some training images (n, C, H, W) in [0, 1] to start from.
        generator: source of what the sprites draw at the start.
    """

    levels: tuple[str, ...] = ("sprite",)  # those with a transformation sequence
    masked: ClassVar[bool] = False
    pixel_weight: Tensor | None
    Shape = ImageShape
    shape: ImageShape

    def __init__(self, config: TrialConfig, shape: ImageShape, samples: Tensor, generator: torch.Generator):
        super().__init__()
        self.config, self.shape = config, shape
        self.count = int(config["sprites.count"])
        self.names = {
            level: parse(str(config[f"transformations.{level}"]), f"transformations.{level}") for level in self.levels
        }
        self.encoder = self.make_encoder()
        self.sprites = GENERATORS[str(config["sprites.kind"])](
            config.sprites,
            channels=shape.channels,
            size=self.sprite_size(),
            masks=self.masked,
            samples=samples,
            generator=generator,
        )
        self.decision = self.make_decision(self.encoder.of_maps, self.layers)
        self.register_buffer("pixel_weight", pixel_weight(config.training.focus, shape), persistent=False)

    def make_encoder(self) -> Encoder:
        """Images (B, C, H, W) -> (B, D), D being its `features`."""
        made = ENCODERS[str(self.config["encoder.kind"])]
        return made(self.config.encoder, channels=self.shape.channels, size=self.shape.size)

    def phase(self, epoch: int, *, training: bool) -> Phase:
        """Where the training stands in epoch 0, 1, …"""
        sprites, epochs = self.config.sprites, int(self.config["training.epochs"])
        return replace(
            super().phase(epoch, training=training),
            frozen_colours=epoch < sprites.freeze * epochs,
            frozen_sprites=epoch < sprites.freeze_masks * epochs,
        )

    @staticmethod
    def settled(config: TrialConfig) -> float:
        """Share of the training after which no part joins any more: losses compare only from here on."""
        return settled(config.transformations)

    def cost(self) -> int:
        """Numbers that explaining one image takes at once: layers hide each other pair by pair."""
        return self.slots**2 * self.shape.height * self.shape.width

    def sprite_size(self) -> tuple[int, int]:
        """(h, w) of a sprite."""
        return self.shape.size

    def rows(self) -> dict[str, int]:
        """Parameters that belong to single sprites, for reassignment: name -> repeats of the K rows (L or 1)."""
        return {f"sprites.{n}": 1 for n in self.sprites.row_parameters}

    def learned_sprites(self, phase: Phase) -> SpriteSet:
        """The sprites, without gradient where they are frozen."""
        sprites = self.sprites()
        colours, masks = sprites.colours, sprites.masks
        if phase.frozen_colours or phase.frozen_sprites:
            colours = colours.detach()
        if phase.frozen_sprites and masks is not None:
            masks = masks.detach()
        return SpriteSet(colours, masks, sprites.codes)

    def drawn(self) -> Tensor:
        """The sprites as pictures, (K, C, h, w) uint8, with the mask as one channel more where they have one."""
        sprites = self.sprites()
        parts = [sprites.colours] if sprites.masks is None else [sprites.colours, sprites.masks]
        return (255 * torch.cat(parts, 1).clamp(0, 1)).round().to(torch.uint8)

    def outcome(self, x: Tensor, mixed: Tensor, p: Tensor, penalty: Tensor | float = 0.0) -> Outcome:
        """Outcome of reconstructions `mixed`, trained by their (weighted) error plus `penalty`."""
        loss = error = composition_error(x, mixed).mean()
        if self.pixel_weight is not None:
            loss, error = composition_error(x, mixed, self.pixel_weight).mean(), error.detach()
        return Outcome(loss + penalty, error, p)


def pixel_weight(focus: float, shape: ImageShape) -> Tensor | None:
    """Gaussian weight of each pixel (H, W) with std `focus` as a share of the side, peak 1; None when 0."""
    if focus == 0:
        return None
    sides = [
        torch.exp(-((torch.arange(n) - (n - 1) / 2) ** 2) / (2 * (focus * n) ** 2)) for n in (shape.height, shape.width)
    ]
    return sides[0][:, None] * sides[1]
