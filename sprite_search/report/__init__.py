"""HTML pages about studies that need nothing else: figures, pictures and tables inside, no network.

`gather` reads what is known of a study, `page` and `card_page` make pages of it, `write` puts one into a file and
`record` both into MLflow. `several.page` is about several studies.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import overview, selection
from ..checkpoints import open_store
from ..errors import InputError
from ..files import whole
from ..home import Home
from . import best_of_n, card, consensus, equivalence, explorer, html, leaderboard, search, several, sprites
from .configurations import Configurations
from .sprites import Drawn, Model

if TYPE_CHECKING:
    from ..space import Space
    from ..study.records import TrialRecord


@dataclass(frozen=True)
class Material:
    """What is known of a study, for its pages.

    Attributes:
        space, records: of its ledger.
        rows: of `overview.judged`, with labels.
        study: its tables, labels apart.
        models: what there is to see of each trial and seed.
        pictures: PNG files of the chosen model.
        checkpoint: of `overview.checkpoint`, which one of it to trust.
    """

    space: Space
    records: Sequence[TrialRecord]
    rows: Sequence[Mapping[str, Any]]
    study: selection.Study
    models: Mapping[Model, Drawn] = field(default_factory=dict)
    pictures: Sequence[Path] = ()
    checkpoint: Mapping[str, Any] | None = None

    @cached_property
    def outcome(self) -> dict[str, Any]:
        """See `overview.outcome`."""
        return overview.outcome(self.space, self.records, self.rows)

    @cached_property
    def choice(self) -> selection.Choice:
        return selection.Choice(**self.outcome["choice"])

    @cached_property
    def judged(self) -> dict[str, Any] | None:
        """Criteria judged by labels; None where there are none."""
        return selection.judge(self.study)


def gather(home: Home, study: str) -> Material:
    """Reads a study; InputError where there is none of that name."""
    from ..study.ledger import Ledger

    ledger = Ledger.open(home, study)
    space, records = ledger.space(), ledger.records()
    rows = overview.judged(home, study, records)
    tables, artefacts = overview.material(home, study, rows)
    found = Material(space, records, rows, tables, sprites.drawn(artefacts))
    chosen = found.choice
    folder = open_store(home.checkpoints).pictures(study, chosen.trial) if chosen.trial is not None else None
    pictures = sorted((folder / f"seed{chosen.seed}").glob("*.png")) if folder is not None else []
    return replace(
        found, pictures=pictures, checkpoint=overview.checkpoint(home, study, records, found.outcome["choice"])
    )


def write(home: Home, studies: Sequence[str], output: Path, tables: Path | None = None) -> str:
    """Writes the page of a study, or one over several, and says where; InputError where it cannot be written.

    The page of one study is kept in MLflow too; one over several belongs to no run.

    Args:
        tables: a folder for the tables of each (`selection.save`), in a folder of its name.
    """
    name = " ".join(studies)
    if output.is_dir():
        raise InputError(f"{output}: is a folder; name the file of the page, e.g. -o {output / studies[0]}.html")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: its folder does not exist; make it, or name another place with -o")
    if tables is not None and tables.exists() and not tables.is_dir():
        raise InputError(f"{tables}: is a file; name a folder for the tables with --tables")
    found = gather(home, studies[0]) if len(studies) == 1 else None
    own = [found.study] if found is not None else [overview.tables(home, study) for study in studies]
    text = page(found) if found is not None else several.page(own)
    with whole(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    said = [f"{output.absolute()}: the report of {name}, {len(text) / 2**20:.1f} MiB"]
    if tables is not None:
        places = [selection.save(one, tables / one.name).absolute() for one in own]
        said += [f"{place}: its tables, see docs/notebook.md" for place in places]
    if found is not None:
        said.append(record(home, found, text))
    return "\n".join(said)


def record(home: Home, found: Material, text: str | None = None) -> str:
    """Keeps pages and tables in MLflow, as artifacts of the run "report" of the study, where they changed.

    Args:
        text: of `page`, where it is at hand.
    Returns:
        a sentence that says where they are, or why they are not there.
    """
    from ..study.launch import open_tracker

    name = found.space.name
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "report.html").write_text(text or page(found), encoding="utf-8")
        (folder / "decision_card.html").write_text(card_page(found), encoding="utf-8")
        selection.save(found.study, folder / "tables" / name)
        try:
            tracker = open_tracker(found.space, home, open_store(home.checkpoints))
        except InputError as error:
            return f"the report is not in MLflow: {error}"
        tracker.report(
            folder, f"**{card.verdict(found.choice)}**\n\n" + "\n".join(f"- {r}" for r in found.choice.reasons)
        )
        if tracker.close():
            return f"the report is not in MLflow ({tracker.trouble}); `sprite-search report {name}` tries again"
    return f"in MLflow it is an artifact of the run `report` of {name}"


def page(found: Material) -> str:
    """The whole report as text."""
    space, study, choice, judged = found.space, found.study, found.choice, found.judged
    columns = Configurations.of(study, choice)
    body = [
        f"<h1>{escape(space.name)}</h1><p>{escape(space.about)}</p>",
        html.navigation(_PARTS, _LABELLED, labels=bool(study.labels)),
        search.summary(space, found.records),
        _card(found),
        search.rejected(choice.rejected),
        leaderboard.places(columns, choice),
        _pictures(found.pictures, choice),
        explorer.section(columns, choice),
        consensus.section(study, choice, columns),
        best_of_n.section(study, found.outcome["audit"], study.space["objective"]),
        leaderboard.section(judged),
        equivalence.section(judged),
        search.section(space, found.records, overview.table(space, found.records, found.rows)["trials"], choice.trial),
        search.space_section(space),
        html.data("sheets", sprites.sheets(found.models, _seeds(choice))),
    ]
    return html.document(space.name, body)


def card_page(found: Material) -> str:
    """The decision card alone, to print: small, without figures."""
    return html.document(f"{found.space.name}: decision card", [_card(found)], drawn=False)


def _card(found: Material) -> str:
    made = found.outcome
    facts = found.study, found.choice, found.checkpoint, made["audit"], made["agreement"], found.judged, found.models
    return card.section(*facts)


def _seeds(choice: selection.Choice) -> dict[int, int]:
    """The seed of each trial that the choice names."""
    named = [{"trial": choice.trial, "seed": choice.seed}, *choice.runners_up]
    return {one["trial"]: one["seed"] for one in named if one["trial"] is not None}


#: Parts of the page by their names in its source; those that need labels.
_PARTS = {
    "card": "decision card",
    "criteria": "criteria",
    "consensus": "consensus",
    "best-of-n": "best of n",
    "leaderboard": "leaderboard",
    "equivalence": "worth in labels",
    "search": "search",
    "space": "space",
}
_LABELLED = ("leaderboard", "equivalence")


def _pictures(files: Sequence[Path], choice: selection.Choice) -> str:
    if choice.trial is None:
        return ""
    shown = [
        html.picture(
            "data:image/png;base64," + base64.b64encode(f.read_bytes()).decode(),
            f"{f.stem.replace('_', ' ')} of trial {choice.trial}, seed {choice.seed}",
        )
        for f in files
    ]
    return "".join(shown) or html.paragraph("Its pictures are not in the checkpoints of this home.")
