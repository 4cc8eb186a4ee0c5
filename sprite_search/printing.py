"""Answers of the commands as text: tables, the choice with its reasons, and what to do next."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .console import duration, number, spent


def console() -> Console:
    """The standard output: as wide as the terminal, wide enough for a table elsewhere."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=200)


def as_json(found: Any) -> str:
    """JSON with every float as it is; what is not finite becomes null."""
    return json.dumps(_finite(found), indent=2, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; the columns are those of all rows, in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str], *, right: Sequence[str] = ()) -> None:
    """Rows of text under headings; headings break after their dots and slashes."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            name.replace(".", ".\n").replace("/", "/\n"), justify="right" if name in right else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text(cell or "–") for cell in row))
    console().print(made)


def settings(found: Sequence[Mapping[str, Any]]) -> None:
    rows = ((s["name"], s["type"], _default(s["default"]), _allowed(s), s["when"], _helped(s)) for s in found)
    table(rows, ("setting", "type", "default", "allowed", "applies when", "what it is"))


def _default(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_default(v)} ({k})" for k, v in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(s: Mapping[str, Any]) -> str:
    if s["choices"]:
        return ", ".join(map(str, s["choices"]))
    bounds = [f"> {s['above']:g}" if s["above"] is not None else None]
    bounds += [f"≥ {s['low']:g}" if s["low"] is not None else None]
    bounds += [f"≤ {s['high']:g}" if s["high"] is not None else None]
    return ", ".join(b for b in bounds if b) or "any"


def _helped(s: Mapping[str, Any]) -> str:
    return f"{s['help']} [{s['source']}]" if s["source"] else str(s["help"])


def status(found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        print("no studies yet; start one with `sprite-search launch SPACE`")
        return
    columns = ("study", "now", "complete", "pruned", "failed", "running", "budget", "best", "took")
    table((_status(s) for s in found), columns, right=columns[2:7])
    for s in found:
        for line in spent(s["spent"]):
            print(f"{s['study']}: {line}")


def _status(s: Mapping[str, Any]) -> list[str]:
    leader, counts = s["best"], s["counts"]
    return [
        s["study"],
        f"process {(s['driver'] or {}).get('pid', '?')} runs it" if s["running"] else "not running",
        *(str(counts[state]) for state in ("complete", "pruned", "failed", "running")),
        f"{s['budget']}" + (f" (+{s['again']} again)" if s["again"] else ""),
        f"trial {leader['trial']}: {number(leader['value'])}" if leader else _front(s["front"]),
        duration(s["hours"] * 3600 if s["hours"] is not None else None),
    ]


def _front(trials: Sequence[int]) -> str:
    return f"front: {', '.join(map(str, trials))}" if trials else "–"


def trials(found: Mapping[str, Any]) -> None:
    """One line per trial: state, value, some metrics (mean over seeds) and what was searched; --csv has all of them."""
    from trainers.metrics import shown_metrics

    groups: dict[int, list[Mapping[str, Any]]] = {}
    for row in found["trials"]:
        groups.setdefault(row["trial"], []).append(row)
    if not groups:
        print("no trials yet")
        return
    aims = found["objectives"] if len(found["objectives"]) > 1 else []
    metrics = [n for n in dict.fromkeys((*aims, *shown_metrics())) if any(n in r for r in found["trials"])]
    marks = [n for n in ("front", "violates") if any(r.get(n) for r in found["trials"])]
    several = not aims and any(r.get("value_low") is not None for r in found["trials"])
    searched = [n for n in found["searched"] if len({repr(r.get(n)) for r in found["trials"]}) > 1]
    table(
        (
            [
                str(trial),
                group[0]["state"],
                group[0]["arm"] + (f" {group[0]['confirms']}" if group[0].get("confirms") is not None else ""),
                f"{group[0]['epoch']}/{group[0]['epochs']}" if group[0]["epochs"] else "–",
                *([] if aims else [number(group[0]["value"])]),
                *([_range(group[0])] if several else []),
                *(_cell(group[0].get(m) or None) for m in marks),
                *(number(_mean(group, m)) for m in metrics),
                *(_cell(group[0].get(n)) for n in searched),
            ]
            for trial, group in groups.items()
        ),
        (
            *("trial", "state", "asked by", "epoch"),
            *([] if aims else ["value"]),
            *(["95 %"] if several else []),
            *(*marks, *metrics, *searched),
        ),
        right=("trial", "epoch", "value", *metrics),
    )


def _range(row: Mapping[str, Any]) -> str:
    """The interval that the seeds of a finished trial give its value."""
    known = row["value"] is not None and row.get("value_low") is not None
    return f"{number(row['value_low'])} … {number(row['value_high'])}" if known else "–"


def _mean(group: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [r[name] for r in group if r.get(name) is not None]
    return sum(values) / len(values) if values else None


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else _default(value) if value is not None else "–"


def choice(found: Mapping[str, Any]) -> None:
    """The choice and its reasons; apart from it, what labels say."""
    picked = found["choice"]
    if picked["trial"] is not None:
        word = "leading, not to be trusted yet" if picked["abstained"] else "chosen"
        print(f"{word}: trial {picked['trial']}, seed {picked['seed']} of {found['study']}")
    for reason in picked["reasons"]:
        print(f"  - {reason}")
    if (checkpoint := found["checkpoint"]) is not None and checkpoint["says"]:
        print(f"  - {checkpoint['says']}")
    for one in picked["rejected"]:
        print(f"  - not compared: trial {one['trial']} {one['why']}")
    if found["front"] and picked["trial"] is not None:
        where = "is on" if picked["trial"] in found["front"] else "is not on"
        print(f"  - it {where} the Pareto front of the objectives (trials {', '.join(map(str, found['front']))})")
    if found["oracle"]:
        print("  - beware: the search itself was told labels (oracle: true)")
    audit(found["audit"])
    if found["agreement"] is not None:
        agreement(found["agreement"])


def audit(found: Mapping[str, Any]) -> None:
    """Alarms of the criteria that neither the search nor the choice may use."""
    alarming = [q["says"] for q in found["questions"] if q["alarm"]]
    if alarming:
        print(f"the audit, by {', '.join(found['criteria'])}, which nothing else uses, is alarmed:")
    elif any(q["alarm"] is False for q in found["questions"]):
        print(f"the audit, by {', '.join(found['criteria'])}, which nothing else uses, raises no alarm")
    for said in alarming:
        print(f"  - {said}")


def agreement(found: Mapping[str, Any]) -> None:
    chosen, best = found["chosen"], found["best_by_labels"]
    print(f"labels, which the choice did not see ({found['target']}, mean over seeds, {found['n']} finished trials):")
    print(f"  - chosen trial {chosen['trial']}: {number(chosen['value'])}")
    print(f"  - best trial {best['trial']}: {number(best['value'])}")
    regret = found["normalised_regret"]
    said = (
        "the trials hardly differ, so there was nothing to select"
        if regret is None
        else f"normalised {regret:.2f} (0 best, 1 as a random pick)"
    )
    print(f"  - regret {number(found['regret'])}: {said}")
    if found["spearman"] is not None:
        print(f"  - rank correlation of criterion and labels {found['spearman']:+.2f} over {found['n']} configurations")


def criteria(found: Mapping[str, Any]) -> None:
    """Criteria against labels, pre-registered ones first; what needs no criterion; what could have leaked."""
    print(f"{found['study']}: label-free criteria against {found['target']}")
    print(f"{found['n']} configurations of {found['seeds']} seeds: {found['pool']}")
    if found["nothing_to_select"]:
        print("the configurations hardly differ beyond the noise of their seeds: there is nothing to select")
    if found["oracle"]:
        print("beware: the search itself was told labels (oracle: true)")
    columns = (
        "criterion",
        "group",
        "regret",
        "95 %",
        "normalised",
        "95 % ",
        "rank correlation",
        " 95 %",
        "top 5",
        "harm",
        "labels",
    )
    table((_criterion(r) for r in found["rows"]), columns)
    for one in found["baselines"]:
        print(f"  {one['name']}: regret {number(one['regret'])}, normalised {number(one['normalised_regret'])}")
    for one in found["label_curve"]:
        print(
            f"  {one['labels']} labels: regret {number(one['regret'])}, normalised {number(one['normalised_regret'])}"
        )
    print("* fixed in advance. regret: what choosing by it loses against labels; normalised: 0 best pick, 1 random,")
    print(
        "above 1 harmful; top 5: regret of the best of the five first; harm: the pick is below the median; labels: how"
    )
    print("many labelled images, drawn at random, select as well.")
    luck = found["by_luck"]
    if luck:
        print(
            f"By luck alone the best of {luck['criteria']} criteria has a correlation of {luck['best_spearman']:.2f}."
        )
    said: dict[str, list[str]] = {}
    for r in found["rows"]:
        for remark in filter(None, (r["warning"], r["note"])):
            said.setdefault(remark, []).append(r["criterion"])
    for remark, names in said.items():
        print(f"  {', '.join(names)}: {remark}")
    if found["checkpoints"]:
        inside = found["checkpoints"]
        print(
            f"Inside a training ({inside['trainings']} of them), which checkpoint (mean regret against its best one):"
        )
        for rule in inside["rules"]:
            print(f"  {rule['rule']}: regret {number(rule['regret'])}, gain over the last {rule['gain']:+.3f}")
    print("One study does not decide whether a criterion is good: the intervals are of this study only.")
    print("What could have leaked:")
    for line in found["checklist"]:
        print(f"  - {line['question']} {line['answer']}: {line['why']}")


def _criterion(r: Mapping[str, Any]) -> list[str]:
    return [
        r["criterion"] + ("*" if r["primary"] else ""),
        r["group"],
        number(r["regret"]),
        _interval(r["regret_interval"]),
        number(r["normalised_regret"]),
        _interval(r["normalised_regret_interval"]),
        number(r["spearman"]),
        _interval(r["spearman_interval"]),
        number(r["top5_regret"]),
        "yes" if r["harm"] else "no",
        "–" if r["labels"] is None else f"{r['labels']:.0f}",
    ]


def _interval(found: Sequence[float] | None) -> str:
    return f"{found[0]:.2f} … {found[1]:.2f}" if found else "–"


def over_studies(found: Mapping[str, Any]) -> None:
    """Criteria over several studies, and which goals are met."""
    over = found["over_studies"]
    print(f"{len(over['studies'])} studies ({', '.join(over['studies'])}) of {len(over['families'])} families of data")
    for name in over["left_out"]:
        print(f"  {name} is left out: its configurations hardly differ beyond the noise of their seeds")
    columns = ("criterion", "studies", "normalised", "95 %", "worst", "rank correlation", "least", "regret", "harm")
    table((_over_studies(r) for r in over["rows"]), (*columns, "labels", "p random", "p baseline"))
    print("* fixed in advance; p: exact, one-sided, that it does better than a random pick and than reconstruction")
    print("(Wilcoxon over studies), by Holm's correction for those that were fixed in advance, else as it is.")
    print("goals, of the combination that is shipped:")
    rows = [[g["goal"], number(g["value"]), *(f"{g[n]:g}" for n in ("minimum", "good", "moonshot")), g["met"]]
            for g in found["goals"]]  # fmt: skip
    table(rows, ("goal", "found", "minimum", "good", "moonshot", "met"))


def _over_studies(r: Mapping[str, Any]) -> list[str]:
    ps = [r[f"{p}_holm"] if r["primary"] else r[p] for p in ("p_random", "p_baseline")]
    return [
        r["criterion"] + ("*" if r["primary"] else ""),
        str(r["studies"]),
        number(r["normalised_regret"]),
        _interval(r["normalised_regret_interval"]),
        number(r["normalised_regret_worst"]),
        number(r["spearman"]),
        number(r["spearman_worst"]),
        number(r["regret"]),
        f"{r['harm']:.0%}",
        "–" if r["labels"] is None else f"{r['labels']:.0f}",
        *("–" if p is None else f"{p:.3f}" for p in ps),
    ]


def best_trials(found: Mapping[str, Any], count: int = 5) -> None:
    """The best finished trials that keep the constraints, best first; of several objectives the Pareto front."""
    sign = 1 if found["direction"] == "minimize" else -1
    done = [r for r in found["trials"] if r["state"] == "complete" and r["value"] is not None]
    done = [r for r in done if not r.get("violates") and r.get("front", True)]
    order = list(dict.fromkeys(r["trial"] for r in sorted(done, key=lambda r: sign * r["value"])))[:count]
    trials({**found, "trials": [r for trial in order for r in done if r["trial"] == trial]})


def next_steps(study: str, picked: Mapping[str, Any], home: Path) -> None:
    """The commands that make sense after a search."""
    at = "" if home == Path("sprite-home").absolute() else f" --home {home}"
    chosen = f" --trial {picked['trial']}" if picked["abstained"] and picked["trial"] is not None else ""
    steps = [
        (f"ui{at}", "browse every trial: curves, sprites, reconstructions"),
        (f"report {study}{at}", "one page to read and to send"),
    ]
    if picked["trial"] is not None:
        steps.append((f"promote {study}{chosen}{at}", "put the model into the registry"))
        steps.append((f"decompose models:/{study}@champion FILE…{at}", "find its objects in your files"))
    width = max(len(command) for command, _ in steps)
    print("next:")
    for command, why in steps:
        print(f"  sprite-search {command:<{width}}  {why}")


def dry_run(found: Mapping[str, Any]) -> None:
    """What a launch would do, then some configurations it might try."""
    for name, value in found.items():
        if name in ("samples", "estimate", "notes") or value in (None, [], {}):
            continue
        said = ", ".join(f"{v:g} {k}" for k, v in value.items()) if isinstance(value, Mapping) else value
        print(f"{name}: {', '.join(said) if isinstance(said, list) else said}")
    for i, sample in enumerate(found["samples"]):
        print(f"sample {i}: " + ", ".join(f"{n}={_cell(v)}" for n, v in sample.items()))
    for note in found["notes"]:
        print(f"note: {note}")
    hours = found["estimate"]["hours"]
    about = "not known" if hours is None else duration(3600 * hours)
    print(f"time it takes: {about}; {found['estimate']['says']}")


def probe(found: Mapping[str, Any]) -> None:
    """What trials need of a GPU, and what to write into the space."""
    print(f"{found['gpu']}: {found['memory']:g} GiB")
    print("GiB of each drawn configuration, all its seeds together: " + ", ".join(f"{n:g}" for n in found["needed"]))
    if not found["fits"]:
        print(f"the largest does not fit with a margin ({found['gpu_memory']:g} GiB); search smaller models or batches")
        return
    print(f"resources: {{gpu: {found['share']:g}, gpu_memory: {found['gpu_memory']:g}}}", end="")
    print(f"    # {found['at_once']} trials side by side")


def rows(found: Sequence[Mapping[str, Any]]) -> None:
    """Any list of flat dicts as a table."""
    if not found:
        print("nothing")
        return
    columns = list(dict.fromkeys(n for r in found for n in r))
    table(([_cell(r.get(c)) for c in columns] for r in found), columns)


def problems(found: Mapping[str, Sequence[str]]) -> None:
    """What `check` says of each file; the total goes to the error stream."""
    for path, wrong in found.items():
        for line in wrong:
            print(line)
        if not wrong:
            print(f"{path}: all is well")
    count = sum(map(len, found.values()))
    if count:
        print(f"Error: {count} problem{'s' * (count > 1)}; nothing was run", file=sys.stderr)


def csv_rows(found: Mapping[str, Any]) -> None:
    print(as_csv(found["trials"]))


def promoted(found: Mapping[str, Any]) -> None:
    """Which version has the alias now, and how to use it."""
    name = f"{found['model']} version {found['version']}"
    if found.get("rolled_back"):
        print(f"{found['alias']} is {name} again: trial {found['trial']}, seed {found['seed']}")
    elif found["created"]:
        print(f"{found['alias']} is now {name}: trial {found['trial']}, seed {found['seed']}")
    else:
        print(f"{found['alias']} is {name}; this model was registered already, so no version was added")
    for reason in found["gate"].get("reasons", ())[:1]:
        print(f"  - {reason}")
    print(f"use it: sprite-search decompose {found['uri']} FILE…")


def decomposed(found: Sequence[Mapping[str, Any]]) -> None:
    """The objects found in each image or cloud, and where picture and list were written."""
    for one in found:
        objects = ", ".join(f"sprite {o['sprite']}" for o in one["objects"]) or "no object"
        print(f"{one.get('image') or one['cloud']}: {objects}; error {number(one['error'])}")
        print(f"  {one['overlay']}")
        print(f"  {one['json']}")


def launched(found: Mapping[str, Any]) -> None:
    """The end of a launch: the best trials, the choice and why, what to do next."""
    print()
    if found["interrupted"]:
        print("stopped before the end; the same command again goes on where this one stopped")
    elif not found["started"]:
        print("nothing was left to do: the budget of this study is used")
    if found["note"]:
        print(found["note"])
    for line in spent(found["spent"]):
        print(line)
    best_trials(found)
    print()
    choice(found)
    print()
    next_steps(found["study"], found["choice"], Path(found["home"]))
    if found["report"]:
        print(found["report"])


def examined(found: Mapping[str, Any]) -> None:
    """What `doctor` found: a line per check, the counts of each book."""
    for check in found["checks"]:
        print(f"{'ok   ' if check['ok'] else 'WRONG'}  {check['name']}: {check['says']}")
    for book, counts in found.get("counts", {}).items():
        print(f"       {book}: " + (", ".join(f"{n} {state}" for state, n in counts.items() if n) or "nothing"))
