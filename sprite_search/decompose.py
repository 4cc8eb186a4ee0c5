"""Decomposing images or point clouds with a trained model: a picture and a list of objects for each."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from . import decompose_clouds, trusted
from .errors import InputError
from .files import whole
from .home import Home


def decompose(model: str, files: list[Path], output: Path, home: Home) -> list[dict[str, Any]]:
    """Finds the objects in images or clouds; writes `<name>_overlay.png` and `<name>.json` for each.

    Args:
        model: ``models:/NAME@ALIAS`` (or ``models:/NAME/VERSION``), or the folder of a checkpoint or trial.
        files: images of any format Pillow reads, resized to the model's size, aspect ignored; for a model of point
            clouds see `decompose_clouds.read_cloud`.
        output: folder for what is written; made if needed.
        home: where the registry is.
    Returns:
        What the JSON files hold. Of each object, `box` is in pixels of the model's image (`size`, height and
        width), `box_in_image` in pixels of the file (`image_size`); of clouds on the tile, and `box_in_cloud` in the
        file's coordinates. See `trainers.objects`.
    Raises:
        InputError: a model or file that is missing or unreadable; nothing is written then.
    """
    from trainers import load
    from trainers.kinds import OfPoints

    names = [file.stem for file in files]
    for name in {n for n in names if names.count(n) > 1}:
        raise InputError(f"{name}: several files have this name and would overwrite each other; decompose them apart")
    folder, member = _checkpoint(model, home)
    trained = load(folder, member=member)
    of_points = issubclass(trained.config.parts["model"], OfPoints)
    explained = list((decompose_clouds.explained if of_points else _explained)(trained, files))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror}); choose another folder with -o") from None
    results = []
    for file, (found, drawn) in zip(files, explained, strict=True):
        result = {**found, "model": model, "seed": trained.config["seed"]}
        picture, text = output / f"{file.stem}_overlay.png", output / f"{file.stem}.json"
        _write(picture, lambda path, drawn=drawn: drawn.save(path, format="PNG"))
        _write(text, lambda path, result=result: path.write_text(json.dumps(result, indent=2)))
        results.append({**result, "overlay": str(picture), "json": str(text)})
    return results


def _explained(trained: Any, images: list[Path]) -> Iterator[tuple[dict[str, Any], Picture]]:
    """What the model says of each image: plain values for its JSON file, and a picture."""
    from trainers.objects import objects

    from .pictures import overlay

    shape = trained.shape
    read = [read_image(image, shape.channels, shape.size) for image in images]
    pixels = np.stack([x for x, _ in read])
    found = trained.decompose(pixels)
    for i, image in enumerate(images):
        size = read[i][1]
        listed = [{**o, "box_in_image": _scaled(o["box"], shape.size, size)} for o in objects(found, i)]
        result = {
            "image": str(image),
            "image_size": list(size),
            "size": list(shape.size),
            "error": round(float(found.error[i]), 6),
            "objects": listed,
        }
        boxes = [(_box(o["box"]), _caption(o), o["layer"]) for o in listed]
        yield result, overlay(pixels[i].astype(float) / 255, found.instances[i], boxes)


def _caption(found: dict[str, Any]) -> str:
    sure = found["confidence"] >= 0.995
    return f"sprite {found['sprite']}" + ("" if sure else f" ({found['confidence']:.0%})")


def _box(box: list[int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    return left, top, right, bottom


def _scaled(box: list[int], size: tuple[int, int], wanted: tuple[int, int]) -> list[int]:
    """A box (left, top, right, bottom) of an image of `size` (height, width), in one of `wanted` size."""
    factors = (wanted[1] / size[1], wanted[0] / size[0]) * 2
    return [round(edge * factor) for edge, factor in zip(box, factors, strict=True)]


def _checkpoint(model: str, home: Home) -> tuple[Path, int]:
    """Folder of a checkpoint, and which of its members to use: the one of least held-out error."""
    if model.startswith("models:/"):
        from .registry import fetch

        return fetch(home, model)
    folder = Path(model)
    if not folder.is_dir():
        raise InputError(
            f"{model}: is neither models:/NAME@ALIAS nor the folder of a checkpoint; see `sprite-search promote`"
        )
    epochs = sorted(p for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
    folder = epochs[-1] if epochs else folder
    try:
        last = json.loads((folder / "history.json").read_text())[-1]["metrics"]
        errors = [float(m["val/reconstruction"]) for m in last]
    except (OSError, ValueError, LookupError, TypeError):
        return trusted.folder(folder), 0
    return trusted.folder(folder), int(np.nanargmin(errors)) if np.isfinite(errors).any() else 0


def read_image(path: Path, channels: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """An image as the model takes it: as people see it (see `as_seen`), gray or RGB, resized.

    Returns:
        (C, H, W) uint8, resized (bilinear, aspect ignored) to `size` (H, W); the file's own height and width.
    """
    from PIL import Image, UnidentifiedImageError

    from trainers.datasets.files import as_seen

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a large photo is all right
            with Image.open(path) as opened:
                image = as_seen(opened, "L" if channels == 1 else "RGB")
        resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such image; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give the images in it, e.g. {path}/*.png") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read; check its permissions") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: is no image that can be read; give PNG, JPEG or another format Pillow reads"
        ) from None
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: is damaged ({error}); get another copy") from None
    except (ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be used ({error}); save it anew as PNG, smaller if it is huge") from None
    array = np.asarray(resized, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1), (image.height, image.width)


def _write(path: Path, write: Any) -> None:
    try:
        with whole(path) as temporary:
            write(temporary)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); free some space, or choose -o") from None
