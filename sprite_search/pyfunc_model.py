"""A sprite model as MLflow serves it; runs with `trainers` alone, wherever the registry is reached from.

MLflow runs this file itself when it loads the model ("models from code"), so it imports nothing of
sprite_search.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np


class SpriteModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Decomposes images: predict takes (N, H, W, C) uint8 and returns one row per image."""

    def load_context(self, context: Any) -> None:
        from trainers import load

        self.model = load(context.artifacts["checkpoint"], member=int(context.model_config["member"]))

    def predict(self, context, model_input, params=None):  # without hints: MLflow reads them as a schema
        """Columns: sprites (per layer, -1 empty), confidence (per layer), error (mean squared), objects (JSON text)."""
        import json

        import pandas as pd

        from trainers.objects import objects

        images = np.asarray(model_input)
        found = self.model.decompose(images.transpose(0, 3, 1, 2))
        confidence = found.probabilities.max(-1)
        return pd.DataFrame(
            {
                "sprites": [list(map(int, row)) for row in found.sprite],
                "confidence": [list(map(float, row)) for row in confidence],
                "error": found.error.astype(float),
                "objects": [json.dumps(objects(found, i)) for i in range(len(images))],
            }
        )


mlflow.models.set_model(SpriteModel())
