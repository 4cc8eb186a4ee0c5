"""A bounded motion, for sprites that have a place of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from .family import TRANSFORMATIONS, AxisTransformation


@TRANSFORMATIONS.add("shift")
class Shift(AxisTransformation):
    """Moves by t = tanh(β) / 2 of half a side, so at most a quarter of the width (MarioNette, Smirnov et al. 2021)."""

    @staticmethod
    def parameters(channels: int) -> int:
        return 2

    @staticmethod
    def axes(beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y = (beta.tanh() / 2).unbind(1)
        return torch.ones_like(x), x, y
