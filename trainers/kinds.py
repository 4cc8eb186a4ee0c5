"""Kinds of data. What is made for one kind inherits its class; what inherits none serves all of them.

Settings ask for a kind in their conditions (``when={"model.kind": OfImages}``), so which of them apply follows from
the types, and `TrialConfig` refuses parts of different kinds.
"""

from __future__ import annotations

from typing import ClassVar


class OfImages:
    """Made for images, (B, C, H, W) in [0, 1]."""

    data: ClassVar[str] = "images"


class OfPoints:
    """Made for point clouds, (B, P, 3): x and y in [-1, 1] on a tile, z upwards from the ground in the same unit."""

    data: ClassVar[str] = "point clouds"


def kind(part: type) -> str:
    """The kind of data that a part is made for, "" for one that serves all."""
    return str(getattr(part, "data", ""))
