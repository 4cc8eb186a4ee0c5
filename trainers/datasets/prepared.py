"""Original images where `data prepare` has put them, generated ones elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..settings import setting
from . import cache
from .base import Arrays


def source_setting() -> Any:
    """The setting `source` of a data set that can be generated."""
    return setting(
        "auto",
        "original scenes, generated ones, or the original if prepared and else generated",
        choices=("auto", "original", "generated"),
    )


def original(name: str, data: Path | None, how: str = "") -> Arrays:
    """The prepared data set; DataError says how to prepare it."""
    if data is None or not (data / name).is_dir():
        raise DataError(
            f"{name}: the original images are not prepared; run `sprite-search data prepare {name} --from PATH`{how}"
        )
    return cache.read(data / name)


def original_or_generated(
    name: str,
    source: str,
    data: Path | None,
    generate: Callable[[], Arrays],
    *,
    key: Mapping[str, Any],
    published: bool = True,
) -> Arrays:
    """What `dataset.source` asks for.

    Args:
        name: of the data set, and of its folder in `data`.
        source: auto, original or generated.
        data: folder of prepared and generated data sets.
        generate: makes the images; they are kept.
        key: everything that the generated images depend on.
        published: whether the settings are those of the original images, which `auto` needs to take them.
    Raises:
        DataError: the original is asked for, but not prepared.
    """
    if source == "original":
        return original(name, data, ", or set dataset.source to generated")
    if source == "auto" and published and data is not None and (data / name).is_dir():
        return cache.read(data / name)
    identity = hashlib.sha256(json.dumps([1, *key.items()], sort_keys=True).encode()).hexdigest()[:12]
    return cache.cached(data / "generated" / f"{name}-{identity}" if data is not None else None, generate)
