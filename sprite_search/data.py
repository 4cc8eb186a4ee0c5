"""Data sets from the command line: what is there, converting originals, looking at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError
from .files import whole
from .home import Home

_SHOWN = 16


def available(home: Home) -> list[dict[str, Any]]:
    """One row per data set: what it is, and whether its original files were prepared."""
    from trainers.datasets import DATASETS

    return [
        {"name": name, "prepared": (home.data / name).is_dir(), "about": source.about}
        for name, source in DATASETS.items()
    ]


def prepare(home: Home, name: str, source: Path) -> dict[str, Any]:
    """Converts the original files of a data set into the home, whole or not at all.

    Raises:
        InputError: no such data set, or it needs no preparing.
        DataError: the files are missing or damaged.
    """
    from trainers.datasets import DATASETS, cache, summary

    member = _source(name, DATASETS)
    if not hasattr(member, "convert"):
        raise InputError(f"{name}: needs no preparing; use it as it is with dataset.name: {name}")
    if not source.exists():
        raise InputError(f"--from: {source} does not exist; give the original files of {name}")
    folder = home.data / name
    home.create()
    with cache.locked(folder):
        arrays = member.convert(source)
        cache.write(folder, arrays)
    return {"name": name, "folder": str(folder), **summary(arrays)}


def show(home: Home, name: str, output: Path) -> Path:
    """Draws some images of a data set, with their masks below, into a PNG; returns its path."""
    from trainers.datasets import DATASETS, load
    from trainers.kinds import OfPoints
    from trainers.models import MODELS
    from trainers.settings import TrialConfig

    settings: dict[str, Any] = {"dataset.name": name}
    if issubclass(_source(name, DATASETS), OfPoints):
        settings |= {"model.kind": MODELS.names(OfPoints)[0]}
    if name in ("multi_dsprites", "point_scenes"):  # a few scenes are enough to look at
        settings |= {"dataset.images": 200}
    dataset = load(TrialConfig.from_flat(settings), home.data)
    sheet = _clouds(dataset) if dataset.images.dim() == 3 else _images(name, dataset)
    try:
        with whole(output) as temporary:
            sheet.save(temporary, format="PNG")
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror or error}); choose another path with -o"
        ) from None
    return output


def _images(name: str, dataset: Any) -> Any:
    """A sheet of images, with their classes and instances where there are any."""
    import numpy as np

    from .pictures import colourise, rows

    shown = {name: dataset.images[:_SHOWN].numpy() / 255}
    if dataset.classes is not None and dataset.instances is not None:
        shown["classes"] = np.stack([colourise(c) for c in dataset.classes[:_SHOWN].numpy()])
        shown["instances"] = np.stack([colourise(i) for i in dataset.instances[:_SHOWN].numpy()])
    return rows(shown)


def _clouds(dataset: Any) -> Any:
    """A sheet of point clouds, likewise."""
    from .point_pictures import segmentation

    known = {"classes": dataset.classes, "instances": dataset.instances}
    shown = {name: labels[: _SHOWN // 2].numpy() for name, labels in known.items() if labels is not None}
    return segmentation(dataset.images[: _SHOWN // 2].numpy(), shown)


def _source(name: str, family: Any) -> Any:
    try:
        return family[name]
    except ValueError as error:
        raise InputError(str(error)) from None
