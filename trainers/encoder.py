"""Encoders: image x (B, C, H, W) -> features f (B, D), shared by all heads of a model."""

from __future__ import annotations

from dataclasses import dataclass

from .families import Family
from .settings import setting

ENCODERS = Family("encoder.kind")


class _Encoder:
    @dataclass(frozen=True, kw_only=True)
    class Config:
        pool: int = setting(2, "side of the average-pooled feature map; features are flattened", low=1, high=8)


@ENCODERS.add("conv")
class Conv(_Encoder):
    """Three strided convolutions: a fraction of a ResNet's cost on small images."""

    @dataclass(frozen=True, kw_only=True)
    class Config(_Encoder.Config):
        width: int = setting(32, "channels of the first convolution; later ones have twice as many", low=4)


@ENCODERS.add("resnet20")
class ResNet20(_Encoder):
    """CIFAR ResNet with 3 blocks a stage (He et al. 2016), the paper's encoder for clustering."""


@ENCODERS.add("resnet32")
class ResNet32(_Encoder):
    """CIFAR ResNet with 5 blocks a stage, the paper's encoder for Tetrominoes and Multi-dSprites."""
