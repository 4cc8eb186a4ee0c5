"""The search itself: how far it came, the course of the objective, every trial, the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ..console import duration, spent
from . import html

if TYPE_CHECKING:
    from ..space import Space
    from ..study.records import TrialRecord

#: A colour for each arm of a search.
COLOURS = {"start": html.HARM, "random": "#888888", "optimised": html.OTHER, "confirm": html.CHOSEN}


def summary(space: Space, records: Sequence[TrialRecord]) -> str:
    """What was searched and how far it came, in a few lines."""
    from ..study.budget import spending
    from ..study.records import counts, searched

    ended = ", ".join(f"{n} {state}" for state, n in counts(searched(records)).items() if n) or "none yet"
    again = sum(r.confirms is not None for r in records)
    began = min((r.started for r in records if r.started), default=None)
    last = max((r.finished for r in records if r.finished), default=None)
    what = "of the Pareto front" if space.further_objectives else "the best"
    lines = [
        f"trials: {ended}, of {space.budget.trials} configurations; {space.replicates} seeds each",
        *([f"trained again on fresh seeds: {again}, {what} of the search"] if again else []),
        f"objective: {space.aim}",
        f"from the first trial to the last: {duration(last - began if began and last else None)}",
        *spent(spending(records)),
    ]
    if space.profile:
        lines.append(f"profile {space.profile}: {space.profile_reason}")
    return html.items(lines)


def section(space: Space, records: Sequence[TrialRecord], rows: Sequence[Mapping[str, Any]], chosen: int | None) -> str:
    """The course of the objective, or the Pareto front of several, and all trials.

    Args:
        rows: the trials of `overview.table`.
    """
    done = [r for r in records if r.state == "complete" and r.value is not None]
    plot = html.paragraph("Too few finished trials for a picture.")
    if len(done) > 1 and space.further_objectives:
        first, second = (o.metric for o in space.objectives[:2])
        about = f"{second} against {first} of the finished trials; the line joins the Pareto front of {space.aim}."
        plot = html.plot("front", front_figure(done, space, chosen), about=about, sheets=True)
    elif len(done) > 1:
        about = f"{space.objective.metric} of the finished trials in the order they were asked, and the best so far."
        plot = html.plot("course", figure(done, space, chosen), about=about, sheets=True)
    return html.section("search", "The search", plot, "<h3>All trials</h3>", _trials(rows, chosen))


def front_figure(done: Sequence[TrialRecord], space: Space, chosen: int | None) -> dict[str, Any]:
    """The first two objectives of the finished trials against each other, and the Pareto front."""
    from ..study.goals import front

    best = front(space, done)
    line = {"type": "scatter", "mode": "lines", "name": "Pareto front", "x": [r.values[0] for r in best],
            "y": [r.values[1] for r in best], "line": {"color": "gray"}, "hoverinfo": "skip"}  # fmt: skip
    names = [o.metric for o in space.objectives[:2]]
    traces = _arms(done, [r.values[0] for r in done], [r.values[1] for r in done], chosen, "%{x:.4g}, %{y:.4g}")
    layout = {"xaxis": {"title": {"text": names[0]}}, "yaxis": {"title": {"text": names[1]}}, "height": 360}
    return {"data": [line, *traces], "layout": layout, "shown": chosen}


def figure(done: Sequence[TrialRecord], space: Space, chosen: int | None) -> dict[str, Any]:
    """Objective of the finished trials in the order they were asked, a colour per arm, and the best so far."""
    better = min if space.objective.direction == "minimize" else max
    first = [r for r in done if r.confirms is None]
    best = list(accumulate((float(r.value or 0.0) for r in first), better))
    course = {"type": "scatter", "mode": "lines", "name": "best so far", "x": [r.number for r in first], "y": best,
              "line": {"shape": "hv", "color": "gray"}, "hoverinfo": "skip"}  # fmt: skip
    traces = _arms(done, [r.number for r in done], [r.value for r in done], chosen, "%{y:.4g}")
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": space.objective.metric}},
        "height": 360,
    }
    return {"data": [course, *traces], "layout": layout, "shown": chosen}


def _arms(
    done: Sequence[TrialRecord], x: Sequence[Any], y: Sequence[Any], chosen: int | None, said: str
) -> list[dict[str, Any]]:
    """A point per trial at (x, y), a colour per arm, the chosen one as a star."""
    traces = []
    for arm, colour in COLOURS.items():
        own = [i for i, r in enumerate(done) if r.arm == arm]
        stars = [done[i].number == chosen for i in own]
        if own:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": arm,
                    "x": [x[i] for i in own],
                    "y": [y[i] for i in own],
                    "customdata": [done[i].number for i in own],
                    "marker": {
                        "color": colour,
                        "size": [18 if star else 9 for star in stars],
                        "symbol": ["star" if star else "circle" for star in stars],
                    },
                    "hovertemplate": f"trial %{{customdata}} ({arm}): {said}<extra></extra>",
                }
            )
    return traces


def _trials(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> str:
    if not rows:
        return html.paragraph("none yet")
    metrics = [n for n in dict.fromkeys(n for r in rows for n in r) if n.startswith(("val/", "labels/"))]
    settings = [n for n in dict.fromkeys(n for r in rows for n in r) if "." in n and "/" not in n]
    varied = [n for n in settings if len({repr(r.get(n)) for r in rows}) > 1]
    marks = [n for n in ("front", "violates") if any(n in r for r in rows)]
    columns = ["trial", "seed", "state", "arm", "epoch", *marks, *metrics, *varied]
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
