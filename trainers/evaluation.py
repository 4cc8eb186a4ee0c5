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


@torch.no_grad()
def evaluate(
    stack: Stack, dataset: Dataset, images: Tensor, weights: Mapping[str, Tensor], phase: Phase
) -> list[dict[str, float]]:
    """Metrics of each member on the held-out images, in evaluation mode.

    All of `metrics.METRICS` but those of training, and those that need labels only where the data set has them.

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
        metrics.measured(
            {
                "held_out": (_held_out({n: v[m] for n, v in totals.items()}, len(held_out)),),
                **_compared({n: v[m] for n, v in arrays.items()}, dataset),
            }
        )
        for m in range(members)
    ]


def _held_out(sums: Mapping[str, Tensor], images: int) -> metrics.HeldOut:
    usage = sums["usage"].numpy()
    error, hard_error, area = (float(sums[n]) for n in ("error", "hard_error", "area"))
    return metrics.HeldOut(images, error, hard_error, usage[:-1], float(usage[-1]), area)


def _compared(found: Mapping[str, Any], dataset: Dataset) -> dict[metrics.Given, tuple[Any, ...]]:
    """What metrics with labels are given, as far as there are labels."""
    index = dataset.held_out
    made: dict[metrics.Given, tuple[Any, ...]] = {}
    if dataset.labels is not None:
        made["labels"] = (dataset.labels[index].numpy(), found["choice"])
    if dataset.classes is not None:
        made["pixels"] = (metrics.contingency(np.asarray(dataset.classes[index]), found["classes"]),)
    if dataset.instances is not None:
        instances = np.asarray(dataset.instances[index])
        made["instances"] = (instances, found["instances"])
        made["segments"] = (instances, found["segments"])
    return made
