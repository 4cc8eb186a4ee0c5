"""Settings of a trial: what exists, when each applies, and the checked configuration of one trial.

Every component declares its settings in a nested ``Config`` dataclass made of `setting` fields. This
module only walks those classes, so a new component brings its settings, ranges and help with it:

* `setting` declares one field with its range, help and source;
* `catalogue` lists every setting under its dotted name (``decision.temperature``);
* `resolve` fills in defaults, drops nothing silently and refuses what cannot apply;
* `TrialConfig` is the resolved configuration, one ``Config`` object per section.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from .families import Family, suggestion
from .kinds import kind

Scalar = bool | int | float | str

#: Condition on another setting that holds for numbers above zero.
POSITIVE = "above 0"

#: Condition of the settings that only models of several layers have.
MULTILAYER = {"model.kind": ("multilayer", "anchors")}


class SettingError(ValueError):
    """A setting that is unknown, out of range or cannot apply; `name` is the dotted name at fault."""

    def __init__(self, name: str, problem: str):
        super().__init__(f"{name} {problem}")
        self.name, self.problem = name, problem


def setting(
    default: Scalar,
    help: str,
    *,
    choices: tuple[Scalar, ...] | Family | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    when: Mapping[str, Any] | None = None,
    source: str = "",
) -> Any:
    """A field of a ``Config``: one setting of a trial.

    Args:
        default: value when the user says nothing; its type is the type of the setting.
        help: one line for people who choose a value.
        choices: the allowed values, or the family whose names are allowed.
        low, high, above: inclusive bounds and an exclusive lower bound, for numbers.
        when: further conditions, dotted name -> allowed values, `POSITIVE`, or a type that the
            member chosen there must be (``{"decision.kind": PredictsProbabilities}``).
        source: where in the paper, or in which other work, the setting comes from.
    """
    meta = dict(help=help, choices=choices, low=low, high=high, above=above, when=when or {}, source=source)
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class Setting:
    """One setting under its dotted name.

    `conditions` maps dotted names of other settings to the values (or `POSITIVE`) under which this
    one applies; all must hold. `defaults` holds the default per value of the section's selector,
    as members of a family may differ (`""` when the section has no selector).
    """

    name: str
    type: type
    help: str
    source: str
    defaults: Mapping[str, Scalar]
    choices: tuple[Scalar, ...] | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    conditions: Mapping[str, tuple[Scalar, ...] | str] = dataclasses.field(default_factory=dict)
    selector: str | None = None

    def default(self, values: Mapping[str, Scalar]) -> Scalar:
        """The default given the values of the settings before it."""
        key = str(values.get(self.selector, "")) if self.selector else ""
        return self.defaults.get(key, next(iter(self.defaults.values())))

    def applies(self, values: Mapping[str, Scalar]) -> bool:
        """Whether this setting means anything, given the values of the settings before it."""
        return all(_holds(values.get(n), allowed) for n, allowed in self.conditions.items())

    def check(self, value: Any) -> Scalar:
        """`value` in this setting's type; SettingError names what is wrong and what to do."""
        value = self._typed(value)
        if self.choices is not None and value not in self.choices:
            known = [str(c) for c in self.choices]
            raise SettingError(self.name, f"is {value!r}; {suggestion(str(value), known)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(value)
        return value

    def _typed(self, value: Any) -> Scalar:
        wanted = self.type
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if wanted is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if type(value) is wanted:
            return wanted(value)
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[wanted]
        raise SettingError(self.name, f"is {value!r}; it must be {kind}")

    def _check_range(self, value: float) -> None:
        if not math.isfinite(value):
            raise SettingError(self.name, f"is {value}; it must be a finite number")
        if self.above is not None and not value > self.above:
            raise SettingError(self.name, f"is {value:g}; it must be above {self.above:g}")
        if self.low is not None and value < self.low:
            raise SettingError(self.name, f"is {value:g}; it must be at least {self.low:g}")
        if self.high is not None and value > self.high:
            raise SettingError(self.name, f"is {value:g}; it must be at most {self.high:g}")

    def when(self) -> str:
        """When the setting applies, for people."""
        parts = []
        for name, allowed in self.conditions.items():
            said = allowed if isinstance(allowed, str) else " or ".join(_text(a) for a in allowed)
            parts.append(f"{name} is {said}")
        return " and ".join(parts) or "always"


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(value: Any, allowed: tuple[Scalar, ...] | str) -> bool:
    if value is None:
        return False
    if allowed == POSITIVE:
        return isinstance(value, (int, float)) and value > 0
    return value in allowed


@dataclass(frozen=True)
class _Section:
    """Where settings live: a family chosen by `selector`, or one plain ``Config``."""

    name: str
    family: Family | None = None
    selector: str = "kind"
    default: str = ""
    config: type | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    help: str = ""
    follows_model: bool = False  # whether the default member is one for the kind of data of the model


@functools.cache
def _sections() -> tuple[_Section, ...]:
    # Imported here: components import `setting` from this module.
    from .criteria import REGULARISERS
    from .datasets import DATASETS
    from .decisions import DECISIONS
    from .encoder import ENCODERS
    from .models import MODELS
    from .optimizer import OptimizerConfig
    from .point_sprites import GENERATORS
    from .training import TrainingConfig
    from .transformations import TransformationsConfig

    return (
        _Section("dataset", DATASETS, selector="name", default="digits", help="the collection of images"),
        _Section("model", MODELS, default="clustering", help="how sprites make an image"),
        _Section("sprites", GENERATORS, default="mlp", help="where sprites come from", follows_model=True),
        _Section("encoder", ENCODERS, default="conv", help="the network that looks at an image"),
        _Section("transformations", config=TransformationsConfig),
        _Section("decision", DECISIONS, default="linear", help="how a sprite is chosen"),
        *(
            _Section(f"regularisers.{name}", config=member.Config, when=member.when)
            for name, member in REGULARISERS.items()
        ),
        _Section("optimizer", config=OptimizerConfig),
        _Section("training", config=TrainingConfig),
    )


@functools.cache
def catalogue() -> Mapping[str, Setting]:
    """Every setting by dotted name, each after the settings its conditions name."""
    found: dict[str, Setting] = {
        "seed": Setting("seed", int, "seed of initial weights, data order and noise", "", {"": 0}, low=0)
    }
    for section in _sections():
        for entry in _of_section(section):
            found[entry.name] = entry
    return ordered(found)


def _of_section(section: _Section) -> Iterator[Setting]:
    if section.family is None:
        assert section.config is not None
        for f in dataclasses.fields(section.config):
            yield _make(f"{section.name}.{f.name}", [("", f)], None, dict(section.when))
        return
    selector = f"{section.name}.{section.selector}"
    names = tuple(section.family)
    yield _selector(section, selector, names)
    fields: dict[str, list[tuple[str, dataclasses.Field[Any]]]] = {}
    for name, member in section.family.items():
        for f in dataclasses.fields(member.Config):
            fields.setdefault(f.name, []).append((name, f))
    for field_name, variants in fields.items():
        having = tuple(n for n, _ in variants)
        when = {} if len(having) == len(names) else {selector: having}
        yield _make(f"{section.name}.{field_name}", variants, selector, when)


def _selector(section: _Section, name: str, choices: tuple[str, ...]) -> Setting:
    """The setting that chooses a member; its default is one for the data of the model, where members differ in that."""
    made = Setting(name, str, section.help, "", {"": section.default}, choices=choices)
    family, models = section.family, next(s.family for s in _sections() if s.name == "model")
    assert family is not None and models is not None
    if not section.follows_model:
        return made

    def fits(member: str, model: type) -> bool:
        return kind(family[member]) in ("", kind(model))

    names = (section.default, *choices)
    defaults = {n: next(c for c in names if fits(c, model)) for n, model in models.items()}
    return dataclasses.replace(made, defaults=defaults, selector="model.kind")


def _make(
    name: str,
    variants: list[tuple[str, dataclasses.Field[Any]]],
    selector: str | None,
    when: Mapping[str, Any],
) -> Setting:
    meta = variants[0][1].metadata
    types = {type(f.default) for _, f in variants}
    if len(types) > 1:
        raise TypeError(f"{name} has different types in different members: {types}")
    if any(f.metadata != meta for _, f in variants):
        raise TypeError(f"{name} is described differently by different members; only defaults may differ")
    choices = meta["choices"]
    return Setting(
        name=name,
        type=types.pop(),
        help=meta["help"],
        source=meta["source"],
        defaults={n: cast(Scalar, f.default) for n, f in variants},
        choices=tuple(choices) if choices is not None else None,
        low=meta["low"],
        high=meta["high"],
        above=meta["above"],
        conditions={n: _allowed(n, a) for n, a in {**when, **meta["when"]}.items()},
        selector=selector,
    )


def _allowed(name: str, allowed: Any) -> tuple[Scalar, ...] | str:
    if isinstance(allowed, type):
        section = name.rpartition(".")[0]
        family = next(s.family for s in _sections() if s.name == section)
        assert family is not None
        return family.names(allowed)
    return allowed if isinstance(allowed, (tuple, str)) else (allowed,)


def ordered(settings: Mapping[str, Setting], follows: Mapping[str, Iterable[str]] | None = None) -> dict[str, Setting]:
    """Settings with every condition before what depends on it, else in order of declaration.

    Args:
        settings: by name.
        follows: further names that must come before a setting.
    Raises:
        TypeError: they depend on each other in a circle.
    """
    done: dict[str, Setting] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in done:
            return
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise TypeError(f"settings depend on each other in a circle: {circle}")
        entry = settings[name]
        needed = [*entry.conditions, *([entry.selector] if entry.selector else []), *(follows or {}).get(name, ())]
        for before in needed:
            visit(before, (*path, name))
        done[name] = entry

    for name in settings:
        visit(name, ())
    return done


def resolve(given: Mapping[str, Any]) -> dict[str, Scalar]:
    """The full flat configuration: every setting that applies, with defaults filled in.

    Raises:
        SettingError: for a name that does not exist, a value out of range, or a setting that
            cannot apply to the choices made.
    """
    known = catalogue()
    for name in given:
        if name not in known:
            raise SettingError(name, f"is not a setting; {suggestion(name, known)}")
    values: dict[str, Scalar] = {}
    for name, entry in known.items():
        if entry.applies(values):
            values[name] = entry.check(given.get(name, entry.default(values)))
        elif name in given:
            raise SettingError(name, f"has no effect here: it applies only when {entry.when()}; remove it")
    return values


@dataclass(frozen=True)
class TrialConfig:
    """The checked configuration of one trial; sections are the ``Config`` objects of its parts."""

    values: Mapping[str, Scalar]
    sections: Mapping[str, Any] = field(repr=False, compare=False)
    parts: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_flat(cls, given: Mapping[str, Any]) -> TrialConfig:
        """Checks and completes dotted settings; SettingError says what is wrong.

        Parts may refuse a combination of their settings (ValueError from ``Config.__post_init__``
        or from the model's ``check``): it reaches the caller as SettingError too.
        """
        values = resolve(given)
        sections: dict[str, Any] = {}
        parts: dict[str, type] = {}
        for section in _sections():
            config = section.config
            if section.family is not None:
                part = section.family[str(values[f"{section.name}.{section.selector}"])]
                parts[section.name] = part
                config = part.Config
            assert config is not None
            own = {f.name: values[n] for f in dataclasses.fields(config) if (n := f"{section.name}.{f.name}") in values}
            try:
                sections[section.name] = config(**own)
            except SettingError:
                raise
            except ValueError as error:
                raise SettingError(section.name, str(error)) from None
        made = cls(values, sections, parts)
        _check_kinds(made)
        check = getattr(parts["model"], "check", None)
        if check is not None:
            check(made)
        return made

    def flat(self) -> dict[str, Scalar]:
        """The settings that applied, by dotted name; `from_flat` of it gives an equal config."""
        return dict(self.values)

    def digest(self) -> str:
        """Hash of the configuration without its seed: equal for replicates of one configuration."""
        rest = {n: v for n, v in self.values.items() if n != "seed"}
        return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]

    def __getitem__(self, name: str) -> Scalar:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def section(self, name: str) -> Any:
        """The ``Config`` of one section, e.g. ``section("regularisers.frequency")``."""
        return self.sections[name]

    def __getattr__(self, name: str) -> Any:
        # config.decision, config.training …; only called for what is no field of the dataclass
        if name.startswith("_") or name not in self.__dict__.get("sections", {}):
            raise AttributeError(name)
        return self.sections[name]


def _check_kinds(config: TrialConfig) -> None:
    """SettingError unless all parts are made for the kind of data that the model explains."""
    wanted = kind(config.parts["model"])
    for section in _sections():
        if section.family is None or kind(config.parts[section.name]) in ("", wanted):
            continue
        name = f"{section.name}.{section.selector}"
        fitting = [n for n, member in section.family.items() if kind(member) in ("", wanted)]
        raise SettingError(
            name,
            f"is {config[name]}, which is for {kind(config.parts[section.name])}, but model.kind"
            f" {config['model.kind']} explains {wanted}; choose one of {', '.join(fitting)}",
        )
