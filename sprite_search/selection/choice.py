"""`choose`: the trial to trust, the reasons, and how far to trust it, without labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .combination import TERMS, WAYS, WHOLE, combine, scores
from .criteria import CRITERIA, Criterion, Row, criterion, metric, number
from .pool import Candidate, by_trial, candidates, without_labels
from .preregistered import BORDA, BORDA_SCENES
from .roles import electorate

#: A choice is good when it loses at most this share of what a random one loses.
GOOD = 0.2

#: Below this reliability no choice is made: at least seven of ten that call themselves reliable are to be good
#: (a goal of docs/selection.md). Set on synthetic tables on 26 November 2026, without any label.
ENOUGH = 0.7

#: Redraws of seeds and criteria for the reliability; its standard error is then at most 0.011.
DRAWS = 2000

#: How many trials besides the leader are worth showing.
RUNNERS_UP = 4

#: What is chosen by when nothing else is asked for: `COMBINED` where it can be, else `FALLBACK`. The whole catalogue
#: lost less than the seven pre-registered criteria, however these are combined, in six studies of docs/selection.md. It
#: is the default since 26 November 2026, so what these say of it is in-sample; see there for those run afterwards.
AUTO, COMBINED, FALLBACK = "auto", "catalogue", "reconstruction"

#: Fewer configurations, or criteria of fewer groups, are not worth combining.
ENOUGH_TRIALS, ENOUGH_GROUPS = 4, 4


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        trial, seed: the leading configuration and its best seed; None when no trial qualifies.
        reasons: sentences a person can read, most important first.
        rejected: {trial, why} of the trials that were not compared.
        reliability: share of redraws of the seeds, and of the criteria of a combination, in which the leader is first
            again or nearly so; None for one criterion when no configuration was trained with more than one seed.
        abstained: the leader is not to be trusted over the runners-up; `trial` still names it.
        runners_up: {trial, seed, value} of the next ones, best first.
        by, value: the criterion and the leader's value (mean over its seeds).
    """

    trial: int | None
    seed: int | None
    reasons: list[str]
    rejected: list[dict[str, Any]]
    reliability: float | None
    abstained: bool
    runners_up: list[dict[str, Any]]
    by: str = FALLBACK
    value: float | None = None
    candidates: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(
    rows: Iterable[Row],
    *,
    metric: str = "val/reconstruction",
    direction: str = "minimize",
    by: str = AUTO,
    runners_up: int = RUNNERS_UP,
) -> Choice:
    """The configuration to trust among those that are not degenerate, and its best seed.

    Labels are dropped first, so no permutation of them can change a byte of the answer. Where some configurations
    were trained again on fresh seeds (arm "confirm"), only these are compared: the others led partly by luck.

    Args:
        rows: of `study.table.rows`: one per trial and seed, with ``trial``, ``seed``, ``state``,
            metrics, settings and, where there are artefacts, the columns of `compute`.
        metric, direction: the objective of the study; used when `by` is "objective".
        by: a criterion of `CRITERIA`, a combination of `WAYS`, "objective", or "auto": `catalogue` where criteria of
            enough groups have values, else held-out reconstruction.
        runners_up: how many of the next ones to name.
    Returns:
        the choice; it abstains when fewer than two configurations can be compared, or when the seeds vary or the
        criteria disagree so much that its reliability is below 0.7.
    Raises:
        ValueError: `by` is not known, or the objective is a label metric.
    """
    ordered = [dict(r) for group in by_trial(without_labels(rows)).values() for r in group]  # ties go by order
    rows, notes = _fresh(ordered)
    by, rows, judge, more = judged(rows, by, metric, direction)
    kept, rejected = candidates(rows, judge)
    ranked = sorted(kept, key=lambda c: (c.cost, c.trial))
    if not ranked:
        return Choice(None, None, [_nothing(rejected)], rejected, None, True, [], by)
    leader, others = ranked[0], ranked[1:]
    opinions = disagreement(rows, [c.trial for c in ranked], by)
    trust = reliability(ranked, opinions)
    unsure = _unsure(ranked, trust, reliability(ranked))
    return Choice(
        trial=leader.trial,
        seed=leader.best.seed,
        reasons=[
            *_reasons(leader, others, rejected, judge),
            *notes,
            *more,
            *_places(rows, leader, {c.trial for c in kept}, by),
            *_unlike(rows, {c.trial for c in kept}, judge),
            *_trust(ranked, trust, opinions is not None),
            *unsure,
        ],
        rejected=rejected,
        reliability=trust,
        abstained=bool(unsure),
        runners_up=[{"trial": c.trial, "seed": c.best.seed, "value": _value(c, judge)} for c in others[:runners_up]],
        by=by,
        value=_value(leader, judge),
        candidates=len(ranked),
    )


def _fresh(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Only the trials on fresh seeds where there are any that finished."""
    confirmed = [r for r in rows if r.get("arm") == "confirm" and r.get("state") == "complete"]
    if not confirmed:
        return rows, []
    trials = len({r["trial"] for r in confirmed})
    return confirmed, [f"only the {trials} configurations that were trained again, on fresh seeds, are compared"]


def judged(
    rows: list[dict[str, Any]], by: str, name: str, direction: str
) -> tuple[str, list[dict[str, Any]], Criterion, list[str]]:
    """The way to choose, the rows with its column, its criterion, and what to say about it; see `choose`."""
    if by == "objective":
        if name.startswith("labels/"):
            raise ValueError(
                f"the objective {name} needs labels, and a choice never reads them; select by reconstruction"
            )
        return by, rows, metric(name, direction), []
    if by != AUTO and by not in WAYS:
        return by, rows, criterion(by), []
    kept = {c.trial for c in candidates(rows, CRITERIA[FALLBACK])[0]}
    way = COMBINED if by == AUTO else by
    names = combined_criteria([r for r in rows if r["trial"] in kept], way)
    if by == AUTO and (len(kept) < ENOUGH_TRIALS or len(_groups(names)) < ENOUGH_GROUPS):
        few = f"only {len(kept)} can be compared" if len(kept) < ENOUGH_TRIALS else "too few criteria have values"
        return FALLBACK, rows, CRITERIA[FALLBACK], [f"chosen by one criterion, as {few} for a combination"]
    return way, combined(rows, kept, names, way), _combination(way, names), []


def combined_criteria(rows: Sequence[Row], way: str) -> list[str]:
    """The criteria of a combination that have a value for some of the rows."""
    scenes = any(r.get("model.kind") in ("multilayer", "anchors") for r in rows)
    wanted = electorate(scenes=scenes) if way in WHOLE else BORDA_SCENES if scenes else BORDA
    return [n for n in wanted if any(not math.isnan(CRITERIA[n].of(r)) for r in rows)]


def groups_of(names: Sequence[str]) -> list[str]:
    """The group of each criterion."""
    return [CRITERIA[name].group for name in names]


def _groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Where the criteria of each group are in the list."""
    found: dict[str, list[int]] = {}
    for at, group in enumerate(groups_of(names)):
        found.setdefault(group, []).append(at)
    return found


def combined(rows: Sequence[Row], kept: set[int], names: Sequence[str], way: str) -> list[dict[str, Any]]:
    """The rows with the column `way`: the score of each model of the trials `kept` among all of these."""
    at = [i for i, r in enumerate(rows) if r["trial"] in kept]
    costs = np.array([[CRITERIA[n].cost(rows[i]) for n in names] for i in at]).reshape(len(at), len(names))
    values = dict(zip(at, combine(way, costs, groups_of(names)).tolist(), strict=True)) if at else {}
    return [{**row, way: values.get(i, math.nan)} for i, row in enumerate(rows)]


def _combination(way: str, names: Sequence[str]) -> Criterion:
    """The column of a combination as a criterion."""
    about = f"{len(names)} criteria of a model combined as `combination.{way}` says, less is better"
    return Criterion(way, "combination", about, True, lambda row: number(row, way))


def disagreement(rows: Sequence[Row], trials: Sequence[int], by: str) -> NDArray[np.float64] | None:
    """Squared error of a combination `by`, were its criteria a sample of those that could have been asked, (trials,).

    Criteria of one group fail together, so that a sample is one of groups: Σ_g (n_g/n)² (m_g − m)² G/(G − 1), with the
    mean m of what `by` is the mean of over n criteria, and m_g over the n_g of one of G groups. None for what is no
    mean over two groups or more.
    """
    if by not in TERMS:
        return None
    own = [r for r in rows if r["trial"] in set(trials)]
    names = combined_criteria(own, by)
    groups = list(_groups(names).values())
    if len(groups) < 2:
        return None
    terms = TERMS[by](np.array([[CRITERIA[n].cost(r) for n in names] for r in own]))
    at = np.array([r["trial"] for r in own])
    means = np.stack([terms[at == trial].mean(0) for trial in trials])
    apart = np.stack([len(g) / len(names) * (means[:, g].mean(1) - means.mean(1)) for g in groups], 1)
    squared = (apart**2).sum(1) * len(groups) / (len(groups) - 1)
    return _steadied(squared, np.full(len(trials), len(groups) - 1))


def _steadied(variances: NDArray[np.float64], freedom: NDArray[np.int64]) -> NDArray[np.float64]:
    """Variances averaged with their median in the pool, which weighs as two degrees of freedom; NaN is that median."""
    pooled = float(np.nanmedian(variances))
    return (2 * pooled + freedom * np.nan_to_num(variances)) / (2 + freedom)


def reliability(
    ranked: Sequence[Candidate], opinions: NDArray[np.float64] | None = None, draws: int = DRAWS
) -> float | None:
    """Share of redraws of the seeds, and of criteria, in which ``ranked[0]`` is a good choice.

    That is one of least mean cost, or behind it by at most a fifth of what a random configuration is behind: that
    others are about as good is no reason to doubt.

    A parametric bootstrap: each configuration's mean is redrawn from a normal distribution around it
    with standard error s/√n. As two or three seeds say little about s, it is the root of the average
    of the configuration's own variance (n - 1 degrees of freedom) and the median variance of the pool
    (weighing as much as two seeds). The generator is seeded, so equal tables give equal answers.

    Args:
        ranked: best first.
        opinions: of `disagreement`, added to the squared standard errors.
        draws: redraws.

    Who leads leads partly by luck: from four configurations on, the means are drawn towards their common mean by
    what the noise explains of their spread (James & Stein 1961). Where that is all, any of them may lead.
    """
    own = np.array([np.var([s.cost for s in c.seeds], ddof=1) if len(c.seeds) > 1 else math.nan for c in ranked])
    if len(ranked) < 2 or (np.isnan(own).all() and opinions is None):
        return None
    means, counts = np.array([c.cost for c in ranked]), np.array([len(c.seeds) for c in ranked])
    errors = np.zeros(len(ranked)) if opinions is None else opinions
    if not np.isnan(own).all():
        errors = errors + _steadied(own, counts - 1) / counts
    keep = _kept_of_spread(means, errors)
    if keep == 0:
        return 1 / len(ranked)
    noise = np.random.default_rng(0).standard_normal((draws, len(ranked)))
    redrawn = keep * means + noise * np.sqrt(keep * errors)
    least = redrawn.min(1)
    return float((redrawn[:, 0] - least <= GOOD * (redrawn.mean(1) - least)).mean())


def _kept_of_spread(means: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """Share of the spread of the means that is not noise; 1 for fewer than four, of which it cannot be told."""
    spread = float(((means - means.mean()) ** 2).sum())
    if len(means) < 4 or spread == 0:
        return 1.0
    return max(0.0, 1 - (len(means) - 3) * float(errors.mean()) / spread)


def _unsure(ranked: Sequence[Candidate], trust: float | None, by_seeds: float | None) -> list[str]:
    if len(ranked) < 2:
        return ["I abstain: there is nothing to compare it with, so finishing is all that this trial has shown"]
    if ranked[0].cost == ranked[1].cost:
        return [f"I abstain: trial {ranked[1].trial} has exactly the same value"]
    if trust is not None and trust < ENOUGH:
        close = ", ".join(str(c.trial) for c in ranked[1 : 1 + RUNNERS_UP])
        if by_seeds is None or by_seeds >= ENOUGH:
            return [
                "I abstain: the criteria disagree about which is best, and other criteria of their kind might have"
                f" chosen another; look at the pictures of this trial and of {close}"
            ]
        return [
            "I abstain: the lead is inside the noise of the seeds; look at the pictures of this trial and of"
            f" {close}, or train more seeds (replicates)"
        ]
    return []


def _reasons(leader: Candidate, others: Sequence[Candidate], rejected: Sequence[Any], judge: Criterion) -> list[str]:
    said = [
        f"trial {leader.trial} has the best {_of(judge)} of {len(others) + 1} comparable"
        f" configuration{'s' if others else ''}: {judge.text(_value(leader, judge))},"
        f" mean of {len(leader.seeds)} seed{'s' if len(leader.seeds) > 1 else ''}"
    ]
    if others:
        said.append(f"next is trial {others[0].trial} with {judge.text(_value(others[0], judge))}")
    if len(leader.seeds) > 1:
        own = leader.best.cost if judge.smaller_is_better else -leader.best.cost
        said.append(f"seed {leader.best.seed} is its best seed: {judge.text(own)} by the same measure")
    sick = [s for s in leader.seeds if s.problem]
    said.extend(f"beware: its seed {s.seed} {s.problem}" for s in sick)
    if rejected:
        said.append(
            f"{len(rejected)} trial{'s were' if len(rejected) > 1 else ' was'} not compared"
            " (stopped early, failed or degenerate)"
        )
    return said


def _places(rows: Sequence[Row], leader: Candidate, kept: set[int], by: str) -> list[str]:
    """Where the leader of a combination stands by each kind of its criteria, in words."""
    if by not in WAYS:
        return []
    own = places([r for r in rows if r["trial"] in kept], by)
    said = ", ".join(
        f"{_ordinal(place)} by {kind}" for place, kind in sorted((p[leader.trial], k) for k, p in own.items())
    )
    return [f"of {len(kept)} it is {said}"]


def places(rows: Sequence[Row], way: str) -> dict[str, dict[int, int]]:
    """Place of each trial, 1 the best, by the mean robust score over each group of criteria of a combination."""
    names = combined_criteria(rows, way)
    terms = scores(np.array([[CRITERIA[n].cost(r) for n in names] for r in rows]).reshape(len(rows), len(names)))
    at = np.array([r["trial"] for r in rows])
    found = {}
    for group, members in _groups(names).items():
        means = {int(t): float(terms[at == t][:, members].mean()) for t in np.unique(at)}
        found[group] = {t: 1 + sum(other < mean for other in means.values()) for t, mean in means.items()}
    return found


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _unlike(rows: Sequence[Row], kept: set[int], judge: Criterion) -> list[str]:
    """A warning about settings across which the criterion does not compare, where they differ."""
    own = [r for r in rows if r["trial"] in kept]
    differ = [name for name in judge.not_across if len({repr(r.get(name)) for r in own}) > 1]
    if not differ:
        return []
    return [f"beware: the trials differ in {', '.join(differ)}, across which {_of(judge)} does not compare fairly"]


def _of(judge: Criterion) -> str:
    if judge.group == "combination":
        return f"combined score ({judge.name})"
    return "held-out reconstruction error" if judge.name == "reconstruction" else judge.name.replace("_", " ")


def _trust(ranked: Sequence[Candidate], trust: float | None, opinions: bool) -> list[str]:
    if len(ranked) < 2:
        return []
    once = all(len(c.seeds) < 2 for c in ranked)
    said = ["every configuration was trained once, so how much luck is in this is unknown: set replicates to 3"]
    if trust is None:
        return said
    what = "the criteria" if once else "the seeds and the criteria" if opinions else "the seeds"
    return [*(said if once else []), f"redrawing {what}, it stays first, or nearly so, in {trust:.0%} of the draws"]


def _nothing(rejected: Sequence[dict[str, Any]]) -> str:
    if not rejected:
        return "I abstain: the study has no trials yet"
    return f"I abstain: none of the {len(rejected)} trials can be trusted"


def _value(candidate: Candidate, judge: Criterion) -> float:
    return candidate.cost if judge.smaller_is_better else -candidate.cost
