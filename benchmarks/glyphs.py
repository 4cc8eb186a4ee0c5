"""Writes a folder of printed letters as a user might have it: ten letters in twenty typefaces, a sub-folder for each.

    python benchmarks/glyphs.py glyphs
    sprite-search launch search_spaces/folder.yaml --profile criteria --study criteria-glyphs \\
        --set dataset.path=glyphs --set dataset.labels=subfolders

The typefaces are those that matplotlib brings along (DejaVu, STIX, Computer Modern). Each letter is printed in its own
shade on paper of its own shade, turned, scaled and moved a little, blurred and with grain, as a scan of a page is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

LETTERS = "BQaegkmrst"
FACES = (
    *(f"DejaVuSans{s}" for s in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{s}" for s in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{s}" for s in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{s}" for s in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
SIDE, LARGE = 32, 96  #: of the image, and of what is drawn and then made small
TURN, SCALE, SHIFT, GRAIN = 12.0, (0.75, 1.1), 3.0, 6.0


def letter(character: str, face: str, generator: np.random.Generator) -> Image.Image:
    """One print of a letter, (SIDE, SIDE) gray."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    size = int(LARGE * 0.62 * generator.uniform(*SCALE))
    ink = Image.new("L", (LARGE, LARGE))
    middle = LARGE / 2 + LARGE / SIDE * generator.uniform(-SHIFT, SHIFT, 2)
    ImageDraw.Draw(ink).text(tuple(middle), character, fill=255, font=ImageFont.truetype(file, size), anchor="mm")
    ink = ink.rotate(generator.uniform(-TURN, TURN), Image.Resampling.BICUBIC)
    ink = ink.filter(ImageFilter.GaussianBlur(generator.uniform(0.5, 2.5))).resize((SIDE, SIDE), Image.Resampling.BOX)
    dark, light = generator.uniform(0, 90), generator.uniform(160, 250)
    cover = np.asarray(ink, np.float64) / 255
    page = cover * dark + (1 - cover) * light + generator.normal(0, GRAIN, cover.shape)
    return Image.fromarray(page.clip(0, 255).round().astype(np.uint8))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    generator = np.random.default_rng(given.seed)
    for i in range(given.images):
        character = LETTERS[i % len(LETTERS)]
        face = FACES[generator.integers(len(FACES))]
        # a file system may not tell a from A
        folder = given.folder / f"{ord(character)}-{character}"
        folder.mkdir(parents=True, exist_ok=True)
        letter(character, face, generator).save(folder / f"{i:05d}-{face}.png")
    print(f"{given.folder}: {given.images} images of {len(LETTERS)} letters in {len(FACES)} typefaces")


if __name__ == "__main__":
    main()
