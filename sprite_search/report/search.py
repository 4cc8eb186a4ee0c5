"""The search itself: how far it came, the course of the objective, every trial, the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..console import duration
from . import html

if TYPE_CHECKING:
    from ..space import Space
    from ..study.records import TrialRecord

#: A colour for each arm of a search.
COLOURS = {"start": html.HARM, "random": "#888888", "optimised": html.OTHER, "confirm": html.CHOSEN}


def summary(space: Space, records: Sequence[TrialRecord]) -> str:
    """What was searched and how far it came, in a few lines."""
    from ..study.records import counts

    ended = ", ".join(f"{n} {state}" for state, n in counts(records).items() if n) or "none yet"
    began = min((r.started for r in records if r.started), default=None)
    last = max((r.finished for r in records if r.finished), default=None)
    lines = [
        f"trials: {ended}, of {space.budget.trials} configurations; {space.replicates} seeds each",
        f"objective: {space.objective.direction} {space.objective.metric}",
        f"from the first trial to the last: {duration(last - began if began and last else None)}",
    ]
    if space.profile:
        lines.append(f"profile {space.profile}: {space.profile_reason}")
    return html.items(lines)


def section(space: Space, records: Sequence[TrialRecord], rows: Sequence[Mapping[str, Any]], chosen: int | None) -> str:
    """The course of the objective and all trials."""
    done = [r for r in records if r.state == "complete" and r.value is not None]
    plot = html.paragraph("Too few finished trials for a picture.")
    if len(done) > 1:
        about = f"{space.objective.metric} of the finished trials in the order they were asked, and the best so far."
        plot = html.plot("course", figure(done, space, chosen), about=about, sheets=True)
    return html.section("search", "The search", plot, "<h3>All trials</h3>", _trials(rows, chosen))


def figure(done: Sequence[TrialRecord], space: Space, chosen: int | None) -> dict[str, Any]:
    """Objective of the finished trials in the order they were asked, a colour per arm, and the best so far."""
    traces = []
    for arm, colour in COLOURS.items():
        own = [r for r in done if r.arm == arm]
        if own:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": arm,
                    "x": [r.number for r in own],
                    "y": [r.value for r in own],
                    "customdata": [r.number for r in own],
                    "marker": {
                        "color": colour,
                        "size": [18 if r.number == chosen else 9 for r in own],
                        "symbol": ["star" if r.number == chosen else "circle" for r in own],
                    },
                    "hovertemplate": f"trial %{{x}} ({arm}): %{{y:.4g}}<extra></extra>",
                }
            )
    better = min if space.objective.direction == "minimize" else max
    values = [float(r.value or 0.0) for r in done]
    best = [better(values[: i + 1]) for i in range(len(values))]
    course = {"type": "scatter", "mode": "lines", "name": "best so far", "x": [r.number for r in done], "y": best,
              "line": {"shape": "hv", "color": "gray"}, "hoverinfo": "skip"}  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": space.objective.metric}},
        "height": 360,
    }
    return {"data": [course, *traces], "layout": layout, "shown": chosen}


def _trials(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> str:
    if not rows:
        return html.paragraph("none yet")
    metrics = [n for n in dict.fromkeys(n for r in rows for n in r) if n.startswith(("val/", "labels/"))]
    settings = [n for n in dict.fromkeys(n for r in rows for n in r) if "." in n and "/" not in n]
    varied = [n for n in settings if len({repr(r.get(n)) for r in rows}) > 1]
    columns = ["trial", "seed", "state", "arm", "epoch", *metrics, *varied]
    body = [[html.cell(r.get(c)) for c in columns] for r in rows]
    styles = ["chosen" if r["trial"] == chosen else "" if r["state"] == "complete" else "dim" for r in rows]
    return html.table(columns, body, styles)


def space_section(space: Space) -> str:
    """What was searched, and what was fixed."""
    searched = [(name, dimension.describe()) for name, dimension in space.search.items()]
    fixed = [(name, html.cell(value)) for name, value in space.fixed.items()]
    tables = html.table(("searched", "over"), searched) + "<p></p>" + html.table(("fixed", "at"), fixed)
    return html.section("space", "The search space", tables)


def rejected(found: Sequence[Mapping[str, Any]]) -> str:
    """Trials that were not compared, and why; empty where all were."""
    lines = [f"trial {r['trial']} {r['why']}" for r in found]
    return html.details("trials that were not compared", html.items(lines)) if lines else ""
