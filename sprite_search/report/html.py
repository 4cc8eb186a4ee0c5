"""The parts that pages are made of: text that is escaped, tables, pictures and figures inside one HTML file.

A figure is a plain dict of plotly, ``{"data": […], "layout": {…}}``; the browser draws it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..console import number

Figure = Mapping[str, Any]

#: Colours that can be told apart by everybody, on white and on black (Okabe and Ito), by what they mean in all figures.
CHOSEN, OTHER, HARM, LABELS = "#009e73", "#0072b2", "#d55e00", "#cc79a7"

#: Colours of scales, none too light for white nor too dark for black.
SCALE = [[0, "#4477cc"], [0.5, "#b07aa1"], [1, "#ee8800"]]

#: Colours of scales with a middle: better, as good as random, worse.
DIVERGING = [[0, OTHER], [0.5, "#cccccc"], [1, HARM]]

_HERE = Path(__file__).parent


def document(title: str, body: Iterable[str], *, drawn: bool = True) -> str:
    """A whole page; one with figures (`drawn`) carries the library that draws them, about 5 MB."""
    script = ""
    if drawn:
        from plotly.offline import get_plotlyjs

        note = "<noscript><p class='note'>The figures need JavaScript; the tables do not.</p></noscript>"
        own = (_HERE / "page.js").read_text(encoding="utf-8")
        script = f"{note}<script>{get_plotlyjs()}</script><script>{own}</script>"
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{style}</style><body>\n"
        + "\n".join(body)
        + f"\n{script}\n</body></html>\n"
    )


def section(name: str, title: str, *parts: str, labels: bool = False) -> str:
    """A part of a page that can be linked to; `labels`: it says what labels say, and can be hidden."""
    told = " class='labels'" if labels else ""
    return f"<section id='{name}'{told}><h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def navigation(parts: Mapping[str, str], labelled: Sequence[str], *, labels: bool) -> str:
    """Links to the parts of a page, and the switch that hides what labels say.

    Args:
        parts: what they are called, by the names of their sections.
        labelled: those that need labels.
        labels: whether there are any.
    """
    links = [
        f"<a href='#{name}'{' class=labels' if name in labelled else ''}>{said}</a>"
        for name, said in parts.items()
        if labels or name not in labelled
    ]
    switch = (
        "<label><input type='checkbox' id='labels-shown' autocomplete='off' checked> show what labels say</label>"
        if labels
        else ""
    )
    return f"<nav>{''.join(links)}{switch}</nav>"


def paragraph(text: str, style: str = "") -> str:
    return f"<p class='{style}'>{escape(text)}</p>" if style else f"<p>{escape(text)}</p>"


def items(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def details(summary: str, *parts: str) -> str:
    """What is there for those who open it."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def table(
    head: Sequence[str], body: Iterable[Sequence[str]], styles: Iterable[str] | None = None, *, words: bool = False
) -> str:
    """Rows of text; `styles` names the class of each row; with `words` cells are sentences, which wrap."""
    lines = ["<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"]
    body = list(body)
    for style, row in zip(styles or [""] * len(body), body, strict=True):
        lines.append(f"<tr class='{style}'>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>")
    return f"<div class='scroll'><table{' class=words' if words else ''}>" + "".join(lines) + "</table></div>"


def picture(data: str, caption: str) -> str:
    """An image (a data URI) with what it shows."""
    said = escape(caption)
    return f"<figure><img alt='{said}' src='{data}'><figcaption>{said}</figcaption></figure>"


def cell(value: Any) -> str:
    """A value in a table: a dash where there is none."""
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)


def share(value: float | None) -> str:
    """A share or a normalised regret in a table."""
    return "–" if value is None else f"{value:.2f}"


def finite(value: float) -> float | None:
    """A number, None where it is none."""
    return float(value) if math.isfinite(value) else None


def interval(found: Sequence[float] | None) -> str:
    return f"{found[0]:.2f} … {found[1]:.2f}" if found else "–"


def data(name: str, value: Any) -> str:
    """Plain data for the script of the page, under a name."""
    return f"<script type='application/json' id='{name}'>{_json(value)}</script>"


def plot(name: str, figure: Figure, *, about: str, sheets: bool = False) -> str:
    """A figure and what it shows in words; with `sheets`, a place for the sprites of the trial under the pointer.

    The ``customdata`` of a point is then its trial.
    """
    layout = {**_LAYOUT, **figure["layout"], "margin": {**_MARGIN, **figure["layout"].get("margin", {})}}
    for axis in [n for n in layout if n.startswith(("xaxis", "yaxis"))]:
        layout[axis] = {**_AXIS, **layout[axis]}
    place = f"<div class='plot' id='{name}' role='img' aria-label='{escape(about)}'></div>"
    if sheets:
        said = "Sprites of a trial: point at it, or tap it."
        place = f"<div class='beside'>{place}<aside class='sheet' aria-live='polite'><p>{said}</p></aside></div>"
    return f"{place}<script type='application/json' data-plot='{name}'>{_json({**figure, 'layout': layout})}</script>"


def heat_map(
    cells: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    said: Sequence[Sequence[str]],
    *,
    middle: float,
    title: str,
) -> dict[str, Any]:
    """A figure of numbers (rows, columns) around `middle`, from 0 to twice as much, each written into its cell.

    Args:
        cells: None where there is no number.
        said: what is shown of each cell under the pointer.
        title: of the scale.
    """
    trace = {
        "type": "heatmap",
        "z": cells,
        "x": columns,
        "y": rows,
        "text": said,
        "hovertemplate": "%{text}<extra></extra>",
        "texttemplate": "%{z:.2f}",
        "colorscale": DIVERGING,
        "zmin": 0,
        "zmax": 2 * middle,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0},
    }
    layout = {
        "height": 130 + 19 * len(rows),
        "margin": {"b": 16},
        "xaxis": {"side": "top", "type": "category", "showgrid": False, "tickangle": -30},
        "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False, "dtick": 1},
    }
    return {"data": [trace], "layout": layout}


def switch(figure: str, about: str, changes: Mapping[str, Sequence[Any]], chosen: str) -> str:
    """A list to choose how a figure is shown: each option is a change of its traces and one of its layout."""
    options = "".join(
        f"<option value='{escape(_json(change))}'{' selected' if name == chosen else ''}>{escape(name)}</option>"
        for name, change in changes.items()
    )
    chooser = f"<select data-figure='{figure}' autocomplete='off'>{options}</select>"
    return f"<div class='controls'><label>{escape(about)} {chooser}</label></div>"


#: What figures have in common. Text and lines take the colour of the page, see page.css.
_LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "hoverlabel": {"align": "left", "bgcolor": "#222", "bordercolor": "#222", "font": {"color": "#fff", "size": 13}},
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "gray", "activecolor": "gray"},
    "hovermode": "closest",
    "height": 420,
}
_MARGIN = {"l": 60, "r": 16, "t": 24, "b": 56}
_GRID = "rgba(128,128,128,0.25)"
_AXIS = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True}


def _json(value: Any) -> str:
    """JSON that can stand inside a page: nothing in it ends a script, and what is no number is null."""
    text = json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(n): _finite(v) for n, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
