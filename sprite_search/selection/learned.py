"""A selector that learns from studies with labels how to weigh criteria, judged on studies it has not seen.

It is no way to `select`: it ships only once it does better than `choice.COMBINED` on families of data that it never saw
(`ships`). Nothing about it is chosen by looking at results: two models, their settings fixed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import endpoints as e
from .choice import COMBINED
from .combination import shares
from .criteria import CRITERIA
from .evaluation import main_pool, survivors, target_of
from .redraws import Costs, at_places, grid, key
from .roles import LATER
from .significance import wilcoxon
from .tables import Study

#: Criteria that selectors learn to weigh: those that there were when the first of them was judged.
RANKED = tuple(name for name in CRITERIA if name not in LATER)

#: What is left out of the training when a study is judged: nothing (a diagnostic, not a result), the study, or all
#: studies of its family.
SCHEMES = ("in sample", "study left out", "family left out")

#: A configuration this much worse than a random one is as bad as it gets: the top matters.
WORST = 2.0

#: A selector that learns must be better than one that does not with a p of at most this.
LEVEL = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """One study as training material.

    Attributes:
        study, family: where it is from.
        features: rank of each configuration by each of `RANKED`, 0 best to 1 worst, mean over its seeds, (M, C);
            0.5 for a criterion without values in this study.
        accuracy: of configurations, (M,).
        lost: their normalised regret, at most `WORST`, (M,).
        noise: see `endpoints.seed_noise`.
        shipped: cost by the combination that is shipped, (M,).
    """

    study: str
    family: str
    features: Floats
    accuracy: Floats
    lost: Floats
    noise: float
    shipped: Floats


def examples(study: Study) -> Examples | None:
    """None where a study has no labels, fewer than two configurations or nothing to select."""
    target = target_of(study.labels)
    if target is None:
        return None
    pool = main_pool(survivors(study.rows, study.labels, target))
    places = grid([key(r) for r in pool])
    if len(places) < 2:
        return None
    accuracy = at_places(np.array([study.labels[key(r)][target] for r in pool], dtype=float), places)
    means, noise = e.seed_mean(accuracy), float(e.seed_noise(accuracy))
    if np.isnan(e.normalised(0.0, means, noise)):
        return None
    lost = (means.max() - means) / (means.max() - means.mean())
    ranks = shares(np.array([[CRITERIA[n].cost(r) for n in RANKED] for r in pool]))
    features = np.stack([e.seed_mean(at_places(column, places)) for column in np.nan_to_num(ranks, nan=0.5).T], 1)
    shipped = e.seed_mean(at_places(Costs(pool, [COMBINED]).whole(COMBINED), places))
    return Examples(study.name, study.family, features, means, lost.clip(max=WORST), noise, shipped)


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=np.logspace(-2, 3, 11))


def _forest() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(300, min_samples_leaf=5, max_features="sqrt", random_state=0)


#: Models of the normalised regret of a configuration given its ranks, by name.
MODELS: dict[str, Callable[[], Any]] = {"ridge": _ridge, "forest": _forest}


def predicted(model: str, training: Sequence[Examples], features: Floats) -> Floats:
    """Normalised regret of configurations as a model learnt it from other studies, (M,); each study weighs the same."""
    weights = np.concatenate([np.full(len(t.lost), 1 / len(t.lost)) for t in training])
    fitted = MODELS[model]().fit(
        np.concatenate([t.features for t in training]),
        np.concatenate([t.lost for t in training]),
        sample_weight=weights / weights.mean(),
    )
    return np.asarray(fitted.predict(features), dtype=float)


def leave_one_out(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """How learned selectors fare, beside the shipped combination, which learns nothing.

    Returns:
        {selector, scheme, study, family, and of `endpoints.endpoints`: regret, normalised_regret, spearman, harm}
        for each study; schemes that leave nothing to learn from are left out.
    """
    known = [found for study in studies if (found := examples(study)) is not None]
    made = []
    for own in known:
        made.append({"selector": COMBINED, "scheme": "learns nothing", **_judged(own, own.shipped)})
        for scheme in SCHEMES:
            training = [t for t in known if _seen(scheme, t, own)]
            if not training:
                continue
            for model in MODELS:
                cost = predicted(model, training, own.features)
                made.append({"selector": model, "scheme": scheme, **_judged(own, cost)})
    return made


def _seen(scheme: str, other: Examples, own: Examples) -> bool:
    if scheme == "family left out":
        return other.family != own.family
    return scheme == "in sample" or other.study != own.study


def _judged(own: Examples, cost: Floats) -> dict[str, Any]:
    found = e.endpoints(-cost, own.accuracy, own.noise)
    wanted = ("regret", "normalised_regret", "spearman", "harm")
    return {"study": own.study, "family": own.family, **{n: found[n] for n in wanted}}


def by_selector(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Over the studies of `leave_one_out`: {selector, scheme, studies, normalised_regret, worst, spearman, harm, p}.

    p is the exact one-sided one (Wilcoxon) that it does better than the shipped combination on these studies.
    """
    plain = {f["study"]: f["normalised_regret"] for f in found if f["selector"] == COMBINED}
    made = []
    for selector, scheme in dict.fromkeys((f["selector"], f["scheme"]) for f in found):
        own = [f for f in found if (f["selector"], f["scheme"]) == (selector, scheme)]
        shares = [f["normalised_regret"] for f in own]
        made.append(
            {
                "selector": selector,
                "scheme": scheme,
                "studies": len(own),
                "normalised_regret": float(np.mean(shares)),
                "worst": float(np.max(shares)),
                "spearman": float(np.mean([f["spearman"] or 0.0 for f in own])),
                "harm": float(np.mean([f["harm"] for f in own])),
                "p": wilcoxon([plain[f["study"]] - f["normalised_regret"] for f in own]),
            }
        )
    return made


def ships(over: Sequence[Mapping[str, Any]]) -> list[str]:
    """The learned selectors that prove themselves on families left out: better than `COMBINED`, with no worse a worst.

    Args:
        over: of `by_selector`.
    """
    worst = max((o["worst"] for o in over if o["selector"] == COMBINED), default=0.0)
    strangers = [o for o in over if o["scheme"] == "family left out"]
    return [o["selector"] for o in strangers if o["p"] is not None and o["p"] <= LEVEL and o["worst"] <= worst]
