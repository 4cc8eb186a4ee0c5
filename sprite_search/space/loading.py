"""Loading a search space: the file, a profile over it, and what the command line sets."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from trainers.families import suggestion
from trainers.settings import Scalar, catalogue

from ..errors import InputError
from . import names
from .document import Document, Entry, Problem, read
from .model import Space
from .reading import Reader, flatten, study_problem

LAPTOP = "laptop"


def problems(path: Path | str) -> list[str]:
    """Everything wrong in a search space and in each of its profiles, in file order; empty when all is well."""
    path = Path(path)
    document = read(path)
    found = {(p.line, p.at(path)) for p in Reader(document, path).problems + _profile_problems(document)}
    for name in _profiles(document):
        found |= {(p.line, p.at(path)) for p in Reader(_with_profile(document, name), path).problems}
    return [text for _, text in sorted(found)]


def load_space(
    path: Path | str,
    *,
    profile: str | None = None,
    overrides: Mapping[str, str] | None = None,
    study: str | None = None,
    trials: int | None = None,
    hours: float | None = None,
    cluster: bool = False,
) -> Space:
    """A checked search space.

    Args:
        path: the YAML file.
        profile: name of a profile; without one, `laptop` is taken where there is no GPU.
        overrides: dotted name -> YAML text, from ``--set``: a setting, or e.g. ``budget.trials``.
        study, trials, hours: override the file's.
        cluster: trials run on other machines, whose GPUs this one need not have.
    Raises:
        InputError: everything that is wrong, line by line.
    """
    path = Path(path)
    if study is not None and (wrong_name := study_problem(study)):
        raise InputError(f"--study: {wrong_name}")
    document = read(path)
    known = _profiles(document)
    if profile is not None and profile not in known:
        advice = suggestion(profile, known) if known else "the file has no profiles"
        raise InputError(f"--profile: {profile!r} is no profile of {path}; {advice}")
    reason = "asked for with --profile" if profile else ""
    if profile is None and LAPTOP in known and not cluster and not _has_gpu():
        profile, reason = LAPTOP, "this machine has no GPU"
    if wrong := problems(path):
        raise InputError(
            "\n".join([*wrong, f"{len(wrong)} problem{'s' * (len(wrong) > 1)} in {path}; nothing was run"])
        )
    if profile is not None:
        document = _with_profile(document, profile)
    if overrides:
        document = _overridden(document, overrides)
    reader = Reader(document, path)
    if reader.problems:
        raise InputError("\n".join(p.at("--set" if p.line == 0 else path) for p in reader.problems))
    space = replace(reader.space, profile=profile, profile_reason=reason)
    budget = replace(
        space.budget, trials=trials or space.budget.trials, hours=hours if hours is not None else space.budget.hours
    )
    return replace(space, name=study or space.name, budget=budget, fixed=_from_here(space.fixed))


def _from_here(fixed: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Settings with their paths made absolute: trials run in folders of their own."""
    return {
        n: str(Path(v).expanduser().absolute()) if n.endswith(".path") and isinstance(v, str) and v else v
        for n, v in fixed.items()
    }


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _profiles(document: Document) -> list[str]:
    entry = document.top.value.get("profiles")
    return list(entry.value) if entry is not None and isinstance(entry.value, dict) else []


def _profile_problems(document: Document) -> list[Problem]:
    entry = document.top.value.get("profiles")
    if entry is None:
        return []
    if not isinstance(entry.value, dict):
        return [Problem(entry.line, "profiles", "must be a mapping of profiles, e.g. `laptop: {...}`")]
    found = []
    for name, profile in entry.value.items():
        if not isinstance(profile.value, dict):
            found.append(Problem(profile.line, f"profiles.{name}", "must be a mapping of what the profile changes"))
            continue
        for key, inner in profile.value.items():
            if key not in names.PROFILE_KEYS:
                advice = suggestion(key, list(names.PROFILE_KEYS))
                found.append(Problem(inner.line, f"profiles.{name}.{key}", f"cannot be changed by a profile; {advice}"))
    return found


def _with_profile(document: Document, name: str) -> Document:
    """The document as the profile makes it: what it says replaces what the file says, setting by setting."""
    made = copy.deepcopy(document)
    profile = made.top.value.pop("profiles").value[name]
    if not isinstance(profile.value, dict):
        return made
    for key, entry in profile.value.items():
        if key in ("trial", "search") and isinstance(entry.value, dict):
            for setting, value in flatten(entry):
                _remove(made, setting)
                if value.value is not None:  # null takes a setting out of the search
                    _part(made, key)[setting] = value
        elif key in names.PROFILE_KEYS:
            base = made.top.value.get(key)
            if (
                base is not None
                and isinstance(base.value, dict)
                and isinstance(entry.value, dict)
                and key not in ("objective", "constraints")
            ):
                base.value.update(entry.value)
            else:
                made.top.value[key] = entry
    return made


def _overridden(document: Document, overrides: Mapping[str, str]) -> Document:
    made = copy.deepcopy(document)
    for name, text in overrides.items():
        value = _entry(text, name)
        head, _, rest = name.partition(".")
        if name in catalogue():
            _remove(made, name)
            _part(made, "trial")[name] = value
        elif head in ("budget", "resources", "sampler", "pruner", "objective", "confirm", "keep") and rest:
            _part(made, head)[rest] = value
        elif head in ("replicates", "random_arm") and not rest:
            made.top.value[head] = value
        else:
            known = [*catalogue(), "budget.trials", "budget.hours", "resources.cpu", "resources.gpu", "replicates"]
            raise InputError(f"--set {name}: is not a setting; {suggestion(name, known)}")
    return made


def _entry(text: str, name: str) -> Entry:
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {name}: {text!r} is not a YAML value; quote it") from None
    if isinstance(value, (list, dict)):
        raise InputError(f"--set {name}: gives one value, but got {text!r}; to search it, edit the file")
    if isinstance(value, str):
        # 1e-4 is text to YAML, but nobody types that on a command line to mean text
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"--set {name}: is {text}; give a finite number")
    return Entry(value if value is None or isinstance(value, (str, int, float)) else text, 0)  # a date is text


def _part(document: Document, key: str) -> dict[str, Entry]:
    entry = document.top.value.get(key)
    if entry is None or not isinstance(entry.value, dict):
        # a short form such as `sampler: tpe` becomes a mapping
        kept = {"name": entry} if entry is not None and isinstance(entry.value, str) else {}
        entry = document.top.value[key] = Entry(kept, 0)
    return entry.value


def _remove(document: Document, setting: str) -> None:
    """Takes a setting out of trial: and search:, written nested or dotted."""
    for part in ("trial", "search"):
        entry = document.top.value.get(part)
        if entry is not None and isinstance(entry.value, dict):
            _drop(entry.value, setting)


def _drop(mapping: dict[str, Entry], name: str) -> None:
    mapping.pop(name, None)
    for key, entry in mapping.items():
        if name.startswith(f"{key}.") and isinstance(entry.value, dict):
            _drop(entry.value, name[len(key) + 1 :])
