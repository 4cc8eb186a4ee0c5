"""Images per second that reach a training: batches of uint8 images in memory, and a DataLoader on PNG files.

    python benchmarks/data_pipeline.py                    # 4,096 images of 64 x 64, batches of 128
    python benchmarks/data_pipeline.py --workers 0 2 4 --device cuda

All rows are measured in turns in one run, each over one epoch in random order, up to batches of float32 on the
device. The files are in the page cache after the first epoch, which is not counted: a disk would only be slower.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parent))

from step_time import conditions, images, in_turns


class Files(Dataset[Tensor]):
    """Images of a folder, read and decoded one by one, as most training code does."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as image:
            return torch.from_numpy(np.array(image)).movedim(-1, 0)


def from_memory(pixels: Tensor, batch: int, device: str) -> Callable[[], None]:
    """An epoch as the training loop of `trainers.training` takes it."""
    there = pixels.to(device)

    def epoch() -> None:
        for index in torch.randperm(len(there), device="cpu").to(device).split(batch):
            there[index].to(torch.float32).div_(255)

    return epoch


def from_files(folder: Path, batch: int, workers: int, device: str) -> Callable[[], None]:
    """An epoch of a DataLoader whose workers stay."""
    generator = torch.Generator("cpu").manual_seed(0)
    loader = DataLoader(
        Files(folder), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, generator=generator
    )

    def epoch() -> None:
        for x in loader:
            x.to(device).to(torch.float32).div_(255)

    return epoch


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    pixels = images((3, given.side), given.images).images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, x in enumerate(pixels):
            Image.fromarray(x.movedim(0, -1).numpy()).save(folder / f"{i:06d}.png")
        ways = {"in memory, uint8": from_memory(pixels, given.batch, given.device)}
        for workers in given.workers:
            ways[f"DataLoader, PNG files, {workers} workers"] = from_files(folder, given.batch, workers, given.device)
        found = in_turns(ways, given.rounds)
    print(f"\n{given.images} images of {given.side} x {given.side}, batches of {given.batch}; {conditions()}")
    print("| | images a second | times as fast |\n|---|---|---|")
    slowest = max(found.values())
    for about, seconds in found.items():
        print(f"| {about} | {given.images / seconds:,.0f} | {slowest / seconds:.1f} |")


if __name__ == "__main__":
    main()
