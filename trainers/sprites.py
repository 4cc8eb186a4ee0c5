"""Sprites: K learned prototype images s_k = (c_k, α_k), from free pixels or from a small network."""

from __future__ import annotations

from dataclasses import dataclass

from .families import Family
from .settings import MULTILAYER, setting

GENERATORS = Family("sprites.kind")


@dataclass(frozen=True, kw_only=True)
class _SpriteSettings:
    count: int = setting(10, "sprites K to learn, without the empty one", low=1, high=1000)
    size: int = setting(0, "side of a sprite in pixels; 0 is the size of the image", low=0, when=MULTILAYER)
    mask_std: float = setting(
        0.25, "initial mask: std of its Gaussian bump, as a share of the sprite's side", above=0, when=MULTILAYER
    )
    freeze: float = setting(
        0.0,
        "share of the training during which the sprites' colours stay as they are",
        low=0,
        high=1,
        source="Table 11",
    )
    freeze_masks: float = setting(
        0.0, "share of the training during which whole sprites stay as they are", low=0, high=1, when=MULTILAYER
    )


@GENERATORS.add("pixels")
class Pixels:
    """Sprites are free pixels (DTI-Clustering, Monnier et al. 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(_SpriteSettings):
        init: str = setting(
            "sample", "initial colours", choices=("sample", "random", "constant", "gaussian", "mean", "kmeans")
        )
        constant: float = setting(0.9, "initial intensity", low=0, high=1, when={"sprites.init": "constant"})


@GENERATORS.add("mlp")
class MLP:
    """Sprites are decoded from learned codes z_k by a two-layer network (MarioNette; the paper's §3.1)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(_SpriteSettings):
        latent: int = setting(128, "length of a sprite's code", low=1)
        hidden: int = setting(1024, "width of the hidden layer", low=8)
        value: float = setting(0.9, "initial intensity of every sprite", low=0.01, high=0.99, when=MULTILAYER)
        head_std: float = setting(
            0.01, "std of the last layer's initial weights: how far sprites differ at the start", low=0, when=MULTILAYER
        )
