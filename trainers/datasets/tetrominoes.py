"""Tetrominoes: three of the tetris pieces on black, every piece in every orientation a class of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..settings import setting
from . import originals
from .base import DATASETS, Arrays, DatasetSettings, Source, Tell
from .originals import PUBLISHED
from .prepared import original_or_generated, source_setting
from .tfrecord import Features

SIZE, OBJECTS = 35, 3
BLOCK = 5  #: side of one of the four blocks of a piece, in pixels
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255))
#: One orientation of each free or mirrored piece.
_PIECES = {
    "I": ["####"], "O": ["##", "##"], "T": ["###", ".#."], "S": [".##", "##."], "Z": ["##.", ".##"],
    "J": ["#..", "###"], "L": ["..#", "###"],
}  # fmt: skip
_CHUNK = 4096


def _orientations() -> dict[str, np.ndarray]:
    """The 19 fixed tetrominoes by name, each (rows, columns) of bool."""
    found: dict[str, np.ndarray] = {}
    for letter, drawn in _PIECES.items():
        piece, seen = np.array([[c == "#" for c in row] for row in drawn]), set[bytes]()
        for turn in range(4):
            turned = np.rot90(piece, turn)
            identity = bytes(turned.shape) + turned.tobytes()
            if identity not in seen:
                seen.add(identity)
                found[f"{letter}{90 * turn}"] = turned
    return found


SHAPES = _orientations()


@DATASETS.add("tetrominoes")
class Tetrominoes(Source):
    """Scenes of 35x35 pixels with three tetrominoes that do not overlap, each in one of six colours.

    The original scenes (Kabra et al. 2019) are read once `data prepare tetrominoes` has converted them; otherwise
    scenes are generated.
    """

    about = "three tetrominoes on black, 35x35, 19 classes; generated, or the original once prepared"

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        images: int = setting(PUBLISHED, "use only this many images, the first of a fixed shuffle; 0 is all", low=0)
        source: str = source_setting()
        generator_seed: int = setting(
            0, "seed of the scenes (not of the training)", low=0, when={"dataset.source": ("auto", "generated")}
        )

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        """The original scenes if prepared, else generated ones, cached in `data`."""
        count = config.images or PUBLISHED
        return original_or_generated(
            "tetrominoes",
            config.source,
            data,
            lambda: generate(count, config.generator_seed, tell),
            key={"images": count, "generator_seed": config.generator_seed},
            published=config.generator_seed == 0,
        )

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """The original files (TFRecord or PNG folders) as arrays, for `data prepare`."""
        return originals.convert(path, _scene, tuple(SHAPES), tell)


def generate(count: int, seed: int, tell: Tell | None = None) -> Arrays:
    """`count` scenes; scene i is the same whatever `count` is."""
    stamps = np.zeros((len(SHAPES), SIZE, SIZE), bool)
    extent = np.zeros((len(SHAPES), 2), np.int64)
    for k, shape in enumerate(SHAPES.values()):
        drawn = np.kron(shape, np.ones((BLOCK, BLOCK), bool))
        stamps[k, : drawn.shape[0], : drawn.shape[1]] = drawn
        extent[k] = drawn.shape
    parts = []
    for number, start in enumerate(range(0, count, _CHUNK)):
        parts.append(_chunk(stamps, extent, np.random.default_rng([seed, number]), min(_CHUNK, count - start)))
        if tell is not None:
            tell(start, count)
    images, instances, classes = (torch.from_numpy(np.concatenate(p)[:count]) for p in zip(*parts, strict=True))
    return Arrays(images, instances=instances, classes=classes, class_names=tuple(SHAPES))


def _chunk(
    stamps: np.ndarray, extent: np.ndarray, chance: np.random.Generator, wanted: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first `wanted` scenes of a chunk: whole scenes are drawn again until no two pieces overlap."""
    kinds = chance.integers(0, len(SHAPES), (_CHUNK, OBJECTS))
    colours = np.array(COLOURS, np.uint8)[chance.integers(0, len(COLOURS), (_CHUNK, OBJECTS))]
    places = np.zeros((_CHUNK, OBJECTS, 2), np.int64)
    left = np.arange(_CHUNK)
    while len(left):
        room = SIZE - extent[kinds[left]] + 1
        places[left] = (chance.random((len(left), OBJECTS, 2)) * room).astype(np.int64)
        left = left[_masks(stamps, kinds[left], places[left]).sum(1).max((1, 2)) > 1]
    masks = _masks(stamps, kinds[:wanted], places[:wanted])
    number = np.arange(1, OBJECTS + 1, dtype=np.uint8)
    instances = (masks * number[:, None, None]).sum(1).astype(np.uint8)
    classes = (masks * (kinds[:wanted] + 1)[..., None, None]).sum(1).astype(np.uint8)
    images = (masks[:, :, None] * colours[:wanted, :, :, None, None]).sum(1).astype(np.uint8)
    return images, instances, classes


def _masks(stamps: np.ndarray, kinds: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pixels of each piece, (N, 3, H, W) bool: its stamp, moved down and right."""
    rows = np.arange(SIZE)[:, None] - places[..., 0, None, None]
    columns = np.arange(SIZE)[None, :] - places[..., 1, None, None]
    inside = (rows >= 0) & (columns >= 0)
    return stamps[kinds[..., None, None], np.maximum(rows, 0), np.maximum(columns, 0)] & inside


def _scene(features: Features) -> originals.Scene:
    """One record of the DeepMind file; its classes are told by the shapes of the masks."""
    image = np.frombuffer(features["image"][0], np.uint8).reshape(SIZE, SIZE, 3)  # type: ignore[arg-type]
    masks = np.frombuffer(features["mask"][0], np.uint8).reshape(-1, SIZE, SIZE)  # type: ignore[arg-type]
    owner = originals.owners(masks, features)
    kinds = np.zeros(len(masks), np.uint8)
    for entity in np.flatnonzero(originals.visible(features)):
        kinds[entity] = _kind(owner == entity)
    return image.transpose(2, 0, 1), owner, kinds[owner]


def _kind(mask: np.ndarray) -> int:
    """Class (from 1) of a piece: the shape that its mask has on a grid of blocks."""
    if not mask.any():
        return 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = (cut.sum() / 4) ** 0.5
    height, width = (max(1, round(n / side)) for n in cut.shape)
    middles = [
        ((np.arange(n) + 0.5) * size / n).astype(int) for n, size in ((height, cut.shape[0]), (width, cut.shape[1]))
    ]
    found = cut[np.ix_(*middles)]
    for number, shape in enumerate(SHAPES.values(), 1):
        if shape.shape == found.shape and (shape == found).all():
            return number
    raise ValueError("a mask is no tetromino")
