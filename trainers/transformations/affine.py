"""Transformations that are one matrix: identity, affine and its special cases, projective."""

from __future__ import annotations

import torch
from torch import Tensor

from .family import (
    TRANSFORMATIONS,
    AxisTransformation,
    SpatialTransformation,
    Transformation,
    corner_points,
    linear_grid,
    matrix,
    pixel_centres,
)


@TRANSFORMATIONS.add("identity")
class Identity(Transformation):
    """Leaves sprites as they are: the first part of most sequences."""

    group = "identity"

    @staticmethod
    def parameters(channels: int) -> int:
        return 0


@TRANSFORMATIONS.add("affine")
class Affine(SpatialTransformation):
    """θ = I + β, six parameters (DTI, Monnier et al. 2020)."""

    @staticmethod
    def parameters(channels: int) -> int:
        return 6

    @staticmethod
    def grid(beta: Tensor, size: tuple[int, int]) -> Tensor:
        return linear_grid(beta.unflatten(1, (2, 3)) + torch.eye(2, 3, device=beta.device, dtype=beta.dtype), size)


#: Scale s of a sprite that is less than a pixel of any image: e^-12 of its size.
SMALLEST = 12.0


@TRANSFORMATIONS.add("position")
class Position(AxisTransformation):
    """Scale and place, θ = [(1 + e^s) I, t]; "scale+affine" of the paper.

    As published, β = 0 shows the sprite at half the canvas's width and height, in its middle, and no
    sprite can become larger than the canvas; its centre lands at -t / (1 + e^s).
    """

    starts_as_identity = False

    @staticmethod
    def parameters(channels: int) -> int:
        return 3

    @staticmethod
    def axes(beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s, x, y = beta.unbind(1)
        # where sprites vanish from all images nothing holds s, and an exponential that overflows has no gradient
        return 1 + s.clamp(max=SMALLEST).exp(), x, y


@TRANSFORMATIONS.add("translation")
class Translation(AxisTransformation):
    """Place at half size, θ = [2 I, t] (DTI-Sprites on Tetrominoes)."""

    starts_as_identity = False

    @staticmethod
    def parameters(channels: int) -> int:
        return 2

    @staticmethod
    def axes(beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y = beta.unbind(1)
        return torch.full_like(x, 2.0), x, y


@TRANSFORMATIONS.add("similarity")
class Similarity(SpatialTransformation):
    """Rotate, scale and move, θ = [[1+a, -b], [b, 1+a]] + t; "scale+rot." of the paper."""

    @staticmethod
    def parameters(channels: int) -> int:
        return 4

    @staticmethod
    def grid(beta: Tensor, size: tuple[int, int]) -> Tensor:
        a, b, x, y = beta.unbind(1)
        return linear_grid(matrix(1 + a, -b, x, b, 1 + a, y), size)


@TRANSFORMATIONS.add("rotation")
class Rotation(SpatialTransformation):
    """θ = [[1, -b], [b, 1]]: rotates by atan b (and shrinks by the same measure, as published)."""

    @staticmethod
    def parameters(channels: int) -> int:
        return 1

    @staticmethod
    def grid(beta: Tensor, size: tuple[int, int]) -> Tensor:
        b = beta[:, 0]
        one, none = torch.ones_like(b), torch.zeros_like(b)
        return linear_grid(matrix(one, -b, none, b, one, none), size)


@TRANSFORMATIONS.add("projective")
class Projective(SpatialTransformation):
    """Homography I₃ + β followed by the perspective division.

    Evaluated at pixel centres, so that β = 0 is exactly the identity (the published code zooms by W/(W-1)).
    """

    group = "g2"
    points = staticmethod(pixel_centres)

    @staticmethod
    def parameters(channels: int) -> int:
        return 9

    @classmethod
    def grid(cls, beta: Tensor, size: tuple[int, int]) -> Tensor:
        centres = cls.points(size, beta.device, beta.dtype)
        homography = beta.unflatten(1, (3, 3)) + torch.eye(3, device=beta.device, dtype=beta.dtype)
        x, y, z = (homography @ centres.T).unbind(1)
        z = torch.where(z.abs() < 1e-6, 1e-6, z)  # a horizon through the image must not become NaN
        return torch.stack([x / z, y / z], -1).unflatten(1, size)


@TRANSFORMATIONS.add("zoomedprojective")
class ZoomedProjective(Projective):
    """Projective as the published code has it: β = 0 zooms in by W/(W-1)."""

    starts_as_identity = False
    points = staticmethod(corner_points)
