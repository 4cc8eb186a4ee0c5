"""From the choice to the registry: which trial and seed, through which gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import overview, selection
from .errors import InputError, WorkError
from .home import Home


def promote(
    home: Home,
    study: str,
    *,
    trial: int | None = None,
    by: str = selection.AUTO,
    model: str | None = None,
    alias: str = "champion",
    force: bool = False,
) -> dict[str, Any]:
    """Registers the trial that `select` chooses, or the given one; the same call again changes nothing.

    The gate: the choice does not abstain; a trial named by the user has finished and is not degenerate.

    Raises:
        WorkError: the gate is not met and `force` was not given; nothing was changed.
        InputError: no such trial, or its weights were not kept.
    """
    from . import registry
    from .study.launch import checkpoint
    from .study.ledger import Ledger
    from .study.table import rows
    from .study.tuning import code_identity

    ledger = Ledger.open(home, study)
    space, records = ledger.space(), ledger.records()
    if trial is None:
        number, seed, gate = _chosen(
            overview.outcome(space, records, overview.judged(home, study, records), by)["choice"]
        )
    else:
        if trial not in {r.number for r in records}:
            raise InputError(f"--trial: {study} has no trial {trial}; see `sprite-search trials {study}`")
        number, (seed, gate) = trial, _named(rows(records), trial)
    folder = checkpoint(home, study, number)
    if folder is None:
        raise InputError(
            f"{study}/{number}: its weights were not kept (the best of a study keep theirs);"
            f" choose another with --trial, see `sprite-search trials {study}`"
        )
    record = next(r for r in records if r.number == number)
    said = (overview.checkpoint(home, study, records, {"trial": number, "seed": seed}) or {}).get("says")
    gate = {**gate, "reasons": [*gate["reasons"], *([said] if said else [])]}
    done = registry.promote(
        home,
        record,
        seed,
        checkpoint=folder,
        model_name=model or study,
        alias=alias,
        gate=gate,
        force=force,
        tags={
            "sprite.space_hash": space.hash,
            "sprite.code": code_identity(),
            "sprite.oracle": str(space.oracle).lower(),
        },
    )
    _pin(home, study, number)
    return _said(done)


def rollback(home: Home, model: str, alias: str = "champion") -> dict[str, Any]:
    """Gives the alias back to the version it had before."""
    from . import registry

    return {**_said(registry.rollback(home, model, alias)), "rolled_back": True}


def _chosen(choice: Mapping[str, Any]) -> tuple[int, int, dict[str, Any]]:
    """Trial, seed and gate of a choice."""
    if choice["trial"] is None:
        why = "; ".join([choice["reasons"][0], *(f"trial {r['trial']} {r['why']}" for r in choice["rejected"][:2])])
        raise WorkError(f"nothing to promote: {why}; take one all the same with --trial N --force")
    passed = not choice["abstained"]
    reasons = choice["reasons"] if passed else [*choice["reasons"][-1:], f"take it with --trial {choice['trial']}"]
    gate = {"passed": passed, "reasons": reasons, "by": choice["by"], "reliability": choice["reliability"]}
    return choice["trial"], choice["seed"], gate


def _named(rows: Sequence[Mapping[str, Any]], trial: int) -> tuple[int, dict[str, Any]]:
    """Seed and gate of a trial that the user named."""
    own = [r for r in rows if r["trial"] == trial]
    if own[0]["seed"] is None:
        raise InputError(f"--trial: trial {trial} is {own[0]['state']} and has reported nothing yet; choose another")
    by = selection.CRITERIA["reconstruction"]
    kept, rejected = selection.candidates(own, by)
    if kept:
        return kept[0].best.seed, {"passed": True, "reasons": ["chosen by hand"], "by": "hand"}
    why = f"trial {trial} {rejected[0]['why']}"
    best = min(own, key=lambda r: (by.cost(r) != by.cost(r), by.cost(r)))  # a NaN comes last
    return int(best["seed"]), {"passed": False, "reasons": [why], "by": "hand"}


def _pin(home: Home, study: str, number: int) -> None:
    """Notes that the weights of a trial must stay, whatever better ones the study finds."""
    file = home.study(study) / "promoted"
    numbers = file.read_text().split() if file.exists() else []
    if str(number) not in numbers:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a") as handle:
            handle.write(f"{number}\n")


def _said(done: Any) -> dict[str, Any]:
    return {
        "uri": done.uri,
        "model": done.model,
        "version": done.version,
        "alias": done.alias,
        "created": done.created,
        "trial": done.trial,
        "seed": done.seed,
        "gate": dict(done.gate),
    }
