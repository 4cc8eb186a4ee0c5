"""Regressors from image features to parameters, for many slots in one batched product."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Heads(nn.Module):
    """S independent networks D -> hidden -> hidden -> P with ReLU, evaluated together.

    All parameters have the slot as first axis. Initialised like `nn.Linear`, the last layer at zero
    (or small, `last_std`), so that parameters start at 0.
    """

    def __init__(self, features: int, slots: int, outputs: int, *, hidden: int = 128, last_std: float = 0.0):
        super().__init__()
        self.weight1 = nn.Parameter(_uniform(features, slots, hidden, features))
        self.bias1 = nn.Parameter(_uniform(features, slots, hidden))
        self.weight2 = nn.Parameter(_uniform(hidden, slots, hidden, hidden))
        self.bias2 = nn.Parameter(_uniform(hidden, slots, hidden))
        self.weight3 = nn.Parameter(torch.randn(slots, outputs, hidden) * last_std)
        self.bias3 = nn.Parameter(torch.zeros(slots, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) -> (B, S, P)."""
        # Every slot sees the same features, so the first layer is one plain product. Weights stand on the left, as
        # their gradients then lie in memory as they do, over members too (see `Linear`).
        x = torch.addmm(self.bias1.flatten()[:, None], self.weight1.flatten(0, 1), features.T).relu()
        x = x.unflatten(0, self.bias1.shape)  # (S, hidden, B)
        x = torch.baddbmm(self.bias2[..., None], self.weight2, x).relu()
        x = torch.baddbmm(self.bias3[..., None], self.weight3, x)
        return x.permute(2, 0, 1)


def _uniform(fan_in: int, *shape: int) -> Tensor:
    bound = fan_in**-0.5
    return torch.empty(*shape).uniform_(-bound, bound)
