"""How well the chosen trial of a study does on scenes that it never saw, beside an untrained model and K-means.

    sprite-search launch search_spaces/multi_dsprites.yaml
    python benchmarks/unseen_scenes.py multi_dsprites

The scenes come from the generator with another seed; neither training nor choice saw them, nor any label.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sprite_search import overview
from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.study.launch import checkpoint
from trainers import checkpoint as checkpoints
from trainers import datasets, metrics
from trainers.cpu import dedicate_process
from trainers.evaluation import evaluate
from trainers.kmeans import kmeans
from trainers.settings import TrialConfig
from trainers.training import Trainer

SHOWN = (*(n for n, m in metrics.METRICS.items() if m.given in ("pixels", "segments")), "val/reconstruction")
SHAPE = 12  #: side in pixels to which K-means scales the shapes it compares


def unseen(member: TrialConfig, scenes: int, seed: int) -> datasets.Dataset:
    """Scenes of the kind a trial was trained on, all of them to be measured on."""
    flat = {**member.flat(), "dataset.generator_seed": seed, "dataset.images": scenes}
    made = datasets.load(TrialConfig.from_flat(flat))
    return datasets.Dataset(made.arrays, train=made.train, held_out=torch.arange(scenes), name=made.name)


def measure(members: tuple[TrialConfig, ...], scenes: datasets.Dataset, folder: Path | None) -> list[dict[str, float]]:
    """Metrics of each member on the scenes: as the checkpoint in `folder` has it, or untrained."""
    trainer = Trainer(members, scenes, "cpu")
    epochs = trainer.config.training.epochs
    if folder is not None:
        trainer.stack.load(checkpoints.read(folder, "cpu")["model"])
    phase = trainer.model.phase(epochs - 1, training=False)
    return evaluate(trainer.stack, scenes, trainer.images, trainer.weights, phase)


def baseline(scenes: datasets.Dataset, objects: int, classes: int, seed: int) -> dict[str, float]:
    """K-means twice: the colours of the pixels of each image, then the shapes of the segments of all images.

    The largest segment of an image is its background. It knows how many objects a scene has.
    """
    g = torch.Generator().manual_seed(seed)
    side = scenes.images.shape[-1]
    segments = torch.stack([_segments(x.float() / 255, objects + 1, g) for x in scenes.images])
    shapes = [_shape(s == o + 1) for s in segments for o in range(objects)]
    _, kinds = kmeans(torch.stack(shapes), classes, g)
    lookup = torch.cat((torch.zeros(len(segments), 1, dtype=torch.long), kinds.view(len(segments), objects) + 1), 1)
    found = lookup.gather(1, segments.flatten(1)).view(-1, side, side)
    table = metrics.contingency(np.asarray(scenes.classes), found.numpy())
    return metrics.measured({"pixels": (table,), "segments": (np.asarray(scenes.instances), segments.numpy())})


def _segments(image: Tensor, count: int, g: torch.Generator) -> Tensor:
    """Cluster of each pixel (H, W) by colour, the largest first."""
    _, chosen = kmeans(image.flatten(1).T.contiguous(), count, g)
    rank = torch.bincount(chosen, minlength=count).argsort(descending=True).argsort()
    return rank[chosen].view(image.shape[1:])


def _shape(mask: Tensor) -> Tensor:
    """A segment cut out and scaled to `SHAPE` squared, flat."""
    if not mask.any():
        return torch.zeros(SHAPE * SHAPE)
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    cut = mask[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1].float()
    return torch.nn.functional.interpolate(cut[None, None], (SHAPE, SHAPE), mode="area").flatten()


def line(name: str, found: list[Mapping[str, float]]) -> str:
    """Mean and standard deviation over seeds of each metric."""
    cells = []
    for metric in SHOWN:
        values = [f[metric] for f in found if metric in f]
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.3f}{spread}" if values else "–")
    return f"| {name} | " + " | ".join(cells) + " |"


def main(arguments: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", help="a study on generated scenes")
    parser.add_argument("--home", default=None, help="home of the study (default: as sprite-search)")
    parser.add_argument("--scenes", type=int, default=640)
    parser.add_argument("--generator-seed", type=int, default=99, help="must differ from the study's")
    given = parser.parse_args(arguments)
    try:
        home = Home.locate(given.home)
        number = overview.choice(home, given.study)["choice"]["trial"]
        folder = None if number is None else checkpoint(home, given.study, number)
    except InputError as error:
        parser.error(str(error))
    if folder is None:
        parser.error(f"{given.study}: no trial is chosen, or its weights are gone; see `sprite-search select`")
    members = tuple(checkpoints.members_of(folder))
    if members[0].get("dataset.generator_seed") in (None, given.generator_seed):
        parser.error(f"{given.study}: not trained on generated scenes, or on those of seed {given.generator_seed}")
    dedicate_process(1)
    scenes = unseen(members[0], given.scenes, given.generator_seed)
    objects = int(np.asarray(scenes.instances).max())
    seeds = [int(m["seed"]) for m in members]
    print(f"{given.scenes} unseen scenes; torch {torch.__version__}, {platform.machine()}; seeds {seeds}\n")
    print(f"| {given.study} | " + " | ".join(SHOWN) + " |\n|" + "---|" * (len(SHOWN) + 1))
    print(line(f"trial {number}, chosen", measure(members, scenes, folder)))
    print(line("the same, untrained", measure(members, scenes, None)))
    print(line("K-means", [baseline(scenes, objects, int(np.asarray(scenes.classes).max()), seed) for seed in seeds]))


if __name__ == "__main__":
    main()
