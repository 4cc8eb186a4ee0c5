"""Launching and stopping a search from the command line: what is said before, during and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import overview
from .home import Home

if TYPE_CHECKING:
    from .space import Space


def launch(
    space: Space, home: Home, *, address: str | None = None, allow_space_change: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Runs a search with live progress and returns what `printing.launched` shows.

    Args:
        space, home, address, allow_space_change: as in `study.launch.launch`.
        quiet: no progress, for those who want JSON.
    """
    from . import report
    from .console import LiveProgress
    from .study.budget import spending
    from .study.launch import launch as run

    live = None if quiet else LiveProgress()
    if live is not None:
        live.say(opening(space, home))
    result = run(space, home, address=address, allow_space_change=allow_space_change, progress=live)
    rows = overview.judged(home, space.name, result.records)
    found = overview.outcome(space, result.records, rows)
    kept = None
    if any(r.state == "complete" for r in result.records) and not result.interrupted:
        kept = report.record(home, report.gather(home, space.name))
    return {
        **found,
        "checkpoint": overview.checkpoint(home, space.name, result.records, found["choice"]),
        **overview.table(space, result.records, rows),
        "home": str(home.root),
        "interrupted": result.interrupted,
        "seconds": result.seconds,
        "started": result.started,
        "note": result.note,
        "spent": spending(result.records),
        "report": kept,
    }


#: Samplers that no result leads anywhere.
BLIND = ("random", "qmc", "grid")


def opening(space: Space, home: Home) -> str:
    """What is about to be done, said aloud."""
    replicates = f"{space.replicates} seeds each" if space.replicates > 1 else "one seed each"
    lines = [f"{space.name}: {space.about}" if space.about else space.name]
    if space.profile:
        lines.append(f"profile {space.profile}: {space.profile_reason}")
    hours = f", at most {space.budget.hours:g} hours" if space.budget.hours else ""
    lines.append(
        f"{space.budget.trials} configurations, {replicates}{hours};"
        f" {space.aim}; each takes"
        f" {space.resources.cpu:g} CPU{f' and {space.resources.gpu:g} GPU' if space.resources.gpu else ''}"
    )
    if space.confirm is not None:
        from .study.goals import confirmed

        lines.append(
            f"then {confirmed(space)} once more, on {space.confirm.seeds} fresh seeds: that they led was partly luck"
        )
    if space.oracle:
        lines.append("oracle: this search is told labels; its choice is no example of choosing without them")
    lines += notes(space)
    lines.append(f"everything is kept in {home.root}; the same command again goes on after any stop")
    return "\n".join(lines)


def notes(space: Space) -> list[str]:
    """What is worth knowing before a search begins, beside what `check` refuses."""
    from .space.reading_samplers import at_random
    from .study.samplers import GP_SEES
    from .study.sequential import most

    name, said = space.sampler["name"], []
    fits = [o.metric for o in space.objectives if o.metric.endswith("reconstruction")]
    if "sprites.count" in space.search and len(fits) == len(space.objectives) and name not in BLIND:
        said.append(
            f"{fits[0]} falls with the number of sprites, so {name} will drift to many of them; minimize"
            " criteria/description_length, which counts what they cost, or fix sprites.count"
        )
    if blind := at_random(space):
        what = "numbers that every trial has" if name == "cmaes" else "what every trial has"
        said.append(f"{name} draws {', '.join(blind)} at random, as it models only {what}; tpe models all")
    if name == "gp" and space.budget.trials > GP_SEES:
        said.append(f"gp looks at {GP_SEES} trials, the newest and the best: more would take it seconds each time")
    if name == "sequential_grid":
        order = ", ".join(space.sampler["order"])
        said.append(f"sequential_grid takes at most {most(space)} configurations: {order}, each keeping the winner")
    return said


def dry_run(space: Space, home: Home, *, measure: bool = False) -> dict[str, Any]:
    """What a launch would try, and how long it would take; see `estimate.estimate`."""
    from .estimate import estimate
    from .study.launch import dry_run as sample

    return {**sample(space), "estimate": estimate(space, home, measure=measure), "notes": notes(space)}


def stop(home: Home, study: str) -> str:
    """Asks the driver to stop; returns the sentence to print."""
    from .study.launch import stop as ask

    driver = ask(home, study)
    return (
        f"{study}: asked process {driver.get('pid', '?')} on {driver.get('host', '?')} to stop; running trials end at"
        " their next report, and launching the same space again goes on with them"
    )
