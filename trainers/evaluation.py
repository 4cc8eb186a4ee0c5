"""Evaluation of a stack of models on held-out images: what reports carry, for each member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from . import metrics
from .compositing import label_map
from .members import Stack
from .models import Explanation, Phase

if TYPE_CHECKING:
    from .datasets import Dataset

#: Images explained at once, over all members.
BATCH = 256

#: Most pairs of layers, times pixels, that are compared at once.
NUMBERS = 2**26

#: A sprite counts as used when its share is at least this part of an even share 1/K.
USED = 0.2


@torch.no_grad()
def evaluate(
    stack: Stack, dataset: Dataset, images: Tensor, weights: Mapping[str, Tensor], phase: Phase
) -> list[dict[str, float]]:
    """Metrics of each member on the held-out images, in evaluation mode.

    Without labels:

    * ``val/reconstruction``: mean squared error of the model's own reconstruction, no regulariser in it;
    * ``val/hard_reconstruction``: the same with the likeliest sprite alone in each layer: far above the former
      where a model explains images by mixing sprites rather than by choosing one;
    * ``val/used_sprites``: share of the K sprites that are chosen at least 0.2/K of the time;
    * ``val/effective_sprites``: exp of the entropy of usage, from 1 to K;
    * ``val/empty_share``: share of layers that show nothing, 0 for models without an empty sprite;
    * ``val/mask_area``: mean area of the masks of the layers that show something, as a share of the image.

    Where the data set has labels, ``labels/…`` too (see `metrics`).

    Args:
        stack: of G models.
        dataset: its images are on the CPU; labels and held-out indices are read.
        images: all of the data set's, uint8, on the device of the stack.
        weights: λ by name, (G,): the price λ_empty belongs to Min-Loss's search.
        phase: of the models.
    """
    members, model = stack.members, stack.template
    count, held_out = int(model.count), dataset.held_out  # type: ignore[arg-type]
    sums: dict[str, Tensor] = {}
    kept: dict[str, list[Tensor]] = {"choice": [], "classes": [], "instances": [], "segments": []}
    scenes = dataset.instances is not None or dataset.classes is not None
    # layers hide each other pair by pair, so many layers are explained a few images at a time
    at_once = min(BATCH, NUMBERS // (int(model.slots) ** 2 * images[0, 0].numel()))  # type: ignore[arg-type]
    for index in held_out.to(images.device).split(max(1, at_once // members)):
        x = images[index].to(torch.float32) / 255
        found: Explanation = stack.call("explain", (weights,), (x,), training=False, phase=phase)
        shown = found.choice < count
        area = found.masks.clamp(0, 1).mean((-3, -2, -1))
        batch = {
            "error": found.error.sum(1),
            "hard_error": found.hard_error.sum(1),
            "usage": torch.nn.functional.one_hot(found.choice, count + 1).sum((1, 2)),
            "area": (area * shown).sum((1, 2)),
        }
        sums = {n: v + sums[n] if n in sums else v for n, v in batch.items()}
        if dataset.labels is not None:
            kept["choice"].append(found.choice[:, :, 0])
        if scenes:
            labels = scene_labels(found, count)
            kept["classes"].append(labels[0].to(torch.uint8 if count < 255 else torch.int32))
            kept["instances"].append(labels[1].to(torch.uint8))
            kept["segments"].append(nearest_layers(labels[1], found, x, count).to(torch.uint8))
    totals = {n: v.double().cpu() for n, v in sums.items()}
    arrays = {n: torch.cat(v, 1).cpu().numpy() for n, v in kept.items() if v}
    return [
        {
            **_without_labels({n: v[m] for n, v in totals.items()}, count, len(held_out)),
            **_with_labels({n: v[m] for n, v in arrays.items()}, dataset),
        }
        for m in range(members)
    ]


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


def _without_labels(sums: Mapping[str, Tensor], count: int, images: int) -> dict[str, float]:
    usage, empty = sums["usage"][:count], float(sums["usage"][count])
    shown = float(usage.sum())
    share = usage / max(shown, 1.0)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return {
        "val/reconstruction": float(sums["error"]) / images,
        "val/hard_reconstruction": float(sums["hard_error"]) / images,
        "val/used_sprites": float((share >= USED / count).double().mean()) if shown else 0.0,
        "val/effective_sprites": float(entropy.exp()) if shown else 0.0,
        "val/empty_share": empty / max(shown + empty, 1.0),
        "val/mask_area": float(sums["area"]) / max(shown, 1.0),
    }


def _with_labels(found: Mapping[str, Any], dataset: Dataset) -> dict[str, float]:
    true, index, made = dataset, dataset.held_out, {}
    if true.labels is not None:
        labels = true.labels[index].numpy()
        made["labels/accuracy"] = metrics.clustering_accuracy(labels, found["choice"])
        made["labels/accuracy_many_to_one"] = metrics.many_to_one_accuracy(labels, found["choice"])
        made["labels/nmi"] = metrics.nmi(labels, found["choice"])
        made["labels/ami"] = metrics.ami(labels, found["choice"])
    if true.classes is not None:
        table = metrics.contingency(np.asarray(true.classes[index]), found["classes"])
        made["labels/mean_accuracy"] = metrics.mean_class_accuracy(table)
        made["labels/average_iou"] = metrics.average_iou(table)
    if true.instances is not None:
        instances = np.asarray(true.instances[index])
        made["labels/ari_foreground"] = metrics.ari_foreground(instances, found["segments"])
        made["labels/instance_iou"] = metrics.instance_iou(instances, found["instances"])
    return made
