"""CLEVR with masks, and CLEVR6, its scenes of at most six objects: rendered solids."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from . import originals
from .base import DATASETS, Arrays, Source, Tell
from .prepared import original
from .tfrecord import Features

SIZE = 128
CLASS_NAMES = tuple(f"{m} {s}" for s in ("cube", "sphere", "cylinder") for m in ("rubber", "metal"))
_HEIGHT, _WIDTH = 240, 320
#: The middle of a scene, as this literature cuts it out.
_ROWS, _COLUMNS = slice(29, 221), slice(64, 256)


class _Clevr(Source):
    name: ClassVar[str]
    limit: ClassVar[int]
    most: ClassVar[int]  #: objects in a scene

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        return original(cls.name, data)

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """From the DeepMind TFRecord file (clevr_with_masks_train.tfrecords) or PNG folders.

        The PNG folders must hold the scenes that are wanted: they are taken as they are.
        """
        return originals.convert(path, cls._scene, CLASS_NAMES, tell, limit=cls.limit)

    @classmethod
    def _scene(cls, features: Features) -> originals.Scene | None:
        from PIL import Image

        shown = originals.visible(features)
        if shown.sum() > cls.most:
            return None
        image = np.frombuffer(features["image"][0], np.uint8).reshape(_HEIGHT, _WIDTH, 3)  # type: ignore[arg-type]
        masks = np.frombuffer(features["mask"][0], np.uint8).reshape(-1, _HEIGHT, _WIDTH)  # type: ignore[arg-type]
        shapes, materials = (_bytes(features[n]) for n in ("shape", "material"))
        if shapes[shown].max(initial=1) > 3 or materials[shown].max(initial=1) > 2:
            raise ValueError("a shape or material is unknown")
        kinds = np.where(shown, (shapes.astype(int) - 1) * 2 + materials, 0).astype(np.uint8)
        owner = originals.owners(masks, features)[_ROWS, _COLUMNS]
        small = Image.fromarray(image[_ROWS, _COLUMNS]).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        owner = np.asarray(Image.fromarray(owner).resize((SIZE, SIZE), Image.Resampling.NEAREST))
        return np.asarray(small).transpose(2, 0, 1), owner, kinds[owner]


def _bytes(feature: Any) -> np.ndarray:
    """Small numbers of each entity, kept as bytes or as numbers."""
    if isinstance(feature[0], bytes):
        return np.frombuffer(b"".join(feature), np.uint8)
    return np.asarray(feature, float).round().astype(np.uint8)


@DATASETS.add("clevr")
class Clevr(_Clevr):
    """100,000 scenes of up to ten solids (Johnson et al. 2017, Kabra et al. 2019), cut out and brought to 128x128."""

    about = "rendered solids, 128x128, up to 10 objects of 6 classes; must be prepared"
    name, limit, most = "clevr", 100_000, 10


@DATASETS.add("clevr6")
class Clevr6(_Clevr):
    """The 34,963 scenes of CLEVR that have at most six objects."""

    about = "rendered solids, 128x128, up to 6 objects of 6 classes; must be prepared"
    name, limit, most = "clevr6", 34_963, 6
