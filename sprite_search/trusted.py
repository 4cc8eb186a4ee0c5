"""Which checkpoint of each seed of a trial to trust, by what the trial reported, and where its weights are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import TRUSTED, WEIGHTS, History
from .selection import CRITERIA, trusted

if TYPE_CHECKING:
    from trainers.checkpoint import Models


def reports(config: Mapping[str, Any], history: History, member: int) -> list[dict[str, Any]]:
    """The reports of one seed as rows: its metrics with epoch, settled and the settings of the trial."""
    return [
        {**config, "epoch": r["epoch"], "settled": r.get("settled", False), **r["metrics"][member]} for r in history
    ]


def places(config: Mapping[str, Any], history: History) -> list[int]:
    """Of each seed, which report in the history is to be trusted."""
    members = len(history[-1]["metrics"])
    found = (trusted(reports(config, history, member)) for member in range(members))
    return [len(history) - 1 if place is None else place for place in found]


def kept(checkpoint: Path) -> Models:
    """The models of a checkpoint that are trusted, with their epochs; DataError where they cannot be read."""
    from trainers.checkpoint import Models

    return Models.read(folder(checkpoint))


def folder(checkpoint: Path) -> Path:
    """Where the models to use of a checkpoint are: it, or the part of it with those that are trusted more."""
    return checkpoint / TRUSTED if (checkpoint / TRUSTED / WEIGHTS).is_file() else checkpoint


def described(config: Mapping[str, Any], history: History, member: int) -> dict[str, Any] | None:
    """{epoch, last, says} of the checkpoint to trust of one seed; None without reports.

    `says` is a sentence where it is not the last one.
    """
    if not history:
        return None
    own = reports(config, history, member)
    at = places(config, history)[member]
    epoch, last = int(own[at]["epoch"]), int(own[-1]["epoch"])
    if epoch == last:
        return {"epoch": epoch, "last": last, "says": ""}
    errors = [CRITERIA["reconstruction"].of(own[i]) for i in (at, -1)]
    said = (
        f"of its checkpoints trust the one after epoch {epoch}, not the last ({last}): its held-out error was"
        f" {errors[0]:.4g} then and is {errors[1]:.4g} at the end{_unrest(own[at], own[-1])}"
    )
    return {"epoch": epoch, "last": last, "says": said}


def _unrest(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, after = (r.get("criteria/checkpoint_agreement") for r in (then, now))
    if before is None or after is None or before <= after:
        return ""
    return f"; agreement of its choices with those of the report before fell from {before:.2f} to {after:.2f}"
