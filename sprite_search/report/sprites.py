"""Sprites of models as small pictures inside a page, those of several models in an order that compares them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment

from ..pictures import picture

#: Side of a sprite in pixels, and the gap between two.
SIDE, GAP = 72, 4

#: Sprites in one row.
COLUMNS = 10

#: A sprite that no image shows is drawn this much paler.
PALE = 0.7

Model = tuple[int, int]


@dataclass(frozen=True)
class Drawn:
    """What there is to see of one model.

    Attributes:
        sprites: (K, C or C + 1, h, w) uint8, the mask last.
        shown: which sprites each of N images shows, (N, K) bool.
    """

    sprites: NDArray[np.uint8]
    shown: NDArray[np.bool_]

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Drawn:
        """From artefacts: ``sprites`` and ``A`` (N, L), the sprite of each layer, -1 for none."""
        sprites, chosen = np.asarray(arrays["sprites"]), np.asarray(arrays["A"])
        return cls(sprites, (chosen[..., None] == np.arange(len(sprites))).any(1))

    @property
    def usage(self) -> NDArray[np.float64]:
        """Share of images that show each sprite, (K,)."""
        return self.shown.mean(0)


def drawn(artefacts: Mapping[Model, Mapping[str, Any]]) -> dict[Model, Drawn]:
    """Of each model whose artefacts have sprites."""
    return {key: Drawn.of(own) for key, own in artefacts.items() if "sprites" in own and "A" in own}


def by_usage(model: Drawn) -> NDArray[np.int64]:
    """The order of sprites, most shown first."""
    return np.argsort(-model.usage, kind="stable")


def matched(model: Drawn, to: Drawn) -> NDArray[np.int64]:
    """The order in which this model's sprites stand below those of `to` in the order of their usage, one to one.

    Two sprites match that the same images show: overlap over union. Sprites without a partner come last.
    """
    if len(model.shown) != len(to.shown):
        return by_usage(model)  # looked at through other images: nothing to match by
    order = by_usage(to)
    a, b = to.shown[:, order].astype(float), model.shown.astype(float)
    both = a.T @ b
    union = a.sum(0)[:, None] + b.sum(0) - both
    left, right = linear_sum_assignment(-both / np.maximum(union, 1))
    first = right[np.argsort(left)]
    rest = [k for k in by_usage(model) if k not in set(first.tolist())]
    return np.array([*first, *rest], dtype=np.int64)


def strip(model: Drawn, order: Iterable[int], columns: int = COLUMNS) -> str:
    """The sprites in this order as a data URI; those that no image shows are pale."""
    order = list(order)
    cells = [_cell(model.sprites[k] / 255, bool(model.shown[:, k].any())) for k in order]
    width = max((c.width for c in cells), default=1)
    height = max((c.height for c in cells), default=1)
    lines = -(-len(cells) // columns)
    sheet = Image.new("RGBA", (min(columns, len(cells)) * (width + GAP), lines * (height + GAP)))
    for i, one in enumerate(cells):
        sheet.paste(one, (i % columns * (width + GAP), i // columns * (height + GAP)))
    return png(sheet)


def png(image: Image.Image) -> str:
    """A picture as a data URI."""
    with io.BytesIO() as file:
        image.save(file, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _cell(sprite: NDArray[Any], shown: bool) -> Image.Image:
    made = picture(sprite, SIDE)
    made = made.resize((round(made.width * SIDE / max(made.size)), round(made.height * SIDE / max(made.size))))
    return made if shown else Image.blend(made, Image.new("RGB", made.size, (255, 255, 255)), PALE)


def sheets(models: Mapping[Model, Drawn], seeds: Mapping[int, int]) -> dict[int, dict[str, str]]:
    """{image, caption} of each trial: of the seed in `seeds`, else of its first."""
    found = {}
    for trial in sorted({t for t, _ in models}):
        own = [s for t, s in sorted(models) if t == trial]
        seed = seeds[trial] if seeds.get(trial) in own else own[0]
        model = models[trial, seed]
        used = f"{int(model.shown.any(0).sum())} of {len(model.sprites)} sprites in use"
        caption = f"Trial {trial}, seed {seed}: {used}, most used first."
        found[trial] = {"image": strip(model, by_usage(model), columns=5), "caption": caption}
    return found
