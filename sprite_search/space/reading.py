"""From the entries of a document to a `Space`, collecting everything wrong on the way."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainers.families import suggestion
from trainers.models import MODELS
from trainers.settings import POSITIVE, Scalar, Setting, SettingError, TrialConfig, catalogue, resolve

from ..machine import too_little_memory
from ..selection.criteria import COLUMN, CRITERIA
from ..selection.steering import OBJECTIVES, refusal
from . import names
from .document import Document, Entry, Problem, read
from .model import Budget, Dimension, Objective, Resources, Space

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
        fixed, search = self._trial(), self._search()
        for name in [n for n in search if n in fixed]:
            self.wrong(self._where[name], name, "is both under trial: and under search:; keep one")
        self._applicable(fixed, search)
        self.space = replace(
            self.space,
            name=self._study(),
            about=str(self._typed("about", str, "")),
            fixed=fixed,
            search={n: search[n] for n in catalogue() if n in search},
            objective=self._objective(fixed, search),
            sampler=self._part("sampler", names.SAMPLER_KEYS, {"name": "tpe", "seed": 0}),
            pruner=self._part("pruner", names.PRUNER_KEYS, {"name": "none"}),
            replicates=self._number("replicates", int, 1, low=1, high=1000),
            random_arm=self._number("random_arm", float, 0.0, low=0, high=1),
        )
        self._budget_and_resources()
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
            dimension = self._dimension(name, entry, catalogue()[name])
            if dimension is not None:
                found[name] = dimension
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

    def _dimension(self, name: str, entry: Entry, setting: Setting) -> Dimension | None:
        value = entry.value
        if isinstance(value, list):
            value = {"choices": entry}
        if not isinstance(value, dict):
            return self._choices(name, Entry([entry], entry.line), setting)
        for key, inner in value.items():
            if key not in names.DIMENSION_KEYS:
                self.wrong(
                    inner, f"{name}.{key}", f"is no way to search; {suggestion(key, list(names.DIMENSION_KEYS))}"
                )
                return None
        kinds = [k for k in ("choices", "uniform", "log", "int") if k in value]
        if len(kinds) != 1:
            self.wrong(
                entry, name, "give one of choices: [..], uniform: [low, high], log: [low, high] or int: [low, high]"
            )
            return None
        kind = kinds[0]
        made = (
            self._choices(name, value[kind], setting) if kind == "choices" else self._range(name, value, kind, setting)
        )
        if made is None or "or" not in value:
            return made
        try:
            return replace(made, otherwise=setting.check(value["or"].plain()))
        except SettingError as error:
            self.wrong(value["or"], f"{name}.or", error.problem)
            return None

    def _choices(self, name: str, entry: Entry, setting: Setting) -> Dimension | None:
        if not isinstance(entry.value, list) or not entry.value:
            self.wrong(entry, name, "has nothing to choose from; list at least one value")
            return None
        checked: list[Scalar] = []
        for choice in entry.value:
            try:
                value = setting.check(choice.plain())
            except SettingError as error:
                self.wrong(choice, name, error.problem)
                continue
            if value in checked:
                self.wrong(choice, name, f"lists {value} twice; keep one")
            checked.append(value)
        return Dimension("categorical", choices=tuple(checked)) if checked else None

    def _range(self, name: str, value: dict[str, Entry], kind: str, setting: Setting) -> Dimension | None:
        entry = value[kind]
        if setting.type not in (int, float):
            self.wrong(entry, name, f"is {setting.type.__name__}, which has no range; list choices instead")
            return None
        ends = entry.plain()
        if not (isinstance(ends, list) and len(ends) == 2 and all(_is_number(e) for e in ends)):
            self.wrong(entry, name, f"{kind} needs two numbers, [low, high]")
            return None
        low, high = ends
        if kind == "int" and setting.type is float:
            self.wrong(entry, name, "is a number with a fraction; use uniform: or log:")
            return None
        if not low < high:
            self.wrong(entry, name, f"goes from {low:g} to {high:g}, upside down or empty; put the lower end first")
            return None
        if kind == "log" and low <= 0:
            self.wrong(entry, name, f"has a log scale from {low:g}; start above 0 (for none at all add `or: 0`)")
            return None
        whole = setting.type is int
        step = value["step"].plain() if "step" in value else None
        if step is not None and (_cast(step, setting.type) is None or not 0 < step <= high - low or kind == "log"):
            kinds = "whole number" if whole else "number"
            self.wrong(
                value["step"], f"{name}.step", f"is {step}; give a {kinds} above 0, within the range and without log"
            )
            return None
        try:
            setting.check(low), setting.check(high)
        except SettingError as error:
            self.wrong(entry, name, error.problem)
            return None
        return Dimension("int" if whole else "float", low=low, high=high, log=kind == "log", step=step)

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

    def _objective(self, fixed: Mapping[str, Scalar], search: Mapping[str, Dimension]) -> Objective:
        for name in search:
            if name.startswith("dataset."):
                self.wrong(
                    self._where[name],
                    name,
                    "is searched, but trials on different images do not compare; set it under trial:",
                )
        entry = self.top.get("objective")
        if entry is None:
            return Objective()
        value = entry.value
        directions = [k for k in ("minimize", "maximize") if isinstance(value, dict) and k in value]
        if len(directions) != 1 or not isinstance(value[directions[0]].value, str):
            self.wrong(entry, "objective", "give one of minimize: METRIC or maximize: METRIC")
            return Objective()
        for key in value:
            if key not in ("minimize", "maximize", "oracle"):
                self.wrong(
                    value[key], f"objective.{key}", f"is unknown; {suggestion(key, ['minimize', 'maximize', 'oracle'])}"
                )
        oracle = "oracle" in value and value["oracle"].value is True
        at, metric = value[directions[0]], value[directions[0]].value
        if metric.startswith(COLUMN):
            self._steering(at, metric, directions[0], fixed, search)
        elif metric not in names.METRICS:
            self.wrong(at, "objective", f"{metric!r} is no metric; {suggestion(metric, names.METRICS)}")
        elif metric.startswith("labels/") and not oracle:
            self.wrong(
                at,
                "objective",
                f"{metric} needs labels; add `oracle: true` to search with labels, or use val/reconstruction",
            )
        else:
            self._comparable(at, metric, search)
        return Objective(metric, directions[0], oracle)

    def _steering(
        self,
        entry: Entry,
        metric: str,
        direction: str,
        fixed: Mapping[str, Scalar],
        search: Mapping[str, Dimension],
    ) -> None:
        """Says what keeps a criterion from being the objective."""
        name, kind = metric.removeprefix(COLUMN), "model.kind"
        if name not in CRITERIA:
            known = [COLUMN + n for n in OBJECTIVES]
            self.wrong(entry, "objective", f"{metric!r} is no criterion; {suggestion(metric, known)}")
            return
        kinds = search[kind].choices if kind in search else (fixed.get(kind, catalogue()[kind].default({})),)
        models = [MODELS[str(k)] for k in kinds if k in MODELS]
        why = refusal(
            name,
            direction=direction,
            artefacts=all(m.inspectable for m in models),
            scenes=any(getattr(m, "masked", False) for m in models),
            replicates=self._number("replicates", int, 1, low=1),
            searched=search,
        )
        if why is not None:
            self.wrong(entry, "objective", f"{metric} {why}")

    def _comparable(self, entry: Entry, metric: str, search: Mapping[str, Dimension]) -> None:
        for name in search:
            if name.startswith(names.METRICS[metric]) and names.METRICS[metric]:
                self.wrong(
                    entry,
                    "objective",
                    f"{metric} is scaled by {name}, so trials would not compare; use val/reconstruction",
                )
                return

    def _part(self, part: str, keys: Mapping[str, type], default: dict[str, Scalar]) -> dict[str, Scalar]:
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
            elif (typed := _cast(inner.value, keys[key])) is None or (_is_number(typed) and typed < 0):
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
        endless = [n for n, d in space.search.items() if d.kind == "float" and not d.step]
        if space.sampler["name"] == "grid" and endless:
            self.wrong(
                self._where[endless[0]], endless[0], "has no list of values for sampler grid; give it choices or a step"
            )
        if space.sampler["name"] == "gp" and space.budget.trials > 300:
            self.wrong(
                self.top["sampler"],
                "sampler",
                f"gp slows down with every trial and {space.budget.trials} are asked for; use tpe above 300",
            )

    def _budget_and_resources(self) -> None:
        budget = self._part("budget", names.BUDGET_KEYS, {})
        resources = self._part("resources", names.RESOURCE_KEYS, {})
        for key in ("trials", "hours"):
            if key in budget and not budget[key]:
                self.wrong(self.top["budget"].value[key], f"budget.{key}", "is 0; nothing would run")
        for key, why in (
            ("cpu", "a trial needs a share of a CPU, e.g. 1"),
            ("at_once", "nothing would run"),
            ("patience", "every trial would be taken for lost; give hours, e.g. 2"),
        ):
            if not resources.get(key, 1):
                self.wrong(self.top["resources"].value[key], f"resources.{key}", f"is 0; {why}")
        gpu = float(resources.get("gpu", 0))
        if gpu > 1 and gpu % 1:
            self.wrong(
                self.top["resources"].value["gpu"],
                "resources.gpu",
                f"is {gpu:g}; use a fraction below 1, or whole GPUs",
            )
        if (name := resources.get("accelerator")) and not gpu:
            self.wrong(
                self.top["resources"].value["accelerator"],
                "resources.accelerator",
                f"is {name}, but trials take no GPU; give resources.gpu too",
            )
        self._gpu_memory(resources, gpu)
        self.space = replace(self.space, budget=Budget(**budget), resources=Resources(**resources))  # type: ignore[arg-type]

    def _gpu_memory(self, resources: Mapping[str, Any], gpu: float) -> None:
        """Whether a trial fits its share of the GPU, where that is known."""
        if not (needed := resources.get("gpu_memory")):
            return
        at = self.top["resources"].value["gpu_memory"]
        kind = str(resources.get("accelerator"))
        if not gpu:
            self.wrong(at, "resources.gpu_memory", f"is {needed:g}, but trials take no GPU; give resources.gpu too")
        elif kind in names.GPU_MEMORY:
            small = too_little_memory(kind, names.GPU_MEMORY[kind], share=gpu, needed=needed)
            if small:
                name, _, what = small.partition(": ")
                self.wrong(at, name, what)

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
                if not search[key].contains(value):
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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cast(value: Any, kind: type) -> Any:
    """The value in the wanted type, None where it is not of that kind."""
    if kind is float and _is_number(value):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is kind else None


def _kind(kind: type) -> str:
    return {str: "text", int: "a whole number of 0 or more", float: "a number of 0 or more", bool: "true or false"}[
        kind
    ]
