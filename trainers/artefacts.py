"""Artefacts: what criteria that need no labels read of a trained model, as small arrays.

One pass in evaluation mode over a subset of the images that depends on the data set alone, so that every trial of
a study is looked at through the same images. Nothing here has seen a label.

Shapes: N images of the subset, L layers, K sprites, K' with the empty one (last).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .compositing import label_map
from .members import Stack, seed_of
from .models import Explanation, Inspection, Phase, SpriteModel
from .transformations.lookup import displacement, torn

if TYPE_CHECKING:
    from .datasets import Dataset

#: Images looked at: so many, but no more than this share of the data unless that is fewer than the third number;
#: for images of one sprite, and for scenes, which hold several objects each and cost more.
SINGLE, SCENES = (2000, 1 / 4, 500), (256, 1 / 16, 128)

#: Images explained at once, over all members; and most numbers that their transformed sprites take together.
BATCH, NUMBERS = 256, 2**24

#: Features kept of an image; longer ones are projected, by the same random matrix for all models of that length.
FEATURES = 64

#: Side of the masks kept of a scene, and of the thumbnails kept of a subset.
MASKS, THUMBNAILS = 32, 16

#: How far a pixel is from the median image of the data, in intensity, to count as foreground.
FOREGROUND = 0.1

#: Std of the noise, and the shift as a share of the side, of augmented images.
NOISE, SHIFT = 0.05, 1 / 16

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Subset:
    """The images that all trials of a study are looked at through.

    Attributes:
        images: (N, C, H, W) uint8, on the device of the stack.
        held_out: (N,) bool, which of them were kept from training: as many as there are come first.
    """

    images: Tensor
    held_out: NDArray[np.bool_]

    @classmethod
    def of(cls, dataset: Dataset, *, scenes: bool, device: torch.device) -> Subset:
        """Held-out images first, then training images in their fixed order; depends on the data set alone."""
        index = cls.index(dataset, scenes=scenes)
        held_out = np.arange(len(index)) < len(dataset.held_out)
        return cls(dataset.images[index].to(device), held_out)

    @staticmethod
    def index(dataset: Dataset, *, scenes: bool) -> Tensor:
        """Where these images are in the data set."""
        most, share, least = SCENES if scenes else SINGLE
        count = min(most, max(least, round(share * len(dataset.images))))
        return torch.cat((dataset.held_out, dataset.train))[:count]

    @cached_property
    def key(self) -> str:
        """Identity of the images: equal for equal pixels in equal order."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @cached_property
    def foreground(self) -> Tensor:
        """Pixels that differ from the median image, (N, 1, H, W)."""
        middle = self.images.median(0).values.int()
        return (self.images.int() - middle).abs().amax(1, keepdim=True) > 255 * FOREGROUND

    @cached_property
    def noise(self) -> Tensor:
        """Standard normal noise (C, H, W), the same for every image."""
        generator = torch.Generator().manual_seed(seed_of("artefacts"))
        return torch.randn(self.images.shape[1:], generator=generator).to(self.images.device)

    def thumbnails(self) -> Arrays:
        """``images`` (N, C, h, w) uint8, at most 16 pixels wide and high, and the ``subset`` they are of."""
        size = [min(THUMBNAILS, side) for side in self.images.shape[-2:]]
        small = F.interpolate(self.images.float(), size=size, mode="area")
        return {"images": small.round().to(torch.uint8).cpu().numpy(), "subset": np.array(self.key)}


def augmented(x: Tensor, noise: Tensor) -> Tensor:
    """Images x (B, C, H, W) in [0, 1] changed in a way that no object minds: moved a little, and with noise."""
    by = [max(1, round(side * SHIFT)) for side in x.shape[-2:]]
    moved = F.pad(x, (by[1], 0, by[0], 0), mode="replicate")[..., : x.shape[-2], : x.shape[-1]]
    return (moved + NOISE * noise).clamp(0, 1)


@torch.no_grad()
def collect(stack: Stack, subset: Subset, weights: Mapping[str, Tensor], phase: Phase) -> list[Arrays]:
    """The artefacts of each member, in evaluation mode.

    * ``subset`` text, identity of the images; ``held_out`` (N,) bool; ``pixels`` int, C·H·W of an image;
    * ``E``, ``E_hard``, ``E_still`` (N,): mean squared error of the mixed image, of the likeliest sprites alone,
      and of these without their own transformations; ``E_foreground`` (N,) that of the mixed image on pixels
      that are not like the median image (NaN without any), ``variance`` (N,) of the pixels of the image;
    * ``ssim`` (N,) of the mixed image; ``moran`` (N,) Moran's I of its absolute residual;
    * ``D`` (N, L, K') float16: the error with each sprite in a layer, the others as chosen;
    * ``P`` (N, L, K') float16; ``A`` (N, L) int16, the likeliest sprite, -1 for empty;
      ``A_aug`` (N, L) int16, the same for augmented images;
    * ``B`` (N, L, p) float16, transformation parameters of the chosen sprites; ``displacement``, ``torn`` and
      ``outside`` (N, L) float16: see `transformations.lookup`;
    * ``Z`` (N, at most 64) float16, features; ``sprites`` (K, C or C + 1, h, w) uint8, the mask last;
    * of models with masks ``M`` (N, L, 32, 32) uint8, masks of the layers that show something (0 for empty), and
      ``instances`` (N, 32, 32) uint8, the front-most layer from 1 on, 0 for the background.

    Args:
        stack: of G models.
        subset: its images are on the device of the stack.
        weights: λ by name, (G,): the price λ_empty belongs to Min-Loss's search.
        phase: of the models.
    """
    model: SpriteModel = stack.template  # type: ignore[assignment]
    each = model.layers * (model.count + model.empty) * subset.images[0].numel() * stack.members
    batch = max(1, min(BATCH // stack.members, NUMBERS // each))
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(subset.images), batch):
        x = subset.images[start : start + batch].to(torch.float32) / 255
        found: Explanation = stack.call("explain", (weights,), (x,), training=False, phase=phase)
        more: Inspection = stack.call("inspect", (found.choice,), (x,), training=False, phase=phase)
        changed: Explanation = stack.call(
            "explain", (weights,), (augmented(x, subset.noise),), training=False, phase=phase
        )
        made = _arrays(x, found, more, model, subset.foreground[start : start + batch])
        made["A_aug"] = _shown(changed.choice, model.count)
        for name, value in made.items():
            parts.setdefault(name, []).append(value)
    arrays = {name: torch.cat(values, 1).cpu().numpy() for name, values in parts.items()}
    sprites = stack.call("drawn", (), training=False).cpu().numpy()
    pixels = np.array(subset.images[0].numel())
    shared = {"subset": np.array(subset.key), "held_out": subset.held_out, "pixels": pixels}
    return [
        {**shared, **{name: value[m] for name, value in arrays.items()}, "sprites": sprites[m]}
        for m in range(stack.members)
    ]


def _arrays(
    x: Tensor, found: Explanation, more: Inspection, model: SpriteModel, foreground: Tensor
) -> dict[str, Tensor]:
    """What one batch says, each (G, B, ...)."""
    residual = (x - found.reconstruction).abs()
    pixels = foreground.expand(x.shape).flatten(1)
    squares = residual.square().flatten(2)
    made = {
        "E": found.error,
        "E_hard": found.hard_error,
        "E_still": more.still_error,
        "E_foreground": (squares * pixels).sum(-1) / pixels.sum(-1),
        "variance": x.flatten(1).var(1, correction=0).expand(found.error.shape),
        "ssim": ssim(x.expand(found.reconstruction.shape), found.reconstruction),
        "moran": moran(residual.mean(-3)),
        "D": _half(more.errors),
        "P": _half(found.p),
        "A": _shown(found.choice, model.count),
        "B": _half(more.betas),
        "displacement": _half(displacement(more.lookup)),
        "torn": _half(torn(more.lookup)),
        "outside": _half(more.outside),
        "Z": _half(_projected(more.features)),
    }
    if model.masked:
        made["M"], made["instances"] = _masks(found, model.count)
    return made


def _shown(choice: Tensor, count: int) -> Tensor:
    return torch.where(choice < count, choice, -1).to(torch.int16)


def _half(x: Tensor) -> Tensor:
    """As float16, what is too large for it cut."""
    return x.clamp(-6e4, 6e4).half()


def _projected(features: Tensor) -> Tensor:
    """Features (..., D) -> (..., min(D, 64)), distances nearly kept (Johnson and Lindenstrauss)."""
    width = features.shape[-1]
    if width <= FEATURES:
        return features
    generator = torch.Generator().manual_seed(seed_of("features", width))
    matrix = torch.randn(width, FEATURES, generator=generator) / FEATURES**0.5
    return features @ matrix.to(features.device)


def _masks(found: Explanation, count: int) -> tuple[Tensor, Tensor]:
    """Masks (G, B, L, h, w) and instances (G, B, h, w) at every nth pixel, so that edges stay as sharp as they are."""
    rows, columns = (
        torch.arange(min(MASKS, side), device=found.masks.device) * side // min(MASKS, side)
        for side in found.masks.shape[-2:]
    )
    shown = found.choice < count
    masks = found.masks[..., 0, :, :][..., rows[:, None], columns].clamp(0, 1) * shown[..., None, None]
    flat = masks.flatten(0, 1)
    number = torch.arange(1, shown.shape[-1] + 1, device=masks.device) * shown.flatten(0, 1)
    instances = label_map(number, flat, found.occlusion.flatten(0, 1))
    return (255 * masks).round().to(torch.uint8), instances.unflatten(0, shown.shape[:2]).to(torch.uint8)


def moran(residual: Tensor) -> Tensor:
    """Moran's I of maps (..., H, W) over pixels that share an edge: 1 for a blob, 0 for noise or a constant."""
    r = residual - residual.mean((-2, -1), keepdim=True)
    across, down = r[..., :, 1:] * r[..., :, :-1], r[..., 1:, :] * r[..., :-1, :]
    pairs = across.shape[-2:].numel() + down.shape[-2:].numel()
    total = r.square().mean((-2, -1))
    return (across.sum((-2, -1)) + down.sum((-2, -1))) / (pairs * total).clamp_min(1e-12)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of images (..., C, H, W) in [0, 1], mean over pixels and channels (Wang et al. 2004).

    A Gaussian window of 11 pixels and standard deviation 1.5, or as many pixels as the image has.
    """
    height, width = x.shape[-2:]
    side = min(11, height, width)
    at = torch.arange(side, device=x.device, dtype=x.dtype) - (side - 1) / 2
    window = torch.exp(-(at**2) / (2 * 1.5**2))
    window = (window[:, None] * window / window.sum() ** 2)[None, None]
    a, b = x.reshape(-1, 1, height, width), y.reshape(-1, 1, height, width)
    stacked = torch.cat((a, b, a * a, b * b, a * b), 1).flatten(0, 1)[:, None]
    mean_a, mean_b, aa, bb, ab = F.conv2d(stacked, window).unflatten(0, (-1, 5)).unbind(1)
    top = (2 * mean_a * mean_b + 0.01**2) * (2 * (ab - mean_a * mean_b) + 0.03**2)
    bottom = (mean_a**2 + mean_b**2 + 0.01**2) * (aa - mean_a**2 + bb - mean_b**2 + 0.03**2)
    return (top / bottom).mean((1, 2, 3)).reshape(x.shape[:-2]).mean(-1)
