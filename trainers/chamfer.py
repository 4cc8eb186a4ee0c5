"""Distances between point clouds and sprites placed among them (Learnable Earth Parser, Loiseau et al. 2024).

Shapes: B clouds of P points; S slots, in each of which K sprites of M points are placed; K' counts the empty one, last.
All distances are squared, in the unit of the coordinates.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

#: Squared distance that a point counts which no slot explains: half the side of a tile, squared.
UNEXPLAINED = 1.0


class Distances(NamedTuple):
    """out (B, S, K): mean over a sprite's points on the tile of the distance to the nearest point of the cloud;
    back (B, S, K, P): of each point of the cloud to the nearest point of the sprite."""

    out: Tensor
    back: Tensor


@torch.no_grad()
def neighbours(points: Tensor, sprites: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest points both ways, which no gradient needs.

    Args:
        points: (B, P, 3).
        sprites: (B, N, M, 3), N placed sprites.
    Returns:
        (B, N, M), indices of points of the cloud; (B, N, P), indices of points of each sprite.
    """
    flat = sprites.flatten(-3, -2)
    # |x − y|² as one product: (x, |x|², 1)·(−2y, 1, |y|²)
    left = torch.cat((flat, flat.square().sum(-1, keepdim=True), torch.ones_like(flat[..., :1])), -1)
    right = torch.cat((-2 * points, torch.ones_like(points[..., :1]), points.square().sum(-1, keepdim=True)), -1)
    squared = (left @ right.transpose(-2, -1)).unflatten(-2, sprites.shape[-3:-1])
    return squared.min(-1).indices, squared.min(-2).indices  # several times faster than argmin on a CPU


def distances(points: Tensor, placed: Tensor) -> Distances:
    """Distances of points (B, P, 3) and placed sprites (B, S, K, M, 3), both ways.

    A sprite's points beyond the tile count nothing, as the cloud does not say what is there.
    """
    slots = placed.shape[1:3]
    sprites = placed.flatten(1, 2)
    to_cloud, to_sprite = neighbours(points.detach(), sprites.detach())
    near = points.take_along_dim(to_cloud.flatten(1)[..., None], 1).unflatten(1, to_cloud.shape[1:])
    inside = (sprites[..., :2].detach().abs() <= 1).all(-1)
    out = ((sprites - near).square().sum(-1) * inside).sum(-1) / inside.sum(-1).clamp(min=1)
    found = sprites.take_along_dim(to_sprite[..., None], 2)
    back = (found - points[:, None]).square().sum(-1)
    return Distances(out.unflatten(1, slots), back.unflatten(1, slots))


def sprites_to_points(out: Tensor, p: Tensor) -> Tensor:
    """Σₖ pₖ d(Sₖ → X) of each slot, (B, S): out (B, S, K), p (B, S, K or K')."""
    return (p[..., : out.shape[-1]] * out).sum(-1)


def points_to_sprites(back: Tensor, p: Tensor) -> Tensor:
    """Expected distance of each point to the first slot that shows something, slots sorted by distance: (B, P).

    A slot's distance is that of its sprites, mean by their probabilities given that it shows one; it counts with the
    probability that it shows one and that no nearer slot does. Where all are empty a point costs `UNEXPLAINED`.

    Args:
        back: (B, S, K, P).
        p: (B, S, K or K').
    """
    shown = p[..., : back.shape[2]]
    active = shown.sum(-1)
    given = shown / active.clamp(min=1e-12)[..., None]
    each, order = (given[..., None] * back).sum(2).sort(1)
    active = active[..., None].expand_as(each).take_along_dim(order, 1)
    # not cumprod, whose gradient asks the device whether there is a zero
    empty_so_far = torch.stack(list(accumulate((1 - active).clamp(min=0).unbind(1), mul)), 1)
    before = F.pad(empty_so_far[:, :-1], (0, 0, 1, 0), value=1.0)
    return (before * active * each).sum(1) + UNEXPLAINED * empty_so_far[:, -1]


def chamfer(found: Distances, p: Tensor) -> Tensor:
    """Expected Chamfer distance of each cloud, (B,): both ways, whatever number of slots there is.

    Sprites to points: mean over slots by the probability that they show something. With choices for sure it is the
    mean over the slots that show something; a cloud that nothing explains has `UNEXPLAINED`.
    """
    active = p[..., : found.out.shape[-1]].sum((1, 2))
    out = sprites_to_points(found.out, p).sum(1) / active.clamp(min=1e-6)
    return out + points_to_sprites(found.back, p).mean(1)
