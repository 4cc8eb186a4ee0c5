"""The study of criteria: exports the tables of finished studies, and makes the tables of docs/selection.md again.

    sprite-search launch search_spaces/usps.yaml --profile criteria --study criteria-usps
    python benchmarks/criteria.py export criteria-usps --home sprite-home   # into docs/tables/criteria-usps
    python benchmarks/criteria.py                                           # docs/selection.md, from docs/tables

Exported tables hold no image and no model; labels are in a file of their own (`labels.csv`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sprite_search import overview, selection
from sprite_search.console import number
from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.selection.choice import ENOUGH
from sprite_search.selection.evaluation import DRAWS
from sprite_search.selection.preregistered import PRIMARY
from sprite_search.selection.roles import LATER

ROOT = Path(__file__).resolve().parents[1]
TABLES, PAGE = ROOT / "docs" / "tables", ROOT / "docs" / "selection.md"

#: Exploratory criteria that are listed besides the pre-registered ones.
LISTED = 14

#: What the labels were known of when `catalogue` became the default (26 November 2026): of these it is in-sample.
SEEN = ("digits", "fashion_mnist", "mnist", "mnist_color_short", "multi_dsprites", "usps")

#: The way to choose that was registered before all studies, and the one that was after those in `SEEN`.
REGISTERED, SHIPPED = "borda", "catalogue"

Found = Mapping[str, Any]

#: Of tables of criteria over studies.
_HEAD = ("criterion", "studies", "normalised regret", "95 %", "worst", "Spearman", "worst", "regret", "harm",
         "flat", "restart gain", "labels", "p, better than random", "p, better than reconstruction")  # fmt: skip


def export(studies: Sequence[str], home: Home, folder: Path) -> None:
    """Writes the tables of studies in a home, each into a folder of its name."""
    for name in studies:
        print(selection.save(overview.tables(home, name), folder / name))


def measured(folder: Path, draws: int) -> dict[str, Any]:
    """All that the page says, from the tables in a folder; InputError where there is nothing to judge."""
    studies = selection.studies_in(folder)
    judged = [f for one in studies if (f := selection.judge(one, draws=draws)) is not None]
    if not judged:
        raise InputError(f"{folder}: holds no study with labels; export some first, see --help")
    over = selection.over_studies(judged, draws=draws)
    choices = {one.name: selection.choices(one) for one in studies}
    calibration = selection.calibrate(choices)
    learned = selection.by_selector(selection.leave_one_out(studies))
    more = {"learned": _generalisation(learned), "judged": judged}
    unseen = [f for f in judged if _short(f) not in SEEN]
    afterwards = {f["study"]: choices[f["study"]] for f in unseen}
    return {
        "judged": judged,
        "over": over,
        "calibration": calibration,
        "learned": learned,
        "goals": {
            f"`{REGISTERED}`, all studies": selection.goals(over, by=REGISTERED, **more),
            f"`{SHIPPED}`, all studies": selection.goals(over, by=SHIPPED, calibration=calibration, **more),
            f"`{SHIPPED}`, studies it was not chosen by": selection.goals(
                selection.over_studies(unseen, draws=draws),
                by=SHIPPED,
                calibration=selection.calibrate(afterwards),
                judged=unseen,
            )
            if unseen
            else [],
        },
    }


def _short(study: Found) -> str:
    return str(study["study"].removeprefix("criteria-"))


def _generalisation(learned: Sequence[Found]) -> dict[str, float] | None:
    """Mean normalised regret of the ridge model with a study and with a family left out."""
    own = {o["scheme"]: o["normalised_regret"] for o in learned if o["selector"] == "ridge"}
    schemes = {"study": "study left out", "family": "family left out"}
    return {n: own[s] for n, s in schemes.items()} if own.keys() >= set(schemes.values()) else None


def studies(found: Found) -> str:
    head = ("study", "family", "configurations × seeds", "best", "mean", "noise", "`catalogue`: regret", "normalised",
            "95 %", "label equivalence", "noise floor")  # fmt: skip
    return _table(head, (_study(f) for f in found["judged"]))


def _study(f: Found) -> list[str]:
    own = {r["criterion"]: r for r in f["rows"]}[SHIPPED]
    floor = next(b for b in f["baselines"] if "noise floor" in b["name"])
    return [
        _short(f) + ("" if _short(f) in SEEN else " (new)"),
        f["family"],
        f"{f['n']} × {f['seeds']}",
        *(f"{f[n]:.3f}" for n in ("best", "mean", "noise")),
        f"{own['regret']:.3f}",
        number(own["normalised_regret"]),
        _interval(own["normalised_regret_interval"]),
        _whole(own["labels"]),
        number(floor["normalised_regret"]),
    ]


def endpoints(found: Found) -> str:
    """What else there is to say of the shipped choice in each study, with intervals."""
    head = ("study", "Spearman", "top counts more", "Kendall", "best of the first five: regret",
            "any model: normalised", "restart gain")  # fmt: skip
    return _table(head, (_endpoints(f) for f in found["judged"]))


def _endpoints(f: Found) -> list[str]:
    own = {r["criterion"]: r for r in f["rows"]}[SHIPPED]
    names = ("spearman", "weighted_spearman", "kendall", "top5_regret")
    parts = (*((own, n) for n in names), (own["flat"], "normalised_regret"), (own["restart"], "gain"))
    return [_short(f), *(f"{_two(part[n])} ({_interval(part[f'{n}_interval'])})" for part, n in parts)]


def criteria(found: Found) -> str:
    rows = found["over"]["rows"]
    listed = [r for r in rows if r["primary"]] + [r for r in rows if not r["primary"]][:LISTED]
    return _table(_HEAD, (_criterion(r) for r in listed))


def later(found: Found) -> str:
    """What came after the default had been judged, wherever it ranks."""
    return _table(
        _HEAD, (_criterion(r) for r in found["over"]["rows"] if r["criterion"] in (*LATER, "criterion_graph"))
    )


def _criterion(r: Found) -> list[str]:
    ps = [(r[f"{p}_holm"] if r["primary"] else r[p]) for p in ("p_random", "p_baseline")]
    return [
        f"**{r['criterion']}**" if r["primary"] else r["criterion"],
        str(r["studies"]),
        f"{r['normalised_regret']:.2f}",
        _interval(r["normalised_regret_interval"]),
        f"{r['normalised_regret_worst']:.2f}",
        *(f"{r[n]:+.2f}" for n in ("spearman", "spearman_worst")),
        f"{r['regret']:.3f}",
        f"{r['harm']:.0%}",
        *(_two(r[n]) for n in ("flat", "restart")),
        _whole(r["labels"]),
        *map(_p, ps),
    ]


def each(found: Found) -> str:
    """Normalised regret of the shipped way, the pre-registered criteria and the baselines in each study."""
    names = [SHIPPED, *(r["criterion"] for r in found["over"]["rows"] if r["primary"])]
    body = []
    for f in found["judged"]:
        own = {r["criterion"]: r["normalised_regret"] for r in f["rows"]}
        labels = {one["labels"]: one["normalised_regret"] for one in f["label_curve"]}
        together = (f["aggregate"] or {}).get("normalised_regret")
        body.append([_short(f), *(_two(own.get(n)) for n in names), *(_two(labels.get(n)) for n in (20, 100)),
                     _two(together)])  # fmt: skip
    return _table(("study", *names, "20 labels", "100 labels", "aggregate"), body)


def pools(found: Found) -> str:
    """The pre-registered criteria in pools of trials with fewer and more survivors."""
    body = [
        [_short(f), p["pool"], p["criterion"], str(p["n"]), _two(p["normalised_regret"]),
         _two(p["spearman"])]
        for f in found["judged"] for p in f["pools"] if p["criterion"] in ("reconstruction", REGISTERED)
    ]  # fmt: skip
    return _table(("study", "pool", "criterion", "configurations", "normalised regret", "Spearman"), body)


def goals(found: Found) -> str:
    """What each way to choose reaches, side by side."""
    ways = {way: {g["goal"]: g for g in own} for way, own in found["goals"].items()}
    levels = ("minimum", "good", "moonshot")
    first = next(iter(ways.values()))
    body = [
        [about, *(f"{g[n]:g}" for n in levels), *(_reached(own.get(about)) for own in ways.values())]
        for about, g in first.items()
    ]
    return _table(("goal", *levels, *ways), body)


def _reached(goal: Found | None) -> str:
    return "–" if goal is None else f"{number(goal['value'])} **{goal['met']}**"


def abstention(found: Found) -> str:
    """What a reliability is worth."""
    body = [
        [f"{t['threshold']:.1f}" + (" (as shipped)" if t["threshold"] == ENOUGH else ""),
         _share(t["reliable"]), _share(t["good"])]
        for t in found["calibration"]["thresholds"]
    ]  # fmt: skip
    return _table(("reliability asked for", "searches with a choice", "of these, normalised regret ≤ 0.2"), body)


def learned(found: Found) -> str:
    """What learned selectors would do, and whether one of them ships."""
    names = ("normalised_regret", "worst", "spearman")
    body = [
        [o["selector"], o["scheme"], str(o["studies"]), *(_two(o[n]) for n in names), _share(o["harm"]), _p(o["p"])]
        for o in found["learned"]
    ]
    proved = selection.ships(found["learned"])
    said = (
        f"On these studies {' and '.join(proved)} would do better than `{SHIPPED}` on families it never saw."
        if proved
        else f"None of them does better than `{SHIPPED}` on families it never saw, so none is a way to `select`."
    )
    if not any(o["scheme"] == "family left out" for o in found["learned"]):
        said = "There is nothing to learn from yet: that takes studies of two families at least."
    return (
        _table(
            (
                "selector",
                "scheme",
                "studies",
                "normalised regret",
                "worst",
                "Spearman",
                "harm",
                f"p, better than `{SHIPPED}`",
            ),
            body,
        )
        + f"\n\n{said}"
    )


def checkpoints(found: Found) -> str:
    """What rules for the checkpoint inside a training are worth."""
    body = [
        [_short(f), str(f["checkpoints"]["trainings"]), str(f["checkpoints"]["differ"]),
         r["rule"], _two(r["normalised_regret"]), _interval(r["normalised_regret_interval"]), f"{r['regret']:.3f}",
         f"{r['gain']:+.3f}", _share(r["moved"])]
        for f in found["judged"] if f["checkpoints"] for r in f["checkpoints"]["rules"]
    ]  # fmt: skip
    if not body:
        return "No study here kept three reports of a training after its curriculum, so there was nothing to choose."
    head = ("study", "trainings", "with something to choose", "rule", "normalised regret", "95 %", "regret",
            "gain over the last", "not the last")  # fmt: skip
    return _table(head, body)


def summary(found: Found) -> str:
    """In one sentence, how much this is."""
    over = found["over"]
    left = f"; nothing to select in {', '.join(over['left_out'])}" if over["left_out"] else ""
    least = 0.5 ** len(over["studies"])
    return (
        f"Studies: {len(over['studies'])}; families: {', '.join(over['families'])}{left}. With so many studies an exact"
        f" one-sided p cannot be below {least:.2g}, and {min(1, len(PRIMARY) * least):.2g} after Holm's correction for"
        f" the first of {len(PRIMARY)} hypotheses."
    )


#: The sections of the page, by the name in their marks.
SECTIONS: dict[str, Callable[[Found], str]] = {
    "summary": summary,
    "studies": studies,
    "endpoints": endpoints,
    "criteria": criteria,
    "each": each,
    "later": later,
    "checkpoints": checkpoints,
    "pools": pools,
    "goals": goals,
    "learned": learned,
    "abstention": abstention,
}


def filled(text: str, found: Found) -> str:
    """The page with each section between its marks, <!-- NAME --> and <!-- end of NAME -->, made again."""
    for name, make in SECTIONS.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise InputError(f"the page: has no section between {start} and {end}; put these marks where it belongs")
        made = make(found)
        text = re.sub(f"{start}.*?{end}", lambda _, s=start, e=end, m=made: f"{s}\n{m}\n{e}", text, flags=re.DOTALL)
    return text


def _table(head: Sequence[str], body: Any) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _interval(found: Sequence[float] | None) -> str:
    return f"{found[0]:.2f} … {found[1]:.2f}" if found else "–"


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=TABLES, help="where the exported tables are")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to fill")
    parser.add_argument("--draws", type=int, default=DRAWS, help="redraws for the intervals")
    commands = parser.add_subparsers(dest="command")
    exporting = commands.add_parser("export", help="write the tables of finished studies")
    exporting.add_argument("studies", nargs="+")
    exporting.add_argument("--home")
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "export":
            export(asked.studies, Home.locate(asked.home), asked.tables)
            return
        asked.page.write_text(filled(asked.page.read_text(), measured(asked.tables, asked.draws)))
        print(asked.page)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
