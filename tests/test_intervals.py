"""What seeds say about a configuration: numbers against scipy's, and where they are shown."""

import numpy as np
import pytest
from scipy import stats

from sprite_search import overview, printing
from sprite_search.console import spent
from sprite_search.space.model import Space
from sprite_search.study.intervals import interval
from sprite_search.study.records import TrialRecord
from sprite_search.tracking import text

VALUES = {0: [0.2, 0.5, 0.4], 1: [0.3, 0.3, 0.3], 2: [0.7]}
METRIC = "val/reconstruction"


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_that_of_students_t(n, level):
    values = np.random.default_rng(n).normal(3.0, 2.0, n)
    found = interval(values.tolist(), level)
    low, high = stats.t.interval(level, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.mean, found.error) == (pytest.approx(values.mean()), pytest.approx(stats.sem(values)))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert interval([0.5]).low is None and interval([0.5]).mean == 0.5
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_the_table_of_trials_has_it_for_each_configuration(capsys):
    shared = {"state": "complete", "arm": "random", "epoch": 4, "epochs": 4, "confirms": None}
    rows = [
        {**shared, "trial": trial, "seed": seed, "value": float(np.mean(own)), METRIC: value}
        for trial, own in VALUES.items()
        for seed, value in enumerate(own)
    ]
    rows.append({**shared, "trial": 3, "seed": None, "state": "failed", "value": None})
    found = overview.table(Space(name="s"), [], rows)
    by_trial = {r["trial"]: r for r in found["trials"]}
    assert by_trial[0]["value_se"] == pytest.approx(stats.sem(VALUES[0]))
    half = stats.t.ppf(0.975, 2) * stats.sem(VALUES[0])
    assert by_trial[0]["value_high"] - by_trial[0]["value"] == pytest.approx(half)
    assert (by_trial[1]["value_low"], by_trial[1]["value_high"]) == (pytest.approx(0.3), pytest.approx(0.3))
    assert "value_se" not in by_trial[2] and "value_se" not in by_trial[3]
    printing.trials(found)
    said = capsys.readouterr().out
    assert "95 %" in said and "-0.01279 … 0.7461" in said
    printing.trials(overview.table(Space(name="s"), [], [r for r in rows if r["trial"] > 1]))
    assert "95 %" not in capsys.readouterr().out


def test_mlflow_has_the_interval_of_the_objective_and_the_standard_error_of_the_others():
    metrics = [{METRIC: v, "val/used_sprites": 1.0} for v in VALUES[0]]
    found = text.means(metrics, [METRIC])
    extra = {"", "_se", "_low", "_high"}
    assert set(found) == {METRIC + e for e in extra} | {"val/used_sprites", "val/used_sprites_se"}
    assert found[f"{METRIC}_low"] == pytest.approx(interval(VALUES[0]).low)
    seeds = tuple({"seed": s, "metrics": m} for s, m in enumerate(metrics))
    note = text.note(TrialRecord(0, "s/0", "complete", epoch=4, epochs=4, value=0.3667, seeds=seeds))
    assert "| **mean** | 0.3667 ± 0.08819 [-0.01279, 0.7461] |" in note
    assert "**mean**" not in text.note(TrialRecord(0, "s/0", "complete", epoch=4, epochs=4, seeds=seeds[:1]))


def test_what_was_spent_is_said_for_each_trial_by_what_became_of_it():
    assert spent({}) == []
    found = {
        "all": {"trials": 3, "hours": 2.0, "gpu_hours": 0.5},
        "complete": {"trials": 1, "hours": 1.0, "gpu_hours": 0.25},
        "pruned": {"trials": 2, "hours": 1.0, "gpu_hours": 0.25},
    }
    assert spent(found) == [
        "training took 2 h 00 min: 60 min for each complete trial, 30 min for each pruned trial",
        "GPU-hours 0.5: 0.25 for each complete trial, 0.125 for each pruned trial",
    ]
    idle = {"all": {"trials": 1, "hours": 0.0, "gpu_hours": 0.0}, "running": {"trials": 1, "hours": 0, "gpu_hours": 0}}
    assert spent(idle) == ["training took 0 s"]
