"""Pictures of a trained model: what people look at before they trust a number."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trainers.metrics import shown_metrics

Floats = NDArray[np.floating[Any]]

_CELL = 96  #: least side of one picture in a sheet, in pixels
_GAP = 8
_INK, _FAINT, _PAPER = (40, 40, 40), (120, 120, 120), (255, 255, 255)
#: Colours of classes and instances; the first is the background. A sprite has the same colour in all pictures.
PALETTE = np.array(
    [
        [30, 30, 30], [230, 97, 1], [94, 60, 153], [77, 172, 38], [0, 119, 187], [204, 51, 17],
        [238, 221, 136], [51, 187, 238], [238, 51, 119], [0, 153, 136], [187, 187, 187],
    ]
)  # fmt: skip
#: Errors from none to large: dark, then red, then yellow.
_HEAT = np.array([[0, 0, 0], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]]) / 255
_LARGE = 0.5  #: absolute error that has the last of these colours


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
    images = dataset.images[picked].numpy().astype(float) / 255
    errors = [f"{e:.2g}" for e in some.error]
    sheets = {
        "sprites": sprite_sheet(model.sprites(), usage(model, dataset), background=model.background()),
        "reconstructions": rows(
            {
                "image": images,
                "reconstruction": some.reconstruction,
                f"error\n(yellow: {_LARGE} or more)": error_map(images, some.reconstruction),
            },
            notes=errors,
        ),
        "transformed": _transformed(images, some),
    }
    if some.layer_masks is not None:
        true = dataset.classes[picked].numpy() if dataset.classes is not None else None
        sheets["segmentation"] = _segmentation(images, some, true)
    files = []
    for name, sheet in sheets.items():
        files.append(folder / f"{name}.png")
        sheet.save(files[-1])
    return files


def usage(model: Any, dataset: Any) -> Floats:
    """Share of each sprite among all that held-out images show."""
    chosen = model.decompose(dataset.images[dataset.held_out[:500]]).sprite.ravel()
    counts = np.bincount(chosen[chosen >= 0], minlength=len(model.sprites()))
    return counts / max(1, counts.sum())


def sprite_sheet(sprites: Floats, usage: Floats, *, background: Floats | None = None) -> Image.Image:
    """Sprites (K, C or C+1, h, w), most used first, on a checkerboard where masks are.

    A caption has the sprite's colour in segmentations, its index and its share among all that are seen.
    """
    order = np.argsort(-usage, kind="stable")
    least = _CELL if len(order) > 10 else 144
    cells = [
        Cell(picture(sprites[k], least), f"{k}: {usage[k]:.0%}" if usage[k] else f"{k}: unused", int(k) + 1)
        for k in order
    ]
    if background is not None:
        cells.append(Cell(picture(background, least), "background", 0))
    columns = 10 if len(cells) > 8 else max(1, len(cells))
    return grid([("", cells[i : i + columns]) for i in range(0, len(cells), columns)])


def rows(named: Mapping[str, Floats], *, notes: Sequence[str] = ()) -> Image.Image:
    """One row per name of images (N, C, H, W), `notes` below those of the last row."""
    lines = [(name, [Cell(picture(image)) for image in images]) for name, images in named.items()]
    if lines and notes:
        name, cells = lines[-1]
        lines[-1] = (name, [Cell(c.image, note) for c, note in zip(cells, notes, strict=False)])
    return grid(lines)


def _transformed(images: Floats, some: Any) -> Image.Image:
    """Each image above the sprite of each of its layers as transformed for it, with its index."""
    lines = [("image", [Cell(picture(x)) for x in images])]
    layers = some.transformed.shape[1]
    for layer in range(layers):
        cells = []
        for i, sprite in enumerate(some.sprite[:, layer]):
            shown = picture(some.transformed[i, layer]) if sprite >= 0 else _blank(picture(images[i]).size)
            cells.append(Cell(shown, str(sprite) if sprite >= 0 else "empty", int(sprite) + 1 if sprite >= 0 else None))
        lines.append((f"layer {layer + 1}" if layers > 1 else "sprite", cells))
    return grid(lines)


def _segmentation(images: Floats, some: Any, true: NDArray[Any] | None) -> Image.Image:
    """Images, which sprite each pixel is, which layer, and what is true where that is known."""
    shown = {
        "image": images,
        "sprites": np.stack([tinted(x, c) for x, c in zip(images, some.classes, strict=True)]),
        "objects\n(a colour per layer)": np.stack([tinted(x, c) for x, c in zip(images, some.instances, strict=True)]),
    }
    if true is not None:
        matched = _as_predicted(some.classes, true)
        shown["true classes\n(nearest sprite's\ncolours)"] = np.stack(
            [tinted(x, c) for x, c in zip(images, matched, strict=True)]
        )
    return rows(shown)


def _as_predicted(predicted: NDArray[Any], true: NDArray[Any]) -> NDArray[Any]:
    """True classes renamed to the predicted ones that they share most pixels with, one to one."""
    from scipy.optimize import linear_sum_assignment

    size = int(max(predicted.max(), true.max())) + 1
    both = np.zeros((size, size), int)
    np.add.at(both, (true.ravel(), predicted.ravel()), 1)
    names = np.zeros(size, int)
    left, right = linear_sum_assignment(-both[1:, 1:])
    names[left + 1] = right + 1
    return names[true]


def picture(image: Floats, least: int = _CELL) -> Image.Image:
    """(C, H, W) in [0, 1] as an image of at least `least` pixels; a channel beyond gray or RGB is a mask."""
    x = np.clip(np.asarray(image, dtype=float), 0, 1)
    scale = max(1, -(-least // max(x.shape[1:])))
    x = x.repeat(scale, 1).repeat(scale, 2)
    mask = None
    if x.shape[0] in (2, 4):
        x, mask = x[:-1], x[-1]
    rgb = np.repeat(x, 3, 0) if x.shape[0] == 1 else x[:3]
    if mask is not None:
        height, width = mask.shape
        board = np.add.outer(np.arange(height) // 8, np.arange(width) // 8) % 2
        rgb = mask * rgb + (1 - mask) * np.where(board, 0.78, 0.92)
    return Image.fromarray((rgb.transpose(1, 2, 0) * 255).round().astype(np.uint8))


def error_map(images: Floats, reconstruction: Floats) -> Floats:
    """Absolute error, mean over channels, in colours from dark to yellow: (N, 3, H, W)."""
    error = np.clip(np.abs(images - reconstruction).mean(1) / _LARGE, 0, 1)
    stops = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(error, stops, channel) for channel in _HEAT.T], 1)


def colourise(labels: NDArray[Any]) -> Floats:
    """Integer labels (H, W) -> colours (3, H, W) in [0, 1]; 0 is the background."""
    index = np.where(labels > 0, (labels - 1) % (len(PALETTE) - 1) + 1, 0)
    return PALETTE[index].transpose(2, 0, 1) / 255


def tinted(image: Floats, labels: NDArray[Any], *, strength: float = 0.7) -> Floats:
    """The image (C, H, W) in gray, dimmed where `labels` (H, W) is 0, in the label's colour elsewhere: (3, H, W)."""
    gray = np.repeat(image.mean(0, keepdims=True), 3, 0)
    return np.where(labels > 0, (1 - strength) * gray + strength * colourise(labels), 0.5 * gray)


def overlay(
    image: Floats, labels: NDArray[Any], boxes: Sequence[tuple[tuple[int, int, int, int], str, int]]
) -> Image.Image:
    """The image with the outlines of its objects, boxed and captioned.

    Args:
        image: (C, H, W) in [0, 1].
        labels: (H, W), 0 where there is no object.
        boxes: ((left, top, right, bottom), caption, label whose colour it has).
    """
    out = picture(image, least=512)
    scale = out.width // image.shape[-1]
    large = labels.repeat(scale, 0).repeat(scale, 1)
    pixels = np.asarray(out).astype(float) / 255
    colours = colourise(large).transpose(1, 2, 0)
    pixels = np.where((large > 0)[..., None], 0.75 * pixels + 0.25 * colours, pixels)
    pixels[_outline(large)] = colours[_outline(large)]
    out = Image.fromarray((pixels * 255).round().astype(np.uint8))
    draw, font = ImageDraw.Draw(out), _font(15)
    for (left, top, right, bottom), caption, label in boxes:
        colour = _colour(label)
        box = (left * scale, top * scale, right * scale - 1, bottom * scale - 1)
        draw.rectangle(box, outline=colour, width=2)
        width, height = _extent(caption, font)
        x = max(0, min(box[0], out.width - width - 6))
        y = box[1] - height - 6 if box[1] >= height + 6 else box[1]
        draw.rectangle([x, y, x + width + 6, y + height + 6], fill=colour)
        draw.text((x + 3, y + 3), caption, fill=_INK if sum(colour) > 420 else _PAPER, font=font, anchor="lt")
    return out


def _outline(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of objects at most two away from another label."""
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in (1, 2):
            near, far = (
                np.take(labels, r, axis) for r in (range(step, labels.shape[axis]), range(labels.shape[axis] - step))
            )
            differs = near != far
            edge |= np.concatenate((np.zeros_like(np.take(labels, range(step), axis), bool), differs), axis)
            edge |= np.concatenate((differs, np.zeros_like(np.take(labels, range(step), axis), bool)), axis)
    return edge & (labels > 0)


# -- sheets ---------------------------------------------------------------------------------------


class Cell:
    """A picture with a caption below it, and the colour of a label before the caption."""

    def __init__(self, image: Image.Image, caption: str = "", label: int | None = None):
        self.image, self.caption, self.label = image, caption, label


def grid(lines: Sequence[tuple[str, Sequence[Cell]]]) -> Image.Image:
    """Rows of pictures, named at the left."""
    font = _font(14)
    margin = max((_extent(part, font)[0] for name, _ in lines for part in name.split("\n")), default=0)
    margin += 2 * _GAP if margin else _GAP
    below = [20 if any(c.caption for c in cells) else 0 for _, cells in lines]
    width = margin + max(sum(c.image.width + _GAP for c in cells) for _, cells in lines)
    height = _GAP + sum(
        max(c.image.height for c in cells) + b + _GAP for b, (_, cells) in zip(below, lines, strict=True)
    )
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, y = ImageDraw.Draw(sheet), _GAP
    for room, (name, cells) in zip(below, lines, strict=True):
        tall = max(c.image.height for c in cells)
        draw.multiline_text((_GAP, y + tall / 2), name, fill=_INK, font=font, anchor="lm", spacing=3)
        x = margin
        for cell in cells:
            sheet.paste(cell.image, (x, y))
            at = x
            if cell.label is not None and cell.caption:
                draw.rectangle([x, y + tall + 5, x + 10, y + tall + 15], fill=_colour(cell.label))
                at += 15
            draw.text((at, y + tall + 10), cell.caption, fill=_INK, font=font, anchor="lm")
            x += cell.image.width + _GAP
        y += tall + room + _GAP
    return sheet


def _blank(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, (246, 246, 246))


def _colour(label: int) -> tuple[int, int, int]:
    red, green, blue = PALETTE[(label - 1) % (len(PALETTE) - 1) + 1 if label > 0 else 0]
    return int(red), int(green), int(blue)


def _extent(text: str, font: Any) -> tuple[int, int]:
    left, top, right, bottom = font.getbbox(text, anchor="lt")
    return int(right - left), int(bottom - top)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


# -- curves ---------------------------------------------------------------------------------------


def curves(history: Sequence[Mapping[str, Any]], file: Path) -> Path:
    """The course of a training, a colour per seed: reconstruction error, sprites in use and, apart, label metrics."""
    from matplotlib.figure import Figure

    names = sorted({n for h in history for m in h["metrics"] for n in m})
    panels = [("reconstruction error", {"train/reconstruction": ":", "val/reconstruction": "-"})]
    panels += [("sprites in use (effective number)", {"val/effective_sprites": "-"})]
    labels = [n for n in shown_metrics() if n.startswith("labels/") and n in names]
    panels += [("with labels", dict(zip(labels, itertools.cycle(("-", "--", ":", "-.")), strict=False)))]
    panels = [(title, lines) for title, lines in panels if set(lines) & set(names)]
    width = 4.6 * max(1, len(panels))
    figure = Figure(figsize=(width, 3.4), dpi=100)
    # fixed margins: to measure every label would take as long as to draw them
    figure.subplots_adjust(left=0.75 / width, right=1 - 0.15 / width, bottom=0.16, top=0.9, wspace=0.3)
    epochs = [int(h["epoch"]) for h in history]
    seeds = max((len(h["metrics"]) for h in history), default=0)
    for axes, (title, lines) in zip(np.atleast_1d(figure.subplots(1, max(1, len(panels)))), panels, strict=False):
        for name, style in lines.items():
            for seed in range(seeds):
                values = [h["metrics"][seed].get(name, np.nan) if seed < len(h["metrics"]) else np.nan for h in history]
                marker = "." if len(epochs) < 15 else ""
                axes.plot(epochs, values, style, color=PALETTE[seed % (len(PALETTE) - 1) + 1] / 255, marker=marker)
            axes.plot([], [], style, color="0.35", label=name)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        if title.startswith("reconstruction"):
            shown = np.concatenate([line.get_ydata() for line in axes.lines]).astype(float)
            if (shown[np.isfinite(shown)] > 0).all():
                axes.set_yscale("log")
        if axes is figure.axes[0]:
            for seed in range(seeds if seeds > 1 else 0):
                axes.plot([], [], color=PALETTE[seed % (len(PALETTE) - 1) + 1] / 255, label=f"seed {seed}")
        # a fixed place: to find the best one may take longer than the rest
        axes.legend(fontsize=8, frameon=False, loc="upper right" if title.startswith("recon") else "lower right")
    figure.savefig(file)
    return file
