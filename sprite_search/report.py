"""One HTML page about a study that needs nothing else: pictures inside, no script, readable when printed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import overview, selection
from .checkpoints import CheckpointStore, open_store
from .console import duration, number, spent
from .errors import InputError
from .files import whole
from .home import Home

if TYPE_CHECKING:
    from .space import Space
    from .study.records import TrialRecord

#: Trials besides the chosen one whose sprites are shown.
OTHERS = 3

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid #8884; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
tr.chosen { background: #3a93; font-weight: 600 } tr.dim { opacity: .6 }
figure { margin: 0 0 1.2rem } figcaption { font-size: 13px; opacity: .8 }
img { max-width: 100%; image-rendering: pixelated }
.note { border-left: 4px solid #c80; padding: .2rem .8rem } .plot { width: 100%; max-width: 44rem; height: auto }
"""


def write(home: Home, study: str, output: Path) -> str:
    """Writes the page of a study and returns the sentence that says where; InputError where it cannot."""
    from .study.ledger import Ledger

    ledger = Ledger.open(home, study)
    records = ledger.records()
    rows = overview.judged(home, study, records)
    html = page(ledger.space(), records, open_store(home.checkpoints), rows)
    if output.is_dir():
        raise InputError(f"{output}: is a folder; name the file of the page, e.g. -o {output / study}.html")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: its folder does not exist; make it, or name another place with -o")
    with whole(output) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return f"{output.absolute()}: the report of {study}, {len(html) / 2**20:.1f} MiB"


def page(
    space: Space, records: Sequence[TrialRecord], store: CheckpointStore, table: Sequence[Mapping[str, Any]]
) -> str:
    """The whole page as text; `table` is from `overview.judged`."""
    found = overview.outcome(space, records, table)
    picked = found["choice"]
    body = [
        f"<h1>{escape(space.name)}</h1><p>{escape(space.about)}</p>",
        _summary(space, records),
        "<h2>Which trial to trust</h2>",
        _choice(found),
        _pictures(store, space.name, picked["trial"], picked["seed"]),
        "<h2>How it compares with labels</h2>",
        _labels(found["agreement"], table, space),
        "<h2>The search</h2>",
        _plot(records, space, picked["trial"]) if not space.further_objectives else _front(found, records, space),
        "<h2>Sprites of the runners-up</h2>",
        *(_sprites(store, space.name, r) for r in picked["runners_up"][:OTHERS]),
        "<h2>All trials</h2>",
        _trials(overview.table(space, records, table)["trials"], picked["trial"]),
        "<h2>The search space</h2>",
        _space(space),
        "<h2>What could have leaked</h2>",
        _leaks(space),
    ]
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(space.name)}</title><style>{_STYLE}</style><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _items(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _summary(space: Space, records: Sequence[TrialRecord]) -> str:
    from .study.budget import spending
    from .study.records import counts, searched

    ended = ", ".join(f"{n} {state}" for state, n in counts(searched(records)).items() if n) or "none yet"
    again = [r for r in records if r.confirms is not None]
    began = min((r.started for r in records if r.started), default=None)
    last = max((r.finished for r in records if r.finished), default=None)
    lines = [
        f"trials: {ended}, of {space.budget.trials} configurations; {space.replicates} seeds each",
        *([f"trained again on fresh seeds: {len(again)}, the best of the search"] if again else []),
        f"objective: {space.aim}",
        f"from the first trial to the last: {duration(last - began if began and last else None)}",
        *spent(spending(records)),
    ]
    if space.profile:
        lines.append(f"profile {space.profile}: {space.profile_reason}")
    return _items(lines)


def _choice(found: Mapping[str, Any]) -> str:
    picked = found["choice"]
    if picked["trial"] is None:
        head = "No trial can be trusted."
    elif picked["abstained"]:
        head = f"Trial {picked['trial']} leads, but the lead is not to be trusted."
    else:
        head = f"Trial {picked['trial']}, seed {picked['seed']}."
    oracle = "<p class='note'>The search itself was told labels (oracle).</p>" if found["oracle"] else ""
    style = " class='note'" if picked["abstained"] else ""
    not_compared = [f"trial {r['trial']} {r['why']}" for r in picked["rejected"]]
    more = f"<details><summary>trials that were not compared</summary>{_items(not_compared)}</details>"
    reasons = _items(picked["reasons"])
    return f"<p{style}><strong>{escape(head)}</strong></p>{oracle}{reasons}{more if not_compared else ''}"


def _pictures(store: CheckpointStore, study: str, trial: int | None, seed: int | None) -> str:
    if trial is None:
        return ""
    files = _files(store, study, trial, seed)
    shown = "".join(_figure(f, f"{f.stem.replace('_', ' ')} of trial {trial}, seed {seed}") for f in files)
    return shown or "<p>Its pictures are not in the checkpoints of this home.</p>"


def _files(store: CheckpointStore, study: str, trial: int, seed: int | None) -> list[Path]:
    pictures = store.pictures(study, trial)
    return sorted((pictures / f"seed{seed}").glob("*.png")) if pictures is not None else []


def _figure(file: Path, caption: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    said = escape(caption)
    return f"<figure><img alt='{said}' src='data:image/png;base64,{data}'><figcaption>{said}</figcaption></figure>"


def _sprites(store: CheckpointStore, study: str, runner: Mapping[str, Any]) -> str:
    files = [f for f in _files(store, study, runner["trial"], runner["seed"]) if f.stem == "sprites"]
    caption = f"trial {runner['trial']}, seed {runner['seed']}: {number(runner['value'])}"
    return "".join(_figure(f, caption) for f in files) or f"<p>{escape(caption)}; its pictures are not kept</p>"


def _labels(agreement: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]], space: Space) -> str:
    if agreement is None:
        return "<p>The data has no labels, or no trial has finished: nothing to compare with.</p>"
    regret, chosen, best = agreement["normalised_regret"], agreement["chosen"], agreement["best_by_labels"]
    lines = [
        f"The choice above did not see {agreement['target']}; this was computed after it.",
        f"chosen trial {chosen['trial']}: {number(chosen['value'])};"
        f" best by labels: trial {best['trial']}, {number(best['value'])}",
        f"regret {number(agreement['regret'])}; "
        + ("nothing to select" if regret is None else f"normalised {regret:.2f}: 0 is the best pick, 1 a random one"),
    ]
    if agreement["spearman"] is not None:
        lines.append(f"rank correlation {agreement['spearman']:+.2f} over {agreement['n']} configurations")
    try:
        found = overview.judgement(selection.Study.of(space.name, rows, space=space.to_dict()))
    except InputError:
        return _items(lines)
    return _items(lines) + _criteria(found)


def _criteria(found: Mapping[str, Any]) -> str:
    head = ("criterion", "regret", "95 %", "normalised", "rank correlation", "95 %", "best of five", "harm")
    body = [
        (
            r["criterion"] + ("*" if r["primary"] else ""),
            number(r["regret"]),
            _interval(r["regret_interval"]),
            number(r["normalised_regret"]),
            number(r["spearman"]),
            _interval(r["spearman_interval"]),
            number(r["top5_regret"]),
            "yes" if r["harm"] else "no",
        )
        for r in found["rows"]
    ]
    said = f"Criteria that need no labels, over {escape(found['pool'])}; * was fixed in advance:"
    return f"<p>{said}</p>" + _table(head, body)


def _interval(found: Sequence[float] | None) -> str:
    return f"{found[0]:.2f} … {found[1]:.2f}" if found else "–"


def _table(head: Sequence[str], body: Iterable[Sequence[str]], styles: Iterable[str] | None = None) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"]
    body = list(body)
    for style, row in zip(styles or [""] * len(body), body, strict=True):
        lines.append(f"<tr class='{style}'>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>")
    return "<div class='scroll'><table>" + "".join(lines) + "</table></div>"


def _trials(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> str:
    if not rows:
        return "<p>none yet</p>"
    metrics = [n for n in dict.fromkeys(n for r in rows for n in r) if n.startswith(("val/", "labels/"))]
    settings = [n for n in dict.fromkeys(n for r in rows for n in r) if "." in n and "/" not in n]
    varied = [n for n in settings if len({repr(r.get(n)) for r in rows}) > 1]
    marks = [n for n in ("front", "violates") if any(n in r for r in rows)]
    columns = ["trial", "seed", "state", "arm", "epoch", *marks, *metrics, *varied]
    body = [[_text(r.get(c)) for c in columns] for r in rows]
    styles = ["chosen" if r["trial"] == chosen else "" if r["state"] == "complete" else "dim" for r in rows]
    return _table(columns, body, styles)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)


def _plot(records: Sequence[TrialRecord], space: Space, chosen: int | None) -> str:
    """Objective of the finished trials in the order they were asked, and the best so far."""
    done = [r for r in records if r.state == "complete" and r.value is not None]
    if len(done) < 2:
        return "<p>Too few finished trials for a picture.</p>"
    values = [float(r.value or 0.0) for r in done]
    low, high = min(values), max(values)
    last, span = max(r.number for r in done) or 1, (high - low) or 1.0
    spots = [(60 + 620 * r.number / last, 30 + 200 * (high - v) / span) for r, v in zip(done, values, strict=True)]
    better = min if space.objective.direction == "minimize" else max
    first = [i for i, r in enumerate(done) if r.confirms is None]
    best = [better(values[j] for j in first if j <= i) for i in first]
    path = " ".join(f"{spots[i][0]:.1f},{30 + 200 * (high - v) / span:.1f}" for i, v in zip(first, best, strict=True))
    dots = "".join(
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{7 if r.number == chosen else 4}' fill='{_COLOURS.get(r.arm, '#888')}'>"
        f"<title>trial {r.number} ({escape(r.arm)}): {number(r.value)}</title></circle>"
        for r, (x, y) in zip(done, spots, strict=True)
    )
    key = ", ".join(f"<tspan fill='{c}'>{name}</tspan>" for name, c in _COLOURS.items())
    return (
        "<svg class='plot' viewBox='0 0 700 270' font-size='12' fill='currentColor' role='img'>"
        f"<text x='60' y='16'>{escape(space.objective.metric)} by trial: {key}; line: best so far</text>"
        f"<text x='0' y='34'>{number(high)}</text><text x='0' y='234'>{number(low)}</text>"
        f"<text x='60' y='260'>trial 0</text><text x='640' y='260'>{last}</text>"
        f"<polyline points='{path}' fill='none' stroke='currentColor' opacity='.4'/>{dots}</svg>"
    )


def _front(found: Mapping[str, Any], records: Sequence[TrialRecord], space: Space) -> str:
    """The first two objectives of the finished trials against each other; the Pareto front is joined by a line."""
    done = {r.number: r.values for r in records if r.state == "complete" and len(r.values) > 1}
    if len(done) < 2:
        return "<p>Too few finished trials for a picture.</p>"
    ends = [(min(v[i] for v in done.values()), max(v[i] for v in done.values())) for i in (0, 1)]
    (left, right), (low, high) = ends
    wide, tall = (right - left) or 1.0, (high - low) or 1.0
    at = {n: (60 + 620 * (v[0] - left) / wide, 30 + 200 * (high - v[1]) / tall) for n, v in done.items()}
    chosen, front = found["choice"]["trial"], found["front"]
    dots = "".join(
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{7 if n == chosen else 4}' fill='{'#d55e00' if n in front else '#888'}'>"
        f"<title>trial {n}: {', '.join(map(number, done[n]))}</title></circle>"
        for n, (x, y) in at.items()
    )
    path = " ".join(f"{at[n][0]:.1f},{at[n][1]:.1f}" for n in front)
    across, up = (escape(o.metric) for o in space.objectives[:2])
    said = f"Pareto front of {escape(space.aim)}: trials {', '.join(map(str, front)) or 'none'}"
    return (
        f"<p>{said}</p><svg class='plot' viewBox='0 0 700 270' font-size='12' fill='currentColor' role='img'>"
        f"<text x='60' y='16'>{up} against {across}; line: the front</text>"
        f"<text x='0' y='34'>{number(high)}</text><text x='0' y='234'>{number(low)}</text>"
        f"<text x='60' y='260'>{number(left)}</text><text x='640' y='260'>{number(right)}</text>"
        f"<polyline points='{path}' fill='none' stroke='currentColor' opacity='.4'/>{dots}</svg>"
    )


_COLOURS = {"start": "#d55e00", "random": "#888888", "optimised": "#0072b2", "confirm": "#009e73"}


def _space(space: Space) -> str:
    lines = [(name, dimension.describe()) for name, dimension in space.search.items()]
    fixed = [(name, _text(value)) for name, value in space.fixed.items()]
    return _table(("searched", "over"), lines) + "<p></p>" + _table(("fixed", "at"), fixed)


def _leaks(space: Space) -> str:
    """The checklist of the evaluation protocol."""
    return _items(f"{c['question']} {c['answer']}: {c['why']}" for c in selection.checklist(space.to_dict()))
