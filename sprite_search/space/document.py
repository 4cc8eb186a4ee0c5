"""YAML with line numbers, and what YAML silently mangles."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_WORDS = {"on", "off", "yes", "no", "y", "n"}
_DEEPEST = 30  #: levels of nesting; search spaces need six
_MOST = 100_000  #: values in a document, each alias counted as what it stands for


@dataclass(frozen=True)
class Problem:
    """One thing wrong, at a line of a file (0: the file as a whole)."""

    line: int
    name: str
    text: str

    def at(self, path: Path | str) -> str:
        where = f"{path}:{self.line}" if self.line else str(path)
        return f"{where}: {self.name}: {self.text}" if self.name else f"{where}: {self.text}"


@dataclass
class Entry:
    """A value of a document with the line of its key: a scalar, a list of entries or a mapping of entries."""

    value: Any
    line: int

    def plain(self) -> Any:
        """The value without line numbers."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value

    def lines(self) -> Iterator[int]:
        yield self.line
        children = self.value.values() if isinstance(self.value, dict) else self.value
        if isinstance(self.value, (dict, list)):
            for child in children:
                yield from child.lines()


@dataclass
class Document:
    """A YAML file as entries, and what is wrong with it as YAML."""

    top: Entry
    problems: list[Problem] = field(default_factory=list)


def read(path: Path) -> Document:
    """Reads a YAML file; whatever is wrong is in `problems`, never raised."""
    empty = Entry({}, 0)

    def failed(text: str, line: int = 0) -> Document:
        return Document(empty, [Problem(line, "", text)])

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return failed("there is no such file; give the path of a search space")
    except IsADirectoryError:
        return failed("is a folder; give the path of a search space in it")
    except UnicodeDecodeError:
        return failed("is not UTF-8 text; save it as UTF-8, or give the path of a YAML file")
    except OSError as error:
        return failed(f"cannot be read ({error.strerror}); check its permissions")
    try:
        if line := _too_deep(text):
            return failed(
                f"is nested more than {_DEEPEST} levels deep; close the brackets, or check the indentation", line
            )
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "not valid YAML"
        hint = "; indent with spaces, not tabs" if "\\t" in what or "'\t'" in what else "; mend the YAML"
        return failed(f"{what}{hint}", mark.line + 1 if mark else 0)
    if node is None:
        return failed("is empty; see search_spaces/quickstart.yaml for an example")
    if _size(node, {}) > _MOST:
        return failed("its aliases (*name) hold themselves, or far too much; write the values out")
    document = Document(empty)
    document.top = _entry(node, node.start_mark.line + 1, "", document.problems)
    if not isinstance(document.top.value, dict):
        document.problems.append(Problem(1, "", "must be a mapping such as `study: my_study`; see search_spaces/"))
        document.top = empty
    return document


def _too_deep(text: str) -> int | None:
    """The line where a document nests too deeply for functions that call themselves, as PyYAML's and ours do."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST and event.start_mark is not None:
            return event.start_mark.line + 1
    return None


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for, its aliases written out; infinite where one holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is counted
        inside = node.value if isinstance(node, yaml.CollectionNode) else []
        children = (n for item in inside for n in (item if isinstance(item, tuple) else (item,)))
        known[id(node)] = 1 + sum(_size(n, known) for n in children)
    return known[id(node)]


def _entry(node: yaml.Node, line: int, name: str, problems: list[Problem]) -> Entry:
    if isinstance(node, yaml.MappingNode):
        return Entry(_mapping(node, name, problems), line)
    if isinstance(node, yaml.SequenceNode):
        return Entry([_entry(n, n.start_mark.line + 1, name, problems) for n in node.value], line)
    return Entry(_scalar(node, line, name, problems), line)


def _mapping(node: yaml.MappingNode, name: str, problems: list[Problem]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(line, name, "has a list or mapping for a key; give a name"))
            continue
        if key.tag.endswith(":merge"):
            problems.append(Problem(line, name, "has a merge (<<), which is not read; write the settings out"))
            continue
        word = str(key.value)
        inner = f"{name}.{word}" if name else word
        if key.tag.endswith(":bool") and word.lower() in _WORDS:
            problems.append(Problem(line, inner, f"the key {word} is a truth value to YAML; quote it: '{word}'"))
        if word in found:
            problems.append(Problem(line, inner, f"is already set on line {found[word].line}; keep one"))
            continue
        found[word] = _entry(value, line, inner, problems)
    return found


def _scalar(node: yaml.Node, line: int, name: str, problems: list[Problem]) -> Any:
    text = str(node.value)
    kind = node.tag.rpartition(":")[2]

    def wrong(what: str) -> None:
        problems.append(Problem(line, name, what))

    if kind == "str" and getattr(node, "style", None) is None and _FLOAT.fullmatch(text):
        wrong(f"is the text '{text}' to YAML; write {float(text):.1e}")
        return float(text)
    if kind == "bool" and text.lower() in _WORDS:
        wrong(f"{text} is a truth value to YAML; write true or false, or quote it: '{text}'")
    if kind == "int" and (":" in text or re.fullmatch(r"[-+]?0\d+", text)):
        wrong(f"{text} is {yaml.safe_load(text)} to YAML; write a plain number, or quote it")
    try:
        value = yaml.safe_load(text) if kind in ("int", "float", "bool", "null") else text
    except (yaml.YAMLError, ValueError):
        wrong(f"{text!r} is not a value YAML can read; quote it if it is text")
        return text
    if isinstance(value, float) and not math.isfinite(value):
        wrong(f"is {text}; give a finite number")
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
