"""Families of interchangeable parts: each member is one class, added under the name users write."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    """'did you mean …?' when something close is known, else the whole list."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(known)}"


class Family(Mapping[str, Any]):
    """The members of one kind of part, e.g. the decision modules, by the name users write.

    Iteration follows the order of definition, so that help texts and tests are stable.
    """

    def __init__(self, title: str):
        self.title = title
        self._members: dict[str, Any] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Class decorator that files the class under `name`; a name is given once."""

        def register(member: T) -> T:
            if name in self._members:
                raise ValueError(f"{self.title} {name!r} is defined twice")
            self._members[name] = member
            return member

        return register

    def __getitem__(self, name: str) -> Any:
        try:
            return self._members[name]
        except KeyError:
            raise ValueError(f"{name!r} is no {self.title}; {suggestion(name, self)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def names(self, *kinds: type) -> tuple[str, ...]:
        """Names of the members that are of one of the given types (all of them when none is given)."""
        return tuple(n for n, m in self._members.items() if not kinds or issubclass(m, kinds))


def import_modules(package: str, path: Iterable[str]) -> None:
    """Imports every module of a package, so that all members are filed; for its `__init__`: (__name__, __path__)."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
