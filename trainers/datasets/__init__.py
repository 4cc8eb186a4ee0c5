"""Data sets: uint8 images in memory, with labels or masks where a data set has them."""

from __future__ import annotations

from dataclasses import dataclass

from ..families import Family
from ..settings import setting

DATASETS = Family("dataset.name")


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """What every data set lets users set."""

    images: int = setting(0, "use only the first images of a fixed shuffle; 0 is all", low=0)
    held_out: float = setting(
        0.1, "share of the images kept from training, to measure val/ metrics on", above=0, high=0.5
    )


@DATASETS.add("digits")
class Digits:
    """Handwritten digits, 1,797 images of 8x8 in 10 classes (ships inside scikit-learn)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        pass


@DATASETS.add("multi_dsprites")
class MultiDSprites:
    """Coloured squares, ellipses and hearts on a gray ground (generated, or the original when prepared)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        images: int = setting(60_000, "use only the first images of a fixed shuffle; 0 is all", low=0)
        size: int = setting(64, "side of a scene in pixels", low=16, high=256)
        scenes: str = setting(
            "full",
            "full: as published; simple: large, well separated objects for machines without a GPU",
            choices=("full", "simple"),
        )
        objects_min: int = setting(2, "fewest objects in a scene", low=1)
        objects_max: int = setting(5, "most objects in a scene", low=1)
