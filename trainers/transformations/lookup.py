"""What a warp does to a sprite, read off an image of coordinates that it has warped.

A lookup (..., 3, H, W) says for each pixel of the output where in the sprite it looks, x and y in [-1, 1], and
how much of it is inside the sprite. It describes any chain of spatial transformations, whatever its parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .family import pixel_centres

#: A pixel that is stretched or squeezed by more than this factor in area is torn (|log det J| > log 4).
TORN = 4.0


def coordinates(size: tuple[int, int], like: Tensor) -> Tensor:
    """The lookup that changes nothing, (3, h, w)."""
    return pixel_centres(size, like.device, like.dtype).T.unflatten(1, size)


def displacement(lookup: Tensor) -> Tensor:
    """Mean squared distance between a pixel and where it looks, over pixels inside; half a side is 1. (...)"""
    inside = lookup[..., 2, :, :] > 0.99
    start = coordinates((lookup.shape[-2], lookup.shape[-1]), lookup)[:2]
    moved = (lookup[..., :2, :, :] - start).square().sum(-3)
    return (moved * inside).sum((-2, -1)) / inside.sum((-2, -1)).clamp_min(1)


def torn(lookup: Tensor) -> Tensor:
    """Share of the pixels inside where areas change by more than a factor of 4 or fold over. (...)"""
    inside = _cells(lookup, 0.99)
    extreme = (_jacobian(lookup).clamp_min(1e-9).log().abs() > math.log(TORN)) & inside
    return extreme.sum((-2, -1)) / inside.sum((-2, -1)).clamp_min(1)


def outside(lookup: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    """Share of a sprite's mass that no pixel of the output looks at, by the change of variables. (...)

    Args:
        lookup: of the whole chain of warps.
        weight: the warped mass, (..., H, W); the support, where every pixel of a sprite weighs alike.
        total: mean of the mass over the sprite before it was warped, (...).
    """
    seen = (weight[..., :-1, :-1] * _jacobian(lookup).abs()).mean((-2, -1))
    return (1 - seen / total.clamp_min(1e-6)).clamp(0, 1)


def _jacobian(lookup: Tensor) -> Tensor:
    """det J of where pixels look, (..., H-1, W-1): 1 for the identity, above 1 where the sprite shrinks."""
    height, width = lookup.shape[-2:]
    where = lookup[..., :2, :, :] / lookup[..., 2:, :, :].clamp_min(1e-3)  # undoes the fading at the border
    corner = where[..., :-1, :-1]
    across = (where[..., :-1, 1:] - corner) * (width / 2)
    down = (where[..., 1:, :-1] - corner) * (height / 2)
    (xa, ya), (xd, yd) = across.unbind(-3), down.unbind(-3)
    return torch.where(_cells(lookup, 0), xa * yd - ya * xd, 0.0)


def _cells(lookup: Tensor, above: float) -> Tensor:
    """Which pixels are inside together with their neighbours on the right and below, (..., H-1, W-1)."""
    inside = lookup[..., 2, :, :] > above
    return inside[..., :-1, :-1] & inside[..., 1:, :-1] & inside[..., :-1, 1:]
