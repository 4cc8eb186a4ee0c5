"""How good `select` is, and how often it abstains, on synthetic tables whose answer is known: no label, no training.

    python benchmarks/abstention.py

Every criterion that is computed of artefacts, and reconstruction, is r · quality + √(1 − r²) · error. Half of the
error's variance is shared by the criteria of a group; of the rest all is the criterion's own, or part is shared by all
criteria: that one nobody can see without labels.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sprite_search.selection import CRITERIA, choose
from sprite_search.selection.choice import GOOD
from sprite_search.selection.roles import electorate

#: Configurations, seeds, correlation r of a criterion with quality, and the shared part of its error.
CASES = (
    (30, 3, 0.9, 0.0),
    (30, 3, 0.6, 0.0),
    (30, 3, 0.3, 0.0),
    (30, 3, 0.0, 0.0),
    (30, 1, 0.6, 0.0),
    (8, 3, 0.6, 0.0),
    (8, 3, 0.0, 0.0),
    (30, 3, 0.6, 0.7),
)

#: Spread of the quality of seeds within a configuration, that of configurations being 1; of a criterion's error, too.
SEEDS = 0.3

#: What has a column of its own in the table.
COLUMNS = {"reconstruction": "val/hard_reconstruction"} | {
    n: f"criteria/{n}"
    for n in electorate(scenes=False)
    if CRITERIA[n].compute is not None and CRITERIA[n].only != "scenes"
}


def table(
    trials: int, seeds: int, validity: float, shared: float, generator: np.random.Generator
) -> tuple[list[dict[str, Any]], Any]:
    """Rows as `choose` reads them, and the quality of each trial, (trials,)."""
    quality = generator.normal(size=(trials, 1)) + SEEDS * generator.normal(size=(trials, seeds))
    common = generator.normal(size=(trials, 1))
    rows: list[dict[str, Any]] = [
        {"trial": t, "seed": s, "state": "complete", "sprites.count": 10, "val/effective_sprites": 8.0}
        for t in range(trials)
        for s in range(seeds)
    ]
    of_group = {CRITERIA[n].group: generator.normal(size=(trials, 1)) for n in COLUMNS}
    for name, column in COLUMNS.items():
        own = (of_group[CRITERIA[name].group] + generator.normal(size=(trials, 1))) / math.sqrt(2)
        error = shared * common + math.sqrt(1 - shared**2) * own + SEEDS * generator.normal(size=(trials, seeds))
        values = validity * quality + math.sqrt(1 - validity**2) * error
        if CRITERIA[name].scope == "config":
            if seeds == 1:
                continue
            values = np.repeat(values.mean(1, keepdims=True), seeds, 1)
        sign = -1 if CRITERIA[name].smaller_is_better else 1
        for row, value in zip(rows, values.ravel(), strict=True):
            row[column] = float(sign * value)
    return rows, quality.mean(1)


def measured(case: tuple[int, int, float, float], tables: int, seed: int = 0) -> dict[str, float]:
    """Mean normalised regret, harm, share of tables with a choice, and how many of these and of the others are good."""
    generator = np.random.default_rng(seed)
    lost, harm, sure = [], [], []
    for _ in range(tables):
        rows, quality = table(*case, generator)
        made = choose(rows)
        lost.append((quality.max() - quality[made.trial]) / (quality.max() - quality.mean()))
        harm.append(quality[made.trial] < np.median(quality))
        sure.append(not made.abstained)
    good, chosen = np.array(lost) <= GOOD, np.array(sure)
    return {
        "normalised regret": float(np.mean(lost)),
        "harm": float(np.mean(harm)),
        "reliable": float(chosen.mean()),
        "good when reliable": float(good[chosen].mean()) if chosen.any() else math.nan,
        "good when abstained": float(good[~chosen].mean()) if (~chosen).any() else math.nan,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200, help="synthetic tables of each case")
    asked = parser.parse_args(arguments)
    names = ("configurations", "seeds", "validity", "shared error")
    for i, case in enumerate(CASES):
        found = measured(case, asked.tables)
        if i == 0:
            print("| " + " | ".join((*names, *found)) + " |\n|" + " --- |" * (len(names) + len(found)))
        cells = [*map(str, case), *("–" if math.isnan(x) else f"{x:.2f}" for x in found.values())]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
