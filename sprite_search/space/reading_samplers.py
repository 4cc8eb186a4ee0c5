"""Which sampler goes with which space: objectives, constraints, values that have a list, trials of other studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trainers.families import suggestion

from . import names
from .document import Entry
from .model import Space
from .reading_dimensions import Wrong, missing


def check_sampler(space: Space, top: Mapping[str, Entry], where: Mapping[str, Entry], wrong: Wrong) -> None:
    """Tells `wrong` what the sampler or the pruner of a space cannot do for it."""
    sampler = str(space.sampler["name"])
    given = top["sampler"].value if "sampler" in top else None
    for key, owner in names.SAMPLER_OWN.items():
        if isinstance(given, dict) and key in given and sampler != owner:
            wrong(given[key], f"sampler.{key}", f"is of sampler {owner} alone; remove it, or name that sampler")
    if isinstance(given, dict) and "population" in given and int(space.sampler["population"]) < 2:
        wrong(given["population"], "sampler.population", "is too small to have parents; give 2 or more")
    if len(space.objectives) > 1:
        if sampler in names.SINGLE:
            wrong(top["sampler"], "sampler", f"{sampler} takes one objective; use nsga2 or tpe, or keep one objective")
        if space.pruner["name"] != "none":
            why = "half way nobody knows which trade-off a trial will be"
            wrong(top["pruner"], "pruner", f"{space.pruner['name']} compares one objective: {why}; use none")
    if space.constraints and sampler in names.HEEDLESS:
        wrong(top["constraints"], "constraints", f"are not heeded by sampler {sampler}; use tpe, nsga2 or gp")
    if space.transfer_from and sampler not in names.LEARNING:
        advice = f"use {' or '.join(names.LEARNING)}, or start_from"
        wrong(top["transfer_from"], "transfer_from", f"sampler {sampler} learns from no other trials; {advice}")
    if sampler in ("grid", "sequential_grid"):
        for name in [n for n, d in space.search.items() if not d.listed()][:1]:
            wrong(where[name], name, f"has no list of values for sampler {sampler}; give it choices or a step")
    if sampler == "sequential_grid":
        for entry, name, text in _one_after_the_other(space, top):
            wrong(entry, name, text)


def _one_after_the_other(space: Space, top: Mapping[str, Entry]) -> Iterator[tuple[Entry, str, str]]:
    """What does not go with the protocol of the paper."""
    entry = top["sampler"]
    if not (space.objective.metric.startswith("labels/") and space.oracle):
        yield (
            top.get("objective", entry),
            "objective",
            "sampler sequential_grid is the paper's protocol, which chooses by labels; give {maximize: labels/accuracy,"
            " oracle: true}, or use sampler grid without labels",
        )
    if space.random_arm:
        yield top["random_arm"], "random_arm", "has no place in sampler sequential_grid; remove it"
    if "start_from" in top and top["start_from"].value:
        yield (
            top["start_from"],
            "start_from",
            "has no place in sampler sequential_grid, which begins with the first value of each list; order those",
        )
    given = entry.value.get("order") if isinstance(entry.value, dict) else None
    for item in given.value if given is not None and isinstance(given.value, list) else ():
        if item.value not in space.search:
            yield item, "sampler.order", f"{item.value} is not searched; {suggestion(str(item.value), space.search)}"


def at_random(space: Space) -> list[str]:
    """Searched settings that the sampler draws at random, as they do not always apply or, to CMA-ES, are choices."""
    sampler = space.sampler["name"]
    if sampler not in names.COMMON:
        return []
    blind = []
    for name, dimension in space.search.items():
        choice = dimension.kind == "categorical" or dimension.otherwise is not None
        if dimension.otherwise is not None or not _always(name, space) or (choice and sampler == "cmaes"):
            blind.append(name)
    return blind


def _always(name: str, space: Space) -> bool:
    """Whether a setting applies in every configuration of a space."""
    return not missing("", name, space.fixed, space.search)
