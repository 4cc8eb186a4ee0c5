"""Seconds of a training step at the published shapes, beside the encoder alone and the loop over sprites and layers.

    python benchmarks/step_time.py                       # every shape, on 2 threads
    python benchmarks/step_time.py mnist --threads 1

All rows of a shape are measured in turns in one run; medians are printed, and ratios to the encoder's forward and
backward pass. On a GPU, where a step is too short to be timed alone, rows are of epochs of a few steps, and there are
more of them: what CUDA graphs, bfloat16 and seeds trained together change, the last per seed (with --compiled, what
compiling changes). A step of ours is what a training does: batch from uint8 images, noise, loss, gradients, Adam. The
loop's is the same with the equations in `loop_reference`; "published" is the authors' code on 2 cores of another day.
Rows marked "shortcut" change the result, or are another encoder.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from loop_reference import Loop

from sprite_search.space import Space
from trainers.cpu import dedicate_process
from trainers.datasets import Arrays, Dataset
from trainers.models import ImageShape
from trainers.settings import TrialConfig
from trainers.training import Trainer

SCENES: dict[str, Any] = {
    "model.kind": "multilayer",
    "model.mix": "exact",
    "sprites.kind": "mlp",
    "decision.kind": "linear",
    "transformations.layer": "color_position",
    "training.batch_size": 32,
    "encoder.kind": "resnet32",
}
IMAGES: dict[str, Any] = {
    "model.kind": "clustering",
    "sprites.kind": "mlp",
    "decision.kind": "linear",
    "training.batch_size": 128,
    "encoder.kind": "resnet20",
    "encoder.pool": 1,
}
DTI: dict[str, Any] = {"sprites.kind": "pixels", "decision.kind": "min_loss"}

MULTI_DSPRITES: dict[str, Any] = {
    **SCENES,
    "model.layers": 5,
    "sprites.count": 3,
    "sprites.size": 28,
    "encoder.pool": 4,
    "transformations.sprite": "identity_similarity",
    "regularisers.empty_sprite.weight": 1e-4,
}
MNIST: dict[str, Any] = {**IMAGES, "sprites.count": 10, "transformations.sprite": "identity_affine_morphology_tps"}

#: name -> (channels, side), settings, seconds a step of the published code on 2 cores, if measured
SHAPES: dict[str, tuple[tuple[int, int], dict[str, Any], float | None]] = {
    "multi_dsprites": ((3, 64), MULTI_DSPRITES, 0.655),
    "tetrominoes": (
        (3, 35),
        {
            **SCENES,
            "model.layers": 3,
            "model.background": False,
            "model.empty_sprite": False,
            "model.occlusion": False,
            "sprites.count": 19,
            "sprites.size": 24,
            "encoder.pool": 1,
            "transformations.sprite": "identity",
            "regularisers.frequency.weight": 1e-3,
        },
        0.256,
    ),
    "clevr6": (
        (3, 128),
        {
            **SCENES,
            "model.layers": 6,
            "sprites.count": 6,
            "sprites.size": 40,
            "encoder.kind": "resnet18",
            "encoder.pool": 1,
            "transformations.sprite": "identity_projective",
            "regularisers.empty_sprite.weight": 1e-3,
        },
        5.8,
    ),
    "mnist": ((1, 28), {**MNIST, "regularisers.frequency.weight": 0.01}, 0.726),
    "gtsrb8": (
        (3, 32),
        {
            **IMAGES,
            "sprites.count": 8,
            "transformations.sprite": "identity_color_projective",
            "training.focus": 0.22,
            "regularisers.frequency.weight": 0.1,
        },
        None,
    ),
    "dti_sprites": ((3, 64), {**MULTI_DSPRITES, **DTI}, 0.935),
    "dti_clustering": ((1, 28), {**MNIST, **DTI}, 0.647),
}
SHORTCUTS = {"mixed before placing": {"model.mix": "before_warp"}, "conv encoder": {"encoder.kind": "conv"}}
#: Rows only a GPU gets: elsewhere bfloat16 is no faster, and compiling takes minutes.
ON_GPU = {"without CUDA graph": {"training.cuda_graph": False}, "bfloat16 encoder": {"encoder.precision": "bfloat16"}}
COMPILED = {"compiled": {"training.compile": True}}
#: Seeds trained together, on a GPU.
TOGETHER = (8, 32)


_DEVICE = ["cpu"]


def batches() -> int:
    """Steps of an epoch, and of all that is timed."""
    return 1 if device() == "cpu" else 16


def settings(given: Mapping[str, Any]) -> TrialConfig:
    """As given, with every transformation from the start; settings that do not apply are left out."""
    common = {"transformations.strategy": "all", "training.epochs": 10**6, "optimizer.decay_at": 1.0}
    return TrialConfig.from_flat(Space("step_time", fixed={**common, **given}).sample(0))


def images(shape: tuple[int, int], count: int) -> Dataset:
    channels, side = shape
    seeded = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, side, side), generator=seeded)
    every = torch.arange(count)
    return Dataset(Arrays(pixels.to(torch.uint8)), train=every, held_out=every[:1])


def stepper(shape: tuple[int, int], given: Mapping[str, Any], *, seeds: Sequence[int] = (0,)) -> Callable[[], None]:
    """Steps of ours: seeds trained together."""
    config = settings(given)
    configs = [TrialConfig.from_flat({**config.flat(), "seed": seed}) for seed in seeds]
    trainer = Trainer(configs, images(shape, int(config["training.batch_size"]) * batches()), device())
    return lambda: void(trainer.one_epoch())


def loop(shape: tuple[int, int], given: Mapping[str, Any]) -> Callable[[], None]:
    """Steps of the loop reference."""
    config = settings(given)
    trainer = Trainer([config], images(shape, int(config["training.batch_size"])), device())
    start = trainer.dataset.images.float() / 255, torch.Generator().manual_seed(0)
    model = Loop(config.parts["model"](config, ImageShape(shape[0], shape[1], shape[1]), *start).to(device()))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    weights = {n: float(w) for n, w in trainer.weights.items()}
    phase = trainer.model.phase(0, training=True)

    def step() -> None:
        x = trainer.images.float() / 255
        noise = {n: u[0] for n, u in next(trainer._noise(len(x), 1)).items()}
        optimizer.zero_grad()
        model.loss(x, noise, weights, phase).backward()
        optimizer.step()

    return lambda: void([step() for _ in range(batches())])


def encoder(shape: tuple[int, int], given: Mapping[str, Any]) -> Callable[[], None]:
    """The encoder's forward and backward passes."""
    config = settings(given)
    data = images(shape, int(config["training.batch_size"]))
    module = Trainer([config], data, device()).model.encoder.requires_grad_().train()
    x = data.images.to(device()).float() / 255
    weights = list(module.parameters())
    return lambda: void([torch.autograd.grad(module(x).sum(), weights) for _ in range(batches())])


def fits(step: Callable[[], None]) -> bool:
    """Whether it runs in the memory that the GPU has left."""
    try:
        step()
    except torch.OutOfMemoryError:
        return False
    return True


def void(_: Any) -> None:
    """For lambdas."""


def device() -> str:
    """Where steps are taken, `--device`."""
    return _DEVICE[0]


def use(device: str, threads: int) -> None:
    """Takes steps there from now on, in a process that keeps its memory as a worker of the search does."""
    _DEVICE[:] = [device]
    dedicate_process(threads)


def in_turns(ways: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each, measured one after the other in every round; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, step in ways.items():
            began = time.perf_counter()
            step()
            if device() != "cpu":
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def conditions() -> str:
    where = platform.machine() if device() == "cpu" else torch.cuda.get_device_name()
    return f"{where}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, load " + " ".join(
        f"{x:.1f}" for x in os.getloadavg()
    )


def table(name: str, rounds: int, *, compiled: bool = False) -> None:
    """Prints the rows of one shape."""
    shape, given, published = SHAPES[name]
    steps = {
        "encoder alone": encoder(shape, given),
        "ours": stepper(shape, given),
        "loop reference": loop(shape, given),
    }
    mixes = given["model.kind"] == "multilayer" and given["decision.kind"] != "min_loss"
    for about, change in SHORTCUTS.items():
        if mixes or "model.mix" not in change:
            steps[f"ours, shortcut: {about}"] = stepper(shape, {**given, **change})
    seeds: dict[str, int] = {}
    if device() != "cpu":
        for about, change in {**ON_GPU, **(COMPILED if compiled else {})}.items():
            steps[f"ours, {about}"] = stepper(shape, {**given, **change})
        for count in TOGETHER:
            step, about = stepper(shape, given, seeds=range(count)), f"ours, {count} seeds together, of each"
            if fits(step):
                steps[about], seeds[about] = step, count
    found = {row: s / batches() / seeds.get(row, 1) for row, s in in_turns(steps, rounds).items()}
    base = found["encoder alone"]
    print(f"\n{name}: {shape[0]} x {shape[1]} x {shape[1]}, B = {given['training.batch_size']}; {conditions()}")
    print("| | s a step | times the encoder | loop / it |\n|---|---|---|---|")
    for row, seconds in found.items():
        ratios = f"{seconds / base:.2f} | {found['loop reference'] / seconds:.2f}"
        print(f"| {row} | {seconds:.{3 if device() == 'cpu' else 5}f} | {ratios} |", flush=True)
    if published:
        print(f"| published code, another day | {published:.3f} | | |")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shapes", nargs="*", choices=[*SHAPES, []], help="default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compiled", action="store_true", help="compiled steps too, on a GPU; minutes more")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args(arguments)
    use(given.device, given.threads)
    for name in given.shapes or SHAPES:
        table(name, given.rounds, compiled=given.compiled)


if __name__ == "__main__":
    main()
