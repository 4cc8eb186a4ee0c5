"""A sprite model as MLflow serves it; runs with `trainers` alone, wherever the registry is reached from.

MLflow runs this file itself when it loads the model ("models from code"), so it imports nothing of
sprite_search.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np


class SpriteModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Decomposes images, (N, H, W, C) uint8, or point clouds, (N, P, 3) float32: one row for each."""

    def load_context(self, context: Any) -> None:
        from trainers import load

        folder = Path(context.artifacts["checkpoint"])
        self.model = load(folder, member=json.loads((folder / "member.json").read_text())["member"])

    def predict(self, context, model_input, params=None):  # without hints: MLflow reads them as a schema
        """A table with a row per image.

        Columns: sprites (of each layer, -1 empty), confidence (of each), error (mean squared), objects (see
        `trainers.objects`); with ``params={"reconstruction": True}`` also reconstruction, (H, W, C) in [0, 1] or
        (L, M, 3).
        """
        import pandas as pd

        from trainers.objects import objects

        images = np.asarray(model_input)
        found = self.model.decompose(self.model.served(images))
        table = {
            "sprites": [list(map(int, row)) for row in found.sprite],
            "confidence": [list(map(float, row)) for row in found.probabilities.max(-1)],
            "error": found.error.astype(float),
            "objects": [objects(found, i) for i in range(len(images))],
        }
        if params and params.get("reconstruction"):
            shown = found.reconstruction if images.ndim == 3 else found.reconstruction.transpose(0, 2, 3, 1)
            table["reconstruction"] = [x.round(4).tolist() for x in shown]
        return pd.DataFrame(table)


mlflow.models.set_model(SpriteModel())
