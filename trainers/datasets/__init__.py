"""Data sets: images (bytes) or point clouds (floats) in memory, with labels or masks where a data set has them.

To add one, write a `Source` in a module of its own in this folder, and add it to `DATASETS`;
nothing else changes.
"""

from ..families import import_modules
from .base import DATASETS, Arrays, Dataset, PointSource, Source, floats, load, summary

__all__ = [
    "DATASETS",
    "Arrays",
    "Dataset",
    "PointSource",
    "Source",
    "floats",
    "load",
    "summary",
]

import_modules(__name__, __path__)
