"""Models: how transformed sprites explain an image."""

from __future__ import annotations

from dataclasses import dataclass

from .families import Family
from .settings import setting

MODELS = Family("model.kind")


@MODELS.add("clustering")
class Clustering:
    """One opaque sprite explains the whole image (the paper's §3, L = 1)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        pass


@MODELS.add("multilayer")
class MultiLayer:
    """L layers, each one masked sprite, over an optional background (eq. 2)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        layers: int = setting(2, "object layers L: the most objects an image can show", low=1, high=64)
        background: bool = setting(True, "learn an opaque background behind the layers")
        empty_sprite: bool = setting(True, "let a layer stay empty")
        occlusion: bool = setting(True, "predict which layer is in front; else later layers are")
