"""Criterion against accuracy, or against another criterion where nobody has labels; sprites of what is pointed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ..console import number
from ..selection import Choice
from . import html
from .configurations import Column, Configurations

#: Sides of the smallest and the largest point.
SMALL, LARGE = 8, 18

#: Criteria that are shown first where there are others to choose from, and what they are shown against without labels.
ACROSS, UP = "centrality", "reconstruction"

#: Settings that points are coloured by first, where they were searched.
COLOURS = ("sprites.count", "decision.kind")

#: Names of the groups of columns, in the order of the lists.
GROUPS = ("combination", "labels", "fit", "usage", "confidence", "geometry", "stability", "consensus", "redundancy",
          "transformations", "scenes")  # fmt: skip


def section(found: Configurations, choice: Choice) -> str:
    """The page; it says so where fewer than two configurations have criteria."""
    criteria = [n for group in GROUPS if group != "labels" for n in found.named(group)]
    labels, settings = found.named("labels"), found.named("settings")
    if len(criteria) < 2:
        return html.section("criteria", "The trials by their criteria", html.paragraph(_TOO_FEW))
    across = choice.by if choice.by in criteria else _first(criteria, ACROSS)
    without = _first([n for n in criteria if n != across], UP, ACROSS)
    up = labels[0] if labels else without
    colour = _first(settings, *COLOURS) if settings else without
    axes = {
        "x": _chooser("x", "across", found, criteria, [], across, across),
        "y": _chooser("y", "up", found, criteria, labels, up, without),
        "colour": _chooser("colour", "colour", found, [*settings, *criteria], labels, colour, colour),
    }
    names = [*criteria, *labels]
    told = {
        "columns": {n: _column(found.columns[n]) for n in dict.fromkeys([*names, *settings])},
        "correlation": {a: {b: round(found.correlation(a, b), 3) for b in names if b != a} for a in criteria},
    }
    return html.section(
        "criteria",
        "The trials by their criteria",
        html.paragraph(_ABOUT),
        f"<div class='controls'>{''.join(axes.values())}</div>",
        html.plot("explorer", figure(found, choice, across, up, colour), about=_ABOUT, sheets=True),
        f"<p id='explorer-says'>{_says(found, across, up)}</p>",
        html.data("explorer-data", told),
    )


_ABOUT = (
    "One point per finished configuration, means over its seeds; the star is the choice, rings are the runners-up,"
    " and larger points use more sprites. Trust grows where criteria that see different things agree."
)
_TOO_FEW = "Fewer than two finished configurations have criteria: nothing to compare yet."


def figure(found: Configurations, choice: Choice, x: str, y: str, colour: str) -> dict[str, Any]:
    """Configurations by two columns, coloured by a third."""
    across, up, tint = (found.columns[n] for n in (x, y, colour))
    runners = {r["trial"] for r in choice.runners_up}
    symbols = ["star" if t == choice.trial else "circle" for t in found.trials]
    bar = {"title": {"text": tint.title, "side": "right"}, "thickness": 12, "outlinewidth": 0}
    if tint.words:
        bar |= {"tickvals": list(range(len(tint.words))), "ticktext": list(tint.words)}
    marked = [t == choice.trial or t in runners for t in found.trials]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": across.values.tolist(),
        "y": up.values.tolist(),
        "customdata": list(found.trials),
        "text": [f"trial {t}" for t in found.trials],
        "hovertemplate": "%{text}<br>%{xaxis.title.text}: %{x:.4g}<br>%{yaxis.title.text}: %{y:.4g}<extra></extra>",
        "marker": {
            "symbol": symbols,
            "size": [1.6 * s if k == "star" else s for s, k in zip(_sizes(found.sizes), symbols, strict=True)],
            "color": tint.values.tolist(),
            "colorscale": html.SCALE,
            "colorbar": bar,
            "showscale": True,
            "line": {
                "width": [2.5 if m else 0.5 for m in marked],
                "color": [html.CHOSEN if m else "rgba(128,128,128,0.8)" for m in marked],
            },
        },
    }
    layout = {"xaxis": {"title": {"text": across.title}}, "yaxis": {"title": {"text": up.title}}, "height": 460}
    return {"data": [trace], "layout": layout, "shown": choice.trial}


def _sizes(used: Any) -> list[float]:
    """Sides of points by the number of sprites in use; the middle where that is not known."""
    known = np.isfinite(used)
    if not known.any() or np.ptp(used[known]) == 0:
        return [(SMALL + LARGE) / 2] * len(used)
    share = (used - used[known].min()) / np.ptp(used[known])
    return np.where(known, SMALL + (LARGE - SMALL) * share, SMALL).tolist()


def _says(found: Configurations, x: str, y: str) -> str:
    value = found.correlation(x, y)
    return f"Rank correlation of the two over configurations: {number(round(value, 2))}." if value == value else ""


def _first(names: Sequence[str], *wanted: str) -> str:
    return next((n for n in wanted if n in names), names[0])


def _column(column: Column) -> dict[str, Any]:
    words = {"ticks": list(range(len(column.words))), "words": list(column.words)} if column.words else {}
    return {"title": column.title, "values": column.values.tolist(), **words}


def _chooser(
    axis: str, said: str, found: Configurations, names: Sequence[str], labels: Sequence[str], chosen: str, without: str
) -> str:
    """A list to choose from; `without` is taken when labels are hidden."""
    groups: Mapping[str, list[str]] = {}
    for name in [*labels, *names]:
        groups = {**groups, found.columns[name].group: [*groups.get(found.columns[name].group, []), name]}
    options = "".join(
        f"<optgroup label='{group}'>{''.join(_option(found, n, chosen) for n in own)}</optgroup>"
        for group, own in groups.items()
    )
    kept = f"data-with='{escape(chosen)}' data-without='{escape(without)}' autocomplete='off'"
    return f"<label>{said} <select id='explorer-{axis}' {kept}>{options}</select></label>"


def _option(found: Configurations, name: str, chosen: str) -> str:
    style = " class='labels'" if found.columns[name].group == "labels" else ""
    at = " selected" if name == chosen else ""
    return f"<option value='{escape(name)}'{style}{at}>{escape(found.columns[name].title)}</option>"
