"""The family of transformations: what each member promises, and the warp they share."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal, NamedTuple

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


class AxisTransformation(SpatialTransformation):
    """A warp that scales and shifts along the axes: what it does to columns and to rows is independent.

    Such a warp is two products with narrow matrices (see `sample_axes`): faster than looking up each pixel,
    in both directions.
    """

    @staticmethod
    def axes(beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """β (N, P) -> scale, x and y (N,): an output pixel at (u, v) looks at (scale u + x, scale v + y)."""
        raise NotImplementedError

    @classmethod
    def grid(cls, beta: Tensor, size: tuple[int, int]) -> Tensor:
        scale, x, y = cls.axes(beta)
        none = torch.zeros_like(scale)
        return linear_grid(matrix(scale, none, x, none, scale, y), size)


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


def matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """θ = [[a, b, c], [d, e, f]] from six tensors (N,), (N, 2, 3)."""
    return torch.stack([torch.stack([a, b, c], -1), torch.stack([d, e, f], -1)], 1)


def linear_grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """Grid of an affine map θ (N, 2, 3), (N, H, W, 2)."""
    centres = pixel_centres(size, theta.device, theta.dtype)
    return (centres @ theta.transpose(1, 2)).unflatten(1, size)


def sample(pixels: Tensor, grid: Tensor, padding: Padding) -> Tensor:
    """Bilinear look-up of pixels (N, C, h, w) at grid (N, H, W, 2) -> (N, C, H, W)."""
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False)


class AxisWarp(NamedTuple):
    """An `AxisTransformation` of N images as linear interpolation along each axis.

    rows (N, H, h) and columns (N, W, w): an image x becomes rows x columnsᵀ. y (N, H) and x (N, W) say where in the
    image each row and column of the output looks, in pixels, without gradient: further off than its edge by one
    all weights are zero.
    """

    rows: Tensor
    columns: Tensor
    y: Tensor
    x: Tensor


def axis_warp(
    axes: tuple[Tensor, Tensor, Tensor], before: tuple[int, int], after: tuple[int, int], padding: Padding
) -> AxisWarp:
    """The warp that scale, x and y (N,) of `AxisTransformation.axes` mean for images (h, w) that become (H, W)."""
    scale, x, y = axes
    rows, vertical = _interpolation(scale, y, before[0], after[0], padding)
    columns, horizontal = _interpolation(scale, x, before[1], after[1], padding)
    return AxisWarp(rows, columns, vertical, horizontal)


def sample_axes(pixels: Tensor, warp: AxisWarp) -> Tensor:
    """What `sample` gives for the grid of an `AxisTransformation`: pixels (N, C, h, w) -> (N, C, H, W)."""
    number, channels, height, width = pixels.shape
    # rows first: there are fewer of them before than after
    tall = warp.rows @ pixels.transpose(1, 2).reshape(number, height, channels * width)
    wide = tall.reshape(number, -1, width) @ warp.columns.transpose(1, 2)
    return wide.unflatten(1, (-1, channels)).transpose(1, 2)


def _interpolation(scale: Tensor, shift: Tensor, before: int, after: int, padding: Padding) -> tuple[Tensor, Tensor]:
    """Weights of linear interpolation along one axis, (N, after, before), and where they look, (N, after).

    Rows off the edge are zero, or its pixel.
    """
    centres = (torch.arange(after, device=scale.device, dtype=scale.dtype) * 2 + 1) / after - 1
    at = ((scale[:, None] * centres + shift[:, None] + 1) * before - 1) / 2
    if padding == "border":
        at = at.clamp(0, before - 1)
    lower = at.detach().floor()[..., None]
    index = torch.arange(before, device=scale.device, dtype=scale.dtype)
    upper = at[..., None] - lower
    weights = torch.where(index == lower, 1 - upper, 0.0) + torch.where(index == lower + 1, upper, 0.0)
    return weights, at.detach()
