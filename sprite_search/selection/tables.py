"""A study as tables: of criteria, of labels apart from them, and of what pools need; in memory and as small files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import Report, read_by_rule, separated_reports
from .evaluation import Labels, separated
from .redraws import Key, Pairs, key

#: The files of a study. What chooses opens the first and never the second.
TRIALS, LABELS, PAIRS, CURVE, SPACE = "trials.csv", "labels.csv", "agreement.csv", "label_curve.csv", "space.json"

#: What its leading trials make together, by labels.
AGGREGATE = "aggregate.csv"

#: Its reports, by which the checkpoint inside a training is chosen, and the labels that judge this.
REPORTS, REPORT_LABELS = "reports.csv", "report_labels.csv"

#: Digits that are kept of a float.
DIGITS = 6

#: Data sets of one family are variants of one thing: what is learnt on one is not new on another.
FAMILIES = {
    "digits": ("digits", "mnist", "mnist_color", "affnist", "usps"),
    "clothes": ("fashion_mnist",),
    "faces": ("frgc",),
    "house numbers": ("svhn",),
    "traffic signs": ("gtsrb8",),
    "flat shapes": ("tetrominoes", "multi_dsprites"),
    "rendered scenes": ("clevr", "clevr6"),
}

_WRITTEN = ("trial", "seed", "state", "arm", "epoch", "epochs")
_REPORT = ("trial", "seed", "epoch")
_ALWAYS = ("dataset.name", "model.kind", "sprites.count")


@dataclass(frozen=True)
class Study:
    """The tables of one study.

    Attributes:
        name: of the study.
        rows: one per trial and seed, without any label.
        labels: label metrics by (trial, seed); empty where there are none.
        space: the search space as plain data: what was fixed, searched, and by what.
        pairs: agreement of all pairs of models, with which criteria of the pool are computed again in redraws.
        label_curve: what selecting by so many labels loses, see `label_curve`.
        aggregate: what its leading trials make together, by labels, see `aggregate.aggregated`.
        reports: one per trial, seed and epoch, without any label, see `checkpoints.trusted`.
        report_labels: label metrics by (trial, seed, epoch).
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    labels: Labels = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    pairs: Pairs | None = None
    label_curve: Sequence[Mapping[str, Any]] = ()
    aggregate: Mapping[str, Any] | None = None
    reports: Sequence[Mapping[str, Any]] = ()
    report_labels: Mapping[Report, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, table: Any, **more: Any) -> Study:
        """From one table with or without labels: a list of dicts, or a DataFrame of pandas."""
        plain, labels = separated(records(table))
        return cls(name, plain, labels, **more)

    @property
    def dataset(self) -> str:
        """Name of its data set; its own name where that is not known."""
        fixed = self.space.get("fixed", {}).get("dataset.name")
        return str(fixed or next((r["dataset.name"] for r in self.rows if r.get("dataset.name")), self.name))

    @property
    def family(self) -> str:
        """The family of its data set; a data set that is in none is its own."""
        return next((name for name, members in FAMILIES.items() if self.dataset in members), self.dataset)

    @property
    def searched(self) -> list[str]:
        return list(self.space.get("search", {}))


def records(table: Any) -> list[dict[str, Any]]:
    """Rows as dicts, of a list of dicts or of a DataFrame; what is missing is left out."""
    rows = table.to_dict("records") if hasattr(table, "to_dict") else table
    return [{str(n): v for n, v in row.items() if not _missing(v)} for row in rows]


def save(study: Study, folder: Path | str) -> Path:
    """Writes the tables of a study into a folder of its own, labels in a file of theirs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    varied = {n for r in study.rows for n in r if "." in n and "/" not in n}
    varied = {n for n in varied if n in _ALWAYS or len({repr(r.get(n)) for r in study.rows}) > 1}
    kept = [{n: v for n, v in r.items() if n in _WRITTEN or n in varied or "/" in n} for r in study.rows]
    _write(folder / TRIALS, kept)
    labels = [{"trial": t, "seed": s, **own} for (t, s), own in sorted(study.labels.items())]
    _write(folder / LABELS, labels, always=("trial", "seed"))
    _write(folder / CURVE, study.label_curve, always=("labels", "regret", "normalised_regret"))
    if study.aggregate is not None:
        _write(folder / AGGREGATE, [study.aggregate])
    _write(folder / REPORTS, [read_by_rule(r) for r in study.reports], always=_REPORT)
    judging = [{**dict(zip(_REPORT, k, strict=True)), **own} for k, own in sorted(study.report_labels.items())]
    _write(folder / REPORT_LABELS, judging, always=_REPORT)
    if study.pairs is not None:
        _write(folder / PAIRS, _pair_rows(study.pairs))
    about = {**study.space, "name": study.name}
    (folder / SPACE).write_text(json.dumps(about, indent=1, sort_keys=True, default=str) + "\n")
    return folder


def load(folder: Path | str, *, labels: bool = True) -> Study:
    """A study as `save` wrote it; without `labels` their files are not opened.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no study.
    """
    folder = Path(folder)
    space = json.loads((folder / SPACE).read_text())
    pairs = _read(folder / PAIRS) if (folder / PAIRS).exists() else []
    own = _read(folder / LABELS) if labels else []
    together = _read(folder / AGGREGATE) if labels and (folder / AGGREGATE).exists() else []
    reports = _read(folder / REPORTS) if (folder / REPORTS).exists() else []
    judging = _read(folder / REPORT_LABELS) if labels and reports else []
    return Study(
        name=str(space["name"]),
        rows=_read(folder / TRIALS),
        labels={key(r): {n: v for n, v in r.items() if n.startswith("labels/")} for r in own},
        space=space,
        pairs=_pairs(pairs) if pairs else None,
        label_curve=[{"normalised_regret": None, **r} for r in _read(folder / CURVE)] if labels else [],
        aggregate={"normalised_regret": None, **together[0]} if together else None,
        reports=reports,
        report_labels=separated_reports(judging)[1],
    )


def studies_in(folder: Path | str) -> list[Study]:
    """All studies that were saved in folders of this one, in order of name."""
    return [load(f.parent) for f in sorted(Path(folder).glob(f"*/{SPACE}"))]


def _pair_rows(pairs: Pairs) -> list[dict[str, Any]]:
    """The lower triangle, a column per model."""
    names = [f"{t}/{s}" for t, s in pairs.keys]
    return [
        {
            "trial": t,
            "seed": s,
            "error": float(pairs.errors[i]),
            **dict(zip(names[:i], pairs.agreement[i], strict=False)),
        }
        for i, (t, s) in enumerate(pairs.keys)
    ]


def _pairs(rows: Sequence[Mapping[str, Any]]) -> Pairs:
    keys: tuple[Key, ...] = tuple(key(r) for r in rows)
    table = np.eye(len(rows))
    for i, row in enumerate(rows):
        for j, (t, s) in enumerate(keys[:i]):
            table[i, j] = table[j, i] = row[f"{t}/{s}"]
    return Pairs(keys, np.array([r["error"] for r in rows], dtype=float), table)


def _write(file: Path, rows: Sequence[Mapping[str, Any]], always: Iterable[str] = ()) -> None:
    columns = list(dict.fromkeys([*always, *(n for r in rows for n in r)]))
    with file.open("w", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(r.get(n)) for n in columns] for r in rows)


def _read(file: Path) -> list[dict[str, Any]]:
    """Rows; cells that are empty are left out of them."""
    with file.open(newline="") as text:
        return [{n: _value(v) for n, v in row.items() if v} for row in csv.DictReader(text)]


def _cell(value: Any) -> str:
    if _missing(value):
        return ""
    return (
        f"{value:.{DIGITS}g}"
        if isinstance(value, float)
        else json.dumps(value)
        if value in (True, False)
        else str(value)
    )


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
