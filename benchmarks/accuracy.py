"""How well a point of a search space does against labels, over seeds: the rows of docs/results.md.

    python benchmarks/accuracy.py search_spaces/mnist.yaml ours_c dti_clustering --profile laptop --home HOME

Each point is trained as the space says, with the point's settings on top; nothing is searched, and labels are
only looked at in the end, on all images, as the paper does. K-means on the pixels stands beside. With --together the
seeds train as members of one training, which is what fills a GPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.space import load_space
from trainers import datasets, metrics, train
from trainers.cpu import dedicate_process
from trainers.errors import DataError
from trainers.evaluation import evaluate
from trainers.kmeans import kmeans
from trainers.settings import SettingError, TrialConfig, catalogue
from trainers.training import Progress

POINTS = Path(__file__).resolve().parents[1] / "search_spaces" / "points"
KMEANS_IMAGES = 20_000  #: at most, all pixels as features
ERROR = "val/hard_reconstruction"


def parsed(overrides: Sequence[str]) -> dict[str, Any]:
    """What `--set NAME=VALUE` gave, by name; values as in YAML."""
    return {n: yaml.safe_load(v) for n, _, v in (o.partition("=") for o in overrides)}


def settings(space: Path, profile: str | None, point: str | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings of a space's trial with those of a point on top; what of these does not apply is left out."""
    trial = load_space(space, profile=profile).fixed
    given = flatten(yaml.safe_load((POINTS / f"{point}.yaml").read_text())["settings"]) if point else {}
    flat = {**trial, **given, **overrides}
    values: dict[str, Any] = {}
    for name, entry in catalogue().items():
        if entry.applies(values):
            values[name] = flat.get(name, entry.default(values))
    return {n: v for n, v in flat.items() if n in values or n in overrides or n not in catalogue()}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def measured(progress: Progress) -> tuple[dict[str, float], ...]:
    """Metrics of each member on all images."""
    trainer = progress.trainer
    data = trainer.dataset
    every = datasets.Dataset(data.arrays, train=data.train, held_out=torch.arange(len(data.images)), name=data.name)
    phase = trainer.model.phase(trainer.epoch - 1, training=False)
    return evaluate(trainer.stack, every, trainer.images, trainer.weights, phase)


def trained(
    flat: Mapping[str, Any], seeds: Sequence[int], data: Path, name: str
) -> tuple[tuple[dict[str, float], ...], float]:
    """Metrics of each seed on all images after training them together, and seconds; says on the way how far it is."""
    began = time.monotonic()
    progress = None
    for progress in train([TrialConfig.from_flat({**flat, "seed": seed}) for seed in seeds], data=data):
        at = f"{progress.epoch}/{progress.epochs} {time.monotonic() - began:.0f} s"
        for seed, found in zip(seeds, progress.metrics, strict=True):
            said = {n.partition("/")[2]: round(v, 4) for n, v in found.items() if n.startswith("labels/")}
            print(f"{name} seed {seed} {at} held-out {said}", flush=True)
    assert progress is not None
    return measured(progress), time.monotonic() - began


def baseline(dataset: datasets.Dataset, seeds: int) -> Iterator[dict[str, float]]:
    """Metrics of K-means on the pixels, as many clusters as classes."""
    if dataset.labels is None:
        return
    points = dataset.images[:KMEANS_IMAGES].flatten(1).float() / 255
    labels = dataset.labels[:KMEANS_IMAGES].numpy()
    for seed in range(seeds):
        _, chosen = kmeans(points, int(labels.max()) + 1, torch.Generator().manual_seed(seed))
        yield metrics.measured({"labels": (labels, chosen.numpy())})


def row(name: str, found: list[dict[str, float]], seconds: list[float]) -> str:
    """A line of the table: mean and standard error in percent, that of the seed of least error, and the time of one."""
    cells = []
    for metric in sorted({n for f in found for n in f if n.startswith("labels/")}):
        values = 100 * np.array([f[metric] for f in found])
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
        cells.append(f"{metric.partition('/')[2]} {values.mean():.1f} ± {error:.1f}{least(metric, found)}")
    took = f" | {np.mean(seconds):.0f} s a seed" if seconds else " | "
    return f"| {name} | {len(found)} | {', '.join(cells)}{took} |"


def least(metric: str, found: list[dict[str, float]]) -> str:
    """The metric of the seed that reconstructs best, which needs no label: minLoss in Monnier et al. (2020)."""
    if len(found) < 2 or not all(ERROR in f for f in found):
        return ""
    return f" ({100 * min(found, key=lambda f: f[ERROR])[metric]:.1f})"


def main(arguments: list[str] | None = None) -> None:
    """Trains and prints the table; what was trained before is read from the results file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("space", type=Path)
    parser.add_argument("points", nargs="*", help="of search_spaces/points; without one, the space as it is")
    parser.add_argument("--profile")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="overrides")
    parser.add_argument("--together", action="store_true", help="train the seeds as members of one training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--home", default=None)
    parser.add_argument("--results", type=Path, help="a file to which each seed is appended, and which is read first")
    given = parser.parse_args(arguments)
    dedicate_process(given.threads)
    try:
        home = Home.locate(given.home)
        overrides = parsed(given.overrides)
        done = [json.loads(x) for x in given.results.read_text().splitlines()] if _there(given.results) else []
        rows = []
        for point in given.points or [None]:
            flat = settings(given.space, given.profile, point, overrides)
            keys = {seed: TrialConfig.from_flat({**flat, "seed": seed}).flat() for seed in range(given.seeds)}
            kept = {seed: d for d in done for seed, key in keys.items() if d["settings"] == key}
            missing = [seed for seed in keys if seed not in kept]
            for seeds in [missing] if missing and given.together else [[seed] for seed in missing]:
                results, took = trained(flat, seeds, home.data, point or given.space.stem)
                for seed, result in zip(seeds, results, strict=True):
                    kept[seed] = {"settings": keys[seed], "result": result, "seconds": took / len(seeds)}
                    if given.results is not None:
                        with open(given.results, "a") as file:
                            file.write(json.dumps(kept[seed]) + "\n")
            found, seconds = [kept[seed]["result"] for seed in keys], [kept[seed]["seconds"] for seed in keys]
            rows.append(row(point or given.space.stem, found, seconds))
        data = datasets.load(TrialConfig.from_flat(settings(given.space, given.profile, None, overrides)), home.data)
        if clusters := list(baseline(data, given.seeds)):
            rows.append(row("K-means on pixels", clusters, []))
    except (InputError, DataError, SettingError, OSError) as error:
        parser.error(str(error))
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{given.threads} thread(s)"
    made = f"{where}; torch {torch.__version__}"
    print(f"\n{data.name}, {len(data.images)} images, all of them measured; {made}")
    print("| point | seeds | labels, % (of the seed of least error) | time |\n|---|---|---|---|\n" + "\n".join(rows))


def _there(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    main()
