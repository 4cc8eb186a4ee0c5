"""From an entry under `search:` to a `Dimension`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from trainers.families import suggestion
from trainers.settings import POSITIVE, Scalar, Setting, SettingError, catalogue, ordered

from . import names
from .dimension import Dimension, followed
from .document import Entry, is_number

Wrong = Callable[[Entry, str, str], None]  #: told (where, name, what is wrong and what to do)


def dimension(name: str, entry: Entry, setting: Setting, wrong: Wrong) -> Dimension | None:
    """What is searched of a setting; None after `wrong` was told why not."""
    value = entry.value
    if isinstance(value, list):
        value = {"choices": entry}
    if not isinstance(value, dict):
        return _choices(name, Entry([entry], entry.line), setting, wrong)
    for key, inner in value.items():
        if key not in names.DIMENSION_KEYS:
            wrong(inner, f"{name}.{key}", f"is no way to search; {suggestion(key, list(names.DIMENSION_KEYS))}")
            return None
    kinds = [k for k in ("choices", "uniform", "log", "int") if k in value]
    if len(kinds) != 1:
        wrong(entry, name, "give one of choices: [..], uniform: [low, high], log: [low, high] or int: [low, high]")
        return None
    kind = kinds[0]
    made = (
        _choices(name, value[kind], setting, wrong) if kind == "choices" else _range(name, value, kind, setting, wrong)
    )
    if made is None or "or" not in value:
        return made
    try:
        return replace(made, otherwise=setting.check(value["or"].plain()))
    except SettingError as error:
        wrong(value["or"], f"{name}.or", error.problem)
        return None


def _choices(name: str, entry: Entry, setting: Setting, wrong: Wrong) -> Dimension | None:
    if not isinstance(entry.value, list) or not entry.value:
        wrong(entry, name, "has nothing to choose from; list at least one value")
        return None
    checked: list[Scalar] = []
    for choice in entry.value:
        try:
            value = setting.check(choice.plain())
        except SettingError as error:
            wrong(choice, name, error.problem)
            continue
        if value in checked:
            wrong(choice, name, f"lists {value} twice; keep one")
        checked.append(value)
    return Dimension("categorical", choices=tuple(checked)) if checked else None


def _range(name: str, value: dict[str, Entry], kind: str, setting: Setting, wrong: Wrong) -> Dimension | None:
    entry = value[kind]
    if setting.type not in (int, float):
        wrong(entry, name, f"is {setting.type.__name__}, which has no range; list choices instead")
        return None
    ends = entry.plain()
    if not (isinstance(ends, list) and len(ends) == 2 and all(is_number(e) or isinstance(e, str) for e in ends)):
        wrong(entry, name, f"{kind} needs two numbers, [low, high]; an end may follow another setting by its name")
        return None
    if kind == "int" and setting.type is float:
        wrong(entry, name, "is a number with a fraction; use uniform: or log:")
        return None
    whole = setting.type is int
    step = value["step"].plain() if "step" in value else None
    follows = any(isinstance(e, str) for e in ends)
    low, high = (0.0 if isinstance(e, str) else e for e in ends)
    if not follows and not low < high:
        wrong(entry, name, f"goes from {low:g} to {high:g}, upside down or empty; put the lower end first")
        return None
    if step is not None and (kind == "log" or not _steps(step, whole) or not (follows or step <= high - low)):
        sort = "whole number" if whole else "number"
        wrong(value["step"], f"{name}.step", f"is {step}; give a {sort} above 0, within the range and without log")
        return None
    made = Dimension("int" if whole else "float", low=low, high=high, log=kind == "log", step=step)
    if follows:  # what they follow is looked at when all is read, see `follow`
        low_of, high_of = (e if isinstance(e, str) else "" for e in ends)
        return replace(made, low_of=low_of, high_of=high_of)
    return made if _allowed(name, entry, setting, low, high, made.log, wrong) else None


def _steps(step: Any, whole: bool) -> bool:
    return is_number(step) and step > 0 and (not whole or float(step).is_integer())


def _allowed(name: str, entry: Entry, setting: Setting, low: float, high: float, log: bool, wrong: Wrong) -> bool:
    """Whether a setting may have all values of a range."""
    if log and low <= 0:
        wrong(entry, name, f"has a log scale from {low:g}; start above 0 (for none at all add `or: 0`)")
        return False
    try:
        setting.check(low), setting.check(high)
    except SettingError as error:
        wrong(entry, name, error.problem)
        return False
    return True


# -- ranges that follow other settings ----------------------------------------------------------------


def follow(
    fixed: Mapping[str, Scalar], search: Mapping[str, Dimension], where: Mapping[str, Entry], wrong: Wrong
) -> dict[str, Dimension]:
    """The search with the least and the most of every end that follows another setting.

    A range that nothing can be said of, or that may be empty, is told to `wrong` and left out.
    """
    found = {n: d for n, d in search.items() if not d.low_of and not d.high_of}
    waiting = {n: d for n, d in search.items() if n not in found}
    for name in list(waiting):
        problem = next(_unusable(name, waiting[name], fixed, search), None)
        if problem:
            wrong(where[name], name, problem)
            del waiting[name]
    try:
        order = list(ordered(catalogue(), {n: sorted(d.follows()) for n, d in waiting.items()}))
    except TypeError as error:
        circle = str(error).rpartition(": ")[2]
        name = next(n for n in waiting if n in circle.split(" -> "))
        wrong(where[name], name, f"follows itself: {circle}; give one of them a range of numbers")
        return found
    for name in order:
        if name in waiting and waiting[name].follows() & set(search) <= set(found):
            made = _bounded(name, waiting[name], fixed, found, where[name], wrong)
            if made is not None:
                found[name] = made
    return found


def _unusable(
    name: str, given: Dimension, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]
) -> Iterator[str]:
    """What is wrong with the settings that a range follows."""
    known = catalogue()
    for end in filter(None, (given.low_of, given.high_of)):
        named = followed(end)
        if named is None:
            yield f"{end!r} is no end of a range; give a number, SETTING or NUMBER * SETTING"
        elif named[1] not in known:
            yield f"{end!r} names no setting; {suggestion(named[1], known)}"
        elif known[named[1]].type not in (int, float):
            yield f"cannot follow {named[1]}, which is {known[named[1]].type.__name__}; follow a number"
        elif named[1] == name:
            yield "follows itself; give a number, or another setting"
        elif lacking := missing(name, named[1], fixed, search):
            yield f"follows {named[1]}, which applies only when {lacking}; follow a setting that always applies here"


def missing(name: str, other: str, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> str:
    """When `other` applies, if that may not be so where `name` applies (without a name: ever); empty if it is."""
    known = catalogue()
    for condition, allowed in known[other].conditions.items():
        mine = known[name].conditions.get(condition) if name else None
        if mine == allowed or (isinstance(mine, tuple) and set(mine) <= set(allowed)):
            continue
        values = search[condition].possible() if condition in search else _values(condition, fixed, search)
        if values is None or not all(_holds(v, allowed) for v in values):
            return known[other].when()
        if beyond := missing(name, condition, fixed, search):
            return beyond
    return ""


def _holds(value: Any, allowed: tuple[Scalar, ...] | str) -> bool:
    return is_number(value) and value > 0 if allowed == POSITIVE else value in allowed


def _bounded(
    name: str,
    given: Dimension,
    fixed: Mapping[str, Scalar],
    search: Mapping[str, Dimension],
    entry: Entry,
    wrong: Wrong,
) -> Dimension | None:
    """The range with its hull; None where it may be empty or leave what the setting allows."""

    def extremes(end: str, number: float) -> tuple[float, float]:
        named = followed(end)
        if named is None:
            return number, number
        factor, other = named
        values = _values(other, fixed, search)
        return factor * min(values), factor * max(values)

    (low, low_most), (high_least, high) = extremes(given.low_of, given.low), extremes(given.high_of, given.high)
    if low_most > high_least or (given.kind == "int" and math.ceil(low_most) > math.floor(high_least)):
        wrong(
            entry,
            name,
            f"goes from {given.low_of or f'{low:g}'} to {given.high_of or f'{high:g}'}, which may be {low_most:g} to"
            f" {high_least:g}, upside down; narrow what it follows",
        )
        return None
    if given.kind == "int":
        low, high = math.ceil(low), math.floor(high)
    made = replace(given, low=low, high=high)
    return made if _allowed(name, entry, catalogue()[name], low, high, given.log, wrong) else None


def _values(name: str, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> list[Any]:
    """The values of a number that matter to a range that follows it."""
    if name not in search:
        return [fixed[name]] if name in fixed else list(catalogue()[name].defaults.values())
    dimension = search[name]
    listed = dimension.possible()
    if listed is not None:
        return list(listed)
    return [dimension.low, dimension.high, *([] if dimension.otherwise is None else [dimension.otherwise])]
