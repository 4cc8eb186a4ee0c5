"""Generates scenes of squares, ellipses and hearts: Multi-dSprites (Kabra et al. 2019) and simpler ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .base import Arrays, Tell

CLASS_NAMES = ("square", "ellipse", "heart")

#: One clear colour per class, for scenes where colour tells the class.
_CLASS_COLOURS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.85, 0.25], [0.25, 0.4, 0.95]])
_CHUNK = 512


def generate(config: Any, count: int, tell: Tell | None = None) -> Arrays:
    """`count` scenes; scene i is the same whatever `count` is, and objects later in order hide earlier ones."""
    side, most = config.size, config.objects_max
    images = torch.empty(count, 3, side, side, dtype=torch.uint8)
    instances = torch.empty(count, side, side, dtype=torch.uint8)
    classes = torch.empty(count, side, side, dtype=torch.uint8)
    for start in range(0, count, _CHUNK):
        at = slice(start, min(start + _CHUNK, count))
        drawn = [_draw(config, scene, most) for scene in range(at.start, at.stop)]
        images[at], instances[at], classes[at] = _paint(_stack(drawn), side)
        if tell is not None:
            tell(at.stop, count)
    return Arrays(images, instances=instances, classes=classes, class_names=CLASS_NAMES)


def _draw(config: Any, scene: int, most: int) -> dict[str, np.ndarray]:
    """The random choices of one scene, from a stream of its own."""
    random = np.random.default_rng([config.generator_seed, scene])
    n = random.integers(config.objects_min, most + 1)
    kind = random.integers(0, len(CLASS_NAMES), most)
    radius = random.uniform(config.radius_min, config.radius_max, most)
    angle = random.uniform(0, 2 * np.pi, most) if config.rotation else np.zeros(most)
    colour = random.uniform(0, 1, (most, 3))
    if config.colours == "saturated":  # one channel full, one empty, one between: far from any gray
        order = random.permuted(np.tile(np.arange(3), (most, 1)), axis=1)
        levels = np.stack([np.full(most, 0.95), np.full(most, 0.05), random.uniform(0.05, 0.95, most)], 1)
        colour = np.take_along_axis(levels, order, 1)
    ground = random.uniform(0, 1) if config.ground == "gray" else 0.1
    tries = 30 if config.separate else 1
    centre = random.uniform(radius[None, :, None], 1 - radius[None, :, None], (tries, most, 2))
    return {
        "exists": np.arange(most) < n,
        "kind": kind,
        "radius": radius,
        "angle": angle,
        "colour": _CLASS_COLOURS.numpy()[kind] if config.colours == "by_class" else colour,
        "ground": np.float64(ground),
        "centre": _most_separate(centre, radius, n),
    }


def _most_separate(centre: np.ndarray, radius: np.ndarray, n: int) -> np.ndarray:
    """Of several placements (T, M, 2), the one whose first n objects keep most distance."""
    if len(centre) == 1 or n < 2:
        return centre[0]
    apart = np.linalg.norm(centre[:, :n, None] - centre[:, None, :n], axis=-1)
    gap = apart - (radius[:n, None] + radius[None, :n])
    gap[:, np.arange(n), np.arange(n)] = np.inf
    return centre[gap.min((1, 2)).argmax()]


def _stack(drawn: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    stacked = {k: torch.from_numpy(np.stack([d[k] for d in drawn])) for k in drawn[0]}
    return {k: v.float() if v.is_floating_point() else v for k, v in stacked.items()}


def _paint(scene: dict[str, Tensor], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, 3, H, W), instances and classes (n, H, W), all uint8."""
    n, most = scene["kind"].shape
    axis = (torch.arange(side) + 0.5) / side
    image = scene["ground"][:, None, None, None].expand(n, 3, side, side)
    instances = torch.zeros(n, side, side, dtype=torch.uint8)
    classes = torch.zeros_like(instances)
    for i in range(most):  # the painter's order
        dx = axis[None, None, :] - scene["centre"][:, i, 0, None, None]
        dy = axis[None, :, None] - scene["centre"][:, i, 1, None, None]
        cos, sin = scene["angle"][:, i].cos()[:, None, None], scene["angle"][:, i].sin()[:, None, None]
        radius = scene["radius"][:, i, None, None]
        x, y = (cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius
        inside = _distance(x, y, scene["kind"][:, i]) * radius * side  # in pixels, positive inside
        cover = (inside + 0.5).clamp(0, 1) * scene["exists"][:, i, None, None]
        image = image + cover[:, None] * (scene["colour"][:, i, :, None, None] - image)
        shown = cover > 0.5
        instances = torch.where(shown, i + 1, instances)
        classes = torch.where(shown, (scene["kind"][:, i, None, None] + 1).to(torch.uint8), classes)
    return (image * 255).round().to(torch.uint8), instances.to(torch.uint8), classes


def _distance(x: Tensor, y: Tensor, kind: Tensor) -> Tensor:
    """Distance to the outline of each shape of radius 1, positive inside; exact near the outline."""
    square = 0.75 - torch.maximum(x.abs(), y.abs())
    ratio = 0.6  # of an ellipse's axes
    level = (x.square() + (y / ratio).square()).sqrt()
    steepness = (x.square() + (y / ratio**2).square()).sqrt() / level.clamp_min(1e-6)
    ellipse = (1 - level) / steepness.clamp_min(1e-6)
    # a heart is a square on its corner with half discs on its two upper sides
    a = 0.52
    right, left = (x - (y + 0.1)) / 2**0.5, (-x - (y + 0.1)) / 2**0.5
    diamond = a - torch.maximum(right.abs(), left.abs())
    lobes = torch.maximum(
        a - ((right - a).square() + left.square()).sqrt(), a - (right.square() + (left - a).square()).sqrt()
    )
    heart = torch.maximum(diamond, lobes)
    kind = kind[:, None, None]
    return torch.where(kind == 0, square, torch.where(kind == 1, ellipse, heart))
