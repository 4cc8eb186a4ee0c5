"""From `objective:` and `constraints:` to what a search is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trainers.families import suggestion
from trainers.metrics import METRICS

from ..selection.criteria import COLUMN, CRITERIA
from ..selection.steering import GATES, OBJECTIVES
from .document import Entry, is_number
from .model import Constraint, Objective
from .reading_dimensions import Wrong

Steering = Callable[..., str | None]  #: `selection.steering.refusal` for the space that is read
_KEYS = ["minimize", "maximize", "oracle"]
_ADVICE = "add `oracle: true` to search with labels, or use val/reconstruction"


def objectives(entry: Entry, search: Iterable[str], steering: Steering, wrong: Wrong) -> tuple[Objective, ...]:
    """One objective, or each of a list; none after `wrong` was told why."""
    listed = entry.value if isinstance(entry.value, list) else [entry]
    if not listed:
        wrong(entry, "objective", "is an empty list; give one of minimize: METRIC or maximize: METRIC")
    found: list[Objective] = []
    for item in listed:
        one = _objective(item, search, steering, wrong, alone=len(listed) == 1)
        if one is None:
            continue
        if one.metric in {o.metric for o in found}:
            wrong(item, "objective", f"names {one.metric} twice; keep one")
        found.append(one)
    return tuple(found)


def _objective(
    entry: Entry, search: Iterable[str], steering: Steering, wrong: Wrong, *, alone: bool
) -> Objective | None:
    value = entry.value
    directions = [k for k in ("minimize", "maximize") if isinstance(value, dict) and k in value]
    if len(directions) != 1 or not isinstance(value[directions[0]].value, str):
        wrong(entry, "objective", "give one of minimize: METRIC or maximize: METRIC, or a list of such")
        return None
    for key in value:
        if key not in _KEYS:
            wrong(value[key], f"objective.{key}", f"is unknown; {suggestion(key, _KEYS)}")
    if "oracle" in value and not isinstance(value["oracle"].value, bool):
        wrong(value["oracle"], "objective.oracle", f"is {value['oracle'].plain()!r}; give true or false")
    oracle = "oracle" in value and value["oracle"].value is True
    at, metric = value[directions[0]], value[directions[0]].value
    if metric.startswith(COLUMN):
        if why := _refused(metric, OBJECTIVES, steering, direction=directions[0], alone=alone):
            wrong(at, "objective", why)
    elif metric not in METRICS:
        wrong(at, "objective", f"{metric!r} is no metric; {suggestion(metric, METRICS)}")
    elif metric.startswith("labels/") and not oracle:
        wrong(at, "objective", f"{metric} needs labels; {_ADVICE}")
    elif alone or not METRICS[metric].traded:
        _comparable(at, metric, search, wrong)
    return Objective(metric, directions[0], oracle)


def _comparable(entry: Entry, metric: str, search: Iterable[str], wrong: Wrong) -> None:
    for name in search:
        if name.startswith(METRICS[metric].scaled_by):
            wrong(
                entry,
                "objective",
                f"{metric} is scaled by {name}, so trials would not compare; use val/reconstruction",
            )
            return


def _refused(metric: str, known: Sequence[str], steering: Steering, **how: object) -> str | None:
    """What keeps a criterion from steering the search, with its name."""
    name = metric.removeprefix(COLUMN)
    if name not in CRITERIA:
        return f"{metric!r} is no criterion; {suggestion(metric, [COLUMN + n for n in known])}"
    why = steering(name, **how)
    return f"{metric} {why}" if why else None


def constraints(entry: Entry, steering: Steering, wrong: Wrong) -> tuple[Constraint, ...]:
    """Bounds of metrics; those that are wrong are told and left out."""
    if not isinstance(entry.value, dict):
        wrong(entry, "constraints", "must be a mapping of metrics, e.g. {val/empty_share: {max: 0.5}}")
        return ()
    found = []
    free = [m for m in METRICS if not m.startswith("labels/")]
    for metric, bounds in entry.value.items():
        name = f"constraints.{metric}"
        if metric.startswith("labels/"):
            wrong(bounds, name, f"needs labels, which no constraint reads; bound one of {', '.join(free)}")
        elif metric.startswith(COLUMN) and (why := _refused(metric, GATES, steering, bound=True)):
            wrong(bounds, name, why)
        elif metric not in free and not metric.startswith(COLUMN):
            wrong(bounds, name, f"is no metric; {suggestion(metric, free)}")
        elif (made := _constraint(metric, bounds, name, wrong)) is not None:
            found.append(made)
    return tuple(found)


def _constraint(metric: str, entry: Entry, name: str, wrong: Wrong) -> Constraint | None:
    given = entry.value
    if not isinstance(given, dict) or not given:
        wrong(entry, name, "needs bounds, e.g. {max: 0.5}")
        return None
    for key, inner in given.items():
        if key not in ("min", "max"):
            wrong(inner, f"{name}.{key}", f"is unknown; {suggestion(key, ['min', 'max'])}")
            return None
        if not is_number(inner.value):
            wrong(inner, f"{name}.{key}", f"is {inner.plain()!r}; give a number")
            return None
    made = Constraint(metric, **{key: float(inner.value) for key, inner in given.items()})
    if made.min is not None and made.max is not None and made.min > made.max:
        wrong(entry, name, f"goes from {made.min:g} to {made.max:g}, upside down; put the lower end under min")
        return None
    return made
