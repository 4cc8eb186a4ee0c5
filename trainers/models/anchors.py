"""Layers of sprites with places of their own on a grid (MarioNette, Smirnov et al. 2021).

The image is cut into G x G cells; around each cell lies a window two cells wide. In every window each layer shows a
sprite, which may move a little inside it. So what is said of a cell is what `MultiLayer` says of an image, from
features of that cell by networks that all cells share; only what lies over what is decided for the image.

Shapes: as in `multilayer`, with B' = B G² windows in the place of images; in what leaves the model, each layer
of each cell is a layer of the image, cells in order of rows and layers within them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..compositing import compose
from ..criteria import composition_error
from ..decisions import one_hot
from ..encoder import Encoder
from ..settings import SettingError, TrialConfig, setting
from .base import MODELS, Outcome, Phase
from .explanation import Explanation
from .multilayer import Layers, MultiLayer, Scene


class CellEncoder(Encoder):
    """An encoder whose last map is averaged to one vector of features per cell: (B, C, H, W) -> (B G², D)."""

    def __init__(self, encoder: Encoder, grid: int):
        super().__init__(encoder.body, encoder.width, replace(encoder.config, pool=1), encoder.channels)
        self.grid = grid

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.last_maps(images), self.grid).flatten(2).transpose(1, 2).flatten(0, 1)


@MODELS.add("anchors")
class Anchors(MultiLayer):
    """Each layer shows a sprite at each of G x G places, over an optional background."""

    inspectable: ClassVar[bool] = False  # trying every sprite at every place would take too long

    @dataclass(frozen=True, kw_only=True)
    class Config(Layers):
        grid: int = setting(8, "places G along each side, an even number", low=2, high=16)

        #: what `MultiLayer` asks of its settings, and what it is here
        occlusion: ClassVar[bool] = False
        mix: ClassVar[str] = "before_warp"

    @staticmethod
    def check(config: TrialConfig) -> None:
        """SettingError for settings that do not go together."""
        if int(config["model.grid"]) % 2:
            raise SettingError("model.grid", f"is {config['model.grid']}; give an even number of places")
        if config["decision.kind"] == "min_loss":
            raise SettingError("decision.kind", "is min_loss, which would try every sprite everywhere; predict instead")
        if config["decision.loss"] != "composition":
            raise SettingError("decision.loss", "is weighted_sum, but there are too many places; choose composition")

    def make_encoder(self) -> Encoder:
        self.grid = int(self.config["model.grid"])
        if any(side % (2 * self.grid) for side in self.shape.size):
            raise SettingError(
                "model.grid",
                f"is {self.grid}, which does not divide images of {self.shape.height} x {self.shape.width} into cells"
                " of an even number of pixels; choose another, or images of another size",
            )
        return CellEncoder(super().make_encoder(), self.grid)

    def window(self) -> tuple[int, int]:
        """(H, W) of a window, two cells."""
        return 2 * self.shape.height // self.grid, 2 * self.shape.width // self.grid

    @property
    def slots(self) -> int:
        return self.grid**2 * self.layers

    def noise(self, batch: int) -> dict[str, tuple[int, ...]]:
        """As for all models, for each place; and "order": which of the four sets of windows is in front."""
        wanted = super().noise(batch)
        places = (batch, self.slots, self.count + self.empty)
        return {**wanted, "gumbel": places, "order": (4 * self.layers,)}

    def loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, phase: Phase) -> Outcome:
        made = super().loss(x, noise, weights, phase=phase)
        return made._replace(p=self.of_image(made.p))

    def of_image(self, p: Tensor) -> Tensor:
        """p (B', L, K') of windows as p (B, G² L, K')."""
        return p.unflatten(0, (-1, self.grid**2)).flatten(1, 2)

    def decide(self, scene: Scene, noise: Tensor | None, phase: Phase) -> Tensor:
        if noise is not None:
            noise = noise.reshape(-1, self.layers, noise.shape[-1])
        return super().decide(scene, noise, phase)

    def occlusion(self, features: Tensor) -> Tensor:
        """δ (4 L, 4 L) of sets of windows: later layers in front; see `in_front` for the order within a layer."""
        return self.in_front(torch.arange(4 * self.layers, device=features.device, dtype=features.dtype))

    def in_front(self, order: Tensor) -> Tensor:
        """δ (4 L, 4 L) for the place (4 L,) of each set of windows among those of its layer."""
        layer = torch.arange(4 * self.layers, device=order.device) // 4
        above = (layer[:, None] == layer) & (order[:, None] > order)
        return ((layer[:, None] > layer) | above).to(order.dtype)

    def backdrop(self, features: Tensor, phase: Phase) -> Tensor | None:
        return super().backdrop(features.unflatten(0, (-1, self.grid**2)).mean(1), phase)

    def scene(self, x: Tensor, noise: Mapping[str, Tensor], phase: Phase) -> Scene:
        made = super().scene(x, noise, phase)
        return made._replace(occlusion=self.in_front(noise["order"])) if "order" in noise else made

    def composed(self, colours: Tensor, masks: Tensor, scene: Scene) -> Tensor:
        """The image (B, C, H, W) of windows' colours (B', L, C, ...) and masks (B', L, 1, ...).

        Windows overlap their neighbours, but not those two cells away: there are four sets of them that do not, and
        each is one image.
        """
        sets = self.spread(torch.cat((masks * colours, masks), -3))
        paint, cover = sets.split((self.shape.channels, 1), -3)
        return compose(paint, cover, scene.occlusion, scene.background, premultiplied=True)

    def spread(self, windows: Tensor) -> Tensor:
        """Windows (B', L, C', ...) -> the four sets of each layer as images, (B, 4 L, C', H, W)."""
        half = self.grid // 2
        down, across = (self.placing(side).unflatten(0, (half, 2)) for side in self.shape.size)
        cells = windows.unflatten(0, (-1, half, 2, half, 2))
        made = torch.einsum("iayu,biajdlcuv,jdxv->bladcyx", down, cells, across)
        return made.flatten(1, 3)

    def placing(self, side: int) -> Tensor:
        """Where each pixel of the windows along one side lies in the image, (G, side, window) of zeros and ones."""
        cell = side // self.grid
        like = next(self.parameters())
        start = torch.arange(self.grid, device=like.device) * cell - cell // 2
        at = start[:, None] + torch.arange(2 * cell, device=like.device)
        return (torch.arange(side, device=like.device)[:, None] == at[:, None]).to(like.dtype)

    def explain(self, x: Tensor, weights: Mapping[str, Tensor], *, phase: Phase) -> Explanation:
        """How images x (B, C, H, W) are explained, each place of each layer as a layer of the image."""
        scene = self.scene(x, {}, phase)
        p = self.decide(scene, None, phase)
        mixed = self.composed(*self.placed_mix(scene, p), scene)
        colours, masks = self.placed_mix(scene, one_hot(p))
        hard = self.composed(colours, masks, scene)
        down, across = (self.placing(side) for side in self.shape.size)
        alone = torch.cat((colours, masks), -3).unflatten(0, (-1, self.grid, self.grid))
        alone = torch.einsum("iyu,bijlcuv,jxv->bijlcyx", down, alone, across).flatten(1, 3)
        colours, masks = alone.split((self.shape.channels, 1), -3)
        p = self.of_image(p)
        own = self.sets(p.device)
        front = scene.occlusion[own[:, None], own].expand(len(x), -1, -1)
        error, hard_error = composition_error(x, mixed), composition_error(x, hard)
        return Explanation(mixed, error, hard_error, p, p.argmax(-1), colours, masks, front)

    def sets(self, device: torch.device) -> Tensor:
        """Which set of windows each layer of each cell belongs to, (G² L,)."""
        parity = torch.arange(self.grid, device=device) % 2
        cell = (2 * parity[:, None] + parity).flatten()
        return (4 * torch.arange(self.layers, device=device) + cell[:, None]).flatten()
