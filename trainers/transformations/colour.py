"""Transformations of colour: each channel is scaled, and shifted, on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from .family import TRANSFORMATIONS, ColourTransformation

#: Slope of the soft clamp outside [0, 1].
SLOPE = 0.01


def soft_clamp(x: Tensor) -> Tensor:
    """x in [0, 1]; outside, `SLOPE` of the excess remains so that gradients do not vanish (DTI)."""
    return x.clamp(0, 1).lerp(x, SLOPE)


@TRANSFORMATIONS.add("color")
class Color(ColourTransformation):
    """c' = softclamp((1 + w) c + b), per channel; β = (w, b) of each channel in turn."""

    @staticmethod
    def parameters(channels: int) -> int:
        return 2 * channels

    @staticmethod
    def recolour(beta: Tensor, colours: Tensor) -> Tensor:
        weight, bias = beta.unflatten(-1, (-1, 2))[..., None, None].unbind(-3)
        return soft_clamp((1 + weight) * colours + bias)


@TRANSFORMATIONS.add("contrast")
class Contrast(Color):
    """c' = softclamp(½ + (1 + w) (c - ½) + b), per channel: the maps of `Color`, said by contrast and brightness.

    Colours lie around ½, where the w of `Color` is first of all one more b: to change the contrast alone both have to
    move together, which a regressor learns slowly.
    """

    @staticmethod
    def recolour(beta: Tensor, colours: Tensor) -> Tensor:
        weight, bias = beta.unflatten(-1, (-1, 2)).unbind(-1)
        return Color.recolour(torch.stack((weight, bias - weight / 2), -1).flatten(-2), colours)


@TRANSFORMATIONS.add("linearcolor")
class LinearColor(ColourTransformation):
    """c' = softclamp((1 + w) c), per channel (DTI-Sprites on Tetrominoes)."""

    @staticmethod
    def parameters(channels: int) -> int:
        return channels

    @staticmethod
    def recolour(beta: Tensor, colours: Tensor) -> Tensor:
        return soft_clamp((1 + beta[..., None, None]) * colours)
