"""Multi-dSprites: coloured squares, ellipses and hearts on a uniform gray ground."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..settings import SettingError, setting
from . import cache, originals, scenes
from .base import DATASETS, Arrays, DatasetSettings, Source, Tell

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
        images: int = setting(60_000, "use only this many images, the first of a fixed shuffle; 0 is all", low=0)
        source: str = setting(
            "auto",
            "original scenes, generated ones, or the original if prepared and else generated",
            choices=("auto", "original", "generated"),
        )
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
        prepared = data / "multi_dsprites" if data is not None else None
        there = prepared is not None and prepared.is_dir()
        if config.source == "original" and not there:
            raise DataError(
                "dataset.source: is original, but the original scenes are not prepared; run"
                " `sprite-search data prepare multi_dsprites --from PATH`, or set it to generated"
            )
        plain = {
            f.name: f.default for f in dataclasses.fields(config) if f.name not in ("images", "held_out", "source")
        }
        published = all(getattr(config, n) == v for n, v in plain.items())
        if there and (config.source == "original" or (config.source == "auto" and published)):
            assert prepared is not None
            return cache.read(prepared)
        made = {n: getattr(config, n) for n in plain}
        count = config.images or 60_000
        name = hashlib.sha256(json.dumps([1, count, made], sort_keys=True).encode()).hexdigest()[:12]
        folder = data / "generated" / f"multi_dsprites-{name}" if data is not None else None
        return cache.cached(folder, lambda: scenes.generate(config, count, tell))

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """The original files (TFRecord or PNG folders) as arrays, for `data prepare`."""
        return originals.multi_dsprites(path, tell)
