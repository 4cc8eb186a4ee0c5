"""What labels say about several studies: what choices lose, what each criterion loses where, what learning would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ..console import number
from ..selection import by_selector, leave_one_out, over_studies, ships
from ..selection.choice import COMBINED
from . import html

if TYPE_CHECKING:
    from .several import Chosen

#: How learned selectors were trained for the study they are judged on, where this is a result.
STRANGERS = "family left out"


def sections(chosen: Sequence[Chosen], *, draws: int) -> list[str]:
    """The parts of the page that labels make, of studies that have some."""
    over = over_studies([c.judged for c in chosen if c.judged is not None], draws=draws)
    return [table(chosen, over), losses(chosen, over), learned(chosen)]


def table(chosen: Sequence[Chosen], over: Mapping[str, Any]) -> str:
    """A row for each study: how good its configurations are, what the choice loses, and what choosing so loses."""
    about = (
        "Regret: accuracy lost to the best configuration; normalised: 0 is the best choice, 1 a random one, above 1 it"
        " is harmful. First of what `select` chose among the configurations that pass its gates, then of choosing by"
        f" {COMBINED} among all, with 95 % intervals over redrawn configurations and seeds, and how many labels choose"
        " as well. Noise floor: choosing by the labels of other seeds, normalised."
    )
    head = ("study", "size", "best", "mean", "regret", "normalised",
            f"by {COMBINED}", "95 %", "normalised", "95 %", "labels", "noise floor")  # fmt: skip
    body = [_row(c) for c in chosen]
    styles = ["alarm" if _harmful(c) else "" for c in chosen]
    own = next((r for r in over["rows"] if r["criterion"] == COMBINED), None)
    if own is not None:
        interval = html.interval(own["normalised_regret_interval"])
        mean = ["mean", *[""] * 5, _lost(own["regret"]), "", html.share(own["normalised_regret"]), interval, "", ""]
        body, styles = [*body, mean], [*styles, "dim"]
    left = [f"{name}: nothing to select, its configurations hardly differ" for name in over["left_out"]]
    parts = html.paragraph(about), html.table(head, body, styles), html.items(left)
    return html.section("regrets", "What choosing lost", *parts, labels=True)


def _row(one: Chosen) -> list[str]:
    judged, found = one.judged, one.agreement
    assert judged is not None
    own: Mapping[str, Any] = next((r for r in judged["rows"] if r["criterion"] == COMBINED), {})
    floor = next((b["normalised_regret"] for b in judged["baselines"] if "noise floor" in b["name"]), None)
    labels = own.get("labels")
    return [
        one.study.name,
        f"{judged['n']} × {judged['seeds']}",
        *(f"{judged[n]:.3f}" for n in ("best", "mean")),
        _lost(found["regret"] if found else None),
        html.share(found["normalised_regret"] if found else None),
        _lost(own.get("regret")),
        html.interval(own.get("regret_interval")),
        html.share(own.get("normalised_regret")),
        html.interval(own.get("normalised_regret_interval")),
        "–" if labels is None else f"{labels:.0f}",
        html.share(floor),
    ]


def _lost(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _harmful(one: Chosen) -> bool:
    share = one.agreement["normalised_regret"] if one.agreement else None
    return share is not None and share > 1


def losses(chosen: Sequence[Chosen], over: Mapping[str, Any]) -> str:
    """Normalised regret of every criterion in every study."""
    title = "What each criterion loses in each study"
    if not over["rows"]:
        return html.section("losses", title, html.paragraph("There is nothing to select in any study."), labels=True)
    about = (
        "Normalised regret of choosing by each criterion: blue, better than a random choice; gray, as good; orange,"
        " harmful. On top what `select` uses and what was fixed in advance (bold), below all others by their mean."
        " Whichever of so many looks best does so partly by luck."
    )
    return html.section(
        "losses",
        title,
        html.paragraph(about),
        html.plot("losses-map", figure(chosen, over), about=about),
        html.details("over all studies as a table", _over(over)),
        labels=True,
    )


def figure(chosen: Sequence[Chosen], over: Mapping[str, Any]) -> dict[str, Any]:
    """Criterion by study, with the mean over studies last."""
    rows = [r for r in over["rows"] if r["criterion"] == COMBINED] + [r for r in over["rows"] if r["primary"]]
    bold = len(rows)
    others = [r for r in over["rows"] if r not in rows]
    rows += sorted(others, key=lambda r: (r["normalised_regret"], r["criterion"]))
    by_study = [{r["criterion"]: r for r in c.judged["rows"]} for c in chosen if c.judged is not None]
    columns = [c.study.name for c in chosen]
    cells, said = [], []
    for row in rows:
        own = [found.get(row["criterion"]) for found in by_study]
        cells.append([*(None if r is None else r["normalised_regret"] for r in own), row["normalised_regret"]])
        words = [_cell(row["criterion"], name, r) for name, r in zip(columns, own, strict=True)]
        said.append([*words, _mean(row)])
    names = [("<b>{}</b>" if i < bold else "{}").format(r["criterion"].replace("_", " ")) for i, r in enumerate(rows)]
    return html.heat_map(cells, names, [*columns, "<b>mean</b>"], said, middle=1.0, title="normalised regret")


def _cell(criterion: str, study: str, row: Mapping[str, Any] | None) -> str:
    where = f"<b>{criterion}</b> in {escape(study)}"
    if row is None:
        return f"{where}<br>no value here"
    return (
        f"{where} ({row['group']})<br>normalised regret {html.cell(row['normalised_regret'])},"
        f" 95 % {html.interval(row['normalised_regret_interval'])}"
        f"<br>regret {number(row['regret'])}, 95 % {html.interval(row['regret_interval'])}"
        f"<br>rank correlation {html.cell(row['spearman'])}" + ("<br>below the median" if row["harm"] else "")
    )


def _mean(row: Mapping[str, Any]) -> str:
    return (
        f"<b>{row['criterion']}</b>, mean of {row['studies']} studies<br>normalised regret"
        f" {number(row['normalised_regret'])}, 95 % {html.interval(row['normalised_regret_interval'])}"
        f"<br>worst {number(row['normalised_regret_worst'])}; below the median in {row['harm']:.0%}"
    )


def _over(over: Mapping[str, Any]) -> str:
    head = ("criterion", "group", "studies", "normalised regret", "95 %", "worst", "regret", "rank correlation",
            "least", "harm", "p, better than random")  # fmt: skip
    body = [
        (
            r["criterion"] + ("*" if r["primary"] else ""),
            r["group"],
            str(r["studies"]),
            number(r["normalised_regret"]),
            html.interval(r["normalised_regret_interval"]),
            number(r["normalised_regret_worst"]),
            number(r["regret"]),
            html.cell(r["spearman"]),
            html.cell(r["spearman_worst"]),
            f"{r['harm']:.0%}",
            html.cell(r["p_random_holm"] if r["primary"] else r["p_random"]),
        )
        for r in over["rows"]
    ]
    styles = ["chosen" if r["criterion"] == COMBINED else "" for r in over["rows"]]
    said = "* was fixed in advance: p by Holm's correction over these. All p are exact and one-sided, over studies."
    return html.table(head, body, styles) + html.paragraph(said)


def learned(chosen: Sequence[Chosen]) -> str:
    """What selectors that learn from the other studies lose, beside what is shipped, which learns nothing."""
    title = "Would learning from the other studies choose better?"
    found = leave_one_out([c.study for c in chosen])
    strangers = [f for f in found if f["scheme"] == STRANGERS]
    if not strangers:
        said = "That takes labelled studies of two families of data at least, so that one can be left out."
        return html.section("learned", title, html.paragraph(said), labels=True)
    over = by_selector(found)
    proved = ships(over)
    verdict = (
        f"{' and '.join(proved)} did better than {COMBINED} on families of data that were left out of the training."
        if proved
        else f"None did better than {COMBINED} on families of data that were left out of the training, so none ships."
    )
    about = (
        "Normalised regret in each study of selectors that learnt from studies of other families only, beside the"
        f" combination that is shipped ({COMBINED}), which learns nothing. Dotted: a random choice."
    )
    head = (
        "selector",
        "trained with",
        "studies",
        "normalised regret",
        "worst",
        "rank correlation",
        "harm",
        "p, better",
    )
    body = [
        (o["selector"], o["scheme"], str(o["studies"]), number(o["normalised_regret"]), number(o["worst"]),
         number(o["spearman"]), f"{o['harm']:.0%}", html.cell(o["p"]))
        for o in over
    ]  # fmt: skip
    styles = ["chosen" if o["selector"] == COMBINED else "dim" if o["scheme"] == "in sample" else "" for o in over]
    return html.section(
        "learned",
        title,
        html.paragraph(verdict),
        html.plot("learned-plot", _strangers(found), about=about),
        html.paragraph(about),
        html.table(head, body, styles),
        labels=True,
    )


def _strangers(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row per study, a mark per selector."""
    shown = [f for f in found if f["selector"] == COMBINED or f["scheme"] == STRANGERS]
    studies = list(dict.fromkeys(f["study"] for f in shown))
    looks = {
        COMBINED: (html.CHOSEN, "diamond"),
        "forest": (html.OTHER, "circle-open"),
        "ridge": (html.LABELS, "square-open"),
    }
    traces = []
    for selector in dict.fromkeys(f["selector"] for f in shown):
        own = {f["study"]: f for f in shown if f["selector"] == selector}
        colour, symbol = looks[selector]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": selector if selector == COMBINED else f"{selector}, {STRANGERS}",
                "x": [own[s]["normalised_regret"] if s in own else None for s in studies],
                "y": studies,
                "text": [_stranger(own[s]) if s in own else "" for s in studies],
                "hovertemplate": "%{text}<extra></extra>",
                "cliponaxis": False,
                "marker": {"size": 13, "color": colour, "symbol": symbol, "line": {"width": 2.5, "color": colour}},
            }
        )
    farthest = max([1.0, *(f["normalised_regret"] for f in shown)])
    line = {"dash": "dot", "width": 1.5, "color": "gray"}
    layout = {
        "height": 130 + 34 * len(studies),
        "xaxis": {
            "title": {"text": "normalised regret (0 best, 1 random)"},
            "range": [-0.04 * farthest, 1.06 * farthest],
        },
        "yaxis": {"autorange": "reversed", "type": "category"},
        "shapes": [{"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "line": line}],
    }
    return {"data": traces, "layout": layout}


def _stranger(one: Mapping[str, Any]) -> str:
    return (
        f"<b>{one['selector']}</b> in {escape(one['study'])} ({one['family']})"
        f"<br>normalised regret {html.cell(one['normalised_regret'])}, regret {number(one['regret'])}"
    )
