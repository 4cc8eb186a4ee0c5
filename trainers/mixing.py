"""The mix of placed sprites in each layer, with a backward pass of its own.

What `mix_of_masked` says could be written in a line of plain tensor operations. It is most of what a step on large
images costs, and memory rather than arithmetic sets its pace: here nothing is kept but the placed sprites, and their
gradient is written where the warps read it, in about half the passes over memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .transformations.colour import SLOPE, soft_clamp


def mix_of_masked(placed: Tensor, noise: Tensor | None, p: Tensor) -> tuple[Tensor, Tensor]:
    """A = Σₖ pₖ αₖ and Q = Σₖ pₖ αₖ cₖ, the cover and the paint of each layer (eq. 2 with premultiplied mixing).

    Args:
        placed: sprites in every layer (B, L, K, C', H, W): C colours c, the mask m and, with noise, its support s.
        noise: u (K, H, W), then αₖ = softclamp(mₖ + sₖ uₖ); without it αₖ = mₖ.
        p: (B, L, K).
    Returns:
        A (B, L, 1, H, W) and Q (B, L, C, H, W). Gradients are had once, and none of the noise.
    """
    if torch.compiler.is_compiling():  # a compiler merges the passes of the plain formula itself
        return mixed(placed, noise, p)
    cover, paint = _Mix.apply(placed, noise, p)
    return cover, paint


def _split(placed: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Colours, mask before the clamp, and support where there is noise."""
    if noise is None:
        return placed[..., :-1, :, :], placed[..., -1:, :, :], None
    return placed[..., :-2, :, :], placed[..., -2:-1, :, :], placed[..., -1:, :, :]


def _masks(mask: Tensor, support: Tensor | None, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """The noisy mask, and α."""
    if support is None or noise is None:
        return mask, mask
    noisy = torch.addcmul(mask, support, noise.unsqueeze(-3))
    return noisy, soft_clamp(noisy)


def mixed(placed: Tensor, noise: Tensor | None, p: Tensor) -> tuple[Tensor, Tensor]:
    """`mix_of_masked` in plain operations; (K, C', H, W), (K, H, W) and (K,) may have any axes before them."""
    colours, mask, support = _split(placed, noise)
    shares = p[..., None, None, None] * _masks(mask, support, noise)[1]
    return shares.sum(-4), (shares * colours).sum(-4)


def mix_gradients(
    placed: Tensor, noise: Tensor | None, p: Tensor, cover: Tensor, paint: Tensor, *, into: Tensor
) -> Tensor:
    """The gradient of p, from those of A and Q; for the same axes as `mixed`.

    That of the placed sprites is written into `into`, which may be `placed`.
    """
    p = p[..., None, None, None]
    colours, mask, support = _split(placed, noise)
    noisy, masks = _masks(mask, support, noise)
    cover, paint = cover.unsqueeze(-4), paint.unsqueeze(-4)
    # ∂/∂(pₖ αₖ) = ∂A + Σ_c ∂Q_c c_kc
    change = torch.addcmul(cover, paint[..., :1, :, :], colours[..., :1, :, :])
    for c in range(1, colours.shape[-3]):
        change.addcmul_(paint[..., c : c + 1, :, :], colours[..., c : c + 1, :, :])
    of_p = (change * masks).sum((-3, -2, -1))
    change *= p
    of_colours, of_mask, of_support = _split(into, noise)
    torch.mul(p * masks, paint, out=of_colours)
    if noise is None or of_support is None:
        of_mask.copy_(change)
        return of_p
    # the gradient of a clamp, in one pass
    inside = torch.ops.aten.hardtanh_backward(change, noisy, 0, 1)
    torch.lerp(inside, change, SLOPE, out=of_mask)
    torch.mul(of_mask, noise.unsqueeze(-3), out=of_support)
    return of_p


class _Mix(torch.autograd.Function):
    """Axes are counted from the end: all but (L, K, C', H, W) may have any others before them."""

    @staticmethod
    def forward(placed: Tensor, noise: Tensor | None, p: Tensor) -> tuple[Tensor, Tensor]:
        return mixed(placed, noise, p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cover: Tensor, paint: Tensor) -> tuple[Tensor, None, Tensor]:
        placed, noise, p = ctx.saved_tensors
        of_placed = torch.empty_like(placed)  # laid out as the warps left the sprites, and as they want it back
        of_p = mix_gradients(placed, noise, p, cover, paint, into=of_placed)
        return of_placed, None, of_p

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None) -> tuple[Any, tuple[int, int]]:
        """All members at once."""
        placed, noise, p = (members_first(x, d, info.batch_size) for x, d in zip(inputs, in_dims, strict=True))
        return _Mix.apply(placed, noise if noise is None else noise[:, None, None], p), (0, 0)


def members_first(x: Tensor | None, axis: int | None, members: int) -> Tensor | None:
    """With the axis of the members first, whether it has one or is the same for all."""
    if x is None:
        return None
    return x.expand(members, *x.shape) if axis is None else x.movedim(axis, 0)
