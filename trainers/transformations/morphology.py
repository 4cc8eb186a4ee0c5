"""Morphology: strokes that grow thicker or thinner."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .family import TRANSFORMATIONS, FilterTransformation

SIDE = 7  #: of the neighbourhood, as published
_LOGIT = 5.0  #: of the published kernel: far from 0 in the middle, far below it elsewhere


def soft_morphology(pixels: Tensor, alpha: Tensor, kernel: Tensor) -> Tensor:
    """out = Σₙ vₙ κₙ exp(α vₙ) / Σₙ κₙ exp(α vₙ) over a neighbourhood; black outside.

    A dilation for α → ∞, an erosion for α → -∞, a blur for α = 0 (Monnier et al. 2020). Both sums are
    convolutions, each image with a kernel of its own.

    Args:
        pixels: v, (N, C, h, w).
        alpha: (N,).
        kernel: κ >= 0, (N, k, k), k odd.
    Returns:
        (N, C, h, w).
    """
    number, channels, *size = pixels.shape
    padded = F.pad(pixels, (kernel.shape[-1] // 2,) * 4)
    alpha = alpha[:, None, None, None]
    weight = (alpha * padded - alpha.relu()).exp()  # exp(α), which cancels, could overflow
    both = torch.stack([padded * weight, weight], 1).reshape(1, -1, *padded.shape[-2:])
    kernels = kernel[:, None].expand(-1, 2 * channels, -1, -1).reshape(-1, 1, *kernel.shape[-2:])
    sums = F.conv2d(both, kernels, groups=len(kernels)).reshape(number, 2, channels, *size)
    return sums[:, 0] / sums[:, 1].clamp_min(1e-30)


def _start(like: Tensor) -> Tensor:
    """Logits of the kernel before any β, (k²,)."""
    return torch.where(torch.arange(SIDE**2, device=like.device) == SIDE**2 // 2, _LOGIT, -_LOGIT).to(like.dtype)


@TRANSFORMATIONS.add("morphology")
class Morphology(FilterTransformation):
    """`soft_morphology` with β = (α, 7x7 logits). The kernel starts as 1 in the middle and 0 elsewhere:
    κ = sigmoid(start + β) less what it is at β = 0, and no less than 0.
    """

    group = "g2"

    @staticmethod
    def parameters(channels: int) -> int:
        return 1 + SIDE**2

    @staticmethod
    def kernel(beta: Tensor) -> Tensor:
        """β (N, k²) -> κ (N, k²)."""
        start = _start(beta)
        # at β = 0 this is the bound itself, where clamp still passes gradients
        return ((start + beta).sigmoid() - start.sigmoid() + (start > 0).to(beta.dtype)).clamp_min(0.0)

    @classmethod
    def filter(cls, beta: Tensor, pixels: Tensor) -> Tensor:
        return soft_morphology(pixels, beta[:, 0], cls.kernel(beta[:, 1:]).unflatten(1, (SIDE, SIDE)))


@TRANSFORMATIONS.add("blurredmorphology")
class BlurredMorphology(Morphology):
    """Morphology as the published code has it, κ = sigmoid(start + β): at β = 0 the middle weighs 76 %."""

    starts_as_identity = False

    @staticmethod
    def kernel(beta: Tensor) -> Tensor:
        return (_start(beta) + beta).sigmoid()
