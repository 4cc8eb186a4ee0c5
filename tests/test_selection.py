"""Choosing without labels: gates, reasons, reliability, and the firewall against labels."""

import json
import math
import random

import pytest

from sprite_search.selection import CRITERIA, agreement, candidates, choose
from sprite_search.selection.criteria import criterion


def row(trial, seed, error, *, state="complete", **more):
    good = {
        "arm": "random",
        "model.kind": "clustering",
        "sprites.count": 10,
        "train/reconstruction": error,
        "val/reconstruction": error,
        "val/effective_sprites": 8.0,
        "val/used_sprites": 1.0,
        "val/empty_share": 0.0,
        "val/mask_area": 1.0,
        "labels/accuracy": 0.5,
    }
    return {"trial": trial, "seed": seed, "state": state, **good, **more}


def config(trial, errors, **more):
    return [row(trial, seed, error, **more) for seed, error in enumerate(errors)]


def clear_study():
    return [*config(0, (0.05, 0.051)), *config(1, (0.02, 0.022)), *config(2, (0.04, 0.041))]


def test_the_least_held_out_error_is_chosen_with_its_best_seed():
    choice = choose(clear_study())
    assert (choice.trial, choice.seed, choice.abstained) == (1, 0, False)
    assert choice.value == pytest.approx(0.021)
    assert choice.reliability is not None and choice.reliability > 0.95
    assert [r["trial"] for r in choice.runners_up] == [2, 0]


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"val/effective_sprites": 1.1}, "collapsed"),
        ({"val/used_sprites": 0.2}, "unused"),
        ({"val/empty_share": 0.99}, "empty"),
        ({"model.kind": "multilayer", "val/mask_area": 0.97}, "background"),
        ({"state": "pruned"}, "stopped early"),
        ({"state": "failed", "reason": "out of memory"}, "out of memory"),
        ({"state": "running"}, "not finished"),
        ({"val/reconstruction": math.nan}, "finite"),
    ],
)
def test_a_better_error_does_not_save_a_trial_that_fails_a_gate(broken, word):
    choice = choose([*clear_study(), *config(9, (0.001, 0.001), **broken)])
    assert choice.trial == 1
    assert [r["trial"] for r in choice.rejected] == [9]
    assert word in choice.rejected[0]["why"]


def test_one_bad_seed_of_three_is_said_and_never_picked():
    rows = [*clear_study(), *config(5, (0.012, 0.01, 0.011))]
    rows[-2]["val/effective_sprites"] = 1.0
    choice = choose(rows)
    assert (choice.trial, choice.seed) == (5, 2)
    assert any("seed 1 collapsed" in reason for reason in choice.reasons)


def test_a_lead_inside_the_noise_of_the_seeds_is_not_trusted():
    close = [*config(0, (0.02, 0.06)), *config(1, (0.021, 0.0592)), *config(2, (0.022, 0.059))]
    choice = choose(close)
    assert choice.abstained and choice.reliability is not None and choice.reliability < 0.5
    assert "noise" in choice.reasons[-1]


def test_what_violates_a_constraint_is_not_compared():
    broken = config(0, (0.01, 0.01), violates="val/empty_share ≤ 0.5")
    choice = choose([*broken, *config(1, (0.1, 0.1)), *config(2, (0.3, 0.3))])
    assert choice.trial == 1
    assert {"trial": 0, "why": "violates val/empty_share ≤ 0.5"} in choice.rejected


@pytest.mark.parametrize("rows", [[], config(3, (0.1, 0.2)), config(3, (0.1,), state="pruned")])
def test_with_fewer_than_two_comparable_configurations_it_abstains(rows):
    assert choose(rows).abstained


def test_single_seeds_leave_the_reliability_unknown_and_say_so():
    choice = choose([*config(0, (0.1,)), *config(1, (0.2,))])
    assert choice.trial == 0 and choice.reliability is None and not choice.abstained
    assert any("replicates" in reason for reason in choice.reasons)


def test_reliability_is_the_normal_probability_of_the_gap():
    """Two configurations, each SD 1 and n = 2: the difference has SE 1, so P = Phi(gap)."""
    half = math.sqrt(0.5)
    rows = [*config(0, (1 - half, 1 + half)), *config(1, (2 - half, 2 + half))]
    assert choose(rows).reliability == pytest.approx(0.8413, abs=0.03)


def test_who_leads_by_luck_alone_is_rarely_called_reliable():
    """Thirty equal configurations: without shrinking their means a fifth of the leaders would be trusted."""
    draw = random.Random(0).gauss
    trusted = 0
    for _ in range(40):
        choice = choose([r for t in range(30) for r in config(t, [draw(0, 1) for _ in range(3)])], by="reconstruction")
        trusted += not choice.abstained
    assert trusted <= 4


def test_means_that_spread_less_than_their_noise_leave_all_equally_likely():
    rows = [r for t in range(5) for r in config(t, (t * 1e-3 - 1, t * 1e-3 + 1))]
    choice = choose(rows)
    assert choice.reliability == pytest.approx(1 / 5) and choice.abstained


@pytest.mark.parametrize("by", [*CRITERIA, "objective"])
def test_permuting_labels_leaves_the_choice_byte_identical(by):
    rows = [*clear_study(), *config(7, (0.001, 0.002), **{"val/used_sprites": 0.1})]
    for i, r in enumerate(rows):
        r["labels/accuracy"] = i / 10
        r["labels/nmi"] = 1 - i / 10
    first = json.dumps(choose(rows, by=by).to_dict())
    values = [(r["labels/accuracy"], r["labels/nmi"]) for r in rows]
    for seed in range(5):
        random.Random(seed).shuffle(values)
        for r, (accuracy, nmi) in zip(rows, values, strict=True):
            r["labels/accuracy"], r["labels/nmi"] = accuracy, nmi
        assert json.dumps(choose(rows, by=by).to_dict()) == first
    for r in rows:
        del r["labels/accuracy"], r["labels/nmi"]
    assert json.dumps(choose(rows, by=by).to_dict()) == first


@pytest.mark.parametrize("by", CRITERIA)
def test_no_criterion_reads_a_label(by):
    class NoLabels(dict):
        def get(self, name, default=None):
            assert not name.startswith("labels/")
            return super().get(name, default)

        __getitem__ = get

    candidates([NoLabels(r) for r in clear_study()], CRITERIA[by])


def test_settings_across_which_a_criterion_does_not_compare_are_said_aloud():
    rows = clear_study()
    assert not any("compare fairly" in r for r in choose(rows).reasons)
    rows[0]["sprites.count"] = rows[1]["sprites.count"] = 20
    assert any("sprites.count" in r and "compare fairly" in r for r in choose(rows).reasons)


def test_the_order_of_rows_does_not_matter():
    rows = [*clear_study(), *config(7, (0.001,), state="pruned")]
    shuffled = rows[:]
    random.Random(3).shuffle(shuffled)
    assert choose(rows) == choose(shuffled)


def test_an_objective_that_needs_labels_and_an_unknown_method_are_refused():
    with pytest.raises(ValueError, match="needs labels"):
        choose(clear_study(), metric="labels/accuracy", by="objective")
    with pytest.raises(ValueError, match="did you mean reconstruction"):
        choose(clear_study(), by="reconstuction")


def labelled():
    """Errors 1..4 hundredths; accuracies by hand: the trial of least error has the second best accuracy."""
    table = {0: (0.01, 0.8), 1: (0.02, 0.9), 2: (0.03, 0.4), 3: (0.04, 0.3)}
    return [row(t, s, e + s * 1e-4, **{"labels/accuracy": a}) for t, (e, a) in table.items() for s in (0, 1)]


def test_agreement_by_hand():
    found = agreement(labelled(), choose(labelled()))
    assert found["n"] == 4 and found["target"] == "labels/accuracy"
    assert found["chosen"] == {"trial": 0, "value": pytest.approx(0.8)}
    assert found["best_by_labels"] == {"trial": 1, "value": pytest.approx(0.9)}
    assert found["regret"] == pytest.approx(0.1)
    assert found["normalised_regret"] == pytest.approx(0.1 / (0.9 - 0.6))
    assert found["spearman"] == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)


def test_agreement_needs_labels():
    rows = [{k: v for k, v in r.items() if not k.startswith("labels/")} for r in labelled()]
    assert agreement(rows, choose(rows)) is None


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_says_what_it_is_and_gives_nan_without_its_inputs(name):
    assert criterion(name).about and criterion(name).group and criterion(name).key
    assert math.isnan(criterion(name).of({"trial": 0}))
