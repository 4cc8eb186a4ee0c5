"""How the time of a step grows with layers L, sprites K and members trained together.

    python benchmarks/scaling.py                  # all three, on 2 threads
    python benchmarks/scaling.py members --members 1 4 8 16 32 --device cuda

Sizes of one row are measured in turns in one run. `layers` and `sprites` print the time beside that of a straight
line through the smallest and the largest size. `members` prints the time per member of seeds trained together, of the
same seeds one after the other on as many threads, and of one-thread processes side by side; and how far the members'
losses after a step are from those of seeds trained alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

sys.path.insert(0, str(Path(__file__).parent))

from step_time import MNIST, MULTI_DSPRITES, batches, conditions, images, in_turns, settings, stepper, use

from trainers.cpu import dedicate_process
from trainers.settings import TrialConfig
from trainers.training import Trainer

#: cheap enough that the sprites, not the encoder, take the time
SCENE: dict[str, Any] = {**MULTI_DSPRITES, "encoder.kind": "conv", "training.batch_size": 16}
SIDE = 32


def growth(about: str, setting: str, given: dict[str, Any], sizes: Sequence[int], rounds: int) -> None:
    """A row of seconds for each size, and what a straight line through the ends would take."""
    steps = {str(n): stepper((3, SIDE), {**given, setting: n}) for n in sizes}
    found = {n: s / batches() for n, s in in_turns(steps, rounds).items()}
    low, high = sizes[0], sizes[-1]
    slope = (found[str(high)] - found[str(low)]) / (high - low)
    print(f"\n{about}; {SIDE} x {SIDE}, B = {given['training.batch_size']}; {conditions()}")
    print(f"| {setting} | s a step | a line through the ends |\n|---|---|---|")
    for n in sizes:
        print(f"| {n} | {found[str(n)]:.4f} | {found[str(low)] + slope * (n - low):.4f} |")


def members(counts: Sequence[int], rounds: int, steps: int, device: str) -> None:
    """Seconds per member and step: together, one after the other, and in processes of one thread."""
    given = {**MNIST, "encoder.kind": "conv", "encoder.pool": 2}
    print(f"\nmembers, {int(given['training.batch_size'])} MNIST-sized images each; {conditions()}")
    print("| members | together | one after the other | processes | largest difference of losses |")
    print("|---|---|---|---|---|")
    for count in counts:
        alone = [stepper((1, 28), given, seeds=[seed]) for seed in range(count)]
        ways: dict[str, Callable[[], None]] = {
            "together": stepper((1, 28), given, seeds=range(count)),
            "apart": lambda alone=alone: [step() for step in alone] and None,  # type: ignore[misc]
        }
        found = in_turns(ways, rounds)
        apart = f"{processes(given, count, steps) / count:.4f}" if device == "cpu" else "–"
        together, one_by_one = (found[way] / batches() / count for way in ways)
        row = f"| {count} | {together:.5f} | {one_by_one:.5f} | {apart} |"
        print(f"{row} {difference(given, count, device):.1e} |", flush=True)


def losses(given: dict[str, Any], seeds: Sequence[int], device: str) -> torch.Tensor:
    """Loss of each member in the second epoch of one batch: after a step has been taken."""
    configs = [TrialConfig.from_flat({**settings(given).flat(), "seed": seed}) for seed in seeds]
    trainer = Trainer(configs, images((1, 28), int(given["training.batch_size"])), device)
    trainer.one_epoch()
    trainer.epoch += 1
    return trainer.one_epoch()["loss"].cpu() / len(trainer.train_index)


def difference(given: dict[str, Any], count: int, device: str) -> float:
    """Largest distance between losses of members trained together and alone."""
    together = losses(given, range(count), device)
    return float((together - torch.cat([losses(given, [seed], device) for seed in range(count)])).abs().max())


def processes(given: dict[str, Any], count: int, steps: int) -> float:
    """Seconds a step when as many one-thread processes as there are threads share the members."""
    workers = min(count, torch.get_num_threads())
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(workers + 1), context.Barrier(workers + 1)
    shares = [range(count)[w::workers] for w in range(workers)]
    pool = [context.Process(target=_work, args=(given, list(s), steps, ready, go)) for s in shares]
    for process in pool:
        process.start()
    ready.wait()
    began = time.perf_counter()
    go.wait()
    for process in pool:
        process.join()
    return (time.perf_counter() - began) / steps


def _work(given: dict[str, Any], seeds: list[int], steps: int, ready: Any, go: Any) -> None:
    dedicate_process(1)
    made = [stepper((1, 28), given, seeds=[seed]) for seed in seeds]
    for step in made:
        step()
    ready.wait()
    go.wait()
    for _ in range(steps):
        for step in made:
            step()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", help="of layers, sprites, members; default: all")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 8, 12, 16, 20])
    parser.add_argument("--sprites", type=int, nargs="+", default=[2, 5, 10, 20, 40])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of each process")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args(arguments)
    if unknown := set(given.what) - {"layers", "sprites", "members"}:
        parser.error(f"{', '.join(sorted(unknown))}: not one of layers, sprites, members")
    use(given.device, given.threads)
    what = given.what or ["layers", "sprites", "members"]
    if "layers" in what:
        growth("layers L, 3 sprites", "model.layers", SCENE, given.layers, given.rounds)
    if "sprites" in what:
        growth("sprites K, 5 layers", "sprites.count", SCENE, given.sprites, given.rounds)
    if "members" in what:
        members(given.members, given.rounds, given.steps, given.device)


if __name__ == "__main__":
    main()
