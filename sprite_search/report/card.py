"""The decision card: what was chosen, beside its rivals, and why one may trust it. It prints on a page of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..console import number
from ..selection import CRITERIA, Choice, Study, checklist, gates, worth
from . import html, sprites
from .sprites import Drawn, Model

#: Runners-up that are shown beside the choice.
RIVALS = 3


def section(
    study: Study,
    choice: Choice,
    checkpoint: Mapping[str, Any] | None,
    audit: Mapping[str, Any],
    agreement: Mapping[str, Any] | None,
    judged: Mapping[str, Any] | None,
    models: Mapping[Model, Drawn],
) -> str:
    """The card; what labels say stands apart and was not used.

    Args:
        checkpoint: of `overview.checkpoint`, which one of the chosen training to trust.
        agreement: of `selection.agreement`, how the choice fares by labels.
        judged: of `selection.judge`.
        models: what there is to see of models.
    """
    oracle = study.space.get("objective", {}).get("oracle")
    told = html.paragraph("The search itself was told labels (oracle: true).", "note") if oracle else ""
    left = [html.table(("", ""), _facts(study, choice, checkpoint), words=True), _gates(study, choice), _alarms(audit)]
    right = ["<h3>Why</h3>", html.items(choice.reasons), _settings(study, choice)]
    below = ["<h3>What could have leaked</h3>", _leaks(study)]
    body = [
        f"<p class='{'note' if choice.abstained else ''}'><strong>{escape(verdict(choice))}</strong></p>{told}",
        _beside(choice, models),
        f"<div class='columns'><div>{''.join(left)}</div><div>{''.join(right)}</div></div>",
        _labels(study, choice, agreement, judged),
        *below,
    ]
    return (
        f"<section id='card' class='card'><h2>Which trial to trust: {escape(study.name)}</h2>{''.join(body)}</section>"
    )


def verdict(choice: Choice) -> str:
    """The choice in a sentence."""
    if choice.trial is None:
        return "No trial can be trusted."
    if choice.abstained:
        return f"Trial {choice.trial} leads, but the lead is not to be trusted."
    return f"Trial {choice.trial}, seed {choice.seed}."


def _facts(study: Study, choice: Choice, checkpoint: Mapping[str, Any] | None) -> list[Sequence[str]]:
    seeds = len({r.get("seed") for r in study.rows if r.get("trial") == choice.trial})
    redrawn = "not known: one seed each" if choice.reliability is None else f"{choice.reliability:.0%}"
    rejected = f", {len(choice.rejected)} more were not compared" if choice.rejected else ""
    trusted = [("checkpoint", f"after epoch {checkpoint['epoch']} of {checkpoint['last']}")] if checkpoint else []
    budget = study.space.get("budget", {}).get("trials")
    found: list[Sequence[str]] = [
        ("data set", study.dataset),
        ("compared", f"{choice.candidates} configurations of {seeds or 'no'} seeds{rejected}"),
        ("chosen by", f"{choice.by.replace('_', ' ')}, {html.cell(choice.value)}; no label was seen"),
        ("reliability", f"{redrawn} (share of redraws of seeds and criteria in which it is first, or nearly so)"),
        *trusted,
    ]
    return [*found, ("searched", f"{budget} configurations")] if budget else found


def _beside(choice: Choice, models: Mapping[Model, Drawn]) -> str:
    """The sprites of the choice above those of the runners-up, matched by the images that show them."""
    leaders = [{"trial": choice.trial, "seed": choice.seed, "value": choice.value}, *choice.runners_up[:RIVALS]]
    there = [one for one in leaders if (one["trial"], one["seed"]) in models]
    if not there:
        return (
            html.paragraph("Their sprites cannot be drawn here: there are no artefacts of these trials.")
            if choice.trial is not None
            else ""
        )
    first = models[there[0]["trial"], there[0]["seed"]]
    shown = []
    for one in there:
        own = models[one["trial"], one["seed"]]
        who = "the choice" if one["trial"] == choice.trial else "runner-up"
        caption = f"trial {one['trial']}, seed {one['seed']} ({who}): {number(one['value'])}"
        shown.append(html.picture(sprites.strip(own, sprites.matched(own, first)), caption))
    note = "Sprites of one column are shown by the same images, as far as they can be matched; pale ones by none."
    return f"<div class='rivals'>{''.join(shown)}</div>{html.paragraph(note)}"


def _gates(study: Study, choice: Choice) -> str:
    """Each gate and the value of each seed of the chosen trial."""
    own = sorted((r for r in study.rows if r.get("trial") == choice.trial), key=lambda r: str(r.get("seed")))
    if choice.trial is None or not own:
        return ""
    found = [gates(r, CRITERIA["reconstruction"]) for r in own]
    head = ("gate", *(f"seed {r['seed']}" for r in own))
    body = [(one[0].asks, *(_passed(g.value, g.problem) for g in one)) for one in zip(*found, strict=True)]
    return "<h3>Gates</h3>" + html.table(head, body)


def _passed(value: float, problem: str | None) -> str:
    said = "not measured" if value != value else number(value)
    return f"✗ {said}" if problem else f"✓ {said}" if value == value else said


def _alarms(audit: Mapping[str, Any]) -> str:
    """What the audit says, in short."""
    asked = [q for q in audit["questions"] if q["alarm"] is not None]
    alarms = [q["says"] for q in asked if q["alarm"]]
    said = alarms or [f"no alarm in {len(asked)} questions" if asked else "could not be asked: too few configurations"]
    return "<h3>Audit</h3>" + html.items(said)


def _settings(study: Study, choice: Choice) -> str:
    """The searched settings of the choice."""
    row = next((r for r in study.rows if r.get("trial") == choice.trial), None)
    if row is None:
        return ""
    body = [(n, html.cell(row[n])) for n in study.searched if row.get(n) is not None]
    return "<h3>Its settings</h3>" + html.table(("searched", "chosen"), body) if body else ""


def _labels(study: Study, choice: Choice, agreement: Mapping[str, Any] | None, judged: Mapping[str, Any] | None) -> str:
    """How good the choice was by labels, computed after it."""
    if agreement is None:
        return html.paragraph("There are no labels to judge this choice by.") if choice.trial is not None else ""
    best, chosen, share = agreement["best_by_labels"], agreement["chosen"], agreement["normalised_regret"]
    lines = [
        f"{agreement['target']} of trial {chosen['trial']}: {number(chosen['value'])}; best by labels: trial"
        f" {best['trial']}, {number(best['value'])}; regret {number(agreement['regret'])}",
        "the configurations hardly differ: there was nothing to select"
        if share is None
        else f"normalised regret {share:.2f}: 0 is the best choice, 1 a random one",
    ]
    own = next((r for r in judged["rows"] if r["criterion"] == choice.by), None) if judged else None
    curve = [dict(one) for one in study.label_curve]
    if (labels := worth(curve, share)) is not None:
        lines.append(f"worth about {labels:.0f} labels: so many, drawn at random, choose as well")
    if own and own["normalised_regret_interval"]:
        low, high = own["normalised_regret_interval"]
        fewest, most = worth(curve, high), worth(curve, low)
        range_ = f", worth {fewest:.0f} to {most:.0f} labels" if fewest is not None and most is not None else ""
        lines.append(f"choosing so among redrawn configurations and seeds: {low:.2f} to {high:.2f} (95 %){range_}")
    return f"<div class='labels'><h3>By labels, which the choice did not see</h3>{html.items(lines)}</div>"


def _leaks(study: Study) -> str:
    """The checklist of the evaluation protocol."""
    if not study.space.get("objective"):
        return html.paragraph("The search space is not known.")
    return html.table(
        ("question", "answer", "why"),
        [(c["question"], c["answer"], c["why"]) for c in checklist(study.space)],
        words=True,
    )
