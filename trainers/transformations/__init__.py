"""Transformations T(β) of sprites, their sequences and curricula (§3.2 of the paper).

To add one, write a class as in `affine` or `colour`, there or in a module of its own in this folder, and add it to
`TRANSFORMATIONS`; nothing else changes.
"""

from ..families import import_modules
from .colour import soft_clamp
from .curriculum import STRATEGIES, TransformationsConfig, active, milestones, parse, settled
from .family import (
    TRANSFORMATIONS,
    AxisWarp,
    ColourTransformation,
    FilterTransformation,
    SpatialTransformation,
    Transformation,
    sample_axes,
)
from .heads import Heads
from .sequence import Sequence

__all__ = [
    "STRATEGIES",
    "TRANSFORMATIONS",
    "AxisWarp",
    "ColourTransformation",
    "FilterTransformation",
    "Heads",
    "Sequence",
    "SpatialTransformation",
    "Transformation",
    "TransformationsConfig",
    "active",
    "milestones",
    "parse",
    "sample_axes",
    "settled",
    "soft_clamp",
]

import_modules(__name__, __path__)
