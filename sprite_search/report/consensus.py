"""Which models see the same: a map of the models by their agreement, and criteria by how alike they rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..selection import CRITERIA, Choice, Study
from ..selection.criteria import number
from . import html
from .configurations import Configurations

Floats = NDArray[np.float64]

_ABOUT = (
    "Each point is a model, one per trial and seed. Models near each other put the same images together (distance: 1"
    " minus adjusted mutual information, in two dimensions as well as these hold it). A crowd is a consensus: models"
    " that started apart and found the same. It can be wrong together, and collapsed models agree too."
)
_ALIKE = (
    "Criteria that rank the configurations alike are joined far left: together they count as one voice. Distance: 1"
    " minus the absolute rank correlation."
)


def section(study: Study, choice: Choice, found: Configurations) -> str:
    """The page; sentences where agreements are not known."""
    body = [html.paragraph("Agreements are not known: they need artefacts of at least three models.")]
    if study.pairs is not None and len(study.pairs.keys) > 2:
        body = [html.paragraph(_ABOUT), html.plot("consensus-map", figure(study, choice), about=_ABOUT, sheets=True)]
    if (tree := dendrogram(found)) is not None:
        body += ["<h3>Which criteria say the same</h3>", html.paragraph(_ALIKE)]
        body += [html.plot("criteria-tree", tree, about=_ALIKE)]
    return html.section("consensus", "What the models agree on", *body)


def figure(study: Study, choice: Choice) -> dict[str, Any]:
    """The map: colour is held-out error; the choice, its runners-up and the most central model are marked."""
    pairs = study.pairs
    assert pairs is not None
    at, kept = embedded(1 - pairs.agreement)
    central = _central(study)
    rows = {(int(r["trial"]), int(r["seed"])): r for r in study.rows if r.get("seed") is not None}
    effective = [number(rows.get(k, {}), "val/effective_sprites") for k in pairs.keys]
    said = [
        f"trial {t}, seed {s}<br>mean agreement {c:.2f}, error {e:.4g}, {n:.3g} effective sprites"
        for (t, s), c, e, n in zip(pairs.keys, central, pairs.errors.tolist(), effective, strict=True)
    ]
    base = {"type": "scatter", "mode": "markers", "hovertemplate": "%{text}<extra></extra>"}

    def some(places: Any, name: str, marker: dict[str, Any]) -> dict[str, Any]:
        own = {"x": at[places, 0].tolist(), "y": at[places, 1].tolist(), "marker": marker, "name": name}
        return {**base, **own, "text": [said[i] for i in places], "customdata": [pairs.keys[i][0] for i in places]}

    bar = {"title": {"text": "held-out error", "side": "right"}, "thickness": 12, "outlinewidth": 0}
    scale = {"colorscale": html.SCALE, "reversescale": True, "colorbar": bar}
    ring = {"symbol": "circle-open", "size": 17, "line": {"width": 2.5}}
    cross = {"symbol": "cross-thin", "size": 15, "line": {"width": 3, "color": html.HARM}}
    runners = {r["trial"] for r in choice.runners_up}
    traces = [some(range(len(at)), "models", {"color": pairs.errors.tolist(), "size": 9, **scale})]
    for name, places, marker in (
        ("runners-up", [i for i, k in enumerate(pairs.keys) if k[0] in runners], {**ring, "color": html.OTHER}),
        ("the choice", [i for i, k in enumerate(pairs.keys) if k[0] == choice.trial], {**ring, "color": html.CHOSEN}),
        ("most central", [int(np.argmax(central))], cross),
    ):
        if places:
            traces.append(some(places, name, marker))
    bare = {"showticklabels": False, "zeroline": False}
    layout = {
        "xaxis": {**bare, "title": {"text": f"two dimensions hold {kept:.0%} of the distances"}},
        "yaxis": {**bare, "scaleanchor": "x"},
        "height": 480,
    }
    return {"data": traces, "layout": layout, "shown": choice.trial}


def embedded(distance: Floats) -> tuple[Floats, float]:
    """Points (M, 2) at about these distances (M, M) by classical scaling, and the share of the spread they hold."""
    centre = np.eye(len(distance)) - 1 / len(distance)
    values, vectors = np.linalg.eigh(-0.5 * centre @ distance**2 @ centre)
    values, vectors = values[::-1], vectors[:, ::-1]
    positive = values.clip(min=0)
    points = vectors[:, :2] * np.sqrt(positive[:2])
    # the sign of an eigenvector is arbitrary: the larger side is put right and up, so that equal tables look equal
    signs = np.sign(points[np.abs(points).argmax(0), range(points.shape[1])])
    total = positive.sum()
    return points * np.where(signs == 0, 1, signs), float(positive[:2].sum() / total) if total > 0 else 1.0


def _central(study: Study) -> list[float]:
    """Mean agreement of each model with those of other configurations; 0 where there are none."""
    assert study.pairs is not None
    trials = np.array([t for t, _ in study.pairs.keys])
    other = trials[:, None] != trials
    count = np.maximum(other.sum(1), 1)
    return ((study.pairs.agreement * other).sum(1) / count).tolist()


def dendrogram(found: Configurations) -> dict[str, Any] | None:
    """Criteria joined by average linkage over 1 − |rank correlation|; None with fewer than three that vary."""
    from scipy.cluster.hierarchy import dendrogram as drawn
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    names = [n for n, c in found.columns.items() if n in CRITERIA and np.isfinite(c.values).all() and np.ptp(c.values)]
    if len(names) < 3 or len(found.trials) < 3:
        return None
    distance = np.array([[1 - abs(found.correlation(a, b)) if a != b else 0.0 for b in names] for a in names])
    tree = drawn(linkage(squareform(distance, checks=False), "average"), no_plot=True, labels=names)
    x: list[float | None] = []
    y: list[float | None] = []
    for across, up in zip(tree["dcoord"], tree["icoord"], strict=True):
        x += [*map(float, across), None]
        y += [*map(float, up), None]
    ticks = [5 + 10 * i for i in range(len(names))]
    line = {"color": html.OTHER, "width": 1.5}
    trace = {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}
    words = [f"{n.replace('_', ' ')} ({CRITERIA[n].group})" for n in tree["ivl"]]
    layout = {
        "xaxis": {"title": {"text": "1 − |rank correlation|"}, "range": [-0.02, 1.02]},
        "yaxis": {"tickvals": ticks, "ticktext": words, "showgrid": False, "zeroline": False},
        "height": 90 + 17 * len(names),
        "showlegend": False,
    }
    return {"data": [trace], "layout": layout}
