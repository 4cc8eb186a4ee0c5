"""Do more trials help? The incumbent of the objective as the audit and, apart, as labels see it; alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..selection import Study, incumbents
from . import html

#: A colour and a dash for each of the courses of `incumbents`.
STYLES = {"drawn at random": (html.OTHER, "solid"), "as it went": (html.HARM, "dash")}

_ABOUT = (
    "The configuration that the objective likes best among the first n, judged by criteria that neither the search nor"
    " the choice used (1 best, 0 worst of all). A curve that falls says that the objective is exploited: models get"
    " better by it and by nothing else."
)
_WITH_LABELS = "The same incumbents by labels, which the search did not see: accuracy, mean over seeds."


def section(study: Study, audit: Mapping[str, Any], objective: Mapping[str, Any]) -> str:
    """The page; without criteria to audit by only what labels say, and without those a sentence."""
    found = incumbents(
        study.rows, study.labels, metric_name=str(objective["metric"]), direction=str(objective["direction"])
    )
    body = [html.paragraph(f"objective: {objective['direction']} {objective['metric']}")]
    if any(one["audit"] is not None for one in found):
        body += [html.paragraph(f"{_ABOUT} Criteria of the audit: {_words(audit['criteria'])}.")]
        body += [html.plot("incumbents", figure(found, "audit", "the audit's score"), about=_ABOUT, sheets=True)]
        body += [questions(audit)]
    else:
        body += [html.paragraph("The audit has no criteria to ask: artefacts of finished trials are missing.")]
    if any(one["accuracy"] is not None for one in found):
        plot = html.plot("incumbents-labels", figure(found, "accuracy", "accuracy"), about=_WITH_LABELS)
        body += [f"<div class='labels'>{html.paragraph(_WITH_LABELS)}{plot}</div>"]
    return html.section("best-of-n", "Do more trials help?", *body)


def figure(found: Sequence[Mapping[str, Any]], name: str, title: str) -> dict[str, Any]:
    """One line per course over the number of configurations."""
    traces = []
    for course, (colour, dash) in STYLES.items():
        own = [one for one in found if one["course"] == course]
        if len(own) < 2 or all(one[name] is None for one in own):
            continue
        asked = own[0]["trial"] is not None
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"the search {course}" if asked else f"{course}, expected over all orders",
                "x": [one["n"] for one in own],
                "y": [one[name] for one in own],
                "customdata": [one["trial"] for one in own],
                "line": {"color": colour, "dash": dash, "width": 2.5, "shape": "hv" if asked else "linear"},
                "hovertemplate": "best of %{x}: %{y:.3f}"
                + ("<br>trial %{customdata}" if asked else "")
                + "<extra></extra>",
            }
        )
    layout = {
        "xaxis": {"title": {"text": "finished configurations"}},
        "yaxis": {"title": {"text": title}},
        "height": 380,
    }
    return {"data": traces, "layout": layout}


def questions(audit: Mapping[str, Any]) -> str:
    """What the audit asks, what it answers, and what alarms it."""
    words = {True: "ALARM", False: "no alarm", None: "–"}
    body = [(q["question"], words[q["alarm"]], q["says"]) for q in audit["questions"]]
    styles = ["alarm" if q["alarm"] else "" for q in audit["questions"]]
    return html.table(("question of the audit", "", "answer"), body, styles, words=True)


def _words(names: Sequence[str]) -> str:
    return ", ".join(n.replace("_", " ") for n in names)
