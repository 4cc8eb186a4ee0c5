"""What a search costs until it has found the best of a grid, by replaying a table of trainings.

    python benchmarks/efficiency.py --repeats 50

Every configuration of efficiency.yaml was trained once (`efficiency_table.py`), so a search can be run again and
again: the ledger asks with the samplers and pruners of this program, and the table answers. Against it stand random
search and the paper's protocol, one setting after the other, which is told labels. Prints two tables as Markdown:
what each needs to get as far as the grids, and what each has found for the same number of epochs.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from sprite_search.space import Space, load_space
from sprite_search.space.model import Budget
from sprite_search.study.grid import configurations
from sprite_search.study.ledger import Ledger

SPACE = Path(__file__).parent / "efficiency.yaml"
TABLE = Path(__file__).parents[1] / "docs" / "tables" / "efficiency.csv"
OBJECTIVE, LABELS = "val/hard_reconstruction", "labels/accuracy"
#: ways of searching: (sampler, pruner)
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "random": ({"name": "random"}, {"name": "none"}),
    "random, hyperband": ({"name": "random"}, {"name": "hyperband"}),
    "tpe": ({"name": "tpe"}, {"name": "none"}),
    "tpe, median": ({"name": "tpe"}, {"name": "median"}),
    "tpe, hyperband": ({"name": "tpe"}, {"name": "hyperband"}),
    "tpe, asha": ({"name": "tpe"}, {"name": "asha"}),
}
Key = tuple[Any, ...]  #: searched values of a configuration, None where a setting does not apply


@dataclasses.dataclass(frozen=True)
class Seen:
    """A search after one of its trials: epochs spent, and its choice so far, by the least error, without labels."""

    trials: int
    epochs: int
    error: float = math.inf
    accuracy: float = math.nan


class Table:
    """Trainings of all configurations of a space whose settings are listed."""

    def __init__(self, space: Space, path: Path):
        self.space, self.names = space, list(space.search)
        #: configuration -> reports in order: (epoch, metrics of each seed)
        self.reports: dict[Key, list[tuple[int, list[dict[str, float]]]]] = {}
        found: dict[Key, dict[int, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                key = tuple(self._read(n, row[n]) for n in self.names)
                found[key][int(row["epoch"])].append({m: float(row[m]) for m in (OBJECTIVE, LABELS)})
        for _, config in configurations(space):
            self.reports[self.key(config)] = sorted(found[self.key(config)].items())
        self.epochs = max(epoch for reports in self.reports.values() for epoch, _ in reports)

    def _read(self, name: str, text: str) -> Any:
        """A cell as the space has it."""
        return next((v for v in self.space.search[name].choices if str(v) == text), None)

    def key(self, config: Mapping[str, Any]) -> Key:
        return tuple(config.get(n) for n in self.names)

    def nearest(self, config: Mapping[str, Any]) -> Key:
        """The trained configuration next to this one, numbers by their ratio."""
        return tuple(self._nearest(n, config.get(n)) for n in self.names)

    def _nearest(self, name: str, value: Any) -> Any:
        choices = self.space.search[name].choices
        if value is None or value in choices:
            return value
        return min((c for c in choices if c), key=lambda c: abs(math.log(c / value)))

    def final(self, key: Key) -> tuple[float, float]:
        """(error, accuracy) at the end, means over seeds."""
        seeds = self.reports[key][-1][1]
        return statistics.fmean(s[OBJECTIVE] for s in seeds), statistics.fmean(s[LABELS] for s in seeds)


def searched(space: Space, table: Table, most: int) -> list[Seen]:
    """A whole search, as the ledger of a study runs it, until `most` epochs are spent."""
    ledger, path = Ledger(optuna.create_study(study_name=space.name)), [Seen(0, 0)]
    seeds = list(range(space.replicates))
    while path[-1].epochs < most and (job := ledger.ask(space)) is not None:
        last, epoch, pruned = path[-1], 0, False
        key = table.nearest(job.config)
        for epoch, metrics in table.reports[key]:
            if pruned := ledger.report(space, job.number, epoch, table.epochs, seeds, metrics):
                break
        now = dataclasses.replace(last, trials=last.trials + 1, epochs=last.epochs + epoch)
        if pruned:
            ledger.prune(job.number)
        else:
            ledger.complete(space, job.number)
            error, accuracy = table.final(key)
            if error < last.error:
                now = dataclasses.replace(now, error=error, accuracy=accuracy)
        path.append(now)
    return path


def one_after_the_other(table: Table) -> Iterator[tuple[Key, float, float]]:
    """The paper's protocol: each setting in turn takes its listed values, and the one most accurate by labels stays.

    Yields (configuration, error, accuracy) of each training, in order; the choice is the most accurate.
    """
    first = {n: d.choices[0] for n, d in table.space.search.items()}
    known: dict[Key, tuple[float, float]] = {}
    for name in table.names:
        options = {}
        for value in table.space.search[name].choices:
            config = table.space.suggest(_Given({**first, name: value}))
            key = table.key(config)
            if key not in known:
                known[key] = table.final(key)
                yield key, *known[key]
            options.setdefault(key, value)
        first[name] = options[max(options, key=lambda k: known[k][1])]


class _Given:
    """Answers like an Optuna trial, as told."""

    def __init__(self, values: Mapping[str, Any]):
        self.values = values

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.values[name]

    def suggest_float(self, name: str, *ends: Any, **more: Any) -> Any:
        return self.values[name]

    suggest_int = suggest_float


def reached(path: Sequence[Seen], error: float) -> Seen | None:
    """Where a search first had a choice as good as this."""
    return next((seen for seen in path if seen.error <= error), None)


def at(path: Sequence[Seen], epochs: int) -> Seen:
    """A search when that many epochs were spent."""
    return [seen for seen in path if seen.epochs <= epochs][-1]


def middle(values: Sequence[float], digits: int = 0) -> str:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def needed(paths: Sequence[Sequence[Seen]], error: float, most: int, grid: int) -> list[str]:
    """Cells: medians of trials, epochs and share of the grid until the choice is as good, and how often it was."""
    found = [reached(path, error) for path in paths]
    share = sum(f is not None for f in found) / len(found)
    epochs = sorted(math.inf if f is None else f.epochs for f in found)
    trials = sorted(math.inf if f is None else f.trials for f in found)
    half = len(found) // 2
    if math.isinf(epochs[half]):
        return ["", f"more than {most:,}", f"over {most / grid:.2f}", f"{share:.0%}"]
    return [f"{trials[half]:.0f}", f"{epochs[half]:,.0f}", f"{epochs[half] / grid:.2f}", f"{share:.0%}"]


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--share", type=float, default=0.4, help="of the whole grid's epochs, at which a search ends")
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not TABLE.exists():
        parser.error(f"{TABLE} is not there; make it with: python benchmarks/efficiency_table.py {SPACE} {TABLE}")
    table, ranges = Table(load_space(SPACE), TABLE), load_space(SPACE, profile="ranges")
    ends = sorted(table.final(key) for key in table.reports)
    whole = table.epochs * len(ends)
    sequence = list(one_after_the_other(table))
    chosen = max(sequence, key=lambda s: s[2])
    in_turn = table.epochs * len(sequence)
    most = round(given.share * whole)
    print(f"{len(ends)} configurations of {table.epochs} epochs and {ranges.replicates} seeds: {whole:,} epochs")
    print(f"least error {ends[0][0]:.5f} (accuracy {ends[0][1]:.3f}); most accurate {max(a for _, a in ends):.3f};")
    print(f"spread of errors: quartiles {middle([e for e, _ in ends], 5)}")
    print(
        f"one after the other, by labels: {len(sequence)} trainings, {in_turn} epochs; error {chosen[1]:.5f}, ", end=""
    )
    print(f"accuracy {chosen[2]:.3f}\n")
    paths = {}
    for way in given.ways:
        sampler, pruner = WAYS[way]
        began = time.process_time()
        spaces = (
            dataclasses.replace(
                ranges, sampler={**sampler, "seed": seed}, pruner=pruner, budget=Budget(trials=len(ends) * 2)
            )
            for seed in range(given.repeats)
        )
        paths[way] = [searched(space, table, most) for space in spaces]
        print(f"<!-- {way}: {time.process_time() - began:.0f} s -->", flush=True)
    print()
    goals = {
        "as good as the sequential grid": chosen[1],
        "within 1 % of the best of the grid": 1.01 * ends[0][0],
        "the best of the grid": ends[0][0],
    }
    print(line("goal", "search", "trials", "epochs", "share of the whole grid", "reached"))
    print(line(*["---"] * 6))
    for goal, error in goals.items():
        for way, found in paths.items():
            print(line(goal, way, *needed(found, error, most, whole)))
    print()
    print(line("epochs", "search", "error of its choice, × 1000", "accuracy of its choice, %"))
    print(line(*["---"] * 4))
    for cost in (in_turn, 2 * in_turn, round(whole / 5)):
        if cost == in_turn:
            known = f"{1e3 * chosen[1]:.2f}", f"{100 * chosen[2]:.1f}"
            print(line(f"{cost:,}", "one after the other, by labels", *known))
        for way, found in paths.items():
            then = [seen for seen in (at(path, cost) for path in found) if seen.error < math.inf]
            errors, accuracies = [1e3 * seen.error for seen in then], [100 * seen.accuracy for seen in then]
            print(line(f"{cost:,}", way, middle(errors, 2), middle(accuracies, 1)))


if __name__ == "__main__":
    main()
