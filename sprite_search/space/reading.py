"""From the entries of a document to a `Space`, collecting everything wrong on the way."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trainers.families import suggestion
from trainers.models import MODELS
from trainers.settings import POSITIVE, Scalar, SettingError, TrialConfig, catalogue, resolve

from ..selection.steering import refusal
from . import names
from .dimension import Dimension
from .document import Document, Entry, Problem, is_number, read
from .model import MOST_REPLICATES, Constraint, Objective, Space
from .pruning import check_pruner
from .reading_dimensions import dimension, follow
from .reading_objectives import Steering, constraints, objectives
from .reading_samplers import check_sampler
from .spending import Spending

_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_POINTS = Path(__file__).resolve().parents[2] / "search_spaces" / "points"


def study_problem(name: Any) -> str | None:
    """What is wrong with the name of a study, which is a folder's name too; None when nothing is."""
    if isinstance(name, str) and _STUDY.fullmatch(name):
        return None
    return f"is {name!r}; use letters, digits, _ . or -, starting with a letter or digit, 100 at most"


class Reader:
    """Reads one document (with a profile laid over it) once; `space` and `problems` are the result."""

    def __init__(self, document: Document, path: Path):
        self.path = path
        self.problems: list[Problem] = list(document.problems)
        self.top: dict[str, Entry] = document.top.value
        self.space = Space(name="", path=str(path))
        if self.top:
            self._read()

    def wrong(self, entry: Entry | int, name: str, text: str) -> None:
        self.problems.append(Problem(entry if isinstance(entry, int) else entry.line, name, text))

    def _read(self) -> None:
        for key, entry in self.top.items():
            if key not in names.TOP_KEYS:
                self.wrong(entry, key, f"is no part of a search space; {suggestion(key, list(names.TOP_KEYS))}")
        fixed = self._trial()
        search = follow(fixed, self._search(), self._where, self.wrong)
        for name in [n for n in search if n in fixed]:
            self.wrong(self._where[name], name, "is both under trial: and under search:; keep one")
        self._applicable(fixed, search)
        aims = self._objectives(fixed, search)
        self.space = replace(
            self.space,
            name=self._study(),
            about=str(self._typed("about", str, "")),
            fixed=fixed,
            search={n: search[n] for n in catalogue() if n in search},
            transfer_from=self._transfers(),
            objective=aims[0],
            further_objectives=aims[1:],
            constraints=self._constraints(fixed, search),
            sampler=self.part("sampler", names.SAMPLER_KEYS, {"name": "tpe", "seed": 0}),
            pruner=self.part("pruner", names.PRUNER_KEYS, {"name": "none"}),
            replicates=self._number("replicates", int, 1, low=1, high=MOST_REPLICATES),
            random_arm=self._number("random_arm", float, 0.0, low=0, high=1),
        )
        self.space = replace(self.space, **Spending(self.top, self.part, self.wrong).found)
        check_pruner(self.space, self.top.get("pruner"), self.wrong)
        self._samplers()
        self.space = replace(self.space, start_from=self._points(fixed, search))
        self._combination()

    # -- what a trial is ------------------------------------------------------------------------

    def _study(self) -> str:
        entry = self.top.get("study")
        if entry is None:
            self.wrong(0, "study", "is missing; name the study, e.g. `study: my_study`")
            return ""
        if wrong := study_problem(entry.plain()):
            self.wrong(entry, "study", wrong)
            return ""
        return str(entry.value)

    def _trial(self) -> dict[str, Scalar]:
        fixed: dict[str, Scalar] = {}
        self._where: dict[str, Entry] = {}
        for name, entry in self._settings("trial"):
            if isinstance(entry.value, (list, dict)):
                self.wrong(entry, name, "is a list here; one value under trial:, or move it to search:")
                continue
            try:
                fixed[name] = catalogue()[name].check(entry.value)
            except SettingError as error:
                self.wrong(entry, name, error.problem)
        return fixed

    def _search(self) -> dict[str, Dimension]:
        found: dict[str, Dimension] = {}
        for name, entry in self._settings("search"):
            if name == "seed":
                self.wrong(entry, name, "is not searched: seeds are replicates; set `replicates:` instead")
                continue
            made = dimension(name, entry, catalogue()[name], self.wrong)
            if made is not None:
                found[name] = made
        return found

    def _settings(self, part: str) -> Iterator[tuple[str, Entry]]:
        """Dotted settings under a part, each known and named once."""
        top = self.top.get(part)
        if top is None:
            return
        if not isinstance(top.value, dict):
            if top.value is not None:
                self.wrong(top, part, "must be a mapping of settings")
            return
        for name, entry in flatten(top):
            if name not in catalogue():
                self.wrong(entry, name, f"is not a setting; {suggestion(name, catalogue())}")
            elif name in self._where and part == "trial":
                self.wrong(entry, name, f"is already set on line {self._where[name].line}; keep one")
            else:
                self._where[name] = entry
                yield name, entry

    # -- whether it can mean anything -------------------------------------------------------------

    def _applicable(self, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> None:
        """Names settings that no configuration of this space could use."""
        possible: dict[str, tuple[Scalar, ...] | None] = {}
        for name, setting in catalogue().items():
            unmet = [n for n, allowed in setting.conditions.items() if not _can_hold(possible.get(n, ()), allowed)]
            if unmet:
                possible[name] = ()
                if name in fixed or name in search:
                    self.wrong(
                        self._where[name],
                        name,
                        f"can never apply: it needs {setting.when()}; remove it or widen {unmet[0]}",
                    )
            elif name in search:
                possible[name] = search[name].possible()
            elif name in fixed:
                possible[name] = (fixed[name],)
            else:
                chosen = possible.get(setting.selector or "")
                defaults = [d for k, d in setting.defaults.items() if not chosen or k in chosen]
                possible[name] = tuple(defaults or setting.defaults.values())

    def _combination(self) -> None:
        """Tries one configuration as a whole, for what only a whole configuration shows."""
        if self.problems:
            return
        try:
            TrialConfig.from_flat({**self.space.sample(0), "seed": 0})
        except SettingError as error:
            entry = self._where.get(error.name)
            self.wrong(entry if entry is not None else 0, error.name, error.problem)

    # -- how it is searched -----------------------------------------------------------------------

    def _objectives(self, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> tuple[Objective, ...]:
        for name in search:
            if name.startswith("dataset."):
                self.wrong(
                    self._where[name],
                    name,
                    "is searched, but trials on different images do not compare; set it under trial:",
                )
        entry = self.top.get("objective")
        steering = self._steering(fixed, search)
        return (objectives(entry, search, steering, self.wrong) if entry is not None else ()) or (Objective(),)

    def _constraints(self, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> tuple[Constraint, ...]:
        entry = self.top.get("constraints")
        return constraints(entry, self._steering(fixed, search), self.wrong) if entry is not None else ()

    def _steering(self, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> Steering:
        """What keeps a criterion from being an objective or bounded in this space."""
        kind = "model.kind"
        kinds = search[kind].choices if kind in search else (fixed.get(kind, catalogue()[kind].default({})),)
        models = [MODELS[str(k)] for k in kinds if k in MODELS]
        return partial(
            refusal,
            artefacts=all(m.inspectable for m in models),
            scenes=any(getattr(m, "masked", False) for m in models),
            replicates=self._number("replicates", int, 1, low=1, high=MOST_REPLICATES),
            searched=search,
        )

    def part(self, part: str, keys: Mapping[str, type], default: dict[str, Scalar]) -> dict[str, Scalar]:
        """A mapping of the file with these keys and types of values, over what is there by default."""
        entry = self.top.get(part)
        if entry is None:
            return default
        value = entry.value
        if isinstance(value, str) and "name" in keys:
            value = {"name": entry}
        if not isinstance(value, dict):
            self.wrong(entry, part, f"must be a mapping with some of {', '.join(keys)}")
            return default
        found = dict(default)
        for key, inner in value.items():
            if key not in keys:
                self.wrong(inner, f"{part}.{key}", f"is unknown; {suggestion(key, list(keys))}")
            elif keys[key] is dict:
                found[key] = self._labels(inner, f"{part}.{key}")  # type: ignore[assignment]
            elif keys[key] is list:
                found[key] = self._texts(inner, f"{part}.{key}")  # type: ignore[assignment]
            elif (typed := _cast(inner.value, keys[key])) is None or (is_number(typed) and typed < 0):
                self.wrong(inner, f"{part}.{key}", f"is {inner.plain()!r}; give {_kind(keys[key])}")
            else:
                found[key] = typed
        return found

    def _labels(self, entry: Entry, name: str) -> dict[str, str]:
        """A mapping of texts."""
        given = entry.value if isinstance(entry.value, dict) else {"": entry}
        if not all(label and isinstance(inner.value, str) and inner.value for label, inner in given.items()):
            self.wrong(entry, name, "must be a mapping of texts such as {market: spot}")
            return {}
        return {label: inner.value for label, inner in given.items()}

    def _texts(self, entry: Entry, name: str) -> list[str]:
        """A list of texts, each once."""
        given: list[Any] = [item.value for item in entry.value] if isinstance(entry.value, list) else [None]
        if not given or not all(isinstance(text, str) and text for text in given):
            self.wrong(entry, name, "must be a list of names, e.g. [one, another]")
            return []
        for twice in {text for text in given if given.count(text) > 1}:
            self.wrong(entry, name, f"lists {twice} twice; keep one")
        return list(dict.fromkeys(given))

    def _transfers(self) -> tuple[str, ...]:
        """Studies to learn from; whether they are there is seen when a home is."""
        entry = self.top.get("transfer_from")
        found = self._texts(entry, "transfer_from") if entry is not None and entry.value != [] else []
        if entry is not None and (own := self.top.get("study")) is not None and own.value in found:
            self.wrong(entry, "transfer_from", "names this study; name others")
        return tuple(found)

    def _samplers(self) -> None:
        space = self.space
        for part, known in (("sampler", list(names.SAMPLERS)), ("pruner", list(names.PRUNERS))):
            name = str(getattr(space, part)["name"])
            if name not in known:
                self.wrong(self.top[part], part, f"{name!r} is no {part}; {suggestion(name, known)}")
        needed = names.SAMPLERS.get(str(space.sampler["name"]))
        if needed and importlib.util.find_spec(needed) is None:
            self.wrong(
                self.top["sampler"],
                "sampler",
                f"{space.sampler['name']} needs the package {needed}; pip install {needed}",
            )
        check_sampler(space, self.top, self._where, self.wrong)
        if space.sampler["name"] == "sequential_grid":
            named = list(space.sampler.get("order", ()))
            order = [*named, *(n for n in self._where if n in space.search and n not in named)]
            self.space = replace(self.space, sampler={**space.sampler, "order": order})

    def _typed(self, key: str, kind: type, default: Scalar) -> Scalar:
        entry = self.top.get(key)
        if entry is None:
            return default
        value = _cast(entry.value, kind)
        if value is None:
            self.wrong(entry, key, f"is {entry.plain()!r}; give {_kind(kind)}")
            return default
        return value

    def _number(self, key: str, kind: type, default: Any, *, low: float, high: float | None = None) -> Any:
        value = self._typed(key, kind, default)
        assert isinstance(value, (int, float))
        if value < low or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"between {low} and {high}"
            self.wrong(self.top[key], key, f"is {value:g}; give a number {limits}")
            return default
        return value

    # -- where it starts --------------------------------------------------------------------------

    def _points(
        self, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]
    ) -> tuple[tuple[str, Mapping[str, Scalar]], ...]:
        entry = self.top.get("start_from")
        if entry is None:
            return ()
        if not isinstance(entry.value, list):
            self.wrong(entry, "start_from", "must be a list of points, e.g. [ours_c]")
            return ()
        found = []
        for item in entry.value:
            name, given = self._point(item)
            if given is None:
                continue
            settings = {n: v for n, v in given.items() if n in search}
            for key, value in settings.items():
                known = {**fixed, **given} if search[key].follows() <= {*fixed, *given} else None
                if not search[key].contains(value, known):
                    self.wrong(
                        item,
                        "start_from",
                        f"{name} has {key} = {value}, outside {search[key].describe()}; widen it or drop the point",
                    )
            for key, value in given.items():
                if (
                    key not in search
                    and key in fixed
                    and fixed[key] != value
                    and key.endswith((".kind", ".activation"))
                ):
                    self.wrong(
                        item, "start_from", f"{name} has {key} = {value}, but trial: sets {fixed[key]}; drop the point"
                    )
            found.append((name, settings))
        return tuple(found)

    def _point(self, item: Entry) -> tuple[str, dict[str, Scalar] | None]:
        if isinstance(item.value, dict):
            name, settings = f"line {item.line}", item
        else:
            name = str(item.plain())
            files = [self.path.parent / "points" / f"{name}.yaml", _POINTS / f"{name}.yaml"]
            file = next((f for f in files if f.is_file()), None)
            if file is None:
                known = sorted({p.stem for f in files for p in f.parent.glob("*.yaml")})
                self.wrong(item, "start_from", f"{name!r} is no known point; {suggestion(name, known)}")
                return name, None
            document = read(file)
            settings = document.top.value.get("settings", Entry(None, 0))
            wrong = [problem.at(file) for problem in document.problems]
            if not wrong and not isinstance(settings.value, dict):
                wrong = [f"{file}: has no mapping `settings:`; see search_spaces/points/"]
            for text in wrong:
                self.wrong(item, "start_from", f"the file of {name} is wrong: {text}")
            if wrong:
                return name, None
        given = {n: e.plain() for n, e in flatten(settings)}
        try:
            resolve(given)
        except SettingError as error:
            self.wrong(item, "start_from", f"{name}: {error}")
            return name, None
        return name, given


def flatten(entry: Entry, prefix: str = "") -> Iterator[tuple[str, Entry]]:
    """Dotted names and leaves, in file order; mappings that say how to search are leaves."""
    for key, value in entry.value.items():
        name = f"{prefix}{key}"
        inner = value.value
        if isinstance(inner, dict) and name not in catalogue() and not set(inner) & set(names.DIMENSION_KEYS):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def _can_hold(values: tuple[Scalar, ...] | None, allowed: tuple[Scalar, ...] | str) -> bool:
    if values is None:
        return True
    if allowed == POSITIVE:
        return any(isinstance(v, (int, float)) and v > 0 for v in values)
    return any(v in allowed for v in values)


def _cast(value: Any, kind: type) -> Any:
    """The value in the wanted type, None where it is not of that kind."""
    if kind is float and is_number(value):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is kind else None


def _kind(kind: type) -> str:
    return {str: "text", int: "a whole number of 0 or more", float: "a number of 0 or more", bool: "true or false"}[
        kind
    ]
