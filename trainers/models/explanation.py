"""How a model explains images or point clouds, and what that says of each pixel or point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..compositing import label_map


class Labels(NamedTuple):
    """What each pixel (..., B, H, W) or point (..., B, P) shows, int64.

    classes: k + 1 for sprite k, 0 for the background; instances: layer from 1 on, 0 for the background; segments: the
    same with the background given to a layer where one is near, for ARI-FG.
    """

    classes: Tensor
    instances: Tensor
    segments: Tensor


class Explanation(NamedTuple):
    """How images are explained in evaluation mode.

    reconstruction (B, C, H, W); error (B,) its mean squared error; hard_error (B,) that of the likeliest
    sprites alone, unmixed; p (B, L, K'); choice (B, L), the index of
    the likeliest sprite; colours (B, L, C, H, W) and masks (B, L, 1, H, W) of these sprites, transformed, masks
    being one for opaque sprites; occlusion (B, L, L).
    """

    reconstruction: Tensor
    error: Tensor
    hard_error: Tensor
    p: Tensor
    choice: Tensor
    colours: Tensor
    masks: Tensor
    occlusion: Tensor

    def area(self) -> Tensor:
        """Area of each layer's mask as a share of the image, (..., B, L)."""
        return self.masks.clamp(0, 1).mean((-3, -2, -1))

    def labels(self, images: Tensor, count: int) -> Labels:
        """What each pixel of images (B, C, H, W) shows; sprites from K = `count` on are empty."""
        classes, instances = scene_labels(self, count)
        return Labels(classes, instances, nearest_layers(instances, self, images, count))


class PointExplanation(NamedTuple):
    """How point clouds are explained in evaluation mode; leading axes may be stacked.

    reconstruction (B, L, M, 3), the likeliest sprite of each slot, placed; error (B,) the Chamfer distance expected
    over the choices, and hard_error (B,) that of the likeliest sprites alone, both in squared units of the tile; p
    (B, L, K'); choice (B, L), the likeliest, K for empty; owner (B, P), which slot's sprite is nearest to each point,
    L where all slots are empty.
    """

    reconstruction: Tensor
    error: Tensor
    hard_error: Tensor
    p: Tensor
    choice: Tensor
    owner: Tensor

    def area(self) -> Tensor:
        """Share of the points that each slot explains, (..., B, L)."""
        slots = torch.arange(self.choice.shape[-1], device=self.owner.device)
        return (self.owner[..., None] == slots).float().mean(-2)

    def labels(self, points: Tensor, count: int) -> Labels:
        """What each of the points (B, P, 3) shows: the sprite and slot that are nearest."""
        slots = self.choice.shape[-1]
        kinds = torch.cat((torch.where(self.choice < count, self.choice + 1, 0), 0 * self.choice[..., :1]), -1)
        classes = kinds.gather(-1, self.owner)
        instances = torch.where(self.owner < slots, self.owner + 1, 0)
        return Labels(classes, instances, instances)


def scene_labels(found: Explanation, count: int) -> tuple[Tensor, Tensor]:
    """Class k + 1 and instance l of each pixel, (..., H, W) int64, 0 for background; leading axes may be stacked."""
    lead, layers = found.choice.shape[:-1], found.choice.shape[-1]
    choice, masks = found.choice.reshape(-1, layers), found.masks.reshape(-1, layers, *found.masks.shape[-2:])
    occlusion = found.occlusion.reshape(-1, layers, layers)
    shown = choice < count
    number = torch.arange(1, layers + 1, device=choice.device)
    instances = label_map(number * shown, masks, occlusion)
    lookup = torch.cat((torch.zeros_like(choice[:, :1]), (choice + 1) * shown), 1)
    classes = lookup.gather(1, instances.flatten(1)).unflatten(1, instances.shape[1:])
    return classes.unflatten(0, lead), instances.unflatten(0, lead)


def nearest_layers(instances: Tensor, found: Explanation, images: Tensor, count: int) -> Tensor:
    """Instances (..., B, H, W) with every background pixel given to a layer: for ARI-FG, as published.

    The metric looks at pixels of true objects only, so a pixel taken for background counts for the layer whose
    transformed sprite, its mask left out, has the nearest colour there. Layers that show nothing take none;
    where all are empty the pixel stays background.

    Args:
        instances: from `scene_labels`.
        found: leading axes may be stacked.
        images: (B, C, H, W) in [0, 1].
        count: K, sprites from this index on are empty.
    """
    distance = (found.colours - images.unsqueeze(1)).square().sum(-3)
    shown = found.choice < count
    distance = torch.where(shown[..., None, None], distance, torch.inf)
    nearest = torch.where(shown.any(-1)[..., None, None], distance.argmin(-3) + 1, 0)
    return torch.where(instances > 0, instances, nearest)
