"""Data sets: uint8 images in memory, with labels or masks where a data set has them.

To add one, write a `Source` in a module of its own, add it to `DATASETS` and import the module here.
"""

from . import classics, clevr, digits, folder, frgc, gtsrb, multi_dsprites, tetrominoes, variants
from .base import DATASETS, Arrays, Dataset, Source, load, summary

__all__ = [
    "DATASETS",
    "Arrays",
    "Dataset",
    "Source",
    "classics",
    "clevr",
    "digits",
    "folder",
    "frgc",
    "gtsrb",
    "load",
    "multi_dsprites",
    "summary",
    "tetrominoes",
    "variants",
]
