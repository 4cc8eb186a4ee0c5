"""Point clouds for `decompose`: from files to the tile that a model knows, and what it found there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError


def explained(trained: Any, files: list[Path]) -> Iterator[tuple[dict[str, Any], Image.Image]]:
    """What the model says of each cloud: plain values for its JSON file, and a picture.

    Every file is read before the first is explained. The model is given as many points as it was trained on, as how
    dense a cloud is is part of what it sees.

    Args:
        trained: a `trainers.point_decomposition.TrainedPointModel`.
        files: as `trainers.datasets.point_files.read_points` reads them.
    Raises:
        InputError, DataError: a file that is missing, unreadable or not on the tile.
    """
    from trainers.objects import objects

    from .point_pictures import segmentation

    read = [read_cloud(file, trained) for file in files]
    for file, (points, scale, origin, whole) in zip(files, read, strict=True):
        found = trained.decompose(points[None])
        listed = [{**o, "box_in_cloud": _back(o["box"], scale, origin)} for o in objects(found, 0)]
        result = {"cloud": str(file), "points": whole, "points_taken": len(points), "objects": listed}
        rows = {"sprites": found.classes, "objects\n(a colour per slot)": found.instances}
        yield {**result, "error": round(float(found.error[0]), 6)}, segmentation(points[None], rows)


def read_cloud(file: Path, trained: Any) -> tuple[NDArray[np.float32], float, NDArray[np.float64], int]:
    """A cloud as the model takes it.

    Where the model was trained on tiles of your own files (`dataset.tile`), a cloud is one tile in their unit, and is
    centred; else it must be in the coordinates of the tile already, as nothing says how large things are in it.

    Returns:
        (P, 3) with x and y in -1 … 1 and z from 0 on; the file's coordinates are these times a scale, plus an origin;
        how many points the file has.
    """
    from trainers.datasets.point_files import READERS, read_points
    from trainers.datasets.point_folder import centred, sample

    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the path")
    if file.suffix.lower() not in READERS:
        raise InputError(f"{file}: is no point cloud; give files that end in {', '.join(READERS)}")
    whole = read_points(file).points
    pick = sample(np.random.default_rng(0), len(whole), trained.shape.points)
    side = float(trained.config.get("dataset.tile", 0.0))
    if side:
        moved = centred(whole)
        points, scale, origin = moved[pick] / (side / 2), side / 2, (whole - moved)[0]
        advice = f"cut it into tiles of side {side:g}, as dataset.tile of the training did"
    else:
        points, scale, origin = whole[pick], 1.0, np.zeros(3)
        advice = "move and scale it to where the training's clouds were: x and y in -1 … 1 on the tile, z from 0 on"
    reach = float(np.abs(points[:, :2]).max())
    if reach > 1 + 1e-3 or points[:, 2].min() < -0.5:
        found = f"it reaches {reach:.3g} half sides of it to a side, and down to {points[:, 2].min():.3g}"
        raise InputError(f"{file}: is not on the tile, as {found}; {advice}")
    return points.astype(np.float32), scale, origin, len(whole)


def _back(box: list[float], scale: float, origin: NDArray[np.float64]) -> list[float]:
    """A box (least x, y and z, then the largest) in the file's coordinates."""
    return [round(float(v * scale + o), 4) for v, o in zip(box, (*origin, *origin), strict=True)]
