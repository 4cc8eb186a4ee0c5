"""Pictures of a trained model: what people look at before they trust a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.floating[Any]]

_CELL = 96  #: least side of one picture in a sheet, in pixels
_GAP = 6
_INK, _PAPER = (40, 40, 40), (255, 255, 255)
#: Colours of classes and instances; the first is the background.
PALETTE = np.array(
    [
        [30, 30, 30], [230, 97, 1], [94, 60, 153], [77, 172, 38], [0, 119, 187], [204, 51, 17],
        [238, 221, 136], [51, 187, 238], [238, 51, 119], [0, 153, 136], [187, 187, 187],
    ]
)  # fmt: skip


def save_trial_pictures(model: Any, dataset: Any, folder: Path, *, count: int = 8) -> list[Path]:
    """Sprite sheet, reconstructions, transformed sprites and, for scenes, segmentations of held-out images.

    Args:
        model: a `trainers.TrainedModel`.
        dataset: what it was trained on.
        folder: made if needed.
        count: how many images to show.
    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picked = dataset.held_out[:count]
    some = model.decompose(dataset.images[picked])
    usage = _usage(model, dataset)
    images = dataset.images[picked].numpy().astype(float) / 255
    sheets = {
        "sprites": sprite_sheet(model.sprites(), usage),
        "reconstructions": rows(
            {"image": images, "reconstruction": some.reconstruction, "error": error_map(images, some.reconstruction)}
        ),
        "transformed": _transformed(images, some),
    }
    if some.layer_masks is not None:
        shown = {
            "image": images,
            "classes": np.stack([colourise(c) for c in some.classes]),
            "instances": np.stack([colourise(i) for i in some.instances]),
        }
        if dataset.classes is not None:
            shown["true classes"] = np.stack([colourise(c) for c in dataset.classes[picked].numpy()])
        sheets["segmentation"] = rows(shown)
    files = []
    for name, sheet in sheets.items():
        files.append(folder / f"{name}.png")
        sheet.save(files[-1])
    return files


def _usage(model: Any, dataset: Any) -> Floats:
    """Share of each sprite among all that held-out images show."""
    chosen = model.decompose(dataset.images[dataset.held_out[:500]]).sprite.ravel()
    counts = np.bincount(chosen[chosen >= 0], minlength=len(model.sprites()))
    return counts / max(1, counts.sum())


def sprite_sheet(sprites: Floats, usage: Floats) -> Image.Image:
    """Sprites (K, C or C+1, h, w), most used first, on a checkerboard where masks are; captions say the share."""
    order = np.argsort(-usage, kind="stable")
    cells = [(f"{k}  {usage[k]:.0%}", picture(sprites[k])) for k in order]
    columns = min(10, len(cells))
    return _grid([cells[i : i + columns] for i in range(0, len(cells), columns)])


def rows(named: Mapping[str, Floats]) -> Image.Image:
    """One row per name of images (N, C, H, W)."""
    return _grid([[(name if i == 0 else "", picture(image)) for i, image in enumerate(n)] for name, n in named.items()])


def _transformed(images: Floats, some: Any) -> Image.Image:
    """Each image above the sprite of each of its layers as transformed for it."""
    lines = {"image": list(images)}
    for layer in range(some.transformed.shape[1]):
        lines[f"layer {layer + 1}" if some.transformed.shape[1] > 1 else "sprite"] = list(some.transformed[:, layer])
    return _grid([[(n if i == 0 else "", picture(x)) for i, x in enumerate(line)] for n, line in lines.items()])


def picture(image: Floats, least: int = _CELL) -> Image.Image:
    """(C, H, W) in [0, 1] as an image of at least `least` pixels; a channel beyond gray or RGB is a mask."""
    x = np.clip(np.asarray(image, dtype=float), 0, 1)
    mask = None
    if x.shape[0] in (2, 4):
        x, mask = x[:-1], x[-1]
    rgb = np.repeat(x, 3, 0) if x.shape[0] == 1 else x[:3]
    if mask is not None:
        h, w = mask.shape
        board = np.where((np.add.outer(np.arange(h), np.arange(w)) // max(1, h // 8)) % 2, 0.75, 0.95)
        rgb = mask * rgb + (1 - mask) * board
    out = Image.fromarray((rgb.transpose(1, 2, 0) * 255).round().astype(np.uint8))
    scale = max(1, -(-least // max(out.size)))
    return out.resize((out.width * scale, out.height * scale), Image.Resampling.NEAREST)


def error_map(images: Floats, reconstruction: Floats) -> Floats:
    """Absolute error, bright where large, (N, 1, H, W)."""
    return np.abs(images - reconstruction).mean(1, keepdims=True)


def colourise(labels: NDArray[Any]) -> Floats:
    """Integer labels (H, W) -> colours (3, H, W) in [0, 1]; 0 is the background."""
    index = np.where(labels > 0, (labels - 1) % (len(PALETTE) - 1) + 1, 0)
    return PALETTE[index].transpose(2, 0, 1) / 255


def overlay(image: Floats, labels: NDArray[Any], boxes: Sequence[tuple[tuple[int, int, int, int], str]]) -> Image.Image:
    """The image with objects tinted and boxed; boxes are ((left, top, right, bottom), caption)."""
    rgb = np.repeat(image, 3, 0) if image.shape[0] == 1 else image[:3]
    tint = colourise(labels)
    mixed = np.where(labels > 0, 0.55 * rgb + 0.45 * tint, rgb)
    out = picture(mixed, least=384)
    scale = out.width / image.shape[-1]
    draw = ImageDraw.Draw(out)
    for i, ((left, top, right, bottom), caption) in enumerate(boxes):
        colour = tuple(PALETTE[i % (len(PALETTE) - 1) + 1])
        draw.rectangle([left * scale, top * scale, right * scale - 1, bottom * scale - 1], outline=colour, width=2)
        draw.text(
            (left * scale + 4, top * scale + 2), caption, fill=_PAPER, font=_font(14), stroke_width=2, stroke_fill=_INK
        )
    return out


def _grid(lines: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """Captioned pictures in rows."""
    captions = 18
    width = max(sum(p.width + _GAP for _, p in line) for line in lines) + _GAP
    height = sum(max(p.height for _, p in line) + captions + _GAP for line in lines) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    y = _GAP
    for line in lines:
        x = _GAP
        for caption, image in line:
            draw.text((x, y), caption, fill=_INK, font=_font(13))
            sheet.paste(image, (x, y + captions))
            x += image.width + _GAP
        y += max(p.height for _, p in line) + captions + _GAP
    return sheet


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def curves(history: Sequence[Mapping[str, Any]], file: Path) -> Path:
    """Reconstruction error against epochs, a line per seed: training thin, held-out thick."""
    width, height, left, bottom = 640, 360, 70, 40
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    epochs = np.array([h["epoch"] for h in history], dtype=float)
    seeds = max(len(h["metrics"]) for h in history)
    lines = {
        (name, seed): np.array([h["metrics"][seed].get(name, np.nan) for h in history], dtype=float)
        for name in ("train/reconstruction", "val/reconstruction")
        for seed in range(seeds)
    }
    values = np.concatenate(list(lines.values()))
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        sheet.save(file)
        return file
    low, high = np.log10(values.min()), np.log10(values.max())
    low, high = (low - 0.05, high + 0.05) if high > low else (low - 0.5, high + 0.5)

    def at(epoch: float, value: float) -> tuple[float, float]:
        x = left + (epoch - epochs[0]) / max(1e-9, epochs[-1] - epochs[0]) * (width - left - 20)
        y = 20 + (high - np.log10(value)) / (high - low) * (height - bottom - 20)
        return float(x), float(y)

    for tick in np.linspace(low, high, 5):
        y = at(epochs[0], 10**tick)[1]
        draw.line([(left, y), (width - 20, y)], fill=(225, 225, 225))
        draw.text((6, y - 8), f"{10**tick:.2e}", fill=_INK, font=_font(12))
    for tick in np.linspace(epochs[0], epochs[-1], min(6, len(epochs))):
        draw.text((at(tick, values[0])[0] - 8, height - bottom + 6), f"{tick:.0f}", fill=_INK, font=_font(12))
    draw.text(
        (left, height - 18), "epoch;  reconstruction error: thick held-out, thin training", fill=_INK, font=_font(12)
    )
    for (name, seed), line in lines.items():
        points = [at(e, v) for e, v in zip(epochs, line, strict=True) if np.isfinite(v) and v > 0]
        colour = tuple(PALETTE[seed % (len(PALETTE) - 1) + 1])
        draw.line(points, fill=colour, width=3 if name.startswith("val") else 1)
    sheet.save(file)
    return file
