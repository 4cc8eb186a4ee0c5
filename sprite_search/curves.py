"""The course of a training as one picture: a panel per kind of measure, a colour per seed.

Drawn with Pillow: the driver's process draws it for each trial that was pruned, and with a library for plots this took
longer than everything else that MLflow gets of a trial.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .pictures import PALETTE

Floats = NDArray[np.floating[Any]]
Colour = tuple[int, int, int]

_WIDTH, _HEIGHT = 480, 360  #: of a panel, in pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 66, 36, 464, 280  #: where its axes are
_FINE = 2  #: lines are drawn this much larger, then reduced, which smooths them
_INK, _GRID, _PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
#: Length of a dash and of the gap behind it, in pixels; None: one line.
_SOLID, _DASHED, _DOTTED = None, (9, 5), (2, 4)
_FEW = 15  #: fewer reports are marked by dots
_WIDE = 4.0  #: errors have a logarithmic axis if the largest is at least this many times the smallest

Styles = Mapping[str, tuple[int, int] | None]  #: metric -> how its line is dashed


def save_curves(history: Sequence[Mapping[str, Any]], file: Path) -> Path:
    """Draws reconstruction error, sprites in use and, apart, label metrics over the epochs.

    Args:
        history: reports ``{"epoch": int, "metrics": [per seed]}``; a metric that is missing or not finite is a gap.
        file: PNG to write.
    """
    names = {n for h in history for m in h["metrics"] for n in m}
    labels = [n for n in ("labels/accuracy", "labels/mean_accuracy", "labels/ari_foreground") if n in names]
    panels: list[tuple[str, Styles]] = [
        ("reconstruction error", {"train/reconstruction": _DOTTED, "val/reconstruction": _SOLID}),
        ("sprites in use (effective number)", {"val/effective_sprites": _SOLID}),
        ("with labels", dict(zip(labels, (_SOLID, _DASHED, _DOTTED), strict=False))),
    ]
    shown = [(title, styles) for title, styles in panels if {*styles} & names] or panels[:1]
    sheet = Image.new("RGB", (_WIDTH * len(shown), _HEIGHT), _PAPER)
    for i, (title, styles) in enumerate(shown):
        sheet.paste(_panel(title, styles, history, logarithmic=title == "reconstruction error"), (i * _WIDTH, 0))
    sheet.save(file, compress_level=1)  # more takes longer than drawing it
    return file


def ticks(low: float, high: float, *, logarithmic: bool = False, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, about five: for a logarithmic axis 1, 2 and 5 times powers of ten.

    With `whole`, integers only.
    """
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        digits = (1, 2, 5) if len(powers) < 4 else (1,)
        return [t for p in powers for d in digits if low <= (t := d * 10.0**p) <= high]
    step = 10.0 ** math.floor(math.log10((high - low) / 5))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 6)
    step = max(step, 1.0) if whole else step
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


class _Axis:
    """Places values on a line from the pixel `start` to the pixel `end`."""

    def __init__(self, values: Floats, start: float, end: float, *, logarithmic: bool = False, whole: bool = False):
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        if low == high:  # one value, or always the same: in the middle
            low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
        self.logarithmic = logarithmic and 0 < _WIDE * low <= high
        self.ticks = ticks(low, high, logarithmic=self.logarithmic, whole=whole)
        first, last = self._scale(np.array([low, high]))
        room = 0.04 * (last - first)
        self._first, self._step = first - room, (end - start) / (last - first + 2 * room)
        self._start = start

    def _scale(self, values: Floats) -> Floats:
        return np.log10(values) if self.logarithmic else values

    def at(self, values: Floats) -> Floats:
        """The pixel of each value; one that is not finite has none, which is NaN."""
        return self._start + (self._scale(np.where(np.isfinite(values), values, np.nan)) - self._first) * self._step


def _panel(title: str, styles: Styles, history: Sequence[Mapping[str, Any]], *, logarithmic: bool) -> Image.Image:
    """One pair of axes with the metrics of `styles`, and below it what its lines are."""
    seeds = max((len(h["metrics"]) for h in history), default=0)
    epochs = np.array([float(h["epoch"]) for h in history])
    values = {(n, s): _values(history, n, s) for n in styles for s in range(seeds)}
    across = _Axis(epochs, _LEFT, _RIGHT, whole=True)
    up = _Axis(np.concatenate([np.zeros(0), *values.values()]), _BOTTOM, _TOP, logarithmic=logarithmic)
    image = Image.new("RGB", (_WIDTH * _FINE, _HEIGHT * _FINE), _PAPER)
    draw = ImageDraw.Draw(image)
    for tick, x in zip(across.ticks, across.at(np.array(across.ticks)), strict=True):
        _line(draw, [x, x], [_TOP, _BOTTOM], _GRID, width=1)
        _text(draw, x, _BOTTOM + 12, f"{tick:.4g}", anchor="mm")
    for tick, y in zip(up.ticks, up.at(np.array(up.ticks)), strict=True):
        _line(draw, [_LEFT, _RIGHT], [y, y], _GRID, width=1)
        _text(draw, _LEFT - 6, y, f"{tick:.4g}", anchor="rm")
    draw.rectangle([_LEFT * _FINE, _TOP * _FINE, _RIGHT * _FINE, _BOTTOM * _FINE], outline=_INK, width=_FINE)
    for (name, seed), own in values.items():
        for x, y in _unbroken(across.at(epochs), up.at(own)):
            _line(draw, x, y, _colour(seed), styles[name], dots=len(epochs) < _FEW or len(x) == 1)
    _text(draw, (_LEFT + _RIGHT) / 2, _TOP / 2, title, anchor="mm", size=15)
    _text(draw, (_LEFT + _RIGHT) / 2, _BOTTOM + 30, "epoch", anchor="mm")
    left = float(_LEFT)
    for name, style in styles.items():
        _line(draw, [left, left + 24], [_HEIGHT - 28] * 2, _INK, style)
        left += 44 + _text(draw, left + 30, _HEIGHT - 28, name)
    left = float(_LEFT)
    for text, colour in [("seed", _INK), *((str(s), _colour(s)) for s in range(seeds))] if seeds > 1 else []:
        left += 8 + _text(draw, left, _HEIGHT - 10, text, colour)
    return image.reduce(_FINE)


def _values(history: Sequence[Mapping[str, Any]], name: str, seed: int) -> Floats:
    own = [h["metrics"][seed] if seed < len(h["metrics"]) else {} for h in history]
    return np.array([m.get(name, math.nan) for m in own], dtype=float)


def _unbroken(x: Floats, y: Floats) -> Iterator[tuple[Floats, Floats]]:
    """The parts of a line between its gaps."""
    there = np.flatnonzero(np.isfinite(y))
    for part in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        if part.size:
            yield x[part], y[part]


def _line(
    draw: ImageDraw.ImageDraw,
    x: Floats | Sequence[float],
    y: Floats | Sequence[float],
    colour: Colour,
    dash: tuple[int, int] | None = _SOLID,
    *,
    width: int = 2,
    dots: bool = False,
) -> None:
    """A line through points given in pixels of the finished picture."""
    x, y = np.asarray(x) * _FINE, np.asarray(y) * _FINE
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    drawn, gap = (n * _FINE for n in dash or (math.inf, 0))
    start = 0.0
    while start < along[-1]:
        end = min(start + drawn, along[-1])
        at = np.concatenate([[start], along[(along > start) & (along < end)], [end]])
        points = np.stack([np.interp(at, along, x), np.interp(at, along, y)], 1)
        draw.line(points.ravel().tolist(), fill=colour, width=width * _FINE - 1, joint="curve")
        start = end + gap
    for at_x, at_y in zip(x, y, strict=True) if dots else ():
        draw.circle((at_x, at_y), 3 * _FINE, fill=colour)


def _text(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    colour: Colour = _INK,
    *,
    anchor: str = "lm",
    size: int = 12,
) -> float:
    """Words at a pixel of the finished picture; returns how wide they are there."""
    font = _font(size * _FINE)
    draw.text((x * _FINE, y * _FINE), text, fill=colour, font=font, anchor=anchor)
    return float(font.getlength(text)) / _FINE


def _colour(seed: int) -> Colour:
    red, green, blue = PALETTE[seed % (len(PALETTE) - 1) + 1]
    return int(red), int(green), int(blue)


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
