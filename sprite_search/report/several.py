"""One page about several studies: what was chosen in each and how far to trust it, and what labels say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..selection import CRITERIA, Choice, Study, agreement, choose, judge
from ..selection.evaluation import DRAWS
from ..selection.redraws import key
from . import card, html, regrets
from .configurations import Configurations, correlation

#: Parts of the page by their names in its source; those that need labels.
_PARTS = {"choices": "choices", "opinions": "criteria", "regrets": "regret", "losses": "criteria by labels"}
_PARTS |= {"learned": "learned selectors"}
_LABELLED = ("regrets", "losses", "learned")


@dataclass(frozen=True)
class Chosen:
    """What was chosen in a study, with its configurations as columns and, where it has labels, what these say.

    Attributes:
        judged: of `selection.judge`, every criterion by labels.
        agreement: of `selection.agreement`, the choice by labels.
    """

    study: Study
    choice: Choice
    columns: Configurations
    judged: dict[str, Any] | None
    agreement: dict[str, Any] | None

    @classmethod
    def of(cls, study: Study, draws: int = DRAWS) -> Chosen:
        """The choice sees no label; `draws` are for the intervals of what labels say."""
        choice = choose(study.rows)
        judged = judge(study, draws=draws)
        known = [{**r, **study.labels.get(key(r), {})} for r in study.rows] if study.labels else []
        return cls(study, choice, Configurations.of(study, choice), judged, agreement(known, choice) if known else None)


def page(studies: Sequence[Study], *, draws: int = DRAWS) -> str:
    """The page as text.

    Args:
        studies: one or more, of `selection.studies_in`, `selection.load` or `overview.tables`, with or without labels.
        draws: redraws for the intervals.
    """
    chosen = [Chosen.of(study, draws) for study in studies]
    labelled = [c for c in chosen if c.judged is not None]
    families = sorted({c.study.family for c in chosen})
    title = f"{len(chosen)} {'study' if len(chosen) == 1 else 'studies'}"
    names = ", ".join(c.study.name for c in chosen)
    kinds = f"{len(families)} famil{'y' if len(families) == 1 else 'ies'}"
    body = [
        f"<h1>{title}</h1><p>{escape(names)}: {kinds} of data ({escape(', '.join(families))})</p>",
        html.navigation(_PARTS, _LABELLED, labels=bool(labelled)),
        choices(chosen),
        opinions(chosen),
    ]
    if labelled:
        body += regrets.sections(labelled, draws=draws)
    return html.document(title, body)


def choices(chosen: Sequence[Chosen]) -> str:
    """What was chosen in each study, how far to trust it, and which kinds of criteria speak against it."""
    said = (
        "No label was seen. Reliability: share of redraws of seeds and criteria in which the choice is first, or nearly"
        " so. Against it: kinds of criteria by which it is in the worse half of the configurations."
    )
    head = (
        "study",
        "data set",
        "family",
        "compared",
        "trial",
        "seed",
        "chosen by",
        "reliability",
        "verdict",
        "against it",
    )
    body = [_choice(c) for c in chosen]
    styles = ["" if c.choice.abstained else "chosen" for c in chosen]
    return html.section("choices", "What was chosen", html.paragraph(said), html.table(head, body, styles, words=True))


def _choice(one: Chosen) -> list[str]:
    choice, count = one.choice, len(one.columns.trials)
    places = [(at, kind) for kind, own in one.columns.places.items() for t, at in own.items() if t == choice.trial]
    against = [f"{kind} ({at}. of {count})" for at, kind in sorted(places, reverse=True) if 2 * at > count + 1]
    return [
        one.study.name,
        one.study.dataset,
        one.study.family,
        f"{choice.candidates} of {choice.candidates + len(choice.rejected)}",
        html.cell(choice.trial),
        html.cell(choice.seed),
        choice.by.replace("_", " "),
        "–" if choice.reliability is None else f"{choice.reliability:.0%}",
        card.verdict(choice) if choice.trial is None else "abstains" if choice.abstained else "trusted",
        ", ".join(against) or "none",
    ]


def opinions(chosen: Sequence[Chosen]) -> str:
    """Where each criterion ranks what was chosen; a sentence where no study has anything to rank."""
    title = "Which criteria agree with the choice"
    drawn = figure(chosen)
    if drawn is None:
        return html.section("opinions", title, html.paragraph("No study has two configurations to rank."))
    about = (
        "Share of the configurations that a criterion ranks before the choice: blue, it would choose so too; gray, as a"
        " random one; orange, it would choose others. Criteria that order the configurations as the choice does are on"
        " top. None of this needs a label."
    )
    return html.section("opinions", title, html.paragraph(about), html.plot("opinions-map", drawn, about=about))


def figure(chosen: Sequence[Chosen]) -> dict[str, Any] | None:
    """Criterion by study: the share of the other configurations that are ranked before the choice."""
    shares = {name: [_share(c, name) for c in chosen] for name in CRITERIA}
    shares = {n: x for n, x in shares.items() if any(v is not None for v in x)}
    if not shares:
        return None
    alike = {name: [_alike(c, name) for c in chosen] for name in shares}
    names = sorted(shares, key=lambda n: -float(np.mean([a for a in alike[n] if a is not None] or [-1.0])))
    said = [
        [_opinion(c, name, share, own) for c, share, own in zip(chosen, shares[name], alike[name], strict=True)]
        for name in names
    ]
    labels = [f"{n.replace('_', ' ')} ({CRITERIA[n].group})" for n in names]
    columns = [c.study.name for c in chosen]
    cells = [shares[n] for n in names]
    return html.heat_map(cells, labels, columns, said, middle=0.5, title="ranked before the choice")


def _share(one: Chosen, name: str) -> float | None:
    """0 where the choice is first by the criterion, 1 where it is last; None without a value."""
    if name not in one.columns.columns or one.choice.trial not in one.columns.trials:
        return None
    ranks = one.columns.ranks(name)
    own = ranks[one.columns.trials.index(one.choice.trial)]
    return None if np.isnan(own) else float((own - 1) / (np.isfinite(ranks).sum() - 1))


def _alike(one: Chosen, name: str) -> float | None:
    """Rank correlation of the criterion with what the choice was made by."""
    if name not in one.columns.columns or one.choice.by not in one.columns.columns:
        return None
    ranks, others = one.columns.ranks(name), one.columns.ranks(one.choice.by)
    return html.finite(correlation(ranks, others))


def _opinion(one: Chosen, name: str, share: float | None, alike: float | None) -> str:
    where = f"<b>{name}</b> in {escape(one.study.name)}"
    if share is None:
        return f"{where}<br>no value, or nothing was chosen"
    count = int(np.isfinite(one.columns.ranks(name)).sum())
    order = "" if alike is None else f"<br>rank correlation with {one.choice.by} {alike:+.2f}"
    return f"{where}<br>trial {one.choice.trial} is {1 + round(share * (count - 1))}. of {count}{order}"
