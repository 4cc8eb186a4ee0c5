"""Image files of any size and format that Pillow reads, brought to one size."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .base import Tell

FITS = ("resize", "crop", "pad")
_THREADS = 8  # Pillow decodes outside Python's lock
_NAMED = 5  #: how many bad files a message names

#: A path, or a name and what reads the bytes.
Picture = Path | tuple[str, Callable[[], bytes]]


def list_images(folder: Path) -> list[Path]:
    """All image files below a folder, hidden ones left out, sorted by path."""
    from PIL import Image

    known = Image.registered_extensions()
    files = (f for f in folder.rglob("*") if f.suffix.lower() in known and f.is_file())
    return sorted(f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts))


def read_images(files: Sequence[Picture], *, size: int, fit: str, channels: str, tell: Tell | None = None) -> Tensor:
    """The images as (N, C, size, size) uint8.

    Args:
        files: paths, or names and functions that read their bytes.
        size: side in pixels.
        fit: "resize" stretches to a square; "crop" keeps the proportions and the middle; "pad" keeps the
            proportions and the whole image, on black.
        channels: "gray", "rgb", or "auto": gray if all images are.
    Raises:
        DataError: names the files that cannot be read; none is left out silently.
    """
    if channels == "auto":
        channels = "gray" if all(_each(files, _is_gray, None)) else "rgb"
    mode = "L" if channels == "gray" else "RGB"
    pixels = np.stack(_each(files, partial(_read, size=size, fit=fit, mode=mode), tell))
    tensor = torch.from_numpy(pixels)
    return tensor.unsqueeze(1) if tensor.dim() == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def _each(files: Sequence[Picture], read: Callable[[Any], Any], tell: Tell | None) -> list[Any]:
    """`read` of every file, in order; all that fail are named at once."""
    done: list[Any] = []
    bad: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, found in enumerate(pool.map(partial(_attempt, read), files)):
            if isinstance(found, str):
                bad.append(found)
            done.append(found)
            if tell is not None and number % 500 == 0:
                tell(number, len(files))
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise DataError(f"{'; '.join(bad[:_NAMED])}{more}: not readable as images; mend or remove them")
    return done


def _attempt(read: Callable[[Any], Any], file: Picture) -> Any:
    """What `read` returns, or the name and trouble of the file as text."""
    from PIL import Image

    name = file if isinstance(file, Path) else file[0]
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file[1]())) as image:
            return read(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return f"{name} ({(str(error) or type(error).__name__).splitlines()[0]})"


def _is_gray(image: Any) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I")


def as_seen(image: Any, mode: str) -> Any:
    """A Pillow image as people see it, of mode "L" or "RGB": turned as its camera says, transparency on white.

    More than 8 bits a value are scaled down, where Pillow would cut them off.

    Raises:
        ValueError: values that are no numbers, or colours that Pillow cannot convert.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("holds values that are no numbers")
        tops = {"I": (255, 65535), "F": (1, 255, 65535)}.get(image.mode, (65535,))  # the rest is I;16
        top = next((t for t in tops if values.max() <= t), tops[-1])
        image = Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _read(image: Any, *, size: int, fit: str, mode: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    image = as_seen(image, mode)
    square = (size, size)
    if fit == "crop":
        image = ImageOps.fit(image, square, Image.Resampling.BILINEAR)
    elif fit == "pad":
        image = ImageOps.pad(image, square, Image.Resampling.BILINEAR)
    else:
        image = image.resize(square, Image.Resampling.BILINEAR)
    return np.asarray(image)


def identity(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """What tells whether files have changed: path, bytes and time of change of each."""
    return [(str(f), s.st_size, s.st_mtime_ns) for f in files for s in (f.stat(),)]
