"""Placing sprites in their layers and mixing them, together.

Most of what a step on large images costs is memory that placed sprites go through. On a CPU they are never there as
a whole: image by image and layer by layer, only the window in which a layer's sprites can be seen is made, mixed and
forgotten, all in the cache; the backward pass makes it again. Outside of the windows nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .mixing import members_first, mix_gradients, mix_of_masked, mixed
from .transformations import AxisWarp, sample_axes


def place_and_mix(pixels: Tensor, warp: AxisWarp, noise: Tensor | None, p: Tensor) -> tuple[Tensor, Tensor]:
    """What `mix_of_masked` makes of sprites that a warp along the axes places.

    Args:
        pixels: sprites in every layer (B, L, K, C', h, w), not yet placed.
        warp: of each image and layer, (B L, …).
        noise, p: as in `mix_of_masked`.
    Returns:
        A (B, L, 1, H, W) and Q (B, L, C, H, W). Gradients are had once, and none of the noise.
    """
    images, layers, sprites = p.shape
    if pixels.device.type != "cpu" or torch.compiler.is_compiling():  # there to have all at once is best
        placed = sample_axes(pixels.flatten(0, 1).flatten(1, 2), warp).unflatten(1, (sprites, -1))
        return mix_of_masked(placed.unflatten(0, (images, layers)), noise, p)
    window = torch.cat((_seen(warp.y, pixels.shape[-2]), _seen(warp.x, pixels.shape[-1])), -1)
    cover, paint = _PlaceAndMix.apply(pixels.flatten(0, 1), warp.rows, warp.columns, window, noise, p.flatten(0, 1))
    return cover.unflatten(0, (images, layers)), paint.unflatten(0, (images, layers))


def _seen(at: Tensor, side: int) -> Tensor:
    """The rows of the output [from, to) that look at places `at` (N, H) within a side of an image, (N, 2)."""
    # not a number is no place outside: what it makes of the image must show
    seen = ((at < -1) | (at >= side)).logical_not()
    first = seen.int().argmax(-1)
    return torch.stack((first, first + seen.sum(-1)), -1)


def _place(pixels: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Sprites (N, h, w) stretched in height, (N H, w), and placed, (N H, W)."""
    tall = torch.bmm(rows.expand(len(pixels), -1, -1), pixels).flatten(0, 1)
    return tall, tall @ columns.T


class _PlaceAndMix(torch.autograd.Function):
    """The first axis is that of images and layers."""

    @staticmethod
    def forward(
        pixels: Tensor, rows: Tensor, columns: Tensor, window: Tensor, noise: Tensor | None, p: Tensor
    ) -> tuple[Tensor, Tensor]:
        kinds = pixels.shape[1:3]
        colours = kinds[1] - (1 if noise is None else 2)
        size = (rows.shape[1], columns.shape[1])
        cover, paint = pixels.new_zeros(len(p), 1, *size), pixels.new_zeros(len(p), colours, *size)
        for (y, x), own, r, c, q, a, m in _each(window, pixels.flatten(1, 2), rows, columns, p, cover, paint):
            r, c, u = r[y], c[x], None if noise is None else noise[:, y, x]
            placed = _place(own, r, c)[1].view(*kinds, len(r), len(c))
            a[:, y, x], m[:, y, x] = mixed(placed, u, q)
        return cover, paint

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cover: Tensor, paint: Tensor) -> tuple[Tensor | None, ...]:
        pixels, rows, columns, window, noise, p = ctx.saved_tensors
        kinds = pixels.shape[1:3]
        of_pixels, of_p = pixels.new_empty(pixels.shape), torch.empty_like(p)
        of_rows, of_columns = torch.zeros_like(rows), torch.zeros_like(columns)
        given = (pixels.flatten(1, 2), rows, columns, p, cover, paint)
        found = (of_pixels.flatten(1, 2), of_rows, of_columns, of_p)
        for (y, x), own, r, c, q, a, m, d_own, dr, dc, dq in _each(window, *given, *found):
            r, c, u = r[y], c[x], None if noise is None else noise[:, y, x]
            tall, flat = _place(own, r, c)
            placed = flat.view(*kinds, len(r), len(c))
            dq.copy_(mix_gradients(placed, u, q, a[:, y, x], m[:, y, x], into=placed))
            torch.mm(flat.T, tall, out=dc[x])
            of_tall = (flat @ c).view(len(own), len(r), own.shape[-1])
            torch.bmm(r.T.expand(len(own), -1, -1), of_tall, out=d_own)
            torch.sum(torch.bmm(of_tall, own.transpose(1, 2)), 0, out=dr[y])
        return of_pixels, of_rows, of_columns, None, None, of_p

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None) -> tuple[Any, tuple[int, int]]:
        """One member after the other."""
        each = [members_first(x, d, info.batch_size) for x, d in zip(inputs, in_dims, strict=True)]
        alone = [_PlaceAndMix.apply(*(x if x is None else x[m] for x in each)) for m in range(info.batch_size)]
        cover, paint = map(torch.stack, zip(*alone, strict=True))
        return (cover, paint), (0, 0)


def _each(window: Tensor, *tensors: Tensor) -> Iterator[tuple[Any, ...]]:
    """Rows and columns of each window, and what the tensors have for it along their first axis."""
    at = [(slice(top, bottom), slice(left, right)) for top, bottom, left, right in window.tolist()]
    return zip(at, *map(Tensor.unbind, tensors), strict=True)
