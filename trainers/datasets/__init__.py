"""Data sets: images (bytes) or point clouds (floats) in memory, with labels or masks where a data set has them.

To add one, write a `Source` in a module of its own, add it to `DATASETS` and import the module here.
"""

from . import (
    classics,
    clevr,
    digits,
    folder,
    frgc,
    gtsrb,
    multi_dsprites,
    point_folder,
    point_scenes,
    tetrominoes,
    variants,
)
from .base import DATASETS, Arrays, Dataset, PointSource, Source, floats, load, summary

__all__ = [
    "DATASETS",
    "Arrays",
    "Dataset",
    "PointSource",
    "Source",
    "classics",
    "clevr",
    "digits",
    "floats",
    "folder",
    "frgc",
    "gtsrb",
    "load",
    "multi_dsprites",
    "point_folder",
    "point_scenes",
    "summary",
    "tetrominoes",
    "variants",
]
