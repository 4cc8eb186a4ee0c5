"""Pictures of point clouds, and of a model that was trained on them: the tile from above and from one side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .pictures import PALETTE, Cell, grid, usage

Floats = NDArray[np.floating[Any]]

_SIDE = 144  #: side of a picture in pixels
_VIEW = (0.5, 0.35)  #: how much of y and of z goes upwards in a picture that looks down on the tile from the front
_INK = np.array([70, 70, 70])


def save_trial_pictures(model: Any, dataset: Any, folder: Path, *, count: int = 6) -> list[Path]:
    """Sprites, reconstructions and segmentations of held-out clouds; as `pictures.save_trial_pictures`.

    Args:
        model: a `trainers.point_decomposition.TrainedPointModel`.
        dataset: what it was trained on.
        folder: made if needed.
        count: how many clouds to show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picked = dataset.held_out[:count]
    clouds = dataset.images[picked].numpy()
    some = model.decompose(clouds)
    sheets = {
        "sprites": sprite_sheet(model.sprites(), usage(model, dataset)),
        "reconstructions": _reconstructions(clouds, some),
        "segmentation": segmentation(
            clouds, {"sprites": some.classes, "objects\n(a colour per slot)": some.instances}, _true(dataset, picked)
        ),
    }
    files = []
    for name, sheet in sheets.items():
        files.append(folder / f"{name}.png")
        sheet.save(files[-1])
    return files


def _true(dataset: Any, picked: Any) -> NDArray[Any] | None:
    return None if dataset.classes is None else dataset.classes[picked].numpy()


def sprite_sheet(sprites: Floats, used: Floats) -> Image.Image:
    """Sprites (K, M, 3), most used first; a caption has its colour in segmentations, its index and its share."""
    largest = max(float(np.abs(sprites[..., :2]).max()), float(sprites[..., 2].max()) / 2, 1e-6)
    cells: list[Cell] = []
    for k in np.argsort(-used, kind="stable"):
        labels = np.full(len(sprites[k]), k + 1)
        caption = f"{k}: {used[k]:.0%}" if used[k] else f"{k}: unused"
        cells.append(Cell(scatter(sprites[k] / largest, labels, size=2), caption, int(k) + 1))
    return grid([("", cells[i : i + 8]) for i in range(0, len(cells), 8)])


def _reconstructions(clouds: Floats, some: Any) -> Image.Image:
    """Each cloud above the sprites that explain it, with the error below."""
    shown: list[Cell] = []
    for i, sprite in enumerate(some.sprite):
        there = sprite >= 0
        points = some.reconstruction[i][there].reshape(-1, 3)
        labels = np.repeat(sprite[there] + 1, some.reconstruction.shape[2])
        shown.append(Cell(scatter(points, labels, size=2), f"{some.error[i]:.2g}"))
    return grid([("points", [Cell(scatter(c)) for c in clouds]), ("reconstruction", shown)])


def segmentation(clouds: Floats, found: dict[str, NDArray[Any]], true: NDArray[Any] | None = None) -> Image.Image:
    """Clouds with their points in the colours of labels (N, P), a row for each kind, and the true classes last."""
    lines = [("points", [Cell(scatter(c)) for c in clouds])]
    named = {**found, **({"true classes\n(colours of\ntheir own)": true} if true is not None else {})}
    for name, labels in named.items():
        lines.append((name, [Cell(scatter(c, own)) for c, own in zip(clouds, labels, strict=True)]))
    return grid(lines)


def scatter(points: Floats, labels: NDArray[Any] | None = None, *, size: int = 1) -> Image.Image:
    """Points (P, 3) of a tile as seen from the front and above, far ones first; gray, or in colours of labels (P,)."""
    picture = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    far_first = np.argsort(-points[:, 1], kind="stable")
    p = points[far_first]
    across = (p[:, 0] + 1.15) / 2.3 * _SIDE
    up = _SIDE * 0.82 - ((p[:, 1] + 1) / 2 * _VIEW[0] + p[:, 2] * _VIEW[1]) * _SIDE
    ink = np.broadcast_to(_INK, (len(p), 3))
    if labels is not None:
        own = labels[far_first]
        ink = PALETTE[np.where(own > 0, (own - 1) % (len(PALETTE) - 1) + 1, 0)]
    for down in range(size + 1):
        for right in range(size + 1):
            row, column = (np.rint(a + b).astype(int) for a, b in ((up, down), (across, right)))
            there = (row >= 0) & (row < _SIDE) & (column >= 0) & (column < _SIDE)
            picture[row[there], column[there]] = ink[there]
    return Image.fromarray(picture)
