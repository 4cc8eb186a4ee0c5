"""Sprites of points: K learned prototypes for 3-D point clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .kinds import OfPoints
from .settings import setting
from .sprites import GENERATORS, SpriteCount

#: Pieces of clouds that are tried for each sprite, and steps by which one moves to the middle of its points.
TRIED, STEPS = 8, 3


@GENERATORS.add("points")
class PointSprites(nn.Module, OfPoints):
    """Sprites are free points that stand on the ground (prototypes of the Learnable Earth Parser, Loiseau et al. 2024).

    Their learned size is apart from their points, so that a curriculum can let the one join before the other.

    Args:
        config: settings.
        samples: some training clouds (n, P, 3), to start from.
        generator: draws what the start needs.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(SpriteCount):
        points: int = setting(64, "points M of each sprite", low=4, high=4096)
        start: str = setting(
            "pieces", "initial points: pieces of training clouds that differ, or cubes filled at random, as published",
            choices=("pieces", "cubes"),
        )  # fmt: skip
        extent: float = setting(
            0.25, "half the side of an initial cube, or the radius of a piece, in half sides of a tile", above=0, high=1
        )

    #: parameters whose first axis is the sprite
    row_parameters = ("points", "log_size")

    def __init__(self, config: Any, samples: Tensor, generator: torch.Generator):
        super().__init__()
        make = pieces if config.start == "pieces" else cubes
        self.points = nn.Parameter(make(config, samples, generator))
        self.log_size = nn.Parameter(torch.zeros(config.count, 3))

    def forward(self, *, sizes_learn: bool = True, points_learn: bool = True) -> Tensor:
        """Points (K, M, 3) around the vertical axis; without gradient what does not learn yet."""
        points = self.points if points_learn else self.points.detach()
        size = self.log_size if sizes_learn else self.log_size.detach()
        return points * size.exp()[:, None]


def cubes(config: Any, samples: Tensor, generator: torch.Generator) -> Tensor:
    """Points (K, M, 3) anywhere in a cube on the ground."""
    drawn = 2 * torch.rand(config.count, config.points, 3, generator=generator) - 1
    drawn[..., 2] += 1
    return config.extent * drawn


def pieces(config: Any, samples: Tensor, generator: torch.Generator) -> Tensor:
    """Points (K, M, 3) of pieces of clouds within `extent` of a middle, chosen like the centres of k-means++.

    A piece begins around a random point and moves to the middle of its points. Of many, the next one taken is the
    likelier the less it is like those taken already (Chamfer distance; Arthur and Vassilvitskii 2007).
    """
    count, tried = config.count, TRIED * config.count
    cloud = samples[torch.randint(len(samples), (tried,), generator=generator)]
    first = torch.randint(cloud.shape[1], (tried,), generator=generator)
    middle = cloud[torch.arange(tried), first, :2]
    for _ in range(STEPS):
        within = near(cloud, middle, config.extent).to(cloud.dtype)
        middle = (within[..., None] * cloud[..., :2]).sum(1) / within.sum(1, keepdim=True)
    weight = near(cloud, middle, config.extent).to(cloud.dtype) + 1e-9  # none of them is without points
    own = torch.multinomial(weight, config.points, replacement=True, generator=generator)
    found = cloud.take_along_dim(own[..., None], 1).clone()
    found[..., :2] -= middle[:, None]
    apart = torch.cdist(found[:, None].expand(-1, tried, -1, -1), found[None].expand(tried, -1, -1, -1)).square()
    apart = apart.amin(-1).mean(-1) + apart.amin(-2).mean(-1)
    taken = torch.randint(tried, (1,), generator=generator)
    while len(taken) < count:
        chance = apart[taken].amin(0).clamp(min=1e-12)
        taken = torch.cat((taken, torch.multinomial(chance, 1, generator=generator)))
    return found[taken]


def near(cloud: Tensor, middle: Tensor, radius: float) -> Tensor:
    """Which points (n, P, 3) are within `radius` of (n, 2), heights left out: (n, P)."""
    return (cloud[..., :2] - middle[:, None]).square().sum(-1) <= radius**2
