"""Types of command-line values, and the options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

_UNITS = {"d": 24.0, "h": 1.0, "m": 1 / 60, "s": 1 / 3600}


class Duration(click.ParamType):
    """``2h``, ``90m``, ``1h30m``, ``45s``, ``2d``: a number of hours."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", value)
        if not parts or "".join(n + u for n, u in parts) != value:
            self.fail(f"{value!r} is no duration; write e.g. 2h, 90m or 1h30m", param, ctx)
        hours = sum(float(n) * _UNITS[u] for n, u in parts)
        if not hours > 0:
            self.fail(f"{value!r} leaves no time; write e.g. 2h", param, ctx)
        return hours


class Assignment(click.ParamType):
    """``name=value``, as in ``--set optimizer.learning_rate=0.001``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name.strip() or not text.strip():
            self.fail(f"{value!r} must be name=value, e.g. sprites.count=8", param, ctx)
        return name.strip(), text.strip()


#: A file that must be there.
FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

home = click.option("--home", metavar="DIR", help="Folder of everything kept [default: $SPRITE_HOME or ./sprite-home].")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
