"""FRGC: faces, as the .h5 file that circulates since JULE (Yang et al. 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from .base import DATASETS, Arrays, Source, Tell
from .hdf5 import read_hdf5
from .prepared import original


@DATASETS.add("frgc")
class FRGC(Source):
    """2,462 faces of 32x32 pixels in colour, of 20 people."""

    about = "faces, 32x32 in colour, 2,462 images of 20 people; must be prepared (data4torch.h5)"

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        return original("frgc", data, " with FRGC/data4torch.h5 of JULE-Torch")

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """From data4torch.h5: its images are kept transposed."""
        found = read_hdf5(path, ("data", "labels"))
        data, labels = np.asarray(found["data"]), np.asarray(found["labels"]).ravel()
        if data.ndim != 4 or data.shape[1] != 3 or len(data) != len(labels):
            raise DataError(f"{path}: its data are {data.shape}, not (N, 3, 32, 32); give data4torch.h5 of FRGC")
        scaled = data if data.max() > 1 else data * 255
        images = np.ascontiguousarray(scaled.transpose(0, 1, 3, 2).round().astype(np.uint8))
        people, numbers = np.unique(labels, return_inverse=True)
        return Arrays(
            torch.from_numpy(images), labels=torch.from_numpy(numbers), class_names=tuple(f"{p:g}" for p in people)
        )
