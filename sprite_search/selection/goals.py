"""The goals of choosing without labels, set before any study was run, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .choice import COMBINED

#: The published indices that everybody would try first.
CLASSICAL = ("pixel_silhouette", "pixel_calinski_harabasz", "pixel_davies_bouldin")

LEVELS = ("moonshot", "good", "minimum")


@dataclass(frozen=True)
class Goal:
    """A measured number and what it must be, from the least that can be shipped to what nobody expects."""

    about: str
    measure: Callable[[Mapping[str, Any]], float | None]
    minimum: float
    good: float
    moonshot: float
    below: bool = False  # the number must lie strictly below the minimum

    @property
    def more(self) -> bool:
        """Whether more is better."""
        return self.moonshot > self.minimum

    def level(self, value: float | None) -> str:
        """moonshot, good, minimum, not met or not measured."""
        if value is None:
            return "not measured"
        return next((name for name in LEVELS if self._reached(value, name)), "not met")

    def _reached(self, value: float, name: str) -> bool:
        bound = float(getattr(self, name))
        if self.more:
            return value >= bound
        return value < bound if self.below and name == "minimum" else value <= bound


def _of(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    def measure(found: Mapping[str, Any]) -> float | None:
        value = found["row"].get(name)
        return None if value is None else float(value)

    return measure


def _cut(found: Mapping[str, Any]) -> float | None:
    """Share by which the regret of the best classical index is cut, over the studies where it has a value."""
    best = found.get("classical")
    own = found["row"]["normalised_regret"]
    return None if not best else 1 - own / best


def _loss(found: Mapping[str, Any]) -> float | None:
    learned = found.get("learned")
    return learned["family"] - learned["study"] if learned else None


def _trust(found: Mapping[str, Any]) -> float | None:
    calibration = found.get("calibration")
    return calibration["good_when_reliable"] if calibration else None


def _weights(found: Mapping[str, Any]) -> float | None:
    """Accuracy of the pick in studies of ColoredMNIST that search weights of regularisers alone; the least of them."""
    own = [
        row["picked"]
        for study in found["judged"]
        if study["dataset"] == "mnist_color" and study["searched"]
        if all(name.startswith("regularisers.") for name in study["searched"])
        for row in study["rows"]
        if row["criterion"] == found["row"]["criterion"]
    ]
    return min(own, default=None)


#: Set before the first study was run; what is not measured stays in the list.
GOALS = (
    Goal("mean rank correlation", _of("spearman"), 0.60, 0.75, 0.85),
    Goal("rank correlation in the worst study", _of("spearman_worst"), 0.20, 0.40, 0.60),
    Goal("mean normalised regret of any model (flat)", _of("flat"), 0.30, 0.15, 0.05),
    Goal("largest normalised regret (no harm)", _of("normalised_regret_worst"), 1.0, 0.5, 0.2, below=True),
    Goal("mean regret (share of accuracy)", _of("regret"), 0.03, 0.02, 0.01),
    Goal("labels it is worth, median over studies", _of("labels"), 20, 50, 100),
    Goal("regret cut against the best of silhouette, CH, DB on pixels", _cut, 0.30, 0.50, 0.67),
    Goal("what the learned selector loses on a new family, not only a new study", _loss, 0.15, 0.05, 0.02),
    Goal("restarts: share of the best seed's gain", _of("restart"), 0.4, 0.6, 0.8),
    Goal("weights of Table 13 on ColoredMNIST: accuracy of the pick", _weights, 0.86, 0.95, 0.96),
    Goal("when it says reliable, normalised regret ≤ 0.2 in", _trust, 0.70, 0.85, 0.95),
)


def goals(
    over: Mapping[str, Any],
    *,
    by: str = COMBINED,
    calibration: Mapping[str, Any] | None = None,
    learned: Mapping[str, float] | None = None,
    judged: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """{goal, value, minimum, good, moonshot, met} for one way to choose.

    Args:
        over: of `over_studies`.
        by: a row of it.
        calibration: of `calibrate`.
        learned: mean normalised regret of the learned selector with one "study" and one "family" left out.
        judged: what `over` is over, of `judge`.
    """
    rows = {r["criterion"]: r for r in over["rows"]}
    if by not in rows:
        return []
    classical = [rows[n]["normalised_regret"] for n in CLASSICAL if n in rows]
    found = {
        "row": rows[by],
        "classical": min(classical, default=None),
        "learned": learned,
        "calibration": calibration,
        "judged": judged,
    }
    made = []
    for goal in GOALS:
        value = goal.measure(found)
        bounds = {name: getattr(goal, name) for name in reversed(LEVELS)}
        made.append({"goal": goal.about, "value": value, **bounds, "met": goal.level(value)})
    return made
