"""What a data set is once loaded: images or point clouds in memory, and labels or masks where there are any."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import DataError
from ..families import Family
from ..kinds import OfImages, OfPoints
from ..settings import setting

DATASETS = Family("dataset.name")

#: Tells how far long work is: (done, total).
Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """What every data set lets users set."""

    images: int = setting(0, "use only this many images, the first of a fixed shuffle; 0 is all", low=0)
    held_out: float = setting(
        0.1, "share of the images kept from training, to measure val/ metrics on", above=0, high=0.5
    )


@dataclass(frozen=True)
class Arrays:
    """Everything a source has, before a trial takes its share.

    images (N, C, H, W) uint8, or point clouds (N, P, 3) float32 (see `kinds.OfPoints`); labels (N,) int64, the class
    of an image; instances and classes (N, H, W) or (N, P) uint8, which object and which class of object each pixel
    or point shows, 0 for the background; groups (N,) int64, equal for images that are near-duplicates, which are then
    never split between training and held-out images.
    """

    images: Tensor
    labels: Tensor | None = None
    instances: Tensor | None = None
    classes: Tensor | None = None
    groups: Tensor | None = None
    class_names: tuple[str, ...] = ()


def floats(images: Tensor) -> Tensor:
    """What models take: bytes as floats in [0, 1]; points, which are floats already, as they are."""
    return images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images


class _Source:
    """One data set: its settings, and how its arrays are read or made."""

    Config: ClassVar[type] = DatasetSettings
    #: one line for `data list`
    about: ClassVar[str] = ""

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        """Reads or makes the images; `data` is the folder of prepared data sets. DataError says what is missing."""
        raise NotImplementedError


class Source(_Source, OfImages):
    """A data set of images."""


class PointSource(_Source, OfPoints):
    """A data set of point clouds."""


@dataclass(frozen=True)
class Dataset:
    """The images of a trial with their fixed split; shapes as in `Arrays`."""

    arrays: Arrays
    train: Tensor
    held_out: Tensor
    name: str = ""

    @property
    def images(self) -> Tensor:
        return self.arrays.images

    @property
    def labels(self) -> Tensor | None:
        return self.arrays.labels

    @property
    def instances(self) -> Tensor | None:
        return self.arrays.instances

    @property
    def classes(self) -> Tensor | None:
        return self.arrays.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.arrays.class_names

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the images (not of their labels): equal for equal pixels in equal order."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def take(arrays: Arrays, config: Any, name: str) -> Dataset:
    """The share of the images a trial asks for, split into training and held-out images.

    Shuffle and split depend on the data set alone, never on a trial's seed, so that all trials of a
    study are measured on the same images.
    """
    total = len(arrays.images)
    if config.images > total:
        raise DataError(
            f"dataset.images: is {config.images}, but {name} has {total} images; ask for fewer, or 0 for all"
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))[: config.images or total]
    count = max(1, round(config.held_out * len(order)))
    if arrays.groups is not None:
        order, count = _together(order, arrays.groups[order], count)
    if len(order) - count < 1:
        raise DataError(f"dataset.images: {len(order)} images leave none to train on; take more")

    def pick(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[order]

    taken = Arrays(
        arrays.images[order],
        labels=pick(arrays.labels),
        instances=pick(arrays.instances),
        classes=pick(arrays.classes),
        groups=pick(arrays.groups),
        class_names=arrays.class_names,
    )
    at = torch.arange(len(order))
    return Dataset(taken, train=at[count:], held_out=at[:count], name=name)


def _together(order: Tensor, groups: Tensor, count: int) -> tuple[Tensor, int]:
    """The order with all of the groups of its first images brought to the front, at least `count`; and how many."""
    first: dict[int, int] = {}
    for group in groups.tolist():
        first.setdefault(group, len(first))
    rank = torch.tensor([first[g] for g in groups.tolist()])
    front = rank <= rank.sort().values[count - 1]
    return torch.cat([order[front], order[~front]]), int(front.sum())


def load(config: Any, data: Path | None = None, tell: Tell | None = None) -> Dataset:
    """The data set a TrialConfig asks for.

    Args:
        config: the trial's configuration.
        data: folder of prepared and generated data sets; without it nothing is kept on disk.
        tell: hears how far long work is.
    Raises:
        DataError: a file is missing or damaged; the message says which and what to do.
    """
    source, section = config.parts["dataset"], config.section("dataset")
    return take(source.arrays(section, data, tell), section, str(config["dataset.name"]))


def summary(arrays: Arrays) -> Mapping[str, Any]:
    """Counts and shapes, for people."""
    n, *shape = arrays.images.shape
    sizes = dict(zip(("channels", "height", "width") if len(shape) == 3 else ("points", "axes"), shape, strict=True))
    has = [k for k in ("labels", "instances", "classes") if getattr(arrays, k) is not None]
    return {"images": n, **sizes, "has": has, "classes": list(arrays.class_names)}
