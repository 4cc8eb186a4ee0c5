"""A folder of images of your own; labels are not needed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from ..settings import setting
from . import cache
from .base import DATASETS, Arrays, DatasetSettings, Source, Tell
from .files import FITS, identity, list_images, read_images


@DATASETS.add("folder")
class Folder(Source):
    """All images below a folder, of any size and format that Pillow reads, brought to one size.

    Transparent parts become white; images that say how they are to be turned are turned. The images are read once
    and kept in the home; changed files are read anew.
    """

    about = "your own images: dataset.path names the folder; any sizes and formats, no labels needed"

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        path: str = setting("", "the folder of your files; its sub-folders are read too")
        side: int = setting(32, "side in pixels to which every image is brought", low=8, high=512)
        fit: str = setting(
            "resize",
            "stretch to a square, crop the middle, or pad with black; the last two keep the proportions",
            choices=FITS,
        )
        channels: str = setting(
            "auto", "gray or colour; auto is gray if all images are", choices=("auto", "gray", "rgb")
        )
        labels: str = setting(
            "none",
            "subfolders: the first folder below `path` names the class, for label metrics only",
            choices=("none", "subfolders"),
        )

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        root = Path(config.path).expanduser()
        if not config.path:
            raise DataError("dataset.path: is not set; give the folder of your images, e.g. dataset.path: ./photos")
        if not root.is_dir():
            raise DataError(f"dataset.path: {root} is no folder; give the folder of your images")
        files = list_images(root)
        if len(files) < 2:
            raise DataError(f"dataset.path: {root} holds {len(files)} images, but training needs two or more")
        asked = [config.side, config.fit, config.channels, config.labels, identity(files)]
        name = hashlib.sha256(json.dumps([1, asked]).encode()).hexdigest()[:12]
        kept = data / "generated" / f"folder-{name}" if data is not None else None
        return cache.cached(kept, lambda: _read(root, files, config, tell))


def _read(root: Path, files: list[Path], config: Any, tell: Tell | None) -> Arrays:
    images = read_images(files, size=config.side, fit=config.fit, channels=config.channels, tell=tell)
    if config.labels == "none":
        return Arrays(images)
    first = [f.relative_to(root).parts[0] if f.parent != root else None for f in files]
    if None in first:
        raise DataError(
            f"dataset.labels: is subfolders, but {files[first.index(None)]} lies in none;"
            " move it into the folder of its class, or set dataset.labels to none"
        )
    names = sorted({str(f) for f in first})
    return Arrays(images, labels=torch.tensor([names.index(str(f)) for f in first]), class_names=tuple(names))
