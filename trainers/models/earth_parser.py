"""The Learnable Earth Parser (Loiseau et al. 2024): slots place learned shapes of points in a 3-D point cloud.

As its authors' code has it, but for what reads the cloud: the published sparse voxel network is one of `ENCODERS`
here, which looks at the tile from above, with a channel per height.

Shapes: B clouds of P points; S slots (`layers`); K sprites of M points, K' with the empty one, which is last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..chamfer import chamfer, distances, points_to_sprites, sprites_to_points
from ..decisions import PredictsProbabilities, one_hot
from ..encoder import ENCODERS
from ..kinds import OfPoints
from ..point_sprites import GENERATORS
from ..settings import SettingError, TrialConfig, setting
from ..transformations import Heads, milestones
from .base import MODELS, Model, Outcome, Phase, Slots
from .explanation import PointExplanation

#: What joins the training one by one: places and choices, the sprites' sizes, their points, and slots' own sizes.
PARTS = ("place", "size", "points", "stretch")

#: Length of the code of a slot, and widths of the network that chooses from it.
CODE, CHOOSER = 128, (64, 32)

#: How far around its home a slot looks at first, in half sides of a tile.
REACH = 0.3


@dataclass(frozen=True)
class CloudShape:
    """Points of a cloud, and their axes: three."""

    points: int
    axes: int = 3


class Readout(nn.Module):
    """Features of the cells of a tile (B, C, h, w) -> codes (B, S, 128) and places (B, S, 2) of S slots.

    Each slot looks at the cells with weights of its own (a softmax of learned scores, which begin as a bump around its
    home); its code and its place are means with these weights.
    """

    def __init__(self, channels: int, side: int, slots: int):
        super().__init__()
        self.score, self.value = nn.Linear(channels, slots, bias=False), nn.Linear(channels, CODE)
        axis = (torch.arange(side) * 2 + 1) / side - 1
        centres = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).flatten(0, 1)
        self.register_buffer("centres", centres, persistent=False)
        squared = (centres[:, None] - homes(slots)).square().sum(-1)
        self.home = nn.Parameter(-squared / (2 * REACH**2))  # (h·w, S)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        cells = features.flatten(2).transpose(1, 2)
        weights = (self.score(cells) + self.home).softmax(1).transpose(1, 2)
        return weights @ self.value(cells), weights @ self.centres


def homes(slots: int) -> Tensor:
    """Where slots begin, (S, 2): spread evenly over the tile, whatever their number (the R2 sequence)."""
    steps = torch.tensor([0.7548776662, 0.5698402910]) * torch.arange(1, slots + 1)[:, None]
    return 1.6 * ((0.5 + steps) % 1) - 0.8


class Choice(nn.Module):
    """Code of a slot (..., 128) -> features (..., 32) that its logits are a linear map of, scaled by 1/√32."""

    def __init__(self) -> None:
        super().__init__()
        first, second = CHOOSER
        self.body = nn.Sequential(
            nn.Linear(CODE, first), nn.LayerNorm(first), nn.LeakyReLU(),
            nn.Linear(first, second), nn.LayerNorm(second), nn.LeakyReLU(),
        )  # fmt: skip

    def forward(self, codes: Tensor) -> Tensor:
        return self.body(codes) / math.sqrt(CHOOSER[-1])


@MODELS.add("earth_parser")
class EarthParser(Model, OfPoints):
    """S slots, each with a place of its own and one of K learned point clouds in it, or nothing.

    Args:
        config: of the trial.
        shape: of the clouds.
        samples: some clouds (n, P, 3), which say how high tiles are.
        generator: source of what the sprites draw at the start.
    """

    Shape = CloudShape
    inspectable = False  # artefacts are arrays of images

    @dataclass(frozen=True, kw_only=True)
    class Config(Slots):
        cells: int = setting(16, "cells along each side of a tile in what the encoder sees of it", low=4, high=128)
        heights: int = setting(8, "cells upwards", low=1, high=64)
        keep_inside: float = setting(100.0, "weight of the squared way that slots are beyond the tile", low=0)

    @staticmethod
    def check(config: TrialConfig) -> None:
        """SettingError for settings that do not go together."""
        if not issubclass(config.parts["decision"], PredictsProbabilities):
            raise SettingError(
                "decision.kind", f"is {config['decision.kind']}, but model.kind earth_parser predicts; choose linear"
            )
        if config["transformations.strategy"] == "id+g1+g2":
            raise SettingError(
                "transformations.strategy", "is id+g1+g2, which groups what is done to images; choose one-by-one"
            )

    @staticmethod
    def settled(config: TrialConfig) -> float:
        """Share of the training after which no part joins any more."""
        return max(milestones(config.transformations, PARTS, 10_000)) / 10_000

    def __init__(self, config: TrialConfig, shape: CloudShape, samples: Tensor, generator: torch.Generator):
        super().__init__()
        self.config, self.shape, self.names = config, shape, {"slot": PARTS}
        self.count, settings = int(config["sprites.count"]), config.model
        self.layers, self.empty = settings.layers, settings.empty_sprite
        self.sprites = GENERATORS[str(config["sprites.kind"])](config.sprites, samples, generator)
        self.register_buffer("top", samples[..., 2].amax().clamp(min=1e-3))
        self.encoder = ENCODERS[str(config["encoder.kind"])](
            config.encoder, channels=settings.heights, size=(settings.cells, settings.cells)
        )
        self.readout = Readout(self.encoder.width, config.encoder.pool, self.layers)
        self.chooser = Choice()
        self.decision = self.make_decision(CHOOSER[-1], layers=1)
        self.move, self.turn, self.stretch = (Heads(CODE, 1, 3) for _ in range(3))

    def cost(self) -> int:
        """Numbers that explaining one cloud takes at once: distances of all its points to all of all sprites."""
        return self.layers * self.count * self.config.sprites.points * self.shape.points

    def rows(self) -> dict[str, int]:
        return {f"sprites.{n}": 1 for n in self.sprites.row_parameters}

    def drawn(self) -> Tensor:
        """The sprites, (K, M, 3)."""
        return self.sprites()

    def seen(self, points: Tensor) -> Tensor:
        """Clouds (B, P, 3) from above: log(1 + points) in cells, (B, heights, cells, cells)."""
        side, heights = self.config.model.cells, self.config.model.heights
        across = ((points[..., :2] + 1) / 2 * side).long().clamp(0, side - 1)
        up = (points[..., 2] / self.top * heights).long().clamp(0, heights - 1)  # type: ignore[operator]
        cell = (up * side + across[..., 1]) * side + across[..., 0]
        count = points.new_zeros(len(points), heights * side * side).scatter_add(
            1, cell, torch.ones_like(cell, dtype=points.dtype)
        )
        return count.log1p().unflatten(1, (heights, side, side))

    def read(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of the slots of clouds (B, P, 3), (B·S, 128), and where the slots are, (B, S, 3)."""
        codes, home = self.readout(self.encoder.map(self.seen(points)))
        codes = codes.flatten(0, 1)
        return codes, F.pad(home, (0, 1)) + self.move(codes)[:, 0].unflatten(0, home.shape[:2])

    def decide(self, codes: Tensor, noise: Tensor | None) -> Tensor:
        """p (B, S, K') of codes (B·S, 128)."""
        assert self.decision is not None
        if noise is not None:
            noise = noise.reshape(-1, 1, noise.shape[-1])
        return self.decision(self.chooser(codes), None, noise)[:, 0].unflatten(0, (-1, self.layers))

    def placed(self, codes: Tensor, at: Tensor, phase: Phase) -> Tensor:
        """Every sprite in every slot, (B, S, K, M, 3)."""
        joined = dict(zip(PARTS, phase.joined["slot"], strict=True))
        points = self.sprites(sizes_learn=joined["size"], points_learn=joined["points"])
        if joined["stretch"]:
            size = (0.5 * self.stretch(codes)[:, 0].tanh()).exp().unflatten(0, at.shape[:2])
            points = points * size[:, :, None, None]
        else:
            points = points.expand(*at.shape[:2], *points.shape)
        beta = self.turn(codes)[:, 0].unflatten(0, at.shape[:2])
        turned = points @ rotation(beta[..., 0], beta[..., 1:])[:, :, None].transpose(-2, -1)
        return turned + at[:, :, None, None]

    def loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, phase: Phase) -> Outcome:
        """Training loss of clouds x (B, P, 3); `weights` holds the λ of the regularisers in use."""
        codes, at = self.read(x)
        p = self.decide(codes, noise["gumbel"])
        found = distances(x, self.placed(codes, at, phase))
        fit = sprites_to_points(found.out, p).mean() + points_to_sprites(found.back, p).mean()
        beyond = F.relu(at[..., :2].abs() - 1).square().sum(-1).mean()
        loss = fit + self.config.model.keep_inside * beyond + self.regularisation(p, weights, phase)
        with torch.no_grad():
            error = chamfer(found, p).mean()
        return Outcome(loss, error, p)

    def explain(self, x: Tensor, weights: Mapping[str, Tensor], *, phase: Phase) -> PointExplanation:
        """How clouds x (B, P, 3) are explained."""
        codes, at = self.read(x)
        p, placed = self.decide(codes, None), self.placed(codes, at, phase)
        found, choice = distances(x, placed), p.argmax(-1)
        each = choice.clamp(max=self.count - 1)[..., None, None]
        shown = placed.take_along_dim(each[..., None], 2)[:, :, 0]
        empty = (choice >= self.count)[..., None]
        nearest = found.back.take_along_dim(each, 2)[:, :, 0].masked_fill(empty, math.inf)
        owner = torch.where(nearest.amin(1).isfinite(), nearest.argmin(1), self.layers)
        return PointExplanation(shown, chamfer(found, p), chamfer(found, one_hot(p)), p, choice, owner)


def rotation(tilt: Tensor, direction: Tensor) -> Tensor:
    """Matrices (..., 3, 3) that tilt by 0.1 π tanh of `tilt` (...) about y, then turn about z.

    The turn is that of the vector (1, 0) + `direction` (..., 2), so none where the direction is 0.
    """
    angle = 0.1 * math.pi * tilt.tanh()
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    about_y = torch.stack((c, zero, s, zero, one, zero, -s, zero, c), -1).unflatten(-1, (3, 3))
    turn = direction + torch.stack((one, zero), -1)
    a, b = (turn / (turn.square().sum(-1, keepdim=True) + 1e-8).sqrt()).unbind(-1)
    about_z = torch.stack((a, -b, zero, b, a, zero, zero, zero, one), -1).unflatten(-1, (3, 3))
    return about_z @ about_y
