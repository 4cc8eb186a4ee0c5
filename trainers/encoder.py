"""Encoders: image x (B, C, H, W) -> features f (B, D), shared by all heads of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .families import Family
from .settings import setting

ENCODERS = Family("encoder.kind")


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose only state is its running mean and variance (fixed momentum)."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.num_batches_tracked = None  # a count that only a cumulative average would need


class Encoder(nn.Module):
    """Shared by encoders: a convolutional `body`, averaged to `pool` x `pool` and flattened to D features.

    With a `thumbnail` the image itself, averaged to so many values a side, follows the features of the maps, for the
    regressors of transformations. Colours and places are nearly linear in it, while batch normalisation, which sees a
    batch of other colours at each step, makes them hard to read off the maps. Decisions are to read the maps alone:
    with pixels at hand they settle early, on colours.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        pool: int = setting(2, "side of the average-pooled feature map; features are flattened", low=1, high=8)
        precision: str = setting(
            "float32", "of the encoder's convolutions; bfloat16 is for GPUs", choices=("float32", "bfloat16")
        )
        thumbnail: int = setting(
            0, "side of a small copy of the image that regressors of transformations see too; 0 is none, as published",
            low=0, high=16, when={"model.kind": ("clustering", "multilayer")},
        )  # fmt: skip

    def __init__(self, body: nn.Module, width: int, config: Any, channels: int):
        super().__init__()
        self.body, self.width, self.config, self.channels = body, width, config, channels
        self.of_maps = width * config.pool**2
        self.features = self.of_maps + channels * config.thumbnail**2

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] -> (B, D)."""
        features = self.map(images).flatten(1)
        if not self.config.thumbnail:
            return features
        thumbnail = F.adaptive_avg_pool2d(images, self.config.thumbnail) - 0.5
        return torch.cat((features, thumbnail.flatten(1)), 1)

    def without_thumbnail(self, features: Tensor) -> Tensor:
        """The features of the maps alone (B, `of_maps`)."""
        return features[:, : self.of_maps]

    def map(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] -> (B, D / pool², pool, pool)."""
        return F.adaptive_avg_pool2d(self.last_maps(images), self.config.pool)

    def last_maps(self, images: Tensor) -> Tensor:
        """The last maps of the body, in full precision: bfloat16 has not the digits for places in an image."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            found: Tensor = self.body(images)
        return found.float()


@ENCODERS.add("conv")
class Conv(Encoder):
    """Three convolutions, strided while the map is large: a fraction of a ResNet's cost on small images.

    With `blocks` residual blocks follow at the small map, where they cost next to nothing. What is a decision's only
    view of an image is worth some depth: Ours-C on MNIST ends with two digits in one sprite far less often.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Encoder.Config):
        width: int = setting(32, "channels of the first convolution; later ones have twice as many", low=4)
        blocks: int = setting(0, "residual blocks of two convolutions each behind the first three", low=0, high=16)

    def __init__(self, config: Any, *, channels: int, size: tuple[int, int]):
        layers: list[nn.Module] = []
        side, before = min(size), channels
        for width in (config.width, 2 * config.width, 2 * config.width):
            stride = 2 if (side + 1) // 2 >= config.pool else 1
            side = (side + stride - 1) // stride
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), BatchNorm(width), nn.ReLU()]
            before = width
        layers += [_Block(before, before, 1) for _ in range(config.blocks)]
        super().__init__(nn.Sequential(*layers), before, config, channels)
        if config.blocks:
            _start(self)


def _start(encoder: nn.Module) -> None:
    """Weights as residual networks want them (He et al. 2015)."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


class _Block(nn.Module):
    """Basic residual block; a change of shape is bridged by subsampling and zero channels (option A)."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = BatchNorm(width)
        self.stride, self.pad = stride, (width - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        if self.stride > 1 or self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return (x + y).relu()


class _CifarResNet(Encoder):
    blocks: int

    def __init__(self, config: Any, *, channels: int, size: tuple[int, int]):
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False), BatchNorm(16), nn.ReLU()]
        before = 16
        for width in (16, 32, 64):
            for i in range(self.blocks):
                layers.append(_Block(before, width, 2 if i == 0 and width > 16 else 1))
                before = width
        super().__init__(nn.Sequential(*layers), 64, config, channels)
        _start(self)


@ENCODERS.add("resnet20")
class ResNet20(_CifarResNet):
    """CIFAR ResNet with 3 blocks a stage (He et al. 2016), the paper's encoder for clustering."""

    blocks = 3


@ENCODERS.add("resnet32")
class ResNet32(_CifarResNet):
    """CIFAR ResNet with 5 blocks a stage, the paper's encoder for Tetrominoes and Multi-dSprites."""

    blocks = 5


class _ProjectedBlock(nn.Module):
    """Basic residual block; a change of shape is bridged by a strided 1x1 convolution (option B)."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = BatchNorm(width)
        changes = stride > 1 or before != width
        self.bridge = (
            nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), BatchNorm(width)) if changes else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (y + (x if self.bridge is None else self.bridge(x))).relu()


@ENCODERS.add("resnet18")
class ResNet18(Encoder):
    """ResNet-18 (He et al. 2016) from scratch, the paper's encoder for CLEVR: for images of 64 pixels and more."""

    def __init__(self, config: Any, *, channels: int, size: tuple[int, int]):
        layers: list[nn.Module] = [
            nn.Conv2d(channels, 64, 7, 2, 3, bias=False), BatchNorm(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        ]  # fmt: skip
        before = 64
        for width in (64, 128, 256, 512):
            layers += [_ProjectedBlock(before, width, 1 if width == 64 else 2), _ProjectedBlock(width, width, 1)]
            before = width
        super().__init__(nn.Sequential(*layers), before, config, channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
