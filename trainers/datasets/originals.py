"""Converting the original files of multi-object data sets into arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from .base import Arrays, Tell
from .tfrecord import Features, examples

#: How many scenes of Tetrominoes and of Multi-dSprites the paper uses.
PUBLISHED = 60_000

#: Image (C, H, W), instances and classes (H, W) of a record, all uint8; None leaves the scene out.
Scene = tuple[np.ndarray, np.ndarray, np.ndarray]
Reader = Callable[[Features], Scene | None]


def convert(
    path: Path, read: Reader, class_names: tuple[str, ...], tell: Tell | None = None, *, limit: int = PUBLISHED
) -> Arrays:
    """Scenes from a DeepMind TFRecord file, or from folders of PNG files (images/, masks/, sem_masks/).

    Args:
        path: a file or a folder.
        read: makes a scene of a record.
        class_names: without the background.
        tell: hears how far it is.
        limit: no more scenes than this.
    Raises:
        DataError: neither is there, or one of the files is damaged.
    """
    if path.is_dir() and (path / "images").is_dir():
        return png_folders(path, class_names, tell, limit=limit)
    if path.is_dir():
        found = sorted(path.glob("*.tfrecords"))
        if len(found) != 1:
            raise DataError(
                f"{path}: has neither images/ nor one .tfrecords file; give the folder or file of the scenes"
            )
        path = found[0]
    return _tfrecord(path, read, class_names, tell, limit)


def _tfrecord(path: Path, read: Reader, class_names: tuple[str, ...], tell: Tell | None, limit: int) -> Arrays:
    kept: list[Scene] = []
    for number, features in enumerate(examples(path)):
        if len(kept) == limit:
            break
        try:
            scene = read(features)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise DataError(f"{path}: record {number} is no such scene ({error}); give the original file") from None
        if scene is not None:
            kept.append(scene)
        if tell is not None and number % 1000 == 0:
            tell(number, limit)
    if not kept:
        raise DataError(f"{path}: has no scenes; give the original .tfrecords file")
    images, instances, classes = (torch.from_numpy(np.stack(part)) for part in zip(*kept, strict=True))
    return Arrays(images, instances=instances, classes=classes, class_names=class_names)


def owners(masks: np.ndarray, features: Features) -> np.ndarray:
    """Which entity each pixel shows, (H, W) uint8: masks (E, H, W) do not overlap, entity 0 is the background."""
    owner = masks.argmax(0)
    owner[masks.max(0) == 0] = 0
    owner[~visible(features)[owner]] = 0
    return owner.astype(np.uint8)


def visible(features: Features) -> np.ndarray:
    """Which entities a scene has, (E,) bool, without the background: unused ones hold nothing."""
    shown = np.asarray(features["visibility"], float) > 0.5
    shown[0] = False
    return shown


def png_folders(
    path: Path, class_names: tuple[str, ...], tell: Tell | None = None, *, limit: int = PUBLISHED
) -> Arrays:
    """Scenes kept as ``images/{i}.png``, ``masks/{i}.png`` (instances) and ``sem_masks/{i}.png`` (classes)."""
    files = sorted((path / "images").glob("*.png"), key=lambda f: (len(f.stem), f.stem))[:limit]
    if not files:
        raise DataError(
            f"{path / 'images'}: holds no PNG files; give the folder that has images/, masks/ and sem_masks/"
        )
    parts: dict[str, list[np.ndarray]] = {"images": [], "masks": [], "sem_masks": []}
    for number, file in enumerate(files):
        parts["images"].append(_png(file, "RGB").transpose(2, 0, 1))
        for part in ("masks", "sem_masks"):
            parts[part].append(_png(path / part / file.name, "L"))
        if tell is not None and number % 1000 == 0:
            tell(number, len(files))
    shapes = {x.shape[-2:] for part in parts.values() for x in part}
    if len(shapes) > 1:
        raise DataError(f"{path}: images and masks have different sizes ({sorted(shapes)}); give the original files")
    whole = {n: torch.from_numpy(np.stack(p)) for n, p in parts.items()}
    return Arrays(whole["images"], instances=whole["masks"], classes=whole["sem_masks"], class_names=class_names)


def _png(path: Path, mode: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except FileNotFoundError:
        raise DataError(f"{path}: is missing; every image needs its masks") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{path}: is no readable image ({error}); get another copy") from None
