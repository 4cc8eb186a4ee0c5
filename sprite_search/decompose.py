"""Decomposing images with a trained model: a picture and a list of objects for each."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .home import Home


def decompose(model: str, images: list[Path], output: Path, home: Home) -> list[dict[str, Any]]:
    """Finds the objects in images; writes `<name>_overlay.png` and `<name>.json` for each.

    Args:
        model: ``models:/NAME@ALIAS`` (or ``models:/NAME/VERSION``), or the folder of a checkpoint.
        images: files of any format Pillow reads; they are resized to the model's size, aspect ignored.
        output: folder for what is written; made if needed.
        home: where the registry is.
    Returns:
        What the JSON files hold.
    Raises:
        InputError: a model or image that is missing or unreadable; nothing is written then.
    """
    from trainers import load
    from trainers.objects import objects

    from .pictures import overlay

    names = [image.stem for image in images]
    for name in {n for n in names if names.count(n) > 1}:
        raise InputError(f"{name}: several images have this name and would overwrite each other; decompose them apart")
    folder, member = _checkpoint(model, home)
    trained = load(folder, member=member)
    shape = trained.shape
    pixels = np.stack([read_image(image, shape.channels, shape.size) for image in images])
    found = trained.decompose(pixels)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror}); choose another folder with -o") from None
    results = []
    for i, image in enumerate(images):
        listed = objects(found, i)
        result = {
            "image": str(image),
            "model": model,
            "size": list(shape.size),
            "error": round(float(found.error[i]), 6),
            "objects": listed,
        }
        boxes = [((b[0], b[1], b[2], b[3]), f"sprite {o['sprite']}") for o in listed for b in [o["box"]]]
        drawn = overlay(pixels[i].astype(float) / 255, found.instances[i], boxes)
        picture, text = output / f"{image.stem}_overlay.png", output / f"{image.stem}.json"
        _write(picture, lambda path, drawn=drawn: drawn.save(path, format="PNG"))
        _write(text, lambda path, result=result: path.write_text(json.dumps(result, indent=2)))
        results.append({**result, "overlay": str(picture), "json": str(text)})
    return results


def _checkpoint(model: str, home: Home) -> tuple[Path, int]:
    if model.startswith("models:/"):
        from .registry import fetch

        return fetch(home, model)
    folder = Path(model)
    if not folder.is_dir():
        raise InputError(
            f"{model}: is neither models:/NAME@ALIAS nor the folder of a checkpoint; see `sprite-search promote`"
        )
    return folder, 0


def read_image(path: Path, channels: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(C, H, W) uint8, converted to gray or RGB and resized (bilinear, aspect ignored)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            converted = image.convert("L" if channels == 1 else "RGB")
            resized = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such image; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give the images in it, e.g. {path}/*.png") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: is no image that can be read; give PNG, JPEG or another format Pillow reads"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is damaged ({error}); get another copy") from None
    array = np.asarray(resized, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _write(path: Path, write: Any) -> None:
    """Writes a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror}); free some space, or choose -o") from None
