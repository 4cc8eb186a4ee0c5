"""How much longer an epoch takes where denormal numbers are computed and not flushed to 0 (`trainers/cpu.py`).

    python benchmarks/denormals.py search_spaces/mnist.yaml ours_c --profile laptop --at 5 15 25 --home HOME

Trains a point of a search space as it would be without flushing. At each epoch of --at, one epoch from that state on
is measured with and without, in turns, in CPU seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

sys.path.insert(0, str(Path(__file__).parent))

from accuracy import parsed, settings
from step_time import conditions

from sprite_search.errors import InputError
from sprite_search.home import Home
from trainers import datasets
from trainers.cpu import dedicate_process
from trainers.errors import DataError
from trainers.settings import SettingError, TrialConfig
from trainers.training import Trainer


@contextmanager
def kept() -> Iterator[None]:
    """Within it, nothing can ask PyTorch to flush denormals."""
    asked = torch.set_flush_denormal
    torch.set_flush_denormal = lambda mode: False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.set_flush_denormal = asked


def denormal_share(trainer: Trainer) -> float:
    """The share of Adam's first moments that are denormal."""
    least = torch.finfo(torch.float32).tiny
    first = torch.cat([first.flatten() for first, _ in trainer.optimizer.moments.values()])
    return float(((first != 0) & (first.abs() < least)).float().mean())


def measure(configs: Sequence[TrialConfig], data: Path, at: Sequence[int], rounds: int) -> Iterator[str]:
    """A row for each epoch of `at`: how many of Adam's first moments are denormal, and CPU seconds of an epoch."""
    trainer = Trainer(configs, datasets.load(configs[0], data), "cpu")
    for epoch in sorted(at):
        with kept():
            while trainer.epoch < epoch:
                trainer.one_epoch()
                trainer.epoch += 1
        stands = tree_map(Tensor.clone, (trainer.stack.state(), trainer.optimizer.state()))
        seconds: dict[str, list[float]] = {"kept": [], "flushed": []}
        for _ in range(rounds):
            for way, found in seconds.items():
                with kept() if way == "kept" else nullcontext():
                    began = time.process_time()
                    trainer.one_epoch()
                    found.append(time.process_time() - began)
                trainer.stack.load(stands[0])
                trainer.optimizer.load(stands[1])
        before, now = (statistics.median(s) for s in seconds.values())
        yield f"| {epoch} | {denormal_share(trainer):.0%} | {before:.2f} | {now:.2f} | {before / now:.2f} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("space", type=Path)
    parser.add_argument("point", nargs="?")
    parser.add_argument("--profile", default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="overrides")
    parser.add_argument("--at", type=int, nargs="+", default=[5, 15, 25], help="epochs after which to measure")
    parser.add_argument("--seeds", type=int, default=1, help="trained together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--home", default=None)
    given = parser.parse_args(arguments)
    dedicate_process(given.threads)
    try:
        flat = settings(given.space, given.profile, given.point, parsed(given.overrides))
        configs = [TrialConfig.from_flat({**flat, "seed": seed}) for seed in range(given.seeds)]
        about = f"{given.point or 'the trial'} of {given.space.name}, profile {given.profile}, {given.seeds} seed(s)"
        print(f"{about}; {conditions()}")
        print("| epoch | of the first moments denormal | kept, s | flushed, s | kept / flushed |")
        print("|---|---|---|---|---|")
        for row in measure(configs, Home.locate(given.home).data, given.at, given.rounds):
            print(row, flush=True)
    except (InputError, DataError, SettingError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
