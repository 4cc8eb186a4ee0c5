"""Transformations T(β) of sprites, their sequences and curricula."""

from __future__ import annotations

from dataclasses import dataclass

from ..families import Family
from ..settings import MULTILAYER, setting

TRANSFORMATIONS = Family("transformation")

STRATEGIES = ("all", "id+rest", "id+g1+g2", "one-by-one")


@dataclass(frozen=True, kw_only=True)
class TransformationsConfig:
    sprite: str = setting("identity_affine", "sequence for each sprite, names joined by _", source="Table 12")
    layer: str = setting("color_position", "sequence for each layer, shared by its sprites", when=MULTILAYER)
    background: str = setting("color", "sequence for the background", when={"model.background": True})
    shared: bool = setting(False, "one sequence for all sprites instead of one each", source="Table 4")
    strategy: str = setting(
        "one-by-one", "curriculum: how the sequence's parts join", choices=STRATEGIES, source="Table 3"
    )
    first: float = setting(
        0.125,
        "share of the training after which the first part joins",
        low=0,
        high=1,
        when={"transformations.strategy": ("id+rest", "id+g1+g2", "one-by-one")},
    )
    last: float = setting(
        0.5,
        "share of the training after which the last part joins",
        low=0,
        high=1,
        when={"transformations.strategy": ("id+g1+g2", "one-by-one")},
    )
