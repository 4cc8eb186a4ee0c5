"""Scenes: whether layers show whole, separate objects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .base import computed
from .models import Model
from .partitions import ami, rand
from .stability import over_pairs

#: Shares of empty layers that need no explanation.
BAND = (0.05, 0.9)

#: A mask covers a pixel above one half, and touches it above this.
COVERS, TOUCHES = 127, 12

#: How near two objects are to appear together, as a share of the side.
NEAR = 0.25

#: Most scenes whose maps are compared pixel by pixel.
SCENES = 64

#: Fewest images in which two sprites must be near each other to say something.
OFTEN = 3


@computed("O1", "less", "A M", only="scenes", not_across=("regularisers.empty_sprite.weight",), source="eq. 7")
def emptiness(model: Model) -> float:
    """how far the share of empty layers is outside 0.05 … 0.9 (O1)."""
    empty = 1 - float(model.shown.mean())
    return max(0.0, BAND[0] - empty, empty - BAND[1])


@computed("O2", "less", "A M", only="scenes", degenerate=1.0)
def overlap(model: Model) -> float:
    """share of the covered pixels that two or more layers cover (O2): occlusion is not 0 in every data set."""
    layers = (model.arrays["M"] > COVERS).sum(1)
    return float((layers > 1).sum() / max(1, (layers > 0).sum()))


@computed("O3", "less", "A M", only="scenes", source="Monnier 2021")
def mask_softness(model: Model) -> float:
    """mean 4m(1 − m) over the pixels that masks touch (O3): 0 for masks that are there or not."""
    masks = model.arrays["M"]
    m = masks[masks > TOUCHES] / 255.0
    return float((4 * m * (1 - m)).mean()) if len(m) else 1.0


@computed("O5", "less", "A M", only="scenes")
def fragments(model: Model) -> float:
    """connected parts of a mask, mean over layers that cover something (O5): 1 for whole objects."""
    from scipy.ndimage import label

    masks = (model.arrays["M"] > COVERS)[model.shown]
    counts = [label(mask)[1] for mask in masks if mask.any()]
    return float(np.mean(counts)) if counts else math.nan


@computed("O6", "less", "A M sprites", only="scenes", degenerate=1.0)
def co_occurrence(model: Model) -> float:
    """how much more often than by chance two sprites are near each other, largest over pairs (O6).

    Normalised pointwise mutual information ln(p_kl / p_k p_l) / −ln p_kl, where p_kl is the share of images with
    k and l within a quarter of the side, at least 3 of them: near 1 where two sprites are parts of one object.
    """
    images = len(model.shown)
    centres = _centres(model.arrays["M"] > COVERS)
    has = np.zeros((images, model.count), dtype=bool)
    near = np.zeros((images, model.count, model.count), dtype=bool)
    choice = np.asarray(model.arrays["A"]).astype(int)
    seen = model.shown & np.isfinite(centres[..., 0])
    rows = np.arange(images)
    for layer in range(choice.shape[1]):
        has[rows[seen[:, layer]], choice[seen[:, layer], layer]] = True
    for a, b in itertools.combinations(range(choice.shape[1]), 2):
        both = seen[:, a] & seen[:, b]
        close = both & (np.linalg.norm(np.nan_to_num(centres[:, a] - centres[:, b]), axis=-1) <= NEAR)
        near[rows[close], choice[close, a], choice[close, b]] = True
    near |= near.transpose(0, 2, 1)
    share, counts = has.mean(0), near.sum(0)
    values = [
        math.log(counts[k, j] / images / (share[k] * share[j])) / -math.log(counts[k, j] / images)
        for k, j in itertools.combinations(range(model.count), 2)
        if OFTEN <= counts[k, j] < images
    ]
    return max(values, default=0.0)


def _centres(covered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centre of each mask (N, L, h, w) in shares of the sides, (N, L, 2); NaN where it covers nothing."""
    height, width = covered.shape[-2:]
    size = covered.sum((-2, -1))
    down = (covered.sum(-1) * (np.arange(height) + 0.5)).sum(-1) / height
    right = (covered.sum(-2) * (np.arange(width) + 0.5)).sum(-1) / width
    return np.where(size[..., None] > 0, np.stack([down, right], -1) / np.maximum(size, 1)[..., None], math.nan)


@computed("O7", "more", "A instances M", scope="config", only="scenes", source="S1 of decompositions")
def mask_agreement(seeds: Sequence[Model]) -> float:
    """whether two seeds find the same objects, mean over images, median over pairs (O7).

    Intersection over union of the pixels they take for objects, times the adjusted Rand index of the objects where
    both see some: over the union alone, objects in different places would agree fully. 0 where one sees none.
    """
    return over_pairs(seeds, _same_objects)


def _same_objects(a: Model, b: Model) -> float:
    pairs = zip(a.arrays["instances"], b.arrays["instances"], strict=True)
    return float(np.mean([_overlap(x.ravel().astype(int), y.ravel().astype(int)) for x, y in pairs]))


@computed("O8", "less", "A instances M sprites", scope="config", only="scenes")
def instance_disagreement(seeds: Sequence[Model]) -> float:
    """|AMI of classes − AMI of objects| of the pixels of two seeds, median over pairs (O8).

    AMI of the maps of sprites over all scenes, less the mean over scenes of that of the maps of objects. Above 0 seeds
    agree on what is there and not on where one object ends; below 0 they find the same objects and call them
    differently. 1 where one of the two collapsed, as for maps that agree in one sense and by chance in the other.
    """
    return over_pairs(seeds, _disagreement)


def _disagreement(a: Model, b: Model) -> float:
    if a.collapsed or b.collapsed:
        return 1.0
    step = -(-len(a.classes) // SCENES)
    classes = ami(a.classes[::step].ravel(), b.classes[::step].ravel())
    pairs = zip(*(m.arrays["instances"][::step].astype(np.int64) for m in (a, b)), strict=True)
    return abs(classes - float(np.mean([ami(x.ravel(), y.ravel()) for x, y in pairs])))


def _overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    both, either = (a > 0) & (b > 0), (a > 0) | (b > 0)
    if not both.any():
        return 0.0
    x, y = a[both], b[both]
    one = len(np.unique(x)) == 1 and len(np.unique(y)) == 1  # nothing to tell apart
    return float(both.sum() / either.sum()) * (1.0 if one else rand(x, y))
