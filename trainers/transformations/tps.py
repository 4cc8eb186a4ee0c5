"""Thin plate splines: smooth deformations that bend a regular grid of control points."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from .family import TRANSFORMATIONS, SpatialTransformation, corner_points, pixel_centres

SIDE = 4  #: control points per side, as published


Points = Callable[[tuple[int, int], torch.device, torch.dtype], Tensor]


@functools.lru_cache(maxsize=64)
def _influence(size: tuple[int, int], points_of: Points, device: torch.device, dtype: torch.dtype) -> Tensor:
    """How far each pixel follows each control point, (H·W, SIDE²).

    A thin plate spline is linear in the displacements of its control points, so the whole solve is done
    once here (kernel r² log r, plus an affine part; Bookstein 1989).
    """
    axis = torch.linspace(-1, 1, SIDE, dtype=torch.float64)
    points = torch.stack([axis.repeat(SIDE), axis.repeat_interleave(SIDE)], 1)
    ones = torch.ones(len(points), 1, dtype=torch.float64)
    affine = torch.cat([ones, points], 1)
    system = torch.zeros(len(points) + 3, len(points) + 3, dtype=torch.float64)
    system[:-3, :-3] = _kernel(torch.cdist(points, points))
    system[:-3, -3:], system[-3:, :-3] = affine, affine.T
    pixels = points_of(size, torch.device("cpu"), torch.float64)[:, :2]
    basis = torch.cat([_kernel(torch.cdist(pixels, points)), torch.ones(len(pixels), 1), pixels], 1)
    weights = basis @ torch.linalg.inv(system)[:, :-3]
    return weights.to(device=device, dtype=dtype)


def _kernel(r: Tensor) -> Tensor:
    return torch.where(r > 0, r.square() * r.clamp_min(1e-12).log(), 0.0)


@TRANSFORMATIONS.add("tps")
class ThinPlateSpline(SpatialTransformation):
    """Source points are the 4x4 regular grid + β; pixels in between follow smoothly (DTI)."""

    group = "g2"
    points = staticmethod(pixel_centres)

    @staticmethod
    def parameters(channels: int) -> int:
        return 2 * SIDE * SIDE

    @classmethod
    def grid(cls, beta: Tensor, size: tuple[int, int]) -> Tensor:
        influence = _influence(size, cls.points, beta.device, beta.dtype)
        moves = beta.unflatten(1, (SIDE * SIDE, 2))
        # one product for all images: (H·W, 16) @ (16, N·2)
        shift = (influence @ moves.movedim(1, 0).flatten(1)).unflatten(1, (-1, 2)).movedim(0, 1)
        return (cls.points(size, beta.device, beta.dtype)[:, :2] + shift).unflatten(1, size)


@TRANSFORMATIONS.add("zoomedtps")
class ZoomedThinPlateSpline(ThinPlateSpline):
    """TPS as the published code has it: β = 0 zooms in by W/(W-1)."""

    starts_as_identity = False
    points = staticmethod(corner_points)
