"""Clustering: one opaque sprite explains an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..criteria import composition_error, error_of_each, weighted_sum_error
from ..decisions import one_hot
from ..settings import TrialConfig
from ..transformations import Sequence
from ..transformations.lookup import coordinates, outside
from .base import MODELS, ImageShape, Inspection, Outcome, Phase, SpriteModel
from .explanation import Explanation


@MODELS.add("clustering")
class Clustering(SpriteModel):
    """One opaque sprite explains the whole image (the paper's §3, L = 1)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        pass

    def __init__(self, config: TrialConfig, shape: ImageShape, samples: Tensor, generator: torch.Generator):
        super().__init__(config, shape, samples, generator)
        self.sequence = Sequence(
            self.names["sprite"],
            slots=self.count,
            features=self.encoder.features,
            channels=shape.channels,
            in_size=shape.size,
            out_size=shape.size,
            padding=config.transformations.padding,
            shared=config.transformations.shared,
        )

    def rows(self) -> dict[str, int]:
        heads = [] if self.config.transformations.shared else [n for n, _ in self.sequence.named_parameters()]
        return {**super().rows(), **{f"sequence.{n}": 1 for n in heads}}

    def loss(self, x: Tensor, noise: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, phase: Phase) -> Outcome:
        """Training loss of images x (B, C, H, W); `weights` holds the λ of the regularisers in use."""
        features, sprites = self.encoder(x), self.learned_sprites(phase)
        betas = self.sequence.betas(features, phase.joined["sprite"])
        if self.decision is None:
            with torch.no_grad():  # all sprites are tried, but only the best one learns
                best = self.errors(x, betas, sprites.colours, self.pixel_weight).argmin(1, keepdim=True)
                p = F.one_hot(best, self.count).to(x.dtype)
            shown = self.shown(betas, sprites.colours, best)[:, 0]
            return self.outcome(x, shown, p)
        p = self.decision(self.encoder.without_thumbnail(features), sprites.codes, noise["gumbel"])
        transformed = self.transformed(betas, sprites.colours)
        penalty = self.regularisation(p, weights, phase)
        if self.config.decision.loss == "weighted_sum":
            expected = weighted_sum_error(x, transformed, p[:, 0], self.pixel_weight).mean()
            with torch.no_grad():
                error = composition_error(x, blend(p[:, 0], transformed)).mean()
            return Outcome(expected + penalty, error, p)
        return self.outcome(x, blend(p[:, 0], transformed), p, penalty)

    def explain(self, x: Tensor, weights: Mapping[str, Tensor], *, phase: Phase) -> Explanation:
        """How images x (B, C, H, W) are explained; Min-Loss takes the sprite of least error."""
        features, sprites = self.encoder(x), self.sprites()
        betas = self.sequence.betas(features, phase.joined["sprite"])
        transformed = self.transformed(betas, sprites.colours)
        if self.decision is None:
            p = one_hot(-error_of_each(x, transformed))[:, None]
        else:
            p = self.decision(self.encoder.without_thumbnail(features), sprites.codes)
        mixed, choice = blend(p[:, 0], transformed), p.argmax(-1)
        colours = transformed.expand(len(x), -1, -1, -1, -1).take_along_dim(choice[..., None, None, None], 1)
        occlusion = x.new_zeros(len(x), 1, 1)
        masks = torch.ones_like(colours[:, :, :1])
        error, hard_error = composition_error(x, mixed), composition_error(x, colours[:, 0])
        return Explanation(mixed, error, hard_error, p, choice, colours, masks, occlusion)

    def inspect(self, x: Tensor, choice: Tensor, *, phase: Phase) -> Inspection:
        """What else there is to say about images x (B, C, H, W) shown with the sprites `choice` (B, 1)."""
        features, sprites = self.encoder(x), self.sprites()
        betas = self.sequence.betas(features, phase.joined["sprite"])
        own = [b.take_along_dim(choice[..., None], 1) for b in betas if b is not None]
        chosen = [None if b is None else b.take_along_dim(choice[..., None], 1) for b in betas]
        start = coordinates(self.shape.size, x)
        found = self.sequence.warp(chosen, start.expand(len(x), 1, *start.shape))
        still = error_of_each(x, sprites.colours[None])
        return Inspection(
            features=self.encoder.without_thumbnail(features),
            errors=self.errors(x, betas, sprites.colours, None)[:, None],
            betas=torch.cat(own, -1) if own else x.new_zeros(len(x), 1, 0),
            still_error=still.take_along_dim(choice, 1)[:, 0],
            lookup=found,
            outside=outside(found, found[:, :, 2], x.new_ones(())),
        )

    def transformed(self, betas: list[Tensor | None], colours: Tensor) -> Tensor:
        """Every sprite as each image shows it, (B, K, C, H, W); B is 1 while nothing depends on the image."""
        if all(b is None for b in betas):
            return colours[None]
        return self.sequence.apply_betas(betas, colours, batched=False)

    def errors(self, x: Tensor, betas: list[Tensor | None], colours: Tensor, weight: Tensor | None) -> Tensor:
        """Error of each image with each sprite, (B, K)."""
        return error_of_each(x, self.transformed(betas, colours), weight)

    def shown(self, betas: list[Tensor | None], colours: Tensor, best: Tensor) -> Tensor:
        """Only the sprites `best` (B, 1), transformed: (B, 1, C, H, W)."""
        own = [None if b is None else b.take_along_dim(best[..., None], 1) for b in betas]
        return self.sequence.apply_betas(own, colours[best], batched=True)


def blend(p: Tensor, sprites: Tensor) -> Tensor:
    """Σₖ pₖ S̄ₖ: p (B, K), sprites (B or 1, K, C, H, W) -> (B, C, H, W)."""
    if sprites.shape[0] == 1:
        return (p @ sprites[0].flatten(1)).unflatten(1, sprites.shape[2:])
    return torch.einsum("bk,bkchw->bchw", p, sprites)
