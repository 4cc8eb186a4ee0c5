"""The family of transformations: what each member promises, and the warp they share."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..families import Family

TRANSFORMATIONS = Family("transformation")

Padding = Literal["zeros", "border"]


class Transformation:
    """One module of a sequence: parameters β regressed from an image's features.

    β = 0 is where training starts, as the last layer of every regressor is zero there.
    """

    #: whether β = 0 leaves sprites as they are; where it does not, the published start is kept.
    starts_as_identity: ClassVar[bool] = True
    #: group of the curriculum id+g1+g2: colour and affine motions first, free deformations after.
    group: ClassVar[Literal["identity", "g1", "g2"]] = "g1"

    @staticmethod
    def parameters(channels: int) -> int:
        """Length P of β, given the number of colour channels."""
        raise NotImplementedError


class ColourTransformation(Transformation):
    """Changes intensities, pixel by pixel; leaves masks alone."""

    @staticmethod
    def recolour(beta: Tensor, colours: Tensor) -> Tensor:
        """β (..., P) and colours (..., C, h, w) with the same leading axes -> colours."""
        raise NotImplementedError


class SpatialTransformation(Transformation):
    """An inverse warp: says for each output pixel where in the sprite to look."""

    @staticmethod
    def grid(beta: Tensor, size: tuple[int, int]) -> Tensor:
        """β (N, P) and the output's (H, W) -> where to look, (N, H, W, 2), x right and y down in [-1, 1]."""
        raise NotImplementedError


class FilterTransformation(Transformation):
    """Replaces each pixel by something made of its neighbours, in every channel alike."""

    @staticmethod
    def filter(beta: Tensor, pixels: Tensor) -> Tensor:
        """β (N, P) and pixels (N, C', h, w) -> pixels (N, C', h, w)."""
        raise NotImplementedError


@functools.lru_cache(maxsize=64)
def pixel_centres(size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Homogeneous coordinates (x, y, 1) of pixel centres, (H·W, 3); the border of the image is at ±1."""
    h, w = size
    x = (torch.arange(w, dtype=torch.float64) * 2 + 1) / w - 1
    y = (torch.arange(h, dtype=torch.float64) * 2 + 1) / h - 1
    grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w), torch.ones(h, w, dtype=torch.float64)], -1)
    return grid.reshape(h * w, 3).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=64)
def corner_points(size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """As `pixel_centres`, but with the outermost pixels at ±1: looked up as if they were centres, this zooms in."""
    h, w = size
    x, y = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (w, h))
    grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w), torch.ones(h, w, dtype=torch.float64)], -1)
    return grid.reshape(h * w, 3).to(device=device, dtype=dtype)


def linear_grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """Grid of an affine map θ (N, 2, 3), (N, H, W, 2)."""
    centres = pixel_centres(size, theta.device, theta.dtype)
    return (centres @ theta.transpose(1, 2)).unflatten(1, size)


def sample(pixels: Tensor, grid: Tensor, padding: Padding) -> Tensor:
    """Bilinear look-up of pixels (N, C, h, w) at grid (N, H, W, 2) -> (N, C, H, W)."""
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False)
