"""Sequences: transformations applied one after the other, for all slots and images at once."""

from __future__ import annotations

from collections.abc import Sequence as Names

import torch
from torch import Tensor, nn

from .curriculum import is_spatial
from .family import (
    TRANSFORMATIONS,
    AxisTransformation,
    AxisWarp,
    ColourTransformation,
    FilterTransformation,
    Padding,
    SpatialTransformation,
    axis_warp,
    sample,
    sample_axes,
)
from .heads import Heads

Betas = list[Tensor | None]


class Sequence(nn.Module):
    """Transformations of S slots (sprites, layers or backgrounds), each slot with its own regressors.

    Args:
        names: transformations in order.
        slots: S; with `shared` one regressor serves all of them.
        features: length D of the image's features.
        channels: colour channels C; further channels (mask, support) are warped but not recoloured.
        in_size, out_size: (h, w) of what comes in and (H, W) of what goes out.
        padding: what lies outside a sprite.
        last_std: std of the initial weights of the spatial regressors' last layers.
    """

    def __init__(
        self,
        names: Names[str],
        *,
        slots: int,
        features: int,
        channels: int,
        in_size: tuple[int, int],
        out_size: tuple[int, int],
        padding: Padding = "zeros",
        shared: bool = False,
        last_std: float = 0.0,
    ):
        super().__init__()
        self.names, self.slots, self.channels = tuple(names), slots, channels
        self.in_size, self.out_size, self.padding = in_size, out_size, padding
        self.heads = nn.ModuleDict()
        for name in names:
            if outputs := TRANSFORMATIONS[name].parameters(channels):
                std = last_std if is_spatial(name) else 0.0
                self.heads[name] = Heads(features, 1 if shared else slots, outputs, last_std=std)

    def betas(self, features: Tensor, active: Names[bool]) -> Betas:
        """Parameters of each transformation from features (B, D): (B, S, P), None where inactive or without any."""
        return [
            self.heads[name](features).expand(-1, self.slots, -1) if on and name in self.heads else None
            for name, on in zip(self.names, active, strict=True)
        ]

    def apply_betas(
        self, betas: Betas, pixels: Tensor, *, batched: bool, padding: Padding | None = None, until: int | None = None
    ) -> Tensor:
        """Transforms pixels by parameters that `betas` gave.

        Args:
            betas: (B, S, P) each, or None to skip a transformation.
            pixels: (S, *extra, C', h, w), or (B, S, *extra, C', h, w) where `batched`; `extra` axes share
                the parameters of their slot. The first C channels are colours.
            padding: instead of the sequence's own.
            until: leaves out the transformations from this one on.
        Returns:
            (B, S, *extra, C', H, W); without any active transformation still (S, …) where not `batched`.
        """
        spatial = [i for i, b in enumerate(betas) if b is not None and is_spatial(self.names[i])]
        for i, (name, beta) in enumerate(zip(self.names[:until], betas[:until], strict=True)):
            if beta is None:
                continue
            kind = TRANSFORMATIONS[name]
            if issubclass(kind, ColourTransformation):
                pixels, batched = _recolour(kind, beta, pixels, self.channels, batched), True
            elif issubclass(kind, FilterTransformation):
                pixels, batched = _filter(kind, beta, pixels, batched), True
            else:
                size = self.out_size if i == spatial[-1] else self.in_size
                pixels, batched = _warp(kind, beta, pixels, size, padding or self.padding, batched), True
        if not spatial and self.in_size != self.out_size:
            pixels = _resize(pixels, self.out_size)
        return pixels

    def before_axes(self, betas: Betas, pixels: Tensor) -> tuple[Tensor, AxisWarp] | None:
        """What the last transformation is given of pixels (B, S, *extra, C', h, w), and that warp for each (B S).

        None unless it is an `AxisTransformation`: then this is `apply_betas` but for the last two products.
        """
        last = max((i for i, b in enumerate(betas) if b is not None), default=0)
        kind, beta = TRANSFORMATIONS[self.names[last]], betas[last]
        if beta is None or not issubclass(kind, AxisTransformation):
            return None
        pixels = self.apply_betas(betas, pixels, batched=True, until=last)
        size = (pixels.shape[-2], pixels.shape[-1])
        return pixels, axis_warp(kind.axes(beta.flatten(0, 1)), size, self.out_size, self.padding)

    def warp(self, betas: Betas, pixels: Tensor) -> Tensor:
        """What the spatial parts alone make of pixels (B, S, C', h, w), nothing being outside: (B, S, C', H, W)."""
        spatial = [b if is_spatial(name) else None for name, b in zip(self.names, betas, strict=True)]
        return self.apply_betas(spatial, pixels, batched=True, padding="zeros")

    def forward(self, features: Tensor, pixels: Tensor, active: Names[bool], *, batched: bool = False) -> Tensor:
        """Features (B, D) and pixels as in `apply_betas` -> transformed pixels."""
        return self.apply_betas(self.betas(features, active), pixels, batched=batched)

    def is_identity(self, active: Names[bool]) -> bool:
        """Whether nothing would change: no part with parameters is active and sizes agree."""
        on = any(a and n in self.heads for n, a in zip(self.names, active, strict=True))
        return not on and self.in_size == self.out_size


def _recolour(kind: type[ColourTransformation], beta: Tensor, pixels: Tensor, channels: int, batched: bool) -> Tensor:
    if not batched:
        pixels = pixels.expand(len(beta), *pixels.shape)
    extra = pixels.ndim - 5
    beta = beta.reshape(*beta.shape[:2], *[1] * extra, beta.shape[-1])
    changed = kind.recolour(beta, pixels[..., :channels, :, :])
    if pixels.shape[-3] == channels:
        return changed
    return torch.cat([changed, pixels[..., channels:, :, :]], -3)


def _filter(kind: type[FilterTransformation], beta: Tensor, pixels: Tensor, batched: bool) -> Tensor:
    if not batched:
        pixels = pixels.expand(len(beta), *pixels.shape)
    # extra axes have the same neighbourhoods: to the filter they are more channels
    changed = kind.filter(beta.flatten(0, 1), pixels.flatten(0, 1).flatten(1, -3))
    return changed.reshape(pixels.shape)


def _warp(
    kind: type[SpatialTransformation],
    beta: Tensor,
    pixels: Tensor,
    size: tuple[int, int],
    padding: Padding,
    batched: bool,
) -> Tensor:
    images, slots = beta.shape[:2]
    if issubclass(kind, AxisTransformation):
        pixels = pixels if batched else pixels.expand(images, *pixels.shape)
        flat = pixels.flatten(0, 1).flatten(1, -3)
        warp = axis_warp(kind.axes(beta.flatten(0, 1)), (pixels.shape[-2], pixels.shape[-1]), size, padding)
        return sample_axes(flat, warp).reshape(*pixels.shape[:-2], *size)
    if batched:
        grid = kind.grid(beta.flatten(0, 1), size)
        # extra axes look at the same places: to the sampler they are more channels
        flat = pixels.flatten(0, 1).flatten(1, -3)
        warped = sample(flat, grid, padding)
        return warped.reshape(images, slots, *pixels.shape[2:-2], *size)
    # sprites that all images share are not copied: all images' grids are stacked in height for each of them
    grid = kind.grid(beta.transpose(0, 1).flatten(0, 1), size)
    grid = grid.reshape(slots, images * size[0], size[1], 2)
    warped = sample(pixels.flatten(1, -3), grid, padding)
    warped = warped.unflatten(2, (images, size[0])).movedim(2, 0)
    return warped.reshape(images, slots, *pixels.shape[1:-2], *size)


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    flat = pixels.flatten(0, -4)
    resized = nn.functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return resized.reshape(*pixels.shape[:-2], *size)
