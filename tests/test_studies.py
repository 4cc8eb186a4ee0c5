"""Studies as tables, in files and over several of them: point values by hand, exact tests, goals."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from sprite_search import overview, printing
from sprite_search import selection as s
from sprite_search.selection.goals import GOALS
from sprite_search.selection.preregistered import PRIMARY
from sprite_search.selection.redraws import Pairs
from sprite_search.selection.tables import FAMILIES, LABELS, REPORT_LABELS

#: Pre-registered ones: `description_length` is perfect, `reconstruction` chance, `invariant_silhouette` inverted.
NAMES = ("reconstruction", "description_length", "invariant_silhouette")


def table(seed=0, trials=10, seeds=3, dataset="usps"):
    generator = np.random.default_rng(seed)
    rows = []
    for trial in range(trials):
        chance = float(generator.normal())
        for own in range(seeds):
            accuracy = 0.3 + 0.05 * trial + 0.001 * float(generator.normal())
            rows.append(
                {
                    "trial": trial,
                    "seed": own,
                    "state": "complete",
                    "arm": "random",
                    "epoch": 4,
                    "epochs": 4,
                    "dataset.name": dataset,
                    "model.kind": "clustering",
                    "sprites.count": 10,
                    "optimizer.learning_rate": 0.1 / (trial + 1),
                    "sprites.frozen": trial % 2 == 0,
                    "val/hard_reconstruction": chance,
                    "val/reconstruction": chance,
                    "criteria/description_length": -accuracy,
                    "criteria/invariant_silhouette": -accuracy,
                    "labels/accuracy": accuracy,
                }
            )
    return rows


def study(name="one", *, pooled=True, **more):
    """With `pooled`, what criteria of the pool are computed again from."""
    made = table(**more)
    keys = tuple((r["trial"], r["seed"]) for r in made)
    agreement = np.random.default_rng(5).uniform(size=(len(keys), len(keys)))
    pairs = Pairs(keys, np.array([r["val/reconstruction"] for r in made]), (agreement + agreement.T) / 2)
    curve = [
        {"labels": 5, "regret": 0.1, "normalised_regret": 0.5},
        {"labels": 50, "regret": 0.0, "normalised_regret": 0.0},
    ]
    space = {"search": {"sprites.count": {}}}
    reports, judging = s.separated_reports(
        {**r, "epoch": epoch, "settled": epoch > 1, "labels/accuracy": r["labels/accuracy"] - 0.05 * (4 - epoch)}
        for r in made
        for epoch in (1, 2, 3, 4)
    )
    together = {"configurations": 10, "accuracy": 0.7, "best": 0.6, "mean": 0.5, "regret": -0.1}
    together["normalised_regret"] = -1.0
    more = {"label_curve": curve, "aggregate": together, "reports": reports, "report_labels": judging}
    return s.Study.of(name, made, space=space, pairs=pairs if pooled else None, **more)


@pytest.fixture(scope="module")
def judged():
    """Eight studies of eight data sets."""
    names = [n for members in FAMILIES.values() for n in members][:8]
    return [
        s.judge(study(n, pooled=False, seed=i, dataset=n), criteria=[*NAMES, "necessity"], draws=50)
        for i, n in enumerate(names)
    ]


def test_what_is_saved_is_what_is_loaded(tmp_path):
    made = study()
    back = s.load(s.save(made, tmp_path / "one"))
    assert (back.name, back.dataset, back.family, back.searched) == ("one", "usps", "digits", ["sprites.count"])
    assert back.label_curve == made.label_curve and back.aggregate == made.aggregate
    for key, own in made.report_labels.items():
        assert back.report_labels[key] == pytest.approx(own, abs=1e-5)
    assert len(back.reports) == len(made.reports) == 120 and s.trusted(back.reports[:4]) == s.trusted(made.reports[:4])
    for mine, other in zip(made.rows, back.rows, strict=True):
        assert other == {n: pytest.approx(v, rel=1e-5) if isinstance(v, float) else v for n, v in mine.items()}
    assert back.labels.keys() == made.labels.keys()
    assert back.pairs.keys == made.pairs.keys
    np.testing.assert_allclose(back.pairs.agreement[3, :3], made.pairs.agreement[3, :3], rtol=1e-5)
    assert [one.name for one in s.studies_in(tmp_path)] == ["one"]


def test_what_is_loaded_is_judged_as_what_was_saved(tmp_path):
    made = study()
    first, second = (s.judge(one, draws=20) for one in (made, s.load(s.save(made, tmp_path / "one"))))
    assert [r["criterion"] for r in first["rows"]] == [r["criterion"] for r in second["rows"]]
    last = {"name": "aggregate of 10 trials", "regret": -0.1, "normalised_regret": -1.0}
    assert first["baselines"][-1] == second["baselines"][-1] == last
    for mine, other in zip(first["rows"], second["rows"], strict=True):
        assert mine["regret_interval"] == pytest.approx(other["regret_interval"], abs=1e-4)
        assert "centrality" not in mine["note"]  # computed again in each redraw, from the table of pairs


def test_labels_are_in_a_file_of_their_own_that_a_choice_does_not_open(tmp_path):
    folder = s.save(study(), tmp_path / "one")
    mentions = [f.name for f in folder.iterdir() if "labels/" in f.read_text()]
    assert sorted(mentions) == [LABELS, REPORT_LABELS]
    with_labels = s.load(folder)
    for file in mentions:
        (folder / file).unlink()
    without = s.load(folder, labels=False)
    assert not without.labels and not without.label_curve and not without.report_labels and without.aggregate is None
    assert without.reports == with_labels.reports
    assert s.choose(without.rows) == s.choose(with_labels.rows)


def test_permuting_labels_changes_no_byte_of_the_other_files(tmp_path):
    made = table()
    first = s.save(s.Study.of("one", made), tmp_path / "a")
    accuracies = [r["labels/accuracy"] for r in made][::-1]
    second = s.save(
        s.Study.of("one", [{**r, "labels/accuracy": a} for r, a in zip(made, accuracies, strict=True)]), tmp_path / "b"
    )
    for file in first.iterdir():
        assert (file.read_bytes() == (second / file.name).read_bytes()) == (file.name != LABELS)


def test_a_data_frame_is_as_good_as_a_list():
    made = table()
    made[0]["val/effective_sprites"] = 3.0  # the others have none: NaN in the frame
    a, b = s.Study.of("one", made), s.Study.of("one", pd.DataFrame(made))
    assert [dict(r) for r in a.rows] == [dict(r) for r in b.rows] and a.labels == b.labels


def test_a_study_without_labels_is_not_judged():
    assert s.judge(s.Study("one", s.without_labels(table())), draws=10) is None


def test_each_criterion_over_studies(judged):
    over = s.over_studies(judged, draws=100)
    rows = {r["criterion"]: r for r in over["rows"]}
    assert len(over["studies"]) == 8 and over["left_out"] == [] and "digits" in over["families"]
    perfect, inverted, chance = rows["description_length"], rows["invariant_silhouette"], rows["reconstruction"]
    assert perfect["normalised_regret"] == perfect["normalised_regret_worst"] == 0 and perfect["harm"] == 0
    assert perfect["spearman_worst"] == pytest.approx(1) and perfect["labels"] == 50
    assert inverted["spearman"] == pytest.approx(-1) and inverted["harm"] == 1 and inverted["labels"] == 0
    shares = [r["normalised_regret"] for f in judged for r in f["rows"] if r["criterion"] == "reconstruction"]
    assert chance["normalised_regret"] == pytest.approx(np.mean(shares))
    assert chance["normalised_regret_median"] == pytest.approx(np.median(shares))
    low, high = chance["normalised_regret_interval"]
    assert low < chance["normalised_regret"] < high
    # all eight agree: 1/256, times the three that were fixed in advance and have values
    assert perfect["p_random"] == perfect["p_random_sign"] == 1 / 256
    assert perfect["p_random_holm"] == pytest.approx(3 / 256)
    assert inverted["p_random"] == 1 and rows["reconstruction"]["p_baseline"] is None
    assert [r["criterion"] for r in over["rows"]] == [n for n in PRIMARY if n in NAMES]


def test_a_study_with_nothing_to_select_is_listed_and_not_averaged(judged):
    flat = [{**r, "labels/accuracy": 0.5} for r in table()]
    nothing = s.judge(s.Study.of("flat", flat), criteria=NAMES, draws=10)
    over = s.over_studies([*judged, nothing], draws=10)
    assert over["left_out"] == ["flat"] and len(over["studies"]) == 8
    assert s.over_studies([nothing], draws=10)["rows"] == []


def test_a_family_is_the_mean_of_its_studies(judged):
    own = s.by_family(judged, "description_length")
    assert own == {family: 0.0 for family in sorted({f["family"] for f in judged})}


def test_goals_are_met_or_not_or_not_measured(judged):
    over = s.over_studies(judged, draws=10)
    good = {g["goal"]: g for g in s.goals(over, by="description_length")}
    bad = {g["goal"]: g for g in s.goals(over, by="invariant_silhouette")}
    assert good["mean rank correlation"]["met"] == "moonshot" and bad["mean rank correlation"]["met"] == "not met"
    assert good["labels it is worth, median over studies"]["met"] == "good"  # 50
    assert {g["met"] for g in good.values()} >= {"not measured"}  # no classical index has a value here
    assert s.goals(over, by="necessity") == []  # it has no value
    assert json.loads(json.dumps(s.goals(over, by="invariant_silhouette")))


def test_the_weights_of_table_13_are_judged_by_studies_that_search_nothing_else():
    over = {"rows": [{"criterion": "catalogue", "normalised_regret": 0.1}]}

    def judged(picked, searched, dataset="mnist_color"):
        return {"dataset": dataset, "searched": searched, "rows": [{"criterion": "catalogue", "picked": picked}]}

    weights = ["regularisers.frequency.weight"]
    given = [judged(0.97, weights), judged(0.9, weights), judged(0.5, [*weights, "sprites.count"])]
    given.append(judged(0.4, weights, "usps"))
    found = next(g for g in s.goals(over, judged=given) if "Table 13" in g["goal"])
    assert (found["value"], found["met"]) == (0.9, "minimum")


def test_the_bound_of_harm_is_strict():
    goal = next(g for g in GOALS if "no harm" in g.about)
    assert [goal.level(x) for x in (1.0, 0.99, 0.5, 0.2, None)] == [
        "not met",
        "minimum",
        "good",
        "moonshot",
        "not measured",
    ]


def test_the_loss_from_study_to_family_and_the_trust_are_taken_from_what_was_measured(judged):
    over = s.over_studies(judged, draws=10)
    made = s.goals(
        over, by="invariant_silhouette", calibration={"good_when_reliable": 0.9}, learned={"study": 0.2, "family": 0.24}
    )
    values = {g["goal"]: g["value"] for g in made}
    assert values["when it says reliable, normalised regret ≤ 0.2 in"] == 0.9
    assert math.isclose(values["what the learned selector loses on a new family, not only a new study"], 0.04)


def test_several_studies_are_printed_with_their_goals(judged, capsys):
    over = s.over_studies(judged, draws=10)
    printing.over_studies({"over_studies": over, "goals": s.goals(over, by="description_length")})
    out = capsys.readouterr().out
    assert "8 studies (digits, mnist," in out and "description_length*" in out and "moonshot" in out
    assert "0.012" in out  # 3/256 by Holm


def test_two_studies_of_a_home_are_pooled_by_the_command(monkeypatch):
    monkeypatch.setattr(overview, "tables", lambda home, name: study(name, pooled=False, trials=5))
    found = overview.criteria(None, ["a", "b"])
    assert found["over_studies"]["studies"] == ["a", "b"] and [f["study"] for f in found["studies"]] == ["a", "b"]
    assert json.loads(printing.as_json(found))["goals"]
    alone = overview.criteria(None, ["a"])
    assert alone["study"] == "a" and "redrawn" not in printing.as_json(alone)
