"""Warm start: what the finished trials of another study say about a space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.settings import Scalar, SettingError

from ..space import Space
from . import goals
from .grid import digest
from .records import TrialRecord

#: Of a study whose values do not compare, so many of the best configurations are tried first.
TRIED = 3


@dataclass
class Transferred:
    """What is taken from a study: trials told as results, configurations to try first, and why others are left out."""

    told: list[TrialRecord] = field(default_factory=list)
    tried: list[TrialRecord] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def says(self, name: str) -> str:
        """In one sentence."""
        parts = [f"{len(self.told)} finished trials of {name} are known to the sampler"] if self.told else []
        if self.tried:
            parts.append(f"the {len(self.tried)} best configurations of {name} are tried first")
        if self.left_out:
            why = "; ".join(f"{count} because {reason}" for reason, count in self.left_out.most_common(3))
            parts.append(f"{sum(self.left_out.values())} are left out, {why}")
        return ", ".join(parts) or f"{name} has no finished trials to learn from"


def transferred(space: Space, source: Space, records: Iterable[TrialRecord]) -> Transferred:
    """Maps the complete trials of a study to a space.

    Values compare only between trainings that differ in nothing but what is searched here: a trial is told as a
    result when every setting of its configuration that is fixed here is the same there. Of a study with other
    data or other fixed settings, the best configurations are tried first instead, as their values say nothing.

    Args:
        space: what is searched.
        source: the space of the other study.
        records: its trials.
    """
    found = Transferred()
    complete = [r for r in records if r.state == "complete" and r.confirms is None]
    fit: list[TrialRecord] = []
    for record in complete:
        reason = _unfit(space, record)
        if reason is not None:
            found.left_out[reason] += 1
        elif _elsewhere(space, record.config) is None:
            found.told.append(record)
        else:
            fit.append(record)
    best = [r for r in goals.ranked(source, complete) if r in fit]
    found.tried = best[:TRIED]
    for record in fit:
        if record not in found.tried:
            found.left_out[str(_elsewhere(space, record.config))] += 1
    return found


def searched_settings(space: Space, config: Mapping[str, Any]) -> dict[str, Scalar]:
    """The part of a configuration that a space searches."""
    return {n: config[n] for n in space.search if n in config}


def _unfit(space: Space, record: TrialRecord) -> str | None:
    """Why a configuration cannot be asked for in a space, or is not judged by its metrics."""
    own = searched_settings(space, record.config)
    for name, value in own.items():
        known = {**space.fixed, **record.config}
        if not space.search[name].contains(value, known if space.search[name].follows() <= set(known) else None):
            return f"{name} lies outside what is searched"
    try:
        made = space.suggest(_Told(space.point_params(own)))
        digest(made)
    except KeyError as error:
        return f"{str(error).strip(chr(39)).partition('|')[0]} did not apply there"
    except SettingError as error:
        return str(error)
    return goals.problem(space, [s["seed"] for s in record.seeds], [s["metrics"] for s in record.seeds])


def _elsewhere(space: Space, config: Mapping[str, Any]) -> str | None:
    """The first setting that makes values of a configuration say nothing here; None where they compare."""
    here = space.suggest(_Told(space.point_params(searched_settings(space, config))))
    for name, value in here.items():
        if name not in space.search and config.get(name) != value:
            return f"{name} is {config.get(name, 'not there')} there and {value} here"
    return None


class _Told:
    """Answers like an Optuna trial with the parameters it was given; KeyError where one is missing."""

    def __init__(self, params: Mapping[str, Scalar]):
        self.params = params

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.params[name]

    def suggest_float(self, name: str, low: float, high: float, **more: Any) -> Any:
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, **more: Any) -> Any:
        return self.params[name]
