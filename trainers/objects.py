"""The objects a model found in an image or a point cloud, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .decomposition import Decomposition
from .point_decomposition import PointDecomposition

#: A layer counts as an object where its visible mask exceeds this.
VISIBLE = 0.5


def objects(found: Decomposition | PointDecomposition, index: int) -> list[dict[str, Any]]:
    """Objects of image or cloud `index`, JSON-able: see `objects_of_image` and `objects_of_cloud`."""
    if isinstance(found, PointDecomposition):
        return objects_of_cloud(found, index)
    return objects_of_image(found, index)


def objects_of_cloud(found: PointDecomposition, index: int) -> list[dict[str, Any]]:
    """Objects of cloud `index`; JSON-able.

    Each has: layer (its slot, from 1), sprite (index), confidence (probability of that sprite), box (least x, y and
    z, then the largest, of the points it explains) and area (share of the points). Slots that are empty or explain
    no point are left out.
    """
    listed = []
    for slot, sprite in enumerate(found.sprite[index]):
        own = found.instances[index] == slot + 1
        if sprite < 0 or not own.any():
            continue
        points = found.points[index][own]
        listed.append(
            {
                "layer": slot + 1,
                "sprite": int(sprite),
                "confidence": round(float(found.probabilities[index, slot, sprite]), 4),
                "box": [round(float(v), 4) for v in (*points.min(0), *points.max(0))],
                "area": round(float(own.mean()), 4),
            }
        )
    return listed


def objects_of_image(found: Decomposition, index: int) -> list[dict[str, Any]]:
    """Objects of image `index`, front layers' masks deciding what is visible; JSON-able.

    Each has: layer (from 1), sprite (index), confidence (probability of that sprite), box (left, top,
    right, bottom in pixels of the model's image, right and bottom exclusive), area (share of the image)
    and colour (mean of the visible pixels, one value per channel in [0, 1]). Layers that are empty or
    wholly hidden are left out; a clustering model has one object, the whole image.
    """
    height, width = found.reconstruction.shape[-2:]
    listed = []
    for layer, sprite in enumerate(found.sprite[index]):
        if sprite < 0:
            continue
        whole = found.layer_masks is None
        mask = np.ones((height, width), bool) if whole else found.layer_masks[index, layer] > VISIBLE  # type: ignore[index]
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        listed.append(
            {
                "layer": layer + 1,
                "sprite": int(sprite),
                "confidence": round(float(found.probabilities[index, layer, sprite]), 4),
                "box": [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1],
                "area": round(float(mask.mean()), 4),
                "colour": [round(float(c[mask].mean()), 4) for c in found.reconstruction[index]],
            }
        )
    return listed
