"""Evaluation of a stack of models on held-out images (or point clouds): what reports carry, for each member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from . import metrics
from .datasets import floats
from .members import Stack
from .models import Explanation, Model, Phase, PointExplanation

if TYPE_CHECKING:
    from .datasets import Dataset

#: Images explained at once, over all members.
BATCH = 256

#: Most numbers that explaining images takes at once, see `Model.cost`.
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
    * ``val/mask_area``: mean area of the masks of the layers that show something, as a share of the image; of point
      clouds the share of the points that such a layer explains.

    Where the data set has labels, ``labels/…`` too (see `metrics`).

    Args:
        stack: of G models.
        dataset: its images are on the CPU; labels and held-out indices are read.
        images: all of the data set's, on the device of the stack.
        weights: λ by name, (G,): the price λ_empty belongs to Min-Loss's search.
        phase: of the models.
    """
    model: Model = stack.template  # type: ignore[assignment]
    members, count, held_out = stack.members, model.count, dataset.held_out
    sums: dict[str, Tensor] = {}
    kept: dict[str, list[Tensor]] = {"choice": [], "classes": [], "instances": [], "segments": []}
    scenes = dataset.instances is not None or dataset.classes is not None
    at_once = min(BATCH, NUMBERS // model.cost())
    for index in held_out.to(images.device).split(max(1, at_once // members)):
        x = floats(images[index])
        found: Explanation | PointExplanation = stack.call("explain", (weights,), (x,), training=False, phase=phase)
        shown = found.choice < count
        batch = {
            "error": found.error.sum(1),
            "hard_error": found.hard_error.sum(1),
            "usage": torch.nn.functional.one_hot(found.choice, count + 1).sum((1, 2)),
            "area": (found.area() * shown).sum((1, 2)),
        }
        sums = {n: v + sums[n] if n in sums else v for n, v in batch.items()}
        if dataset.labels is not None:
            kept["choice"].append(found.choice[:, :, 0])
        if scenes:
            labels = found.labels(x, count)
            kept["classes"].append(labels.classes.to(torch.uint8 if count < 255 else torch.int32))
            kept["instances"].append(labels.instances.to(torch.uint8))
            kept["segments"].append(labels.segments.to(torch.uint8))
    totals = {n: v.double().cpu() for n, v in sums.items()}
    arrays = {n: torch.cat(v, 1).cpu().numpy() for n, v in kept.items() if v}
    return [
        {
            **_without_labels({n: v[m] for n, v in totals.items()}, count, len(held_out)),
            **_with_labels({n: v[m] for n, v in arrays.items()}, dataset),
        }
        for m in range(members)
    ]


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
