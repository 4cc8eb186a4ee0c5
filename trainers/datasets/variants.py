"""Data sets made of MNIST: ColoredMNIST by the recipe of the paper's code, and AffNIST."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from . import cache
from .base import DATASETS, Arrays, DatasetSettings, Source, Tell
from .classics import DIGITS, MNIST, PartSettings, fetched, parts
from .prepared import original_or_generated, source_setting


@DATASETS.add("mnist_color")
class ColoredMNIST(Source):
    """MNIST with a random colour and ground per image, always the same for the same image.

    Not the red and green benchmark of Arjovsky et al. With v the gray value in [0, 1], the colour w in [-1, 1] and
    the bias b in [0, 1] drawn from the index of the image: ``|w v + b|``, divided by its largest value.
    """

    Config = PartSettings
    about = "MNIST in random colours on random grounds, 28x28, 70,000 images in 10 classes"

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        whole = fetched(MNIST.name, data, MNIST.download)
        assert data is not None
        coloured = cache.cached(
            data / "generated" / "mnist_color",
            lambda: Arrays(colour(whole.images), labels=whole.labels, class_names=DIGITS),
        )
        return parts(coloured, {"test": slice(0, MNIST.tests), "train": slice(MNIST.tests, None)}, config.part)


def colour(images: Tensor) -> Tensor:
    """Gray images (N, 1, H, W) uint8 to coloured ones (N, 3, H, W), by their index."""
    g = torch.Generator()
    drawn = torch.empty(len(images), 2, 3)
    for i in range(len(images)):
        g.manual_seed(i)
        drawn[i, 0], drawn[i, 1] = 2 * torch.rand(3, generator=g) - 1, torch.rand(3, generator=g)
    made = []
    for gray, (weight, bias) in zip(images.split(5000), (d.unbind(1) for d in drawn.split(5000)), strict=True):
        x = (weight[:, :, None, None] * gray.float() / 255 + bias[:, :, None, None]).abs()
        made.append((x / x.amax((1, 2, 3), keepdim=True) * 255).round().to(torch.uint8))
    return torch.cat(made)


@DATASETS.add("affnist")
class AffNIST(Source):
    """MNIST digits under random affine maps on a canvas of 40x40 pixels (Tieleman 2013).

    The original test set, 32 maps of each of the 10,000 test digits, once `data prepare affnist` has read
    its .mat file. What is generated instead is a stand-in: maps drawn from about the same ranges, not the
    published images.
    """

    about = "MNIST under affine maps, 40x40, 10 classes; the original once prepared, else a generated stand-in"

    @dataclass(frozen=True, kw_only=True)
    class Config(DatasetSettings):
        source: str = source_setting()

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:

        def generate() -> Arrays:
            test = parts(fetched(MNIST.name, data, MNIST.download), {"test": slice(0, MNIST.tests)}, "test")
            return Arrays(affine(test.images, seed=0), labels=test.labels, class_names=DIGITS)

        return original_or_generated("affnist", config.source, data, generate, key={})

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """From the original test.mat or affNIST_test.mat."""
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        try:
            found = loadmat(path, simplify_cells=True)["affNISTdata"]
            pixels, labels = np.asarray(found["image"]), np.asarray(found["label_int"]).ravel()
        except (OSError, ValueError, KeyError, TypeError, NotImplementedError, IndexError, MatReadError) as error:
            raise DataError(f"{path}: is no AffNIST file ({error}); give its transformed test.mat") from None
        if pixels.ndim != 2 or pixels.shape != (1600, len(labels)):
            raise DataError(f"{path}: its images are {pixels.shape}, not (1600, {len(labels)}); give the original file")
        images = torch.from_numpy(np.ascontiguousarray(pixels.T, dtype=np.uint8)).view(-1, 1, 40, 40)
        return Arrays(images, labels=torch.from_numpy(labels.astype(np.int64)), class_names=DIGITS)


def affine(digits: Tensor, seed: int, *, side: int = 40) -> Tensor:
    """Digits (N, 1, h, w) uint8 on a canvas of `side` pixels: rotated by up to 20 degrees, sheared by up to 0.2,
    scaled by 0.8 to 1.2 along each axis, and moved to anywhere they fit.
    """
    g = torch.Generator().manual_seed(seed)
    made = []
    for x in digits.split(5000):
        n = len(x)
        angle, shear, across, down = (torch.rand(n, 4, generator=g) * 2 - 1).unbind(1)
        angle, shear = angle * math.radians(20), shear * 0.2
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
        skew = torch.eye(2).repeat(n, 1, 1)
        skew[:, 0, 1] = shear
        forward = turn @ skew @ torch.diag_embed(torch.stack([1 + 0.2 * across, 1 + 0.2 * down], 1))
        ratio = side / x.shape[-1]
        inverse = torch.linalg.inv(forward) * ratio
        room = max(0.0, (side - x.shape[-1]) / side)
        shift = (torch.rand(n, 2, 1, generator=g) * 2 - 1) * room
        theta = torch.cat([inverse, -inverse @ shift], 2)
        grid = torch.nn.functional.affine_grid(theta, [n, 1, side, side], align_corners=False)
        warped = torch.nn.functional.grid_sample(x.float(), grid, align_corners=False)
        made.append(warped.round().to(torch.uint8))
    return torch.cat(made)
