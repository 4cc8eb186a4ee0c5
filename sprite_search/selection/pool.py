"""From the table of trials to the configurations worth comparing, and why the others are not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .criteria import Criterion, Row, number

#: Below this effective number of sprites, one sprite explains nearly everything: a collapsed model.
COLLAPSED = 1.5

#: Below this share of used sprites, most of what was learnt is never chosen.
MOSTLY_UNUSED = 0.5

#: Above this share of layers that show nothing, the model explains images by the background alone.
ALL_EMPTY = 0.95

#: Above this mean area of a mask, a layer acts as a second background rather than as an object.
WHOLE_IMAGE = 0.9


@dataclass(frozen=True)
class Seed:
    """One trained model: its cost (less is better) and what is wrong with it, if anything."""

    seed: int
    cost: float
    problem: str | None


@dataclass(frozen=True)
class Candidate:
    """A configuration with its seeds; `cost` is the mean over its seeds, as in the search."""

    trial: int
    seeds: tuple[Seed, ...]

    @property
    def healthy(self) -> tuple[Seed, ...]:
        return tuple(s for s in self.seeds if s.problem is None)

    @property
    def cost(self) -> float:
        return sum(s.cost for s in self.seeds) / len(self.seeds)

    @property
    def best(self) -> Seed:
        """The healthy seed of least cost; the smallest seed number breaks a tie."""
        return min(self.healthy, key=lambda s: (s.cost, s.seed))


def without_labels(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows without any ``labels/…`` column."""
    return [{name: value for name, value in row.items() if not name.startswith("labels/")} for row in rows]


def by_trial(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """The rows of each trial in order of seed; trials in order of number."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(int(row["trial"]), []).append(row)
    return {n: sorted(groups[n], key=lambda r: _seed(r)) for n in sorted(groups)}


def _seed(row: Row) -> int:
    value = row.get("seed")
    return -1 if value is None else int(value)


def candidates(rows: Iterable[Row], by: Criterion) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """Configurations that can be compared, in order of trial, and {trial, why} of those that cannot.

    A configuration stays when it ran to the end, every seed has a finite value and at least half of
    its seeds are no degenerate model.
    """
    kept: list[Candidate] = []
    rejected: list[dict[str, Any]] = []
    for trial, group in by_trial(rows).items():
        why = _not_finished(group[0])
        if why is None:
            made = Candidate(trial, tuple(Seed(_seed(r), by.cost(r), problem(r, by)) for r in group))
            why = _not_comparable(made)
            if why is None:
                kept.append(made)
        if why is not None:
            rejected.append({"trial": trial, "why": why})
    return kept, rejected


def _not_finished(row: Row) -> str | None:
    state = row.get("state")
    if state == "complete":
        return f"violates {row['violates']}" if row.get("violates") else None
    if state == "pruned":
        return "was stopped early, so its numbers do not compare with those of finished trials"
    if state == "failed":
        return f"failed: {row.get('reason') or 'no reason recorded'}"
    return "has not finished"


def _not_comparable(candidate: Candidate) -> str | None:
    sick = [s for s in candidate.seeds if s.problem is not None]
    if 2 * len(sick) > len(candidate.seeds):
        problems = dict.fromkeys(s.problem for s in sick)
        return "; ".join(f"{p}, {_seeds([s for s in sick if s.problem == p])}" for p in problems)
    bad = [s for s in candidate.seeds if not math.isfinite(s.cost)]
    return f"gave no finite value, {_seeds(bad)}" if bad else None


def _seeds(seeds: list[Seed]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(str(s.seed) for s in seeds)}"


@dataclass(frozen=True)
class Gate:
    """Something that a model must pass to be compared: what is asked, its value (NaN: not measured), what is wrong."""

    asks: str
    value: float
    problem: str | None


def gates(row: Row, by: Criterion) -> list[Gate]:
    """The gates that apply to one trained model, in the order they are asked."""
    value, effective = by.of(row), number(row, "val/effective_sprites")
    used, empty = number(row, "val/used_sprites"), number(row, "val/empty_share")

    def gate(asks: str, value: float, fails: bool, problem: str) -> Gate:
        return Gate(asks, value, problem if fails else None)

    found = []
    if number(row, "sprites.count") >= 2:
        said = f"collapsed: nearly everything is the same sprite (an effective number of {effective:.2g})"
        found.append(gate(f"at least {COLLAPSED:g} effective sprites", effective, effective < COLLAPSED, said))
    said = f"left most sprites unused (only {used:.0%} are chosen now and then)"
    found.append(gate(f"at least {MOSTLY_UNUSED:.0%} of the sprites are used", used, used < MOSTLY_UNUSED, said))
    said = "shows no sprite at all: its layers are empty"
    found.append(gate(f"at most {ALL_EMPTY:.0%} of the layers are empty", empty, empty > ALL_EMPTY, said))
    if row.get("model.kind") in ("multilayer", "anchors"):
        area = number(row, "val/mask_area")
        said = "uses a sprite as a second background: its masks cover the image"
        found.append(gate(f"masks cover at most {WHOLE_IMAGE:.0%} of the image", area, area > WHOLE_IMAGE, said))
    # the last, as a combination has no value for what failed before
    return [*found, gate("a finite value", value, not math.isfinite(value), "diverged: its value is not finite")]


def problem(row: Row, by: Criterion) -> str | None:
    """What makes one trained model degenerate, in words; None when nothing does."""
    return next((g.problem for g in gates(row, by) if g.problem), None)
