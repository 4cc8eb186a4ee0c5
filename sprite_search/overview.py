"""What the reading commands show, as plain data: settings, studies, trials, the choice, criteria."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainers.families import suggestion

from . import selection
from .errors import InputError
from .home import Home

if TYPE_CHECKING:
    from .space import Space
    from .study.records import TrialRecord


def settings(name: str | None = None) -> list[dict[str, Any]]:
    """The settings of a trial: all, those of one section, or one; InputError for an unknown name."""
    from trainers.settings import catalogue

    known = catalogue()
    chosen = [s for s in known.values() if name is None or s.name == name or s.name.startswith(f"{name}.")]
    if not chosen:
        parts = {".".join(n.split(".")[:i]) for n in known for i in range(1, n.count(".") + 2)}
        raise InputError(f"{name}: there is no such setting; {suggestion(str(name), sorted(parts))}")
    return [
        {
            "name": s.name,
            "type": s.type.__name__,
            "default": next(iter(s.defaults.values())) if len(set(s.defaults.values())) == 1 else dict(s.defaults),
            "choices": list(s.choices) if s.choices is not None else None,
            "low": s.low,
            "high": s.high,
            "above": s.above,
            "when": s.when(),
            "help": s.help,
            "source": s.source,
        }
        for s in chosen
    ]


def status(home: Home, study: str | None = None) -> list[dict[str, Any]]:
    """Progress of one study, or of all in the home."""
    from .study.ledger import Ledger, studies

    return [_status(home, Ledger.open(home, name)) for name in ([study] if study else studies(home))]


def _status(home: Home, ledger: Any) -> dict[str, Any]:
    from .study.budget import spending
    from .study.goals import best, front
    from .study.lease import holder
    from .study.records import counts

    space, records = ledger.space(), ledger.records()
    leader = best(space, records)
    started = [r.started for r in records if r.started]
    ended = [r.finished for r in records if r.finished]
    driver = holder(home.study(ledger.name))
    last = time.time() if driver is not None else max(ended, default=None)
    return {
        "study": ledger.name,
        "running": driver is not None,
        "driver": driver,
        "counts": counts(records),
        "budget": space.budget.trials,
        "again": sum(r.confirms is not None for r in records),
        "profile": space.profile,
        "objective": space.aim,
        "front": [r.number for r in front(space, records)],
        "best": {"trial": leader.number, "value": leader.value} if leader else None,
        "transfers": ledger.transfers(),
        "spent": spending(records),
        "started": min(started, default=None),
        "hours": (last - min(started)) / 3600 if started and last else None,
    }


def trials(home: Home, study: str, *, criteria: bool = True) -> dict[str, Any]:
    """{study, direction, searched, trials}: one row per trial and seed, with metrics and settings.

    With `criteria`, those that are computed from artefacts too: the first time that takes a while.
    """
    from .study.ledger import Ledger
    from .study.table import rows

    ledger = Ledger.open(home, study)
    records = ledger.records()
    found = judged(home, study, records) if criteria else rows(records, labels=True)
    return {"study": study, **table(ledger.space(), records, found)}


def table(space: Space, records: Sequence[TrialRecord], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What tables of trials are made of: the rows, the searched settings, the objectives and what is better.

    Of several objectives, `front` names the trials of the Pareto front, and rows say whether theirs is one.
    """
    from .study.goals import front

    found = [r.number for r in front(space, records)]
    marked = _with_intervals(rows, space.objective.metric)
    if space.further_objectives:
        marked = [{**r, "front": r["trial"] in found} for r in marked]
    return {
        "direction": space.objective.direction,
        "objectives": [o.metric for o in space.objectives],
        "front": found,
        "searched": list(space.search),
        "trials": marked,
    }


def _with_intervals(rows: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """The rows with what the seeds of each trial say about its value: its standard error and 95 % interval."""
    from .study.intervals import interval

    values: dict[int, list[float]] = {}
    for row in rows:
        if row.get(metric) is not None:
            values.setdefault(row["trial"], []).append(row[metric])
    found = {trial: interval(own) for trial, own in values.items() if len(own) > 1}
    columns = {n: {"value_se": i.error, "value_low": i.low, "value_high": i.high} for n, i in found.items()}
    return [{**row, **columns.get(row["trial"], {})} for row in rows]


def judged(home: Home, study: str, records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """One row per trial and seed with metrics, labels, settings and the criteria of ended trials."""
    from .artefacts import with_criteria
    from .checkpoints import open_store
    from .study.table import rows

    return with_criteria(rows(records, labels=True), open_store(home.checkpoints), study, home.study(study))


def choice(home: Home, study: str, by: str = selection.AUTO) -> dict[str, Any]:
    """The trial to trust in a study, and apart from it how labels agree; see `outcome`."""
    from .study.ledger import Ledger

    ledger = Ledger.open(home, study)
    records = ledger.records()
    found = outcome(ledger.space(), records, judged(home, study, records), by)
    return {**found, "checkpoint": checkpoint(home, study, records, found["choice"])}


def checkpoint(
    home: Home, study: str, records: Sequence[TrialRecord], picked: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Which checkpoint of the chosen seed to trust, see `trusted.described`; None where nothing was chosen."""
    from .checkpoints import open_store
    from .trusted import described

    record = next((r for r in records if r.number == picked["trial"]), None)
    if record is None:
        return None
    seeds = [s["seed"] for s in record.seeds]
    history = open_store(home.checkpoints).history(study, record.number)
    return described(record.config, history, seeds.index(picked["seed"]))


def outcome(
    space: Space, records: Sequence[TrialRecord], rows: Sequence[Mapping[str, Any]], by: str = selection.AUTO
) -> dict[str, Any]:
    """{study, choice, audit, agreement, oracle, front}: only the agreement sees labels; it is None without them.

    The front is that of several objectives: the choice is made among all trials, by criteria fixed in advance.

    Args:
        records: of the ledger.
        rows: from `judged`.
    """
    from .study.goals import front

    plain, objective = selection.without_labels(rows), space.objective
    found = _choose(space, plain, by)
    return {
        "study": space.name,
        "oracle": space.oracle,
        "front": [r.number for r in front(space, records)],
        "choice": found.to_dict(),
        "audit": selection.audit(plain, metric_name=objective.metric, direction=objective.direction),
        "agreement": selection.agreement(rows, found),
    }


def _choose(space: Space, rows: Sequence[Mapping[str, Any]], by: str) -> selection.Choice:
    if by == "objective" and space.further_objectives:
        raise InputError(
            f"--by objective: {space.name} has several objectives and so no best trial; name a criterion, or choose"
            f" from the Pareto front that `sprite-search trials {space.name}` shows"
        )
    try:
        objective = space.objective
        return selection.choose(rows, metric=objective.metric, direction=objective.direction, by=by)
    except ValueError as error:
        raise InputError(f"--by: {error}") from None


def criteria(home: Home, studies: Sequence[str]) -> dict[str, Any]:
    """Every label-free criterion beside the labels of studies; InputError where one has no labels.

    Returns:
        of one study what `selection.judge` found; of several {studies: one such each, over_studies, goals}.
    """
    found = [judgement(tables(home, study)) for study in studies]
    if len(found) == 1:
        return _plain(found[0])
    over = selection.over_studies(found)
    return {"studies": [_plain(f) for f in found], "over_studies": over, "goals": selection.goals(over, judged=found)}


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without the redraws, which are of use to a program only."""
    return {n: v for n, v in found.items() if n != "redrawn"}


def judgement(study: selection.Study) -> dict[str, Any]:
    """What `selection.judge` finds in a study; InputError where there is nothing to compare with."""
    found = selection.judge(study)
    if found is None:
        raise InputError(
            f"{study.name}: fewer than two finished trials have label metrics, so criteria cannot be compared with"
            " labels; use a data set with labels, or `select`, which needs none"
        )
    return found


def tables(home: Home, study: str, rows: Sequence[Mapping[str, Any]] | None = None) -> selection.Study:
    """The tables of a study in the home, labels apart from the rest.

    Args:
        rows: of `judged`, where they are at hand.
    """
    return material(home, study, rows)[0]


def material(
    home: Home, study: str, rows: Sequence[Mapping[str, Any]] | None = None
) -> tuple[selection.Study, dict[tuple[int, int], dict[str, Any]]]:
    """`tables`, and the artefacts of each finished trial and seed."""
    from .artefacts import collected
    from .checkpoints import open_store
    from .study.ledger import Ledger

    ledger = Ledger.open(home, study)
    space, records = ledger.space(), ledger.records()
    rows = judged(home, study, records) if rows is None else rows
    reports, report_labels = selection.separated_reports(_reports(home, study, records))
    finished = [r for r in rows if r["state"] == "complete" and r["seed"] is not None]
    arrays = collected(finished, open_store(home.checkpoints), study, home.study(study))
    plain, labels = selection.separated(rows)
    images = _labelled(home, space, arrays)
    found = selection.Study.of(
        study,
        rows,
        space=space.to_dict(),
        pairs=selection.pairs_of(finished, arrays),
        label_curve=selection.label_curve(plain, labels, *images) if images else (),
        aggregate=selection.aggregated(plain, labels, *images) if images else None,
        reports=reports,
        report_labels=report_labels,
    )
    return found, arrays


def _reports(home: Home, study: str, records: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """All reports of finished trials, one row per trial, seed and epoch."""
    from .checkpoints import open_store
    from .trusted import reports

    store = open_store(home.checkpoints)
    return [
        {"trial": record.number, "seed": seed["seed"], **row}
        for record in records
        if record.state == "complete" and (history := store.history(study, record.number))
        for member, seed in enumerate(record.seeds)
        for row in reports(record.config, history, member)
    ]


def _labelled(
    home: Home, space: Space, arrays: Mapping[tuple[int, int], Mapping[str, Any]]
) -> tuple[dict[tuple[int, int], Any], Any] | None:
    """Sprites of images by each model, and their classes; None for scenes, without labels, or where the data are gone.

    The images are those that models trained on: labels that judge a choice are not those that it is made by.
    """
    import torch

    from trainers import datasets
    from trainers.artefacts import Subset
    from trainers.errors import DataError
    from trainers.settings import TrialConfig

    try:
        dataset = datasets.load(TrialConfig.from_flat({**space.sample(0), "seed": 0}), home.data)
    except DataError:
        return None
    if dataset.labels is None:
        return None
    subset = Subset.of(dataset, scenes=False, device=torch.device("cpu"))
    labels = dataset.labels[Subset.index(dataset, scenes=False)].numpy()
    same = {key: own["A"][~subset.held_out, 0] for key, own in arrays.items() if str(own["subset"]) == subset.key}
    return same, labels[~subset.held_out]
