"""Synthetic 3-D scenes: a few kinds of shapes stand on a tile, turned, scaled and scanned as points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..settings import SettingError, setting
from . import cache
from .base import DATASETS, Arrays, DatasetSettings, PointSource, Tell

Points = NDArray[np.float64]
Random = np.random.Generator

#: How many scenes are made when no number is asked for.
DEFAULT = 1000

#: Shapes are scaled by a number in this range, and each axis by another in the second one.
SCALE, STRETCH = (0.9, 1.1), (0.9, 1.1)

#: Centres of objects stay this far from the rim of the tile, and that far from each other, in half sides.
RIM, APART = 0.35, 0.62

_TRIES = 200


def box(random: Random, n: int, size: tuple[float, float, float], base: float = 0.0) -> Points:
    """n points on the sides and the top of a box on the ground, evenly by area; `size` is x, y and z."""
    x, y, z = size
    areas = np.array([x * y, x * z, x * z, y * z, y * z])
    face = random.choice(5, n, p=areas / areas.sum())
    p = random.uniform(-0.5, 0.5, (n, 3)) * size + [0, 0, z / 2]
    p[face == 0, 2] = z
    for number, axis, side in ((1, 1, -0.5), (2, 1, 0.5), (3, 0, -0.5), (4, 0, 0.5)):
        p[face == number, axis] = side * size[axis]
    p[:, 2] += base
    return p


def cone(random: Random, n: int, radius: float, height: float, base: float = 0.0) -> Points:
    """n points on the mantle of an upright cone, evenly by area."""
    share = np.sqrt(random.uniform(0, 1, n))
    angle = random.uniform(0, 2 * np.pi, n)
    return np.stack([radius * share * np.cos(angle), radius * share * np.sin(angle), base + height * (1 - share)], 1)


def ball(random: Random, n: int, radius: float, middle: float) -> Points:
    """n points on a sphere, evenly by area."""
    p = random.normal(size=(n, 3))
    return radius * p / np.linalg.norm(p, axis=1, keepdims=True) + [0, 0, middle]


def _parts(random: Random, n: int, shares: tuple[float, ...]) -> NDArray[np.int64]:
    return np.bincount(random.choice(len(shares), n, p=shares), minlength=len(shares))


def house(random: Random, n: int) -> Points:
    """A long box with a gable roof."""
    walls, roof = _parts(random, n, (0.55, 0.45))
    p = random.uniform(-0.5, 0.5, (roof, 3)) * [0.5, 0.3, 0] + [0, 0, 0.22]
    p[:, 2] += 0.18 * (1 - np.abs(p[:, 1]) / 0.15)
    return np.concatenate([box(random, walls, (0.5, 0.3, 0.22)), p])


def tree(random: Random, n: int) -> Points:
    """A ball on a thin trunk."""
    trunk, crown = _parts(random, n, (0.2, 0.8))
    return np.concatenate([box(random, trunk, (0.06, 0.06, 0.3)), ball(random, crown, 0.17, 0.45)])


def fir(random: Random, n: int) -> Points:
    """A tall cone."""
    return cone(random, n, 0.2, 0.75)


def car(random: Random, n: int) -> Points:
    """A low box with a smaller one on it, towards one end."""
    body, cabin = _parts(random, n, (0.65, 0.35))
    return np.concatenate(
        [box(random, body, (0.5, 0.22, 0.11)), box(random, cabin, (0.25, 0.2, 0.1), base=0.11) - [0.08, 0, 0]]
    )


#: Kinds of shapes, in the order of their labels.
SHAPES: dict[str, Callable[[Random, int], Points]] = {"house": house, "tree": tree, "fir": fir, "car": car}


@DATASETS.add("point_scenes")
class PointScenes(PointSource):
    """Houses, trees, firs and cars that stand on a tile, at any place and turned by any angle."""

    about = "3-D point clouds: houses, trees, firs and cars on a tile, 4 classes and the ground; generated"

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        points: int = setting(512, "points of each cloud", low=16, high=16384)
        shapes_min: int = setting(2, "fewest shapes on a tile", low=1, high=12)
        shapes_max: int = setting(4, "most shapes on a tile", low=1, high=12)
        kinds: int = setting(4, "kinds of shapes: the first of house, tree, fir, car", low=1, high=len(SHAPES))
        floor: float = setting(0.2, "share of the points that lie on the ground; 0 is no ground", low=0, high=0.9)
        jitter: float = setting(0.005, "std of the noise of each coordinate, in half sides of a tile", low=0, high=1)
        scene_seed: int = setting(0, "seed of the scenes (not of the training)", low=0)

        def __post_init__(self) -> None:
            if self.shapes_max < self.shapes_min:
                raise SettingError(
                    "dataset.shapes_max", f"is {self.shapes_max}, below shapes_min ({self.shapes_min}); swap them"
                )

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        """The scenes, generated once and kept in `data`."""
        made = {n: v for n, v in asdict(config).items() if n != "held_out"}
        name = hashlib.sha256(json.dumps([1, made]).encode()).hexdigest()[:12]
        kept = data / "generated" / f"point_scenes-{name}" if data is not None else None
        return cache.cached(kept, lambda: generate(config, config.images or DEFAULT, tell))


def generate(config: Any, count: int, tell: Tell | None = None) -> Arrays:
    """`count` scenes; scene i is the same whatever `count` is."""
    kinds = list(SHAPES)[: config.kinds]
    clouds = np.empty((count, config.points, 3), np.float32)
    instances, classes = (np.empty((count, config.points), np.uint8) for _ in range(2))
    for i in range(count):
        clouds[i], instances[i], classes[i] = _scene(np.random.default_rng([config.scene_seed, i]), config, kinds)
        if tell is not None and i % 500 == 0:
            tell(i, count)
    names = ("ground", *kinds) if config.floor else tuple(kinds)
    images, owners, shown = map(torch.from_numpy, (clouds, instances, classes))
    return Arrays(images, instances=owners, classes=shown, class_names=names)


def _scene(random: Random, config: Any, kinds: list[str]) -> tuple[Points, NDArray[Any], NDArray[Any]]:
    """One cloud (P, 3), and the instance and the class of each point; instance 0 is the ground."""
    places = _places(random, int(random.integers(config.shapes_min, config.shapes_max + 1)))
    kind = random.integers(0, len(kinds), len(places))
    ground = round(config.floor * config.points)
    each = np.diff(np.linspace(0, config.points - ground, len(places) + 1).round().astype(int))
    cloud = [np.concatenate([random.uniform(-1, 1, (ground, 2)), np.zeros((ground, 1))], 1)]
    for place, k, n in zip(places, kind, each, strict=True):
        cloud.append(_moved(random, SHAPES[kinds[k]](random, n), place))
    points = np.concatenate(cloud) + random.normal(0, config.jitter, (config.points, 3))
    owner = np.repeat(np.arange(len(places) + 1), [ground, *each])
    first = 1 if config.floor else 0
    shown = np.concatenate([[0], kind + first])[owner]
    order = random.permutation(config.points)
    return points[order], owner[order], shown[order]


def _moved(random: Random, shape: Points, place: Points) -> Points:
    """A shape scaled, turned about the vertical axis and put in its place."""
    angle = random.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    scaled = shape * random.uniform(*SCALE) * random.uniform(*STRETCH, 3)
    return scaled @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [*place, 0]


def _places(random: Random, count: int) -> list[Points]:
    """Places of objects, apart from each other; fewer than `count` where no room is left."""
    places: list[Points] = []
    for _ in range(_TRIES):
        tried = random.uniform(RIM - 1, 1 - RIM, 2)
        if all(np.linalg.norm(tried - p) > APART for p in places):
            places.append(tried)
        if len(places) == count:
            break
    return places
