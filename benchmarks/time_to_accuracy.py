"""Seconds of training until the accuracy of the published code is passed, and what is reached in its time.

    python benchmarks/time_to_accuracy.py --home HOME --threads 2

Ours-C on the 10,000 test images of MNIST, as search_spaces/mnist.yaml has it for a laptop. The published code, half
its schedule of 80 epochs, one seed, 2 cores: 78 % after 258 s of training, 81.5 % after 593 s, 82.7 % after 1,717 s.
Evaluation is not counted here either.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from accuracy import measured, settings
from step_time import conditions

from sprite_search.home import Home
from trainers import datasets, train
from trainers.cpu import dedicate_process
from trainers.settings import TrialConfig

SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "mnist.yaml"
PUBLISHED = {0.78: 258, 0.815: 593, 0.827: 1717}  #: accuracy -> seconds


def curve(config: TrialConfig, data: Path) -> list[tuple[float, float]]:
    """(seconds of training so far, accuracy on all images) at each report."""
    found, spent = [], 0.0
    began = time.perf_counter()
    for progress in train([config], data=data):
        # the report's own evaluation is counted, ours on all images is not
        spent += time.perf_counter() - began
        found.append((spent, measured(progress)[0]["labels/accuracy"]))
        print(f"  {progress.epoch}/{progress.epochs} {spent:.0f} s {found[-1][1]:.3f}", flush=True)
        began = time.perf_counter()
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--point", default="ours_c")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", default=None)
    given = parser.parse_args(arguments)
    dedicate_process(given.threads)
    flat = settings(SPACE, given.profile, given.point, {})
    home = Home.locate(given.home)
    datasets.load(TrialConfig.from_flat(flat), home.data)
    rows = []
    for seed in range(given.seeds):
        print(f"seed {seed}")
        found = curve(TrialConfig.from_flat({**flat, "seed": seed}), home.data)
        passed = [next((s for s, a in found if a >= goal), None) for goal in PUBLISHED]
        rows.append((passed, found[-1]))
    print(f"\n{given.point} of {SPACE.name}, profile {given.profile}; {conditions()}")
    heads = [f"{goal:.1%} (published: {seconds:,} s)" for goal, seconds in PUBLISHED.items()]
    print(f"| seed | {' | '.join(heads)} | at the end |\n|---|{'---|' * (len(heads) + 1)}")
    for seed, (passed, (seconds, accuracy)) in enumerate(rows):
        cells = [
            "not reached" if at is None else f"{at:.0f} s, {before / at:.1f} times as fast"
            for at, before in zip(passed, PUBLISHED.values(), strict=True)
        ]
        print(f"| {seed} | {' | '.join(cells)} | {accuracy:.1%} after {seconds:.0f} s |")


if __name__ == "__main__":
    main()
