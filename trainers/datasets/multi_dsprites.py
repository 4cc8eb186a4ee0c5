"""Multi-dSprites: coloured squares, ellipses and hearts on a uniform gray ground."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import SettingError, setting
from . import originals, scenes
from .base import DATASETS, Arrays, DatasetSettings, Source, Tell
from .originals import PUBLISHED
from .prepared import original_or_generated, source_setting
from .tfrecord import Features

_MADE = {"dataset.source": ("auto", "generated")}


@DATASETS.add("multi_dsprites")
class MultiDSprites(Source):
    """Up to five possibly overlapping objects of random colour, size, rotation and place, 64x64.

    The original scenes are read once `data prepare multi_dsprites` has converted them; otherwise, and
    whenever other settings than the published ones are asked for, scenes are generated.
    """

    about = "squares, ellipses and hearts on a gray ground, 3 classes; generated, or the original once prepared"

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        images: int = setting(PUBLISHED, "use only this many images, the first of a fixed shuffle; 0 is all", low=0)
        source: str = source_setting()
        size: int = setting(64, "side of a scene in pixels", low=12, high=256)
        objects_min: int = setting(2, "fewest objects in a scene", low=1, high=12, when=_MADE)
        objects_max: int = setting(5, "most objects in a scene", low=1, high=12, when=_MADE)
        radius_min: float = setting(
            0.10, "least radius of an object, as a share of the side", above=0, high=0.5, when=_MADE
        )
        radius_max: float = setting(0.20, "largest radius of an object", above=0, high=0.5, when=_MADE)
        rotation: bool = setting(True, "rotate objects at random", when=_MADE)
        colours: str = setting(
            "random",
            "any colour, only saturated ones, or one colour per class",
            choices=("random", "saturated", "by_class"),
            when=_MADE,
        )
        ground: str = setting("gray", "a random gray, or always dark", choices=("gray", "dark"), when=_MADE)
        separate: bool = setting(False, "place objects far from each other", when=_MADE)
        generator_seed: int = setting(0, "seed of the scenes (not of the training)", low=0, when=_MADE)

        def __post_init__(self) -> None:
            if self.objects_max < self.objects_min:
                raise SettingError(
                    "dataset.objects_max", f"is {self.objects_max}, below objects_min ({self.objects_min}); swap them"
                )
            if self.radius_max < self.radius_min:
                raise SettingError(
                    "dataset.radius_max", f"is {self.radius_max:g}, below radius_min ({self.radius_min:g}); swap them"
                )

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        """The original scenes if prepared and fitting, else generated ones, cached in `data`."""
        plain = {
            f.name: f.default for f in dataclasses.fields(config) if f.name not in ("images", "held_out", "source")
        }
        made = {n: getattr(config, n) for n in plain}
        count = config.images or PUBLISHED
        return original_or_generated(
            "multi_dsprites",
            config.source,
            data,
            lambda: scenes.generate(config, count, tell),
            key={"images": count, **made},
            published=made == plain,
        )

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """The original files (TFRecord or PNG folders) as arrays, for `data prepare`."""
        return originals.convert(path, _scene, scenes.CLASS_NAMES, tell)


def _scene(features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One record of the DeepMind file: image (3, 64, 64), instances and classes (64, 64)."""
    image = np.frombuffer(features["image"][0], np.uint8).reshape(64, 64, 3)  # type: ignore[arg-type]
    masks = np.frombuffer(features["mask"][0], np.uint8).reshape(-1, 64, 64)  # type: ignore[arg-type]
    shapes = np.asarray(features["shape"], float).round().astype(np.uint8)
    owner, kinds = originals.owners(masks, features), shapes
    return image.transpose(2, 0, 1), owner, np.where(originals.visible(features), kinds, 0).astype(np.uint8)[owner]
