"""Composition of layers into an image (eq. 2), and the greedy search for the best sprites.

Shapes: B images, L layers, K' sprites (the empty one last when there is one), C colour channels. A layer is
its cover A (B, L, 1, H, W), how much of each pixel it paints, and its colours c (B, L, C, H, W) or its paint
Q = A c, that is colours premultiplied by the cover. The occlusion δ (B, L, L) says at [i, j] whether layer i is in
front of layer j; its diagonal is zero. The background b (B, C, H, W) is opaque and behind everything;
without one it is black.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def product(x: Tensor, dim: int) -> Tensor:
    """Product over one axis, pairwise, with a gradient that needs no look at the values.

    `torch.prod` waits for the device in its backward pass to see whether anything is zero.
    """
    factors = list(x.unbind(dim))
    while len(factors) > 1:
        half = len(factors) // 2
        pairs = zip(factors[:half], factors[half : 2 * half], strict=True)
        factors = [a * b for a, b in pairs] + factors[2 * half :]
    return factors[0]


def in_order(layers: int, like: Tensor) -> Tensor:
    """δ (L, L) when later layers are in front: 1 where i > j."""
    return torch.ones(layers, layers, dtype=like.dtype, device=like.device).tril(-1)


def visibility(cover: Tensor, occlusion: Tensor) -> Tensor:
    """V_l = Π_j (1 − δ_jl A_j), what the layers in front of l let through (eq. 2 with an occlusion matrix).

    Args:
        cover: A, (B, L, 1, H, W).
        occlusion: δ, (B, L, L) or (L, L).
    Returns:
        (B, L, 1, H, W).
    """
    batch, layers, _, height, width = cover.shape
    # 1 − δ_jl A_j for all pairs as products of columns δ_j. and rows A_j: one pass, and one for each gradient;
    # j comes first, as taking a tensor apart along its first axis is cheap
    front = occlusion.expand(batch, layers, layers).transpose(0, 1).reshape(layers * batch, layers, 1)
    rows = cover.transpose(0, 1).reshape(layers * batch, 1, height * width)
    factors = torch.baddbmm(cover.new_ones(()), front, rows, alpha=-1)
    return product(factors.unflatten(0, (layers, batch)), dim=0).reshape(cover.shape)


def compose(
    colours: Tensor,
    cover: Tensor,
    occlusion: Tensor,
    background: Tensor | None = None,
    *,
    premultiplied: bool = False,
) -> Tensor:
    """x̂ = Σ_l V_l A_l c_l + [Π_l (1 − A_l)] b, layers over a background (eq. 2).

    Args:
        colours: c, (B, L, C, H, W); with `premultiplied` paint Q, that takes the place of A c.
        cover: A, (B, L, 1, H, W).
        occlusion: δ, (B, L, L) or (L, L).
        background: b, (B, C, H, W), or None for black.
    Returns:
        (B, C, H, W).
    """
    share = visibility(cover, occlusion)
    image = ((share if premultiplied else share * cover) * colours).sum(1)
    return image if background is None else image + product(1 - cover, dim=1) * background


def label_map(values: Tensor, masks: Tensor, occlusion: Tensor) -> Tensor:
    """The value of the front-most layer at each pixel, 0 where only background shows.

    Masks and occlusion are cut at 0.5, as in DTI-Sprites. Where layers occlude each other in a circle, so that
    none is visible, or stand exactly level, the latest layer that covers the pixel is taken.

    Args:
        values: (B, L) whole numbers above 0; 0 for a layer that shows nothing.
        masks: (B, L, H, W) in [0, 1].
        occlusion: (B, L, L) or (L, L).
    Returns:
        (B, H, W), int64.
    """
    layers = values.shape[1]
    solid = (masks > 0.5) & (values > 0)[..., None, None]
    front = (occlusion > 0.5).expand(values.shape[0], layers, layers)
    hidden = (front[..., None, None] & solid.unsqueeze(2)).any(1)
    rank = torch.arange(1, layers + 1, device=values.device)[:, None, None]
    best = (solid * (rank + layers * ~hidden)).argmax(1)
    return values[..., None, None].expand_as(solid).gather(1, best[:, None])[:, 0] * solid.any(1)


def candidate_errors(
    image: Tensor,
    colours: Tensor,
    masks: Tensor,
    occlusion: Tensor,
    background: Tensor | None,
    cover: Sequence[Tensor],
    paint: Sequence[Tensor],
    layer: int,
) -> Tensor:
    """Error of the composite with each candidate in one layer, the others held.

    It is affine in the candidate of layer l: x̂_k = P_l + α_k (V_l c_k − Σ_{a≠l} δ_la T_a), where T_a is what
    shows of layer a (and of the background) without l, P_l = Σ_{a≠l} T_a, and V_l what the others let through.
    So all candidates of a layer are compared at once, from quantities that are computed once per layer.

    Args:
        image: x, (B, C, H, W).
        colours: c, transformed sprites (B, L, K', C, H, W).
        masks: α, (B, L, K', 1, H, W); the mask of an empty sprite is zero.
        occlusion: δ, (B, L, L).
        background: b, (B, C, H, W), or None for black.
        cover, paint: A (B, 1, H, W) and Q (B, C, H, W) of every layer; what is there of `layer` is left out.
        layer: l.
    Returns:
        (B, K'), squared intensity per pixel and channel.
    """
    others = torch.stack([torch.zeros_like(a) if i == layer else a for i, a in enumerate(cover)], 1)
    through = visibility(others, occlusion)
    shown = through * torch.stack(list(paint), 1)
    shown = shown * (torch.arange(len(cover), device=image.device) != layer)[:, None, None, None]
    held = shown.sum(1)
    hides = (occlusion[:, layer][..., None, None, None] * shown).sum(1)
    if background is not None:
        behind = product(1 - others, dim=1) * background
        held, hides = held + behind, hides + behind
    change = through[:, layer, None] * colours[:, layer] - hides[:, None]
    error = (image - held)[:, None] - masks[:, layer] * change
    return error.square().flatten(2).mean(2)


def greedy(
    image: Tensor,
    colours: Tensor,
    masks: Tensor,
    occlusion: Tensor,
    background: Tensor | None,
    price: Tensor,
    *,
    passes: int,
) -> Tensor:
    """Sprites of least error, one layer at a time with the others held (DTI-Sprites, Monnier et al. 2021).

    Args:
        image, colours, masks, occlusion, background: as in `candidate_errors`.
        price: (K',), added to the error (mean square over C, H, W) of choosing each sprite.
        passes: sweeps over the layers; in the first all layers but those already chosen are empty.
    Returns:
        (B, L), int64, the sprite of each layer.
    """
    layers, candidates = masks.shape[1:3]
    occlusion = occlusion.expand(image.shape[0], layers, layers)
    zero = torch.zeros_like(masks[:, 0, 0])
    cover, paint = [zero] * layers, [torch.zeros_like(colours[:, 0, 0])] * layers
    chosen: list[Tensor] = [zero.new_zeros(zero.shape[:1], dtype=torch.long)] * layers
    for _ in range(passes):
        for layer in range(layers):
            errors = candidate_errors(image, colours, masks, occlusion, background, cover, paint, layer)
            best = (errors + price).argmin(1)
            pick = torch.nn.functional.one_hot(best, candidates).to(image.dtype)
            cover[layer] = torch.einsum("bk,bkchw->bchw", pick, masks[:, layer])
            paint[layer] = cover[layer] * torch.einsum("bk,bkchw->bchw", pick, colours[:, layer])
            chosen[layer] = best
    return torch.stack(chosen, 1)
