"""How many labels a criterion is worth: what choosing by n labelled images loses, and where criteria stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import html
from .leaderboard import leading

COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f00")


def section(judged: Mapping[str, Any] | None) -> str:
    """The curve; empty without labels, and a sentence where labels of images are not at hand."""
    if judged is None:
        return ""
    title = "How many labels choosing without labels is worth"
    curve = [c for c in judged["label_curve"] if c["normalised_regret"] is not None]
    if not curve:
        said = (
            "There is nothing to select here."
            if judged["nothing_to_select"]
            else "The labels of single images are not at hand (scenes, or data that are gone)."
        )
        return html.section("equivalence", title, html.paragraph(said), labels=True)
    about = (
        "The line is whoever labels n images at random, fits sprites to classes on them and takes the configuration"
        " of best accuracy; dashed, the same among five configurations that `select` leaves. A criterion is worth as"
        " many labels as the line needs to come down to it (marked)."
    )
    rows = [r for r in leading(judged) if r["normalised_regret"] is not None]
    worth = [
        (r["criterion"].replace("_", " "), html.cell(r["normalised_regret"]), _worth(r["labels"], curve)) for r in rows
    ]
    return html.section(
        "equivalence",
        title,
        html.paragraph(about),
        html.plot("equivalence-plot", figure(judged), about=about),
        html.table(("criterion", "normalised regret", "worth"), worth),
        labels=True,
    )


def figure(judged: Mapping[str, Any]) -> dict[str, Any]:
    """Normalised regret against the number of labels, a level line for `select` and each pre-registered criterion."""
    curve = [c for c in judged["label_curve"] if c["normalised_regret"] is not None]
    counts = [c["labels"] for c in curve]
    traces: list[dict[str, Any]] = [
        _line(
            "n labels at random", counts, [c["normalised_regret"] for c in curve], "gray", 3, "solid", "lines+markers"
        )
    ]
    if any(c.get("shortlisted") is not None for c in curve):
        left = [c.get("shortlisted") for c in curve]
        traces.append(_line("select leaves five, n labels decide", counts, left, "gray", 2, "dash", "lines+markers"))
    rows = [r for r in leading(judged) if r["normalised_regret"] is not None]
    for row, colour in zip(rows, COLOURS, strict=False):
        level, name = row["normalised_regret"], row["criterion"].replace("_", " ")
        traces.append(_line(name, [counts[0], counts[-1]], [level, level], colour, 2, "solid", "lines"))
        if row["labels"] is not None and counts[0] <= row["labels"] <= counts[-1]:
            mark = {"symbol": "diamond", "size": 11, "color": colour}
            said = f"{name} is worth {row['labels']:.0f} labels<extra></extra>"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [row["labels"]],
                    "y": [level],
                    "marker": mark,
                    "showlegend": False,
                    "hovertemplate": said,
                }
            )
    for base in judged["baselines"]:
        if base["normalised_regret"] is not None:
            level = [base["normalised_regret"]] * 2
            traces.append(
                _line(base["name"], [counts[0], counts[-1]], level, "rgba(128,128,128,0.7)", 1, "dot", "lines")
            )
    layout = {
        "xaxis": {"type": "log", "title": {"text": "labelled images"}, "tickvals": counts, "ticktext": counts},
        "yaxis": {"title": {"text": "normalised regret"}, "rangemode": "tozero"},
        "height": 500,
    }
    return {"data": traces, "layout": layout}


def _line(name: str, x: Any, y: Any, colour: str, width: int, dash: str, mode: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": f"{name}<br>%{{y:.2f}}<extra></extra>",
    }


def _worth(labels: float | None, curve: Any) -> str:
    if labels is None:
        return "–"
    return f"{labels:.0f} labels{' or more' if labels >= curve[-1]['labels'] else ''}"
