"""A folder of point clouds of your own; classes of points are not needed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError
from ..settings import setting
from . import cache
from .base import DATASETS, Arrays, DatasetSettings, PointSource, Tell
from .files import identity
from .point_files import READERS, Cloud, list_clouds, read_points

#: A tile with a smaller share of the points it should have is left out.
LEAST = 1 / 8


@DATASETS.add("point_folder")
class PointFolder(PointSource):
    """All point clouds below a folder, each one scene, or cut into square tiles of one size.

    Every scene gets as many points: some of its own, drawn at random (with repetition where it has too few). Scenes
    are centred, stand on their lowest point, and share one scale, so that sizes stay comparable.
    """

    about = "your own 3-D point clouds: dataset.path names the folder; .npy, .npz, .ply, .xyz, .txt or .csv"

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        path: str = setting("", "the folder of your files; its sub-folders are read too")
        points: int = setting(512, "points of each cloud", low=16, high=16384)
        tile: float = setting(
            0.0, "side of the square tiles that files are cut into, in their unit; 0 takes each file as a scene", low=0
        )  # fmt: skip

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        root = Path(config.path).expanduser()
        if not config.path:
            raise DataError("dataset.path: is not set; give the folder of your clouds, e.g. dataset.path: ./scans")
        if not root.is_dir():
            raise DataError(f"dataset.path: {root} is no folder; give the folder of your point clouds")
        files = list_clouds(root)
        if not files:
            raise DataError(f"dataset.path: {root} holds no point clouds; give files that end in {', '.join(READERS)}")
        asked = [config.points, config.tile, identity(files)]
        name = hashlib.sha256(json.dumps([1, asked]).encode()).hexdigest()[:12]
        kept = data / "generated" / f"point_folder-{name}" if data is not None else None
        return cache.cached(kept, lambda: _read(files, config, tell))


def _read(files: list[Path], config: Any, tell: Tell | None) -> Arrays:
    scenes: list[Cloud] = []
    for number, file in enumerate(files):
        cloud = read_points(file)
        scenes += tiles(cloud, config.tile, round(LEAST * config.points)) if config.tile else [cloud]
        if tell is not None:
            tell(number + 1, len(files))
    if len(scenes) < 2:
        what = f"tiles of side {config.tile:g}" if config.tile else "files"
        raise DataError(
            f"dataset.path: {config.path} gives {len(scenes)} {what}, but training needs two or more scenes;"
            " give more files, or smaller tiles with dataset.tile"
        )
    scale = config.tile / 2 or max(float(np.ptp(s.points[:, :2], axis=0).max()) for s in scenes) / 2 or 1.0
    random = np.random.default_rng(0)
    clouds = np.empty((len(scenes), config.points, 3), np.float32)
    known = all(s.classes is not None for s in scenes)
    classes = np.empty((len(scenes), config.points), np.int64)
    for i, scene in enumerate(scenes):
        pick = sample(random, len(scene.points), config.points)
        clouds[i] = scene.points[pick] / scale if config.tile else centred(scene.points)[pick] / scale
        if known:
            classes[i] = scene.classes[pick]  # type: ignore[index]
    if not known:
        return Arrays(torch.from_numpy(clouds))
    return Arrays(torch.from_numpy(clouds), **_named(classes))


def sample(random: np.random.Generator, have: int, want: int) -> NDArray[np.int64]:
    """Indices of `want` of `have` points: each at most once where there are enough, else some again."""
    if have >= want:
        return random.choice(have, want, replace=False)
    return np.concatenate([np.arange(have), random.integers(0, have, want - have)])


def centred(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 3) around the middle of their extent in x and y, the lowest at height 0."""
    low, high = points.min(0), points.max(0)
    return points - [*(low[:2] + high[:2]) / 2, low[2]]


def tiles(cloud: Cloud, side: float, least: int) -> list[Cloud]:
    """The square tiles of a cloud, each around its own middle; those of fewer than `least` points are left out."""
    points = cloud.points - [*cloud.points[:, :2].min(0), 0]
    at = np.floor(points[:, :2] / side).astype(np.int64)
    order = np.lexsort(at.T)
    cuts = np.flatnonzero((np.diff(at[order], axis=0) != 0).any(1)) + 1
    made = []
    for own in np.split(order, cuts):
        if len(own) < max(1, least):
            continue
        middle = (at[own[0]] + 0.5) * side
        moved = points[own] - [*middle, points[own, 2].min()]
        made.append(Cloud(moved, None if cloud.classes is None else cloud.classes[own]))
    return made


def _named(classes: NDArray[np.int64]) -> dict[str, Any]:
    """Classes numbered from 0 on, under the numbers that the files have."""
    numbers, index = np.unique(classes, return_inverse=True)
    if len(numbers) > 255:
        raise DataError("dataset.path: the files have more than 255 classes of points; are those instances?")
    shown = torch.from_numpy(index.reshape(classes.shape).astype(np.uint8))
    return {"classes": shown, "class_names": tuple(map(str, numbers))}
