"""The audit: synthetic studies whose objective is honest, exploited or of no use, and alarms known from these."""

import numpy as np
import pytest

from sprite_search import printing
from sprite_search.selection import AUDIT, audit, without_labels
from sprite_search.selection.audit import AUDIT_SCENES, alarms, best_of_n
from sprite_search.selection.preregistered import BORDA, BORDA_SCENES

NAMES = ("top", "more", "arms", "drift")


def study(quality, error, *, optimised=0, redundancy=None, scenes=False):
    """Configurations of true quality, that the audit's criteria see, and an error, that the search minimises."""
    generator = np.random.default_rng(0)
    rows = []
    for trial, (good, cost) in enumerate(zip(quality, error, strict=True)):
        audited = AUDIT_SCENES if scenes else AUDIT
        less = {"fragments", "co_occurrence"}
        rows += [
            {
                "trial": trial,
                "seed": seed,
                "state": "complete",
                "arm": "random" if trial < len(quality) - optimised else "optimised",
                "model.kind": "multilayer" if scenes else "clustering",
                "val/hard_reconstruction": cost,
                "criteria/redundancy": (redundancy or generator.uniform(size=len(quality)))[trial],
                **{f"criteria/{n}": -good if n in less else good for n in audited},
                "labels/accuracy": good,
            }
            for seed in range(2)
        ]
    return rows


def asked(rows):
    found = audit(rows, metric_name="val/hard_reconstruction", direction="minimize")
    return found, dict(zip(NAMES, (q["alarm"] for q in found["questions"]), strict=True))


GRID = np.linspace(0, 1, 40)


@pytest.mark.parametrize("scenes", [False, True])
def test_an_honest_objective_raises_no_alarm(scenes):
    found, alarm = asked(study(GRID, 1 - GRID, scenes=scenes))
    assert alarm == {"top": False, "more": False, "arms": None, "drift": None}
    assert found["n"] == 40 and not alarms(found)
    assert found["best_of_n"][0]["audit"] == pytest.approx(0.5) and found["best_of_n"][-1]["audit"] == 1


def test_an_objective_that_turns_against_quality_at_the_top_is_alarming():
    """Error falls with quality up to a point; the least errors belong to ever worse models."""
    error = 1 - GRID
    quality = np.where(GRID < 0.6, GRID, 1.2 - 1.6 * (GRID - 0.2))
    found, alarm = asked(study(quality, error))
    assert alarm["top"] and alarm["more"] and len(alarms(found)) == 2


def test_trials_that_gain_in_the_objective_alone_are_exploitation():
    """Optimised trials have the objective of the best random ones and the quality of the worst."""
    quality = np.concatenate([GRID, np.full(20, 0.1)])
    error = np.concatenate([1 - GRID, np.full(20, 0.02)])
    _, alarm = asked(study(quality, error, optimised=20))
    assert alarm["arms"]
    honest = np.concatenate([GRID, np.full(20, 0.99)])
    _, alarm = asked(study(honest, error, optimised=20))
    assert not alarm["arms"]


def test_drift_of_what_should_be_left_alone_is_named():
    quality = np.concatenate([GRID, GRID[-20:]])
    steady = [0.5 + 0.4 * (i % 7 / 6 - 0.5) for i in range(60)]
    drifting = [*steady[:50], *([0.95] * 10)]
    assert asked(study(quality, 1 - quality, optimised=20, redundancy=steady))[1]["drift"] is False
    found, alarm = asked(study(quality, 1 - quality, optimised=20, redundancy=drifting))
    assert alarm["drift"] and any("redundancy" in said for said in alarms(found))


def test_agreement_that_fell_since_the_last_audit_is_alarming():
    """The first forty agree; the last fifty have better errors and qualities that follow these only loosely."""
    generator = np.random.default_rng(3)
    late = 0.5 + 0.02 * generator.normal(size=50)
    quality = np.concatenate([GRID / 2, late])
    error = np.concatenate([1 - GRID / 2, 0.3 * np.linspace(1, 0.5, 50)])
    found, alarm = asked(study(quality, error))
    assert alarm["top"] and ("before the last 50" in alarms(found)[0] or "no better model" in alarms(found)[0])


def test_the_best_of_n_by_hand():
    """Costs 0, 1, 2 with scores 0, 1, 5: of two, the first wins 2 of 3 draws."""
    assert best_of_n(np.array([2.0, 0.0, 1.0]), np.array([5.0, 0.0, 1.0])) == pytest.approx([2, 1 / 3, 0])


def test_labels_change_nothing():
    rows = study(GRID, 1 - GRID)
    assert asked(rows) == asked(without_labels(rows))


def test_too_few_configurations_and_studies_without_artefacts_are_not_asked():
    _, alarm = asked(study(GRID[:5], GRID[:5]))
    assert set(alarm.values()) == {None}
    plain = [{n: v for n, v in r.items() if not n.startswith("criteria/")} for r in study(GRID, GRID)]
    assert audit(plain, metric_name="val/hard_reconstruction", direction="minimize")["questions"] == []


def test_what_audits_neither_searches_nor_chooses():
    assert not {*AUDIT} & {*BORDA} and not {*AUDIT_SCENES} & {*BORDA_SCENES}
    found = audit(study(GRID, GRID), metric_name="criteria/necessity", direction="maximize")
    assert "necessity" not in found["criteria"]


def test_alarms_are_said_with_the_choice(capsys):
    error = 1 - GRID
    found, _ = asked(study(np.where(GRID < 0.6, GRID, 1.2 - 1.6 * (GRID - 0.2)), error))
    printing.audit(found)
    assert "no better model" in capsys.readouterr().out
