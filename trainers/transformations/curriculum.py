"""Curricula: when each part of a sequence joins the training (Table 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence as Names
from dataclasses import dataclass

from ..families import suggestion
from ..kinds import OfImages
from ..settings import MULTILAYER, SettingError, setting
from .family import TRANSFORMATIONS, SpatialTransformation

_IMAGES = {"model.kind": OfImages}
STRATEGIES = ("all", "id+rest", "id+g1+g2", "one-by-one")


@dataclass(frozen=True, kw_only=True)
class TransformationsConfig:
    sprite: str = setting(
        "identity_affine", "sequence for each sprite, names joined by _", source="Table 12", when=_IMAGES
    )
    layer: str = setting("color_position", "sequence for each layer, shared by its sprites", when=MULTILAYER)
    background: str = setting("color", "sequence for the background", when={"model.background": True})
    shared: bool = setting(False, "one sequence for all sprites instead of one each", source="Table 4", when=_IMAGES)
    padding: str = setting(
        "zeros", "what lies outside a sprite: black, or its border repeated", choices=("zeros", "border"), when=_IMAGES
    )
    position_std: float = setting(
        0.0, "std of the layers' initial position weights: above 0 they start at different places", low=0,
        when=MULTILAYER,
    )  # fmt: skip
    strategy: str = setting(
        "one-by-one", "curriculum: how the parts of a sequence join", choices=STRATEGIES, source="Table 3"
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

    def __post_init__(self) -> None:
        for level in ("sprite", "layer", "background"):
            parse(getattr(self, level), f"transformations.{level}")
        if self.strategy in ("id+g1+g2", "one-by-one") and self.last < self.first:
            raise SettingError(
                "transformations.last", f"is {self.last:g}, before transformations.first ({self.first:g}); swap them"
            )


def parse(text: str, name: str = "transformations.sprite") -> tuple[str, ...]:
    """Names in a sequence such as ``identity_affine_tps``; SettingError for one that does not exist."""
    names = tuple(part for part in text.split("_") if part)
    for part in names:
        if part not in TRANSFORMATIONS:
            raise SettingError(
                name, f"is {text!r}, but {part!r} is no transformation; {suggestion(part, TRANSFORMATIONS)}"
            )
    if len(set(names)) < len(names):
        raise SettingError(name, f"is {text!r}; name each transformation once")
    return names or ("identity",)


def milestones(config: TransformationsConfig, names: Names[str], epochs: int) -> tuple[int, ...]:
    """Completed epochs after which each part of the sequence is active; the first is from the start."""
    rest = len(names) - 1
    first, last = round(config.first * epochs), round(config.last * epochs)
    if config.strategy == "all":
        starts = [0] * rest
    elif config.strategy == "id+rest":
        starts = [first] * rest
    elif config.strategy == "one-by-one":
        starts = [round(first + (last - first) * i / max(rest - 1, 1)) for i in range(rest)]
    else:
        starts = [last if TRANSFORMATIONS[name].group == "g2" else first for name in names[1:]]
    return (0, *starts)


def active(starts: Names[int], epoch: int) -> tuple[bool, ...]:
    """Which parts are active after `epoch` completed epochs."""
    return tuple(epoch >= start for start in starts)


def settled(config: TransformationsConfig) -> float:
    """Share of the training after which no part joins any more: losses compare only from here on."""
    starts = milestones(config, parse(config.sprite), 10_000) + milestones(config, parse(config.background), 10_000)
    return max(starts) / 10_000


def is_spatial(name: str) -> bool:
    return issubclass(TRANSFORMATIONS[name], SpatialTransformation)
