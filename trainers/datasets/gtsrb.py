"""GTSRB-8: eight classes of German traffic signs."""

from __future__ import annotations

import re
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .base import DATASETS, Arrays, Source, Tell
from .files import Picture, read_images
from .prepared import original

#: Classes of the benchmark that DTI-Clustering and the paper use, and what they show.
CLASSES = {
    3: "60 km/h", 7: "100 km/h", 9: "no passing", 11: "right of way", 17: "no entry", 18: "caution",
    25: "road work", 35: "ahead only",
}  # fmt: skip
SIZE = 28
_FILE = re.compile(r"(?:^|/)(?P<label>\d{5})/(?P<track>\d+)_\d+\.(?:png|ppm|jpg)$")


@DATASETS.add("gtsrb8")
class GTSRB8(Source):
    """10,650 traffic signs in 8 classes (Stallkamp et al. 2012), whole images stretched to 28x28 in colour.

    The 30 frames of one track look alike, so held-out images are whole tracks.
    """

    about = "traffic signs, 28x28 in colour, 10,650 images in 8 classes; must be prepared"

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        return original("gtsrb8", data, " with the training images of GTSRB (folders 00003, 00007, …)")

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """From folders named 00003, 00007, … (anywhere below `path`), or from .zip files that hold them."""
        found = sorted(_members(path), key=lambda m: m[0])
        if not found:
            raise DataError(
                f"{path}: holds no images named like 00003/00000_00000.png; give the folder of GTSRB's training images"
            )
        missing = sorted(set(CLASSES) - {label for label, _, _ in (m[0] for m in found)})
        if missing:
            raise DataError(f"{path}: has no images of the classes {', '.join(map(str, missing))}; give all eight")
        images = read_images([m[1] for m in found], size=SIZE, fit="resize", channels="rgb", tell=tell)
        labels = torch.tensor([list(CLASSES).index(label) for (label, _, _), _ in found])
        tracks = {key: n for n, key in enumerate(sorted({m[0][:2] for m in found}))}
        groups = torch.tensor([tracks[m[0][:2]] for m in found])
        return Arrays(images, labels=labels, groups=groups, class_names=tuple(CLASSES.values()))


#: (class, track, name) of an image, and how it is read.
Member = tuple[tuple[int, int, str], Picture]


def _members(path: Path) -> list[Member]:
    """Every image of the eight classes."""
    if path.is_file():
        return _zipped(path)
    if not path.is_dir():
        raise DataError(f"{path}: is not there; give the folder of GTSRB's training images")
    files: list[Member] = [(key, f) for f in path.rglob("*") if (key := _key(f.as_posix())) is not None]
    return files + [m for f in sorted(path.rglob("*.zip")) for m in _zipped(f)]


def _zipped(path: Path) -> list[Member]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no readable .zip file ({error}); get another copy") from None
    return [
        (key, (f"{path}/{name}", partial(archive.read, name)))
        for name in archive.namelist()
        if (key := _key(name)) is not None
    ]


def _key(name: str) -> tuple[int, int, str] | None:
    """Class, track and name within the class, for files of the eight classes."""
    match = _FILE.search(name)
    if match is None or int(match["label"]) not in CLASSES:
        return None
    return int(match["label"]), int(match["track"]), name.rpartition("/")[2]
