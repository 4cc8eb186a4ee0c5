"""Trains every configuration of a listed space once and keeps all its reports: what efficiency.py replays.

    python benchmarks/efficiency_table.py benchmarks/efficiency.yaml docs/tables/efficiency.csv

One row for each report of each seed. Configurations that differ in weights and learning rates alone are trained
together. The table is written group by group; the same command again goes on where it ended.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sprite_search.files import whole
from sprite_search.space import Space, load_space
from sprite_search.study.grid import configurations
from trainers import train
from trainers.cpu import dedicate_process
from trainers.members import OWN
from trainers.settings import Scalar, TrialConfig

METRICS = ("val/hard_reconstruction", "labels/accuracy")
MOST = 60  #: members trained together


def groups(space: Space) -> list[list[TrialConfig]]:
    """All members of the space, those together that can be trained together."""
    found: dict[str, list[TrialConfig]] = defaultdict(list)
    for _, config in configurations(space):
        shared = {n: v for n, v in config.items() if n not in OWN and not n.startswith("regularisers.")}
        members = [TrialConfig.from_flat({**config, "seed": seed}) for seed in range(space.replicates)]
        found[json.dumps(shared, sort_keys=True)].extend(members)
    return [every[at : at + MOST] for every in found.values() for at in range(0, len(every), MOST)]


def name(space: Space, config: TrialConfig) -> tuple[Scalar, ...]:
    """The searched values of a member, None where a setting does not apply, and its seed."""
    flat = config.flat()
    return (*(flat.get(n) for n in space.search), flat["seed"])


def trained(space: Space, members: Sequence[TrialConfig], data: Path | None) -> Iterator[dict[str, Any]]:
    """The rows of members that are trained together."""
    for progress in train(members, data=data):
        for member, metrics in zip(members, progress.metrics, strict=True):
            searched = dict(zip((*space.search, "seed"), name(space, member), strict=True))
            found = {metric: f"{metrics[metric]:.5g}" for metric in METRICS}
            yield {**searched, "epoch": progress.epoch, **found}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    dedicate_process(given.threads)
    space = load_space(given.space)
    columns = [*space.search, "seed", "epoch", *METRICS]
    rows: list[dict[str, Any]] = []
    if given.table.exists():
        with open(given.table, newline="") as file:
            rows = list(csv.DictReader(file))
    there = {tuple(row[c] for c in columns[: len(space.search) + 1]) for row in rows}
    todo = groups(space)
    for number, members in enumerate(todo, 1):
        if all(tuple("" if v is None else str(v) for v in name(space, m)) in there for m in members):
            continue
        began = time.process_time()
        rows.extend(trained(space, members, given.data))
        with whole(given.table) as path, open(path, "w", newline="") as file:
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        print(f"group {number} of {len(todo)}: {len(members)} members, {time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
