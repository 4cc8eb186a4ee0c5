"""A linear layer for members trained together."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    """`nn.Linear` for x (B, D), whose weight's gradient lies in memory as the weight does, over members too.

    Under `torch.func.vmap` that of `nn.Linear` comes transposed, and Adam has to copy all of it first.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias[:, None], self.weight, x.T).T
