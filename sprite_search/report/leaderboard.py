"""Criteria judged by labels, with intervals; without labels, where each criterion ranks the leaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..console import number
from ..selection import Choice
from ..selection.choice import COMBINED
from . import html
from .configurations import Configurations

#: Exploratory criteria in the figure besides those that were fixed in advance; the table has all.
EXPLORATORY = 18

#: Leaders in the table of places.
LEADERS = 10


class Endpoint(NamedTuple):
    """What it is called at an axis and above a column, and what a random choice gets where that is always the same."""

    title: str
    head: str
    chance: float | None = None


#: Endpoints that can be looked at; those with a dot are of models, not of configurations.
ENDPOINTS = {
    "normalised_regret": Endpoint("normalised regret (0 best, 1 random)", "normalised regret"),
    "regret": Endpoint("regret (accuracy lost)", "regret"),
    "top5_regret": Endpoint("regret of the best of the first five", "best of five"),
    "spearman": Endpoint("rank correlation with accuracy", "rank correlation", 0.0),
    "kendall": Endpoint("rank correlation with accuracy, Kendall's τ", "τ", 0.0),
    "weighted_spearman": Endpoint("rank correlation in which the top counts more", "top counts more", 0.0),
    "flat.normalised_regret": Endpoint("normalised regret of any model (0 best, 1 random)", "any model", 1.0),
    "restart.gain": Endpoint("gain of choosing a seed (1 best, 0 random)", "choice of seed", 0.0),
}


def section(judged: Mapping[str, Any] | None) -> str:
    """Every criterion as a way to choose, judged by labels afterwards; empty without labels."""
    if judged is None:
        return ""
    about = (
        f"What choosing by each criterion loses, over {judged['pool']} ({judged['n']} configurations of"
        f" {judged['seeds']} seeds), by {judged['target']}, which no criterion saw. Bars: 95 % intervals over redrawn"
        " configurations and seeds. Above: what `select` uses, and what was fixed in advance; below: exploratory."
        " Red: the choice is below the median."
    )
    if judged["nothing_to_select"]:
        about = (
            "The configurations hardly differ beyond the noise of their seeds: there is nothing to select, and the"
            " regret of a criterion says little. " + about
        )
    return html.section(
        "leaderboard",
        "Criteria judged by labels",
        html.paragraph(about),
        _endpoints(judged),
        html.plot("leaderboard-plot", figure(judged), about=about),
        html.details("every criterion as a table", _table(judged)),
        html.paragraph(_luck(judged)) if judged["by_luck"] else "",
        labels=True,
    )


def figure(judged: Mapping[str, Any]) -> dict[str, Any]:
    """A row per criterion, those of `leading` on top; one trace per endpoint, one of them visible."""
    rows = leading(judged)
    bold = len(rows)
    rows += [r for r in judged["rows"] if r not in rows][:EXPLORATORY]
    names = [("<b>{}</b>" if i < bold else "{}").format(r["criterion"].replace("_", " ")) for i, r in enumerate(rows)]
    shown = _shown(judged)
    shapes, notes = _lines(judged, shown)
    return {
        "data": [_points(rows, names, n, visible=n == shown) for n in ENDPOINTS],
        "layout": {
            "height": 130 + 22 * len(rows),
            "margin": {"t": 44},
            "showlegend": False,
            "xaxis": {"title": {"text": ENDPOINTS[shown].title}},
            "yaxis": {"autorange": "reversed", "type": "category"},
            "shapes": shapes,
            "annotations": notes,
        },
    }


def leading(judged: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What `select` uses by itself, then the pre-registered criteria."""
    return [r for r in judged["rows"] if r["criterion"] == COMBINED] + [r for r in judged["rows"] if r["primary"]]


def _endpoints(judged: Mapping[str, Any]) -> str:
    """The list of endpoints: each option is the change that shows it."""
    changes = {}
    for name, (title, *_) in ENDPOINTS.items():
        shapes, notes = _lines(judged, name)
        layout = {"xaxis.title.text": title, "shapes": shapes, "annotations": notes}
        changes[title] = [{"visible": [name == other for other in ENDPOINTS]}, layout]
    return html.switch("leaderboard-plot", "endpoint", changes, ENDPOINTS[_shown(judged)].title)


def _shown(judged: Mapping[str, Any]) -> str:
    """The endpoint that is looked at first: the primary one where there is something to select."""
    return "regret" if judged["nothing_to_select"] else "normalised_regret"


def _points(rows: Sequence[Mapping[str, Any]], names: Sequence[str], endpoint: str, visible: bool) -> dict[str, Any]:
    values, intervals = zip(*(_read(r, endpoint) for r in rows), strict=True)
    bounds = [i or [v, v] for i, v in zip(intervals, values, strict=True)]
    above = [None if v is None else max(0.0, b[1] - v) for v, b in zip(values, bounds, strict=True)]
    below = [None if v is None else max(0.0, v - b[0]) for v, b in zip(values, bounds, strict=True)]
    said = [
        f"<b>{r['criterion']}</b> ({r['group']}) {html.cell(v)}, 95 % {html.interval(i)}"
        f"<br>worth {_labels(r['labels'])}; best of its first five loses {number(r['top5_regret'])}"
        for r, v, i in zip(rows, values, intervals, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(values),
        "y": list(names),
        "text": said,
        "hovertemplate": "%{text}<extra></extra>",
        "visible": visible,
        "error_x": {
            "type": "data",
            "array": above,
            "arrayminus": below,
            "thickness": 1.2,
            "width": 3,
            "color": "rgba(128,128,128,0.9)",
        },
        "marker": {
            "size": 10,
            "symbol": ["diamond" if r["primary"] else "circle" for r in rows],
            "color": [html.HARM if r["harm"] else html.CHOSEN if r["primary"] else html.OTHER for r in rows],
        },
    }


def _read(row: Mapping[str, Any], endpoint: str) -> tuple[float | None, Sequence[float] | None]:
    """An endpoint of a criterion and its interval."""
    part, _, name = endpoint.rpartition(".")
    own = row[part] if part else row
    return own[name], own[f"{name}_interval"]


def _lines(judged: Mapping[str, Any], endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Where a random pick and the noise floor stand."""
    # of "labels (oracle)" the part that is short
    marks = {b["name"].partition("(")[2].rstrip(")") or b["name"]: b.get(endpoint) for b in judged["baselines"]}
    if ENDPOINTS[endpoint].chance is not None:
        marks = {"chance": ENDPOINTS[endpoint].chance}
    found = [(name, x) for name, x in marks.items() if x is not None]
    shapes = [
        {
            "type": "line",
            "x0": x,
            "x1": x,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"dash": "dot", "width": 1.5, "color": "gray"},
        }
        for _, x in found
    ]
    close: dict[float, list[str]] = {}
    for name, x in found:
        close.setdefault(round(x, 2), []).append(name)
    notes = [
        {
            "x": x,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "text": ", ".join(names),
            "xanchor": "left" if x < 0.5 else "center",
            "font": {"size": 11},
        }
        for x, names in close.items()
    ]
    return shapes, notes


def _table(judged: Mapping[str, Any]) -> str:
    last = ("worth", "harm", "p", "p corrected")
    head = ("criterion", "group", *(h for e in ENDPOINTS.values() for h in (e.head, "95 %")), *last)
    body = [
        (
            r["criterion"] + ("*" if r["primary"] else ""),
            r["group"],
            *(cell for name in ENDPOINTS for cell in _bounded(*_read(r, name))),
            _labels(r["labels"]),
            "yes" if r["harm"] else "no",
            number(r["p"]),
            html.cell(r["p_corrected"]),
        )
        for r in judged["rows"]
    ]
    rest = [
        (b["name"], "", html.cell(b["normalised_regret"]), "", html.cell(b["regret"]), *[""] * (len(head) - 5))
        for b in judged["baselines"]
    ]
    styles = ["chosen" if r["primary"] else "" for r in judged["rows"]] + ["dim"] * len(rest)
    notes = dict.fromkeys(n for r in judged["rows"] for n in (r["warning"], r["note"]) if n)
    return html.table(head, [*body, *rest], styles) + html.items(["* was fixed in advance", *notes])


def _bounded(value: float | None, interval: Sequence[float] | None) -> tuple[str, str]:
    return html.share(value), html.interval(interval)


def _labels(count: float | None) -> str:
    return "–" if count is None else f"{count:.0f} labels"


def _luck(judged: Mapping[str, Any]) -> str:
    luck = judged["by_luck"]
    least = luck["least_normalised_regret"]
    regret = "" if least is None else f", and the luckiest has a normalised regret of {number(least)} half of the time"
    return (
        f"By luck alone, with accuracies dealt out at random, the best of {luck['criteria']} criteria reaches a rank"
        f" correlation of {luck['best_spearman']:.2f} one time in twenty{regret}."
    )


def places(found: Configurations, choice: Choice) -> str:
    """Where each kind of criteria ranks the leading configurations: what speaks for and against each."""
    leaders = [choice.trial, *(r["trial"] for r in choice.runners_up)]
    if choice.by in found.columns:
        order = np.argsort(found.ranks(choice.by), kind="stable")
        leaders = [found.trials[i] for i in order][:LEADERS]
    leaders = [t for t in leaders if t in found.trials]
    if not found.places or len(leaders) < 2:
        return ""
    head = ("trial", *found.places)
    body = [[str(t), *(f"{place[t]}." for place in found.places.values())] for t in leaders]
    styles = ["chosen" if t == choice.trial else "" for t in leaders]
    said = f"Places of the leading configurations by each kind of criteria, of {len(found.trials)}:"
    return html.paragraph(said) + html.table(head, body, styles)
