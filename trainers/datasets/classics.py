"""MNIST, Fashion-MNIST, USPS and SVHN: small labelled images that torchvision knows how to fetch and check."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ..errors import DataError
from ..settings import setting
from . import cache
from .base import DATASETS, Arrays, DatasetSettings, Source, Tell
from .hdf5 import read_hdf5

DIGITS = tuple("0123456789")


@dataclass(frozen=True, kw_only=True)
class PartSettings(DatasetSettings):
    """A data set that comes in parts, of which the paper takes all."""

    part: str = setting(
        "all", "the images its authors meant for testing, those for training, or all", choices=("all", "test", "train")
    )


class Classic(Source):
    """A data set of torchvision: downloaded once, or made from the original files by `data prepare`.

    Test images come first, as in the published code.
    """

    Config = PartSettings
    name: ClassVar[str]
    #: images for testing, at the front
    tests: ClassVar[int]
    #: file name -> folder under torchvision's root; all of them are needed
    files: ClassVar[Mapping[str, str]]
    class_names: ClassVar[tuple[str, ...]] = DIGITS

    @classmethod
    def arrays(cls, config: Any, data: Path | None, tell: Tell | None = None) -> Arrays:
        """All images or those of one part; the first use fetches them."""
        whole = fetched(cls.name, data, cls.download)
        return parts(whole, {"test": slice(0, cls.tests), "train": slice(cls.tests, None)}, config.part)

    @classmethod
    def read(cls, root: Path, download: bool) -> Arrays:
        """The images under torchvision's root folder."""
        raise NotImplementedError

    @classmethod
    def download(cls, root: Path) -> Arrays:
        return cls.read(root, download=True)

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        """From a folder that holds the original files (anywhere below it)."""
        if not path.is_dir():
            raise DataError(f"{path}: is no folder; give the one that holds {', '.join(cls.files)}")
        with tempfile.TemporaryDirectory() as temporary:
            for name, folder in cls.files.items():
                found = sorted(path.rglob(name))
                if not found:
                    raise DataError(f"{path}: has no {name}; {cls.name} needs {', '.join(cls.files)}")
                there = Path(temporary) / folder
                there.mkdir(parents=True, exist_ok=True)
                (there / name).symlink_to(found[0].absolute())
            try:
                return cls.read(Path(temporary), download=True)
            except (RuntimeError, OSError, EOFError, ValueError) as error:
                # a file whose checksum is wrong is fetched anew, which fails here without a network
                raise DataError(f"{path}: the files are not the original ones ({error}); get them again") from None


def fetched(name: str, data: Path | None, download: Callable[[Path], Arrays]) -> Arrays:
    """The prepared data set, or else the downloaded one, which is then kept as if it had been prepared."""
    if data is None:
        raise DataError(f"{name}: needs a folder to keep the images in; give `data`")
    folder = data / name

    def make() -> Arrays:
        with tempfile.TemporaryDirectory(dir=data) as temporary, contextlib.redirect_stdout(io.StringIO()):
            try:
                return download(Path(temporary))
            except (RuntimeError, OSError, EOFError, ValueError) as error:
                why = (str(error) or type(error).__name__).splitlines()[0]
                raise DataError(
                    f"{name}: is not prepared, and cannot be downloaded ({why}); get the original files and run"
                    f" `sprite-search data prepare {name} --from FOLDER`"
                ) from None

    return cache.cached(folder, make)


def parts(whole: Arrays, where: Mapping[str, slice], part: str) -> Arrays:
    """One part of the images, or all."""
    if part == "all":
        return whole
    assert whole.labels is not None
    return Arrays(whole.images[where[part]], labels=whole.labels[where[part]], class_names=whole.class_names)


def _joined(images: list[Any], labels: list[Any], class_names: tuple[str, ...]) -> Arrays:
    pixels = torch.cat([torch.as_tensor(np.asarray(i)) for i in images])
    pixels = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels
    return Arrays(
        pixels.contiguous(), labels=torch.cat([torch.as_tensor(x).long() for x in labels]), class_names=class_names
    )


def _idx(folder: str) -> dict[str, str]:
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-images-idx3-ubyte.gz")
    return {n: f"{folder}/raw" for n in (*names, "train-labels-idx1-ubyte.gz")}


@DATASETS.add("mnist")
class MNIST(Classic):
    """70,000 handwritten digits of 28x28 pixels (LeCun et al. 1998)."""

    about = "handwritten digits, 28x28, 70,000 images in 10 classes"
    name, tests, files = "mnist", 10_000, _idx("MNIST")

    @classmethod
    def read(cls, root: Path, download: bool) -> Arrays:
        from torchvision.datasets import MNIST as Torchvision

        return _two(Torchvision, root, download, cls.class_names)


@DATASETS.add("fashion_mnist")
class FashionMNIST(Classic):
    """70,000 articles of clothing of 28x28 pixels (Xiao et al. 2017)."""

    about = "articles of clothing, 28x28, 70,000 images in 10 classes"
    name, tests, files = "fashion_mnist", 10_000, _idx("FashionMNIST")
    class_names = (
        "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip

    @classmethod
    def read(cls, root: Path, download: bool) -> Arrays:
        from torchvision.datasets import FashionMNIST as Torchvision

        return _two(Torchvision, root, download, cls.class_names)


def _two(kind: Any, root: Path, download: bool, class_names: tuple[str, ...]) -> Arrays:
    found = [kind(root, train=train, download=download) for train in (False, True)]
    return _joined([f.data for f in found], [f.targets for f in found], class_names)


@DATASETS.add("usps")
class USPS(Classic):
    """9,298 handwritten digits of 16x16 pixels (Hull 1994); from LIBSVM's files or the usps.h5 that circulates."""

    about = "handwritten digits, 16x16, 9,298 images in 10 classes"
    name, tests, files = "usps", 2007, {"usps.t.bz2": "", "usps.bz2": ""}

    @classmethod
    def read(cls, root: Path, download: bool) -> Arrays:
        from torchvision.datasets import USPS as Torchvision

        found = [Torchvision(str(root), train=train, download=download) for train in (False, True)]
        return _joined([f.data for f in found], [torch.tensor(f.targets) for f in found], cls.class_names)

    @classmethod
    def convert(cls, path: Path, tell: Tell | None = None) -> Arrays:
        file = path / "usps.h5" if path.is_dir() and (path / "usps.h5").exists() else path
        if file.suffix not in (".h5", ".hdf5"):
            return super().convert(path, tell)
        wanted = {f"{part}/{what}" for part in ("test", "train") for what in ("data", "target")}
        found = read_hdf5(file, wanted)
        data = np.concatenate([found["test/data"], found["train/data"]])
        if data.ndim != 2 or data.shape[1] != 256 or len(data) <= cls.tests or data.min() < 0 or data.max() > 1:
            raise DataError(f"{file}: holds no USPS digits (N rows of 256 values in 0…1); get another copy")
        pixels = (data * 255).round().astype(np.uint8).reshape(-1, 16, 16)
        return _joined([pixels], [found["test/target"], found["train/target"]], cls.class_names)


@DATASETS.add("svhn")
class SVHN(Classic):
    """99,289 house numbers of 32x32 pixels in colour (Netzer et al. 2011); the label is the digit in the middle."""

    about = "house numbers, 32x32 in colour, 99,289 images in 10 classes"
    name, tests, files = "svhn", 26_032, {"test_32x32.mat": "", "train_32x32.mat": ""}

    @classmethod
    def read(cls, root: Path, download: bool) -> Arrays:
        from torchvision.datasets import SVHN as Torchvision

        splits = [file.partition("_")[0] for file in cls.files]
        found = [Torchvision(str(root), split=split, download=download) for split in splits]
        return _joined([f.data for f in found], [f.labels for f in found], cls.class_names)


@DATASETS.add("svhn_extra")
class SVHNExtra(SVHN):
    """SVHN with the 531,131 easier images of its part "extra", as the paper trains: 2 GB in memory."""

    about = "house numbers with the part extra, 32x32 in colour, 630,420 images in 10 classes"
    name, files = "svhn_extra", {**SVHN.files, "extra_32x32.mat": ""}
