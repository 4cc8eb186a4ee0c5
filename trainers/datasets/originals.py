"""Converting the original files of multi-object data sets into arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from .base import Arrays, Tell
from .scenes import CLASS_NAMES
from .tfrecord import Features, examples

#: How many scenes the paper uses.
PUBLISHED = 60_000


def multi_dsprites(path: Path, tell: Tell | None = None, *, limit: int = PUBLISHED) -> Arrays:
    """Scenes from the DeepMind TFRecord file, or from folders of PNG files (images/, masks/, sem_masks/).

    Raises:
        DataError: neither is there, or one of the files is damaged.
    """
    if path.is_dir() and (path / "images").is_dir():
        return png_folders(path, CLASS_NAMES, tell, limit=limit)
    if path.is_dir():
        found = sorted(path.glob("*.tfrecords"))
        if len(found) != 1:
            raise DataError(
                f"{path}: has neither images/ nor one .tfrecords file; give the folder or file of the scenes"
            )
        path = found[0]
    return _tfrecord(path, tell, limit)


def _tfrecord(path: Path, tell: Tell | None, limit: int) -> Arrays:
    images, instances, classes = [], [], []
    for number, features in enumerate(examples(path)):
        if number == limit:
            break
        image, instance, kind = _scene(features, path, number)
        images.append(image)
        instances.append(instance)
        classes.append(kind)
        if tell is not None and number % 1000 == 0:
            tell(number, limit)
    if not images:
        raise DataError(f"{path}: has no scenes; give the multi_dsprites .tfrecords file")
    return Arrays(
        torch.from_numpy(np.stack(images)),
        instances=torch.from_numpy(np.stack(instances)),
        classes=torch.from_numpy(np.stack(classes)),
        class_names=CLASS_NAMES,
    )


def _scene(features: Features, path: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        image = np.frombuffer(features["image"][0], np.uint8).reshape(64, 64, 3)  # type: ignore[arg-type]
        masks = np.frombuffer(features["mask"][0], np.uint8).reshape(-1, 64, 64)  # type: ignore[arg-type]
        shapes = np.asarray(features["shape"], float).round().astype(np.uint8)
        shown = np.asarray(features["visibility"], float) > 0.5
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(
            f"{path}: record {number} is no Multi-dSprites scene ({error}); give the original file"
        ) from None
    # masks do not overlap; slot 0 is the background, and a slot that is not visible holds nothing
    owner = masks.argmax(0)
    owner[masks.max(0) == 0] = 0
    kinds = np.where(shown, shapes, 0).astype(np.uint8)
    kinds[0] = 0
    return image.transpose(2, 0, 1), owner.astype(np.uint8), kinds[owner]


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
