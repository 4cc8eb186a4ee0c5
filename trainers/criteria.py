"""Training losses: reconstruction (eq. 3, 4) and regularisers (eq. 5-7).

Shapes: B images, L layers, K sprites without and K' with the empty one, which is last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .compositing import compose
from .decisions import PredictsProbabilities
from .families import Family
from .settings import MULTILAYER, POSITIVE, setting

REGULARISERS = Family("regulariser")

#: Most choices of sprites K'^L that `weighted_sum_over_layers` composes for each image.
MOST_CHOICES = 256

#: Usage below this counts as this when it divides, so that a batch that uses nothing has finite gradients.
LEAST_USE = 1e-4


def composition_error(image: Tensor, mixed: Tensor, weight: Tensor | None = None) -> Tensor:
    """L_comp = ‖x − x̂‖² / CHW, the error of the mixed image (Baltacı et al. 2026, eq. 4).

    Args:
        image: x, (B, C, H, W) in [0, 1].
        mixed: x̂, (B, C, H, W): Σₖ pₖ S̄ₖ with one layer, else the layers so mixed and composed.
        weight: of each pixel, (H, W); None is 1.
    Returns:
        (B,), squared intensity per pixel and channel; 0 is a perfect reconstruction.
    """
    error = (image - mixed).square()
    return (error if weight is None else error * weight).flatten(1).mean(1)


def error_of_each(image: Tensor, sprites: Tensor, weight: Tensor | None = None) -> Tensor:
    """‖x − S̄ₖ‖² / CHW for every k: image (B, C, H, W), sprites (B, K, C, H, W) -> (B, K)."""
    error = (image[:, None] - sprites).square()
    return (error if weight is None else error * weight).flatten(2).mean(2)


def weighted_sum_error(image: Tensor, sprites: Tensor, p: Tensor, weight: Tensor | None = None) -> Tensor:
    """L_wsum = Σₖ pₖ ‖x − S̄ₖ‖² / CHW, the expected error (eq. 3); sprites (B, K, C, H, W), p (B, K) -> (B,)."""
    return (p * error_of_each(image, sprites, weight)).sum(1)


def choices(sprites: int, layers: int, device: torch.device | None = None) -> Tensor:
    """Every way to give each of L layers one of K' sprites: (K'^L, L), int64."""
    every = torch.arange(sprites**layers, device=device)
    return torch.stack([every // sprites**place % sprites for place in reversed(range(layers))], 1)


def weighted_sum_over_layers(
    image: Tensor,
    colours: Tensor,
    masks: Tensor,
    p: Tensor,
    occlusion: Tensor,
    background: Tensor | None,
    weight: Tensor | None = None,
) -> Tensor:
    """L_wsum = Σ_{k₁…k_L} (Πₗ p_{l,kₗ}) ‖x − C(S̄_{1,k₁}, …, S̄_{L,k_L})‖² / CHW (eq. 3), K'^L compositions.

    Args:
        image: x, (B, C, H, W).
        colours, masks: of the transformed sprites, (B, L, K', C, H, W) and (B, L, K', 1, H, W).
        p: (B, L, K').
        occlusion, background: as in `compositing.compose`.
    Returns:
        (B,). The choices have to be few: see `MOST_CHOICES`.
    """
    batch, layers, sprites = p.shape
    pick = choices(sprites, layers, p.device)
    ways = len(pick)
    place = (torch.arange(layers, device=p.device) * sprites + pick).flatten()

    def picked(x: Tensor) -> Tensor:
        """(B, L, K', ...) -> (B, K'^L, L, ...)."""
        return x.flatten(1, 2).index_select(1, place).unflatten(1, (ways, layers))

    cover, each_colour = picked(masks).flatten(0, 1), picked(colours).flatten(0, 1)
    each = None if background is None else background.repeat_interleave(ways, 0)
    order = occlusion.expand(batch, layers, layers).repeat_interleave(ways, 0)
    composites = compose(each_colour, cover, order, each).unflatten(0, (batch, ways))
    # not Tensor.prod, whose gradient asks the device whether there is a zero
    likely: Tensor = math.prod(picked(p).unbind(-1))  # type: ignore[assignment]
    return (likely * error_of_each(image, composites, weight)).sum(1)


@REGULARISERS.add("frequency")
class Frequency:
    """L_freq = 1 − Σₖ min(fₖ, ε): every sprite should be used at least at rate ε (eq. 5).

    fₖ is the share of sprite k in what the batch uses, the empty sprite left out. With several layers the
    paper's formula counts over all layers (`per: sprite`); the published code scales each image's and layer's
    probabilities by their largest, and counts each pair of layer and sprite (`per: layer_and_sprite`), which
    for many layers is a cap on each pair rather than a floor on each sprite.
    """

    when: Mapping[str, Any] = {"decision.kind": PredictsProbabilities}
    while_frozen: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(0.0, "λ_freq: weight of the penalty on unused sprites", low=0, source="eq. 5")
        threshold: float = setting(
            0.5,
            "usage ε that is enough, as a share of 1/K",
            above=0,
            high=1,
            when={"regularisers.frequency.weight": POSITIVE},
        )
        per: str = setting(
            "sprite",
            "what usage is counted of: sprites (as in the paper) or pairs of layer and sprite (published code)",
            choices=("sprite", "layer_and_sprite"),
            when={"regularisers.frequency.weight": POSITIVE, **MULTILAYER},
        )

    @staticmethod
    def penalty(p: Tensor, empty: bool, config: Config) -> Tensor:
        """p (B, L, K') -> (), from 1 − min(K ε, 1) up to 1 − ε."""
        p = p[..., :-1] if empty else p
        enough = config.threshold / p.shape[-1]
        if config.per == "sprite":
            used = p.mean((0, 1))
        else:
            used = (p / p.amax(-1, keepdim=True).clamp(min=LEAST_USE)).mean(0).flatten()
        return 1 - (used / used.sum().clamp(min=LEAST_USE)).clamp(max=enough).sum()


@REGULARISERS.add("binary")
class Binary:
    """L_bin = mean of Beta(p; 2, 2) = 6 p (1 − p): probabilities should be near 0 or 1 (eq. 6)."""

    when: Mapping[str, Any] = {"decision.kind": PredictsProbabilities}
    while_frozen: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(0.0, "λ_bin: weight of the penalty on undecided probabilities", low=0, source="eq. 6")

    @staticmethod
    def penalty(p: Tensor, empty: bool, config: Config) -> Tensor:
        """p (B, L, K') -> (), from 0 to 1.5."""
        return (6 * p * (1 - p)).mean()


@REGULARISERS.add("empty_sprite")
class EmptySprite:
    """L_empty = mean over B, L and K' of p·[k ≠ ∅]: a layer should stay empty unless it helps (eq. 7).

    Divided by K' as in the published code, so that published weights keep their meaning. Min-Loss has no such
    term; there the weight is the price of a sprite in its search.
    """

    when: Mapping[str, Any] = {"model.empty_sprite": True}
    while_frozen: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(0.0, "λ_empty: price of an occupied layer", low=0, source="eq. 7")

    @staticmethod
    def penalty(p: Tensor, empty: bool, config: Config) -> Tensor:
        """p (B, L, K') -> (), from 0 (all empty) to 1/K' (none)."""
        return (1 - p[..., -1]).mean() / p.shape[-1]


@REGULARISERS.add("layer_frequency")
class LayerFrequency:
    """1 − Σₗ min(fₗ, ε): every layer should show something at least at rate ε (Learnable Earth Parser, its slots).

    fₗ is the share of layer l among all that layers show. There the term is divided by its ε of 0.1 / L, so that its
    weight of 1 is one of 10 here.
    """

    when: Mapping[str, Any] = {"model.empty_sprite": True}
    while_frozen: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(
            0.0, "weight of the penalty on layers that never show anything", low=0, source="Loiseau et al. 2024"
        )
        threshold: float = setting(
            0.1,
            "use of a layer that is enough, as a share of 1/L",
            above=0,
            high=1,
            when={"regularisers.layer_frequency.weight": POSITIVE},
        )

    @staticmethod
    def penalty(p: Tensor, empty: bool, config: Config) -> Tensor:
        """p (B, L, K') -> (), from 1 − L ε, all layers being used enough, up to 1."""
        used = (1 - p[..., -1]).mean(0)
        share = used / used.sum().clamp(min=LEAST_USE)
        return 1 - share.clamp(max=config.threshold / p.shape[1]).sum()
