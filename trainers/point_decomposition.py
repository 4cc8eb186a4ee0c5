"""Using a trained model of point clouds: its sprites, and the objects it finds in clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decomposition import TrainedModel
from .errors import DataError
from .models import PointExplanation


@dataclass(frozen=True)
class PointDecomposition:
    """How a model explains N clouds of P points, as numpy arrays; L slots, K' sprites with the empty one (last).

    Attributes:
        points: (N, P, 3) float32, the clouds.
        reconstruction: (N, L, M, 3) float32, the likeliest sprite of each slot, placed; of empty slots too.
        sprite: (N, L) int64, index of the chosen sprite, -1 for empty.
        probabilities: (N, L, K') float32.
        error: (N,) expected Chamfer distance, squared, in half sides of a tile.
        instances: (N, P) int64, the slot (from 1) that explains each point, 0 where all are empty.
        classes: (N, P) int64, k + 1 for sprite k, 0 where all slots are empty.
    """

    points: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    sprite: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    error: NDArray[np.float32]
    instances: NDArray[np.int64]
    classes: NDArray[np.int64]


class TrainedPointModel(TrainedModel):
    """One member of a saved training on point clouds; `load` makes it.

    `decompose` takes clouds (N, P, 3) of any number of points, in the coordinates of the data set: x and y in
    [-1, 1] on the tile, z from the ground up in the same unit.
    """

    Found = PointDecomposition
    example_object: ClassVar[dict[str, Any]] = {
        "layer": 1,
        "sprite": 0,
        "confidence": 0.5,
        "box": [0.0] * 6,
        "area": 0.5,
    }

    def sprites(self) -> NDArray[np.float32]:
        """(K, M, 3), standing on the ground."""
        return self.model.sprites().cpu().numpy()

    def example(self) -> NDArray[Any]:
        """One cloud as a served model is sent it: (1, P, 3) float32, all points in the middle of the tile."""
        return np.zeros((1, self.shape.points, self.shape.axes), np.float32)

    def served(self, images: NDArray[Any]) -> NDArray[Any]:
        return images

    def _checked(self, images: Any) -> Tensor:
        x = torch.as_tensor(np.asarray(images) if not isinstance(images, Tensor) else images)
        if x.dim() != 3 or x.shape[2] != 3 or not x.numel():
            raise DataError(f"points: have shape {tuple(x.shape)}, but the model takes (N, P, 3)")
        if not x.is_floating_point() or not bool(x.isfinite().all()):
            raise DataError("points: are not finite floats; leave out points without a place")
        return x.to(torch.float32)

    def _explain(self, x: Tensor) -> dict[str, NDArray[Any] | None]:
        found: PointExplanation = self.model.explain(x, self.weights, phase=self.phase)
        count = self.model.count
        labels = found.labels(x, count)
        return {
            "points": x.cpu().numpy(),
            "reconstruction": found.reconstruction.cpu().numpy(),
            "sprite": torch.where(found.choice < count, found.choice, -1).cpu().numpy(),
            "probabilities": found.p.cpu().numpy(),
            "error": found.error.cpu().numpy(),
            "instances": labels.instances.cpu().numpy(),
            "classes": labels.classes.cpu().numpy(),
        }
