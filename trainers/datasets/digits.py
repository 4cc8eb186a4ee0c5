"""Handwritten digits that ship inside scikit-learn: real images that need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .base import DATASETS, Arrays, Source, Tell


@DATASETS.add("digits")
class Digits(Source):
    """1,797 images of 8x8 pixels in 10 classes (Alpaydin & Kaynak 1998), 16 gray levels."""

    about = "handwritten digits, 8x8, 10 classes; ships inside scikit-learn"

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise DataError("dataset digits: needs scikit-learn; install it with: pip install scikit-learn") from None
        pixels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy((pixels * (255 / 16)).round().astype("uint8")).reshape(-1, 1, 8, 8)
        return Arrays(images, labels=torch.from_numpy(labels).long(), class_names=tuple("0123456789"))
