"""Criteria against labels in one study: point values by hand, intervals, pools, and the firewall between the two."""

import copy
import json
import random

import numpy as np
import pytest

from sprite_search.selection import aggregated, choose, evaluate, label_curve, separated
from sprite_search.selection import endpoints as e
from sprite_search.selection.preregistered import PRIMARY
from sprite_search.selection.redraws import grid, redraw
from sprite_search.selection.significance import by_luck, holm, permutation, sign_test, wilcoxon

NAMES = ("reconstruction", "redundancy", "used_sprites")


def study(trials=12, seeds=3, *, arm="random", state="complete", generator=None):
    """Reconstruction is perfect (its error falls with accuracy), redundancy is inverted, used sprites constant."""
    generator = generator or np.random.default_rng(0)
    rows = []
    for trial in range(trials):
        for seed in range(seeds):
            accuracy = 0.3 + 0.05 * trial + 0.002 * float(generator.normal())
            rows.append(
                {
                    "trial": trial,
                    "seed": seed,
                    "state": state,
                    "arm": arm,
                    "model.kind": "clustering",
                    "val/reconstruction": 1 - accuracy,
                    "val/used_sprites": 1.0,
                    "criteria/redundancy": accuracy,
                    "criteria/centrality": float(generator.normal()),
                    "labels/accuracy": accuracy,
                }
            )
    return rows


def judged(rows, **more):
    plain, labels = separated(rows)
    found = evaluate(plain, labels, **{"criteria": NAMES, "draws": 200, **more})
    return found, {r["criterion"]: r for r in found["rows"]}


def test_perfect_inverted_and_constant_criteria():
    found, rows = judged(study())
    assert (found["n"], found["seeds"], found["target"]) == (12, 3, "labels/accuracy")
    perfect, inverted, constant = (rows[n] for n in NAMES)
    assert perfect["normalised_regret"] == 0 and perfect["spearman"] == pytest.approx(1)
    assert perfect["restart"]["gain"] is None or perfect["restart"]["gain"] == pytest.approx(1)
    assert perfect["flat"]["regret"] == 0 and perfect["regret_interval"][0] == 0
    assert inverted["harm"] and inverted["spearman"] == pytest.approx(-1)
    assert constant["constant"] and constant["normalised_regret"] == pytest.approx(1) and constant["spearman"] == 0
    assert found["rows"][0]["criterion"] == "reconstruction"  # fixed in advance, so first
    assert perfect["p"] < 0.1 < inverted["p"]


def test_point_values_are_those_of_a_plain_recomputation():
    generator = np.random.default_rng(3)
    rows = study(generator=generator)
    for row in rows:
        row["val/reconstruction"] = float(generator.random())
    _, by_name = judged(rows)
    errors = np.array([r["val/reconstruction"] for r in rows]).reshape(12, 3).mean(1)
    accuracy = np.array([r["labels/accuracy"] for r in rows]).reshape(12, 3).mean(1)
    best, mean, chosen = accuracy.max(), accuracy.mean(), accuracy[errors.argmin()]
    found = by_name["reconstruction"]
    assert found["regret"] == pytest.approx(best - chosen, abs=1e-9)
    assert found["normalised_regret"] == pytest.approx((best - chosen) / (best - mean), abs=1e-9)
    top = np.argsort(errors)[:5]
    assert found["top5_regret"] == pytest.approx(best - accuracy[top].max(), abs=1e-9)
    ranks = [np.argsort(np.argsort(x)) for x in (-errors, accuracy)]
    assert found["spearman"] == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-9)


def test_redraws_are_those_of_a_plain_recomputation():
    """Every redrawn regret from the same places, one at a time."""
    rows = study()
    places = redraw(grid([(r["trial"], r["seed"]) for r in rows]), 50, np.random.default_rng(0))
    _, by_name = judged(rows, draws=50)
    for draw, own in enumerate(places):
        accuracy = np.array([[rows[i]["labels/accuracy"] for i in seeds] for seeds in own]).mean(1)
        values = np.array([[rows[i]["criteria/redundancy"] for i in seeds] for seeds in own]).mean(1)
        chosen = accuracy[values == values.min()].mean()  # less redundancy is better
        regret = (accuracy.max() - chosen) / (accuracy.max() - accuracy.mean())
        assert by_name["redundancy"]["redrawn"][draw] == pytest.approx(regret, abs=1e-9)


def test_every_endpoint_has_the_interval_of_its_redraws():
    """Quantiles of endpoints of the same redraws, one at a time."""
    rows = study()
    chance = np.random.default_rng(5)
    for row in rows:
        row["labels/accuracy"] += 0.1 * float(chance.random())
    places = redraw(grid([(r["trial"], r["seed"]) for r in rows]), 50, np.random.default_rng(0))
    _, by_name = judged(rows, draws=50)
    redrawn = {}
    for own in places:
        a = np.array([[rows[i]["labels/accuracy"] for i in seeds] for seeds in own])
        v = -np.array([[rows[i]["criteria/redundancy"] for i in seeds] for seeds in own])  # less is better
        configurations, models = e.endpoints(v.mean(1), a.mean(1)), e.endpoints(v.ravel(), a.ravel())
        for name in ("top5_regret", "spearman", "kendall", "weighted_spearman"):
            redrawn.setdefault(name, []).append(configurations[name])
        for name in ("regret", "normalised_regret"):
            redrawn.setdefault(f"flat.{name}", []).append(models[name])
        redrawn.setdefault("restart.gain", []).append(e.restart(v, a)["gain"])
    for name, values in redrawn.items():
        *nested, last = name.split(".")
        found = by_name["redundancy"][nested[0]] if nested else by_name["redundancy"]
        assert found[f"{last}_interval"] == pytest.approx(np.quantile(values, (0.025, 0.975)), abs=1e-9), name


def test_the_interval_of_pure_noise_covers_zero():
    covered = []
    for seed in range(20):
        _, rows = judged(study(generator=np.random.default_rng(seed)), criteria=["centrality"], seed=seed)
        low, high = rows["centrality"]["spearman_interval"]
        covered.append(low <= 0 <= high)
    assert sum(covered) >= 17
    assert "too short" in rows["centrality"]["note"]


def test_criteria_of_the_pool_are_computed_again_in_each_redraw():
    asked = []

    def recompute(keys):
        asked.append(list(keys))
        return {"centrality": [trial for trial, _ in keys]}

    _, rows = judged(study(), criteria=["centrality"], recompute=recompute, draws=20)
    assert len(asked) == 21 and {len(keys) for keys in asked} == {36}
    assert rows["centrality"]["spearman"] == pytest.approx(1) and not rows["centrality"]["note"]
    assert rows["centrality"]["spearman_interval"][0] > 0.9


def test_rows_with_labels_are_refused():
    rows = study()
    with pytest.raises(ValueError, match="labels/accuracy"):
        evaluate(rows, separated(rows)[1])


def test_permuting_labels_leaves_rows_and_choice_byte_identical():
    rows = study()
    plain, labels = separated(rows)
    before = json.dumps([plain, choose(plain).to_dict()])
    for seed in range(3):
        values = list(labels.values())
        random.Random(seed).shuffle(values)
        dealt = dict(zip(labels, copy.deepcopy(values), strict=True))
        evaluate(plain, dealt, criteria=NAMES, draws=10)
        again = [{**r, **dealt[r["trial"], r["seed"]]} for r in plain]
        assert json.dumps([separated(again)[0], choose(again).to_dict()]) == before


def test_without_labels_or_with_one_configuration_there_is_nothing_to_evaluate():
    plain, labels = separated(study())
    assert evaluate(plain, {}) is None
    assert evaluate(plain[:3], labels) is None


def test_models_without_a_value_count_as_the_worst():
    rows = study()
    for row in rows[-3:]:  # the best trial by labels
        row["val/reconstruction"] = float("nan")
    _, by_name = judged(rows)
    assert by_name["reconstruction"]["without_value"] == 3
    assert by_name["reconstruction"]["regret"] == pytest.approx(0.05, abs=0.01)


def test_steered_and_stopped_trials_are_pools_of_their_own():
    good = [{**r, "trial": r["trial"] + 50, "arm": "optimised"} for r in study(2)]
    for row in good:
        row["labels/accuracy"] = 0.95
        row["val/reconstruction"] = 0.9
    stopped = [{**r, "trial": r["trial"] + 90, "state": "pruned"} for r in study(3)]
    again = [{**r, "trial": r["trial"] + 70, "arm": "confirm"} for r in study(1)]
    found, _ = judged([*study(6), *good, *stopped, *again])
    assert found["n"] == 6
    pools = {(p["pool"], p["criterion"]): p for p in found["pools"]}
    sizes = [p["n"] for p in pools.values()]
    assert sizes == [6, 8, 11]
    # the best of the random arm is chosen, but the search found better ones
    first = next(iter(pools.values()))
    assert first["regret"] == pytest.approx(0.95 - 0.55, abs=0.01)


def test_too_few_random_trials_leave_all_finished_ones():
    found, _ = judged(study(3))
    assert found["pool"] == "all finished trials"


def test_baselines():
    found, _ = judged(study())
    by_name = {b["name"]: b for b in found["baselines"]}
    assert by_name["random pick"]["normalised_regret"] == pytest.approx(1)
    assert by_name["labels (oracle)"]["regret"] == 0
    assert by_name["labels on other seeds (noise floor)"]["regret"] == pytest.approx(0, abs=0.01)
    rows = study()
    for row in rows[:3]:
        row["arm"] = "start"
    published = {b["name"]: b for b in judged(rows)[0]["baselines"]}["published settings"]
    assert published["normalised_regret"] > 1
    best = max(range(len(rows)), key=lambda i: rows[i].get("labels/accuracy", 0))
    losing = [{**r, "train/loss": float(r["trial"] != rows[best]["trial"])} for r in rows]
    loss = {b["name"]: b for b in judged(losing)[0]["baselines"]}["training loss"]
    assert loss["regret"] == pytest.approx(0, abs=0.05)


def test_equal_configurations_are_nothing_to_select():
    rows = study()
    for row in rows:
        row["labels/accuracy"] = 0.5
    found, by_name = judged(rows)
    assert found["nothing_to_select"] and by_name["reconstruction"]["normalised_regret"] is None
    assert by_name["reconstruction"]["normalised_regret_interval"] is None


def test_the_preregistered_criteria_come_first_and_combinations_are_judged_too():
    plain, labels = separated(study())
    names = [r["criterion"] for r in evaluate(plain, labels, draws=10)["rows"]]
    known = [n for n in PRIMARY if n in names]
    assert names[: len(known)] == known and "borda" in known


def test_unequal_numbers_of_seeds():
    rows = study()
    found, by_name = judged([r for r in rows if r["seed"] == 0 or r["trial"] % 2])
    assert found["seeds"] == 3 and by_name["reconstruction"]["normalised_regret"] == 0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_exact_tests_by_hand():
    assert wilcoxon([1, 2, 3, 4, 5, 6, 7, 8]) == pytest.approx(1 / 256)
    assert wilcoxon([1, 2, -3]) == pytest.approx(5 / 8)  # rank sums at least 3: 3, 4, 5, 6 and 3 again
    assert sign_test([1, 2, -3]) == pytest.approx(0.5)
    assert wilcoxon([0, 0]) is None and sign_test([]) is None


def test_wilcoxon_is_scipys():
    from scipy.stats import wilcoxon as reference

    generator = np.random.default_rng(0)
    for _ in range(5):
        d = generator.normal(0.3, 1, 8)
        assert wilcoxon(d) == pytest.approx(reference(d, alternative="greater", method="exact").pvalue)


def test_max_t_counts_the_best_of_all_criteria():
    generator = np.random.default_rng(0)
    accuracy = np.linspace(0.1, 0.9, 20)
    values = generator.normal(size=(40, 20))
    _, correlations = permutation(values, accuracy, 400, generator)
    best = max(float(np.corrcoef(np.argsort(np.argsort(v)), np.arange(20))[0, 1]) for v in values)
    (p,) = by_luck(correlations, [best])
    assert p > 0.05  # the best of 40 criteria of noise is no discovery
    assert by_luck(correlations, [1.0])[0] == pytest.approx(1 / 401)


def test_the_curve_of_labels_is_of_the_pool_that_criteria_are_judged_on():
    rows = study()
    plain, labels = separated(rows)
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 4, 300)
    made = {}
    for row in rows:
        right = generator.random(300) < row["labels/accuracy"]
        made[row["trial"], row["seed"]] = np.where(right, classes, generator.integers(0, 4, 300))
    found = label_curve(plain, labels, made, classes)
    assert [f["labels"] for f in found] == [5, 10, 20, 50, 100, 200]
    assert found[0]["normalised_regret"] > found[-1]["normalised_regret"]
    assert all(f["shortlisted"] is not None for f in found)
    assert label_curve(plain, {}, made, classes) == [] == label_curve(plain, labels, {}, classes)


def test_the_aggregate_of_leaders_is_judged_beside_the_configurations():
    """Three configurations, each wrong on another third of the images, lead over a fourth that is wrong everywhere.

    Together they are right; one that is wrong on a third, all of it in one class, is 2/3 right or more.
    """
    classes = np.tile([0, 1, 2], 30)
    wrong = [np.where(np.arange(90) // 30 == t, (classes + 1) % 3, classes) for t in range(3)]
    made = {(t, 0): own for t, own in enumerate([*wrong, np.arange(90) // 30])}
    labels = {k: {"labels/accuracy": 0.6 - 0.1 * k[0]} for k in made}
    rows = [
        {"trial": t, "seed": 0, "state": "complete", "arm": "random", "criteria/good_fit_centrality": 1.0 - t}
        for t in range(4)
    ]
    rows[3].pop("criteria/good_fit_centrality")  # without a value it leads nowhere
    found = aggregated(rows, labels, made, classes)
    assert (found["configurations"], found["accuracy"]) == (3, 1)
    assert found["best"] == pytest.approx(2 / 3) and found["mean"] == pytest.approx((3 * 2 / 3 + 1 / 3) / 4)
    assert found["regret"] == pytest.approx(-1 / 3) and found["normalised_regret"] == pytest.approx(-4)
    assert aggregated(rows, {}, made, classes) is None and aggregated(rows[3:], labels, made, classes) is None
