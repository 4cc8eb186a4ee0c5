"""Did the choice agree with labels? Read after the choice, never by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import endpoints as e
from .choice import Choice
from .criteria import Row
from .evaluation import separated, survivors, target_of
from .redraws import Costs, at_places, grid, key


def agreement(rows: Iterable[Row], choice: Choice, *, target: str | None = None) -> dict[str, Any] | None:
    """How the chosen trial fares by labels, among all trials that finished; None without labels.

    Args:
        rows: with labels, which the choice did not see.
        target: a label metric; the first of `evaluation.TARGETS` by default.
    Returns:
        target; n configurations; chosen and best_by_labels {trial, value}; regret = best - chosen;
        normalised_regret = regret / (best - mean): 0 is the best pick, 1 a random one, above 1 is
        harmful, None where there is nothing to select; spearman over configurations of what was chosen by with the
        target, None where that is the objective of the search; the label value of the chosen seed and of the best
        seed in its trial.
    """
    plain, labels = separated(rows)
    target = target or target_of(labels)
    if target is None or choice.trial is None:
        return None
    pool = survivors(plain, labels, target, fresh=True)["finished"]
    places = grid([key(r) for r in pool])
    trials = sorted({int(r["trial"]) for r in pool})
    if choice.trial not in trials:
        return None
    accuracy = at_places(np.array([labels[key(r)][target] for r in pool], dtype=float), places)
    means = e.seed_mean(accuracy)
    at, best = trials.index(choice.trial), int(means.argmax())
    regret = float(means[best] - means[at])
    share = float(e.normalised(regret, means, e.seed_noise(accuracy)))
    own = {r["seed"]: float(labels[key(r)][target]) for r in pool if r["trial"] == choice.trial}
    costs = Costs(pool, [choice.by])
    return {
        "target": target,
        "n": len(trials),
        "chosen": {"trial": choice.trial, "value": float(means[at])},
        "best_by_labels": {"trial": trials[best], "value": float(means[best])},
        "regret": regret,
        "normalised_regret": None if np.isnan(share) else share,
        "spearman": _spearman(-e.seed_mean(at_places(costs.whole(choice.by), places)), means) if costs.names else None,
        "chosen_seed": {"seed": choice.seed, "value": own.get(choice.seed)},
        "best_seed_of_it": max(own.values()),
    }


def _spearman(values: Any, accuracy: Any) -> float | None:
    found = float(e.spearman(values, accuracy))
    return None if np.isnan(found) else found
