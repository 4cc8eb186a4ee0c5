"""What may steer a search: criteria of one trial, kept apart from those that choose and that audit."""

import numpy as np
import pytest
from conftest import TINY_DIGITS, TINY_SCENES

from sprite_search.selection.audit import AUDIT, AUDIT_SCENES
from sprite_search.selection.compute import compute
from sprite_search.selection.criteria import CRITERIA
from sprite_search.selection.leakage import checklist
from sprite_search.selection.steering import GATES, OBJECTIVES, REPORTED, refusal, reported
from sprite_search.space import load_space, problems
from trainers import train
from trainers.settings import TrialConfig

SPACE = """\
study: steered
trial: {{dataset.name: digits, model.kind: {kind}}}
search: {{decision.kind: [linear, min_loss], {search}: [8, 10]}}
objective: {{{direction}: {metric}}}
replicates: {replicates}
"""


def checked(tmp_path, metric, *, kind="clustering", search="sprites.latent", direction="minimize", replicates=2):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE.format(metric=metric, kind=kind, search=search, direction=direction, replicates=replicates))
    return [p for p in problems(file) if "objective" in p]


@pytest.mark.parametrize("given", [TINY_DIGITS, TINY_SCENES], ids=["digits", "scenes"])
def test_a_worker_reports_what_the_table_of_the_study_says_later(given):
    *_, progress = train([TrialConfig.from_flat({**given, "seed": seed}) for seed in (3, 5)])
    arrays = dict(zip((3, 5), progress.artefacts(), strict=True))
    arrays[5] = {**arrays[5], "A_prev": arrays[3]["A"]}
    found = reported(given, (3, 5), arrays)
    rows = [{**given, "trial": 7, "seed": seed, "state": "complete"} for seed in (3, 5)]
    table = compute(rows, {(7, seed): own for seed, own in arrays.items()})
    for row in table:
        wanted = {f"criteria/{n}": row[f"criteria/{n}"] for n in REPORTED}
        assert found[row["seed"]] == {n: v for n, v in wanted.items() if np.isfinite(v)}
    assert "criteria/checkpoint_agreement" not in found[3] and "criteria/checkpoint_agreement" in found[5]
    assert ("criteria/free_energy" in found[3]) == (given is TINY_DIGITS)


def test_a_model_without_artefacts_reports_none():
    assert reported({}, (0, 1), {}) == {0: {}, 1: {}}


@pytest.mark.parametrize("name", CRITERIA)
def test_what_chooses_or_audits_may_not_steer(name):
    may = refusal(name) is None
    assert may == (name in OBJECTIVES)
    assert (refusal(name, bound=True) is None) == (name in REPORTED)
    if name in (*AUDIT, *AUDIT_SCENES):
        assert "audits" in refusal(name, bound=True)


@pytest.mark.parametrize(
    ("metric", "given", "word"),
    [
        ("criteria/description_length", {}, None),
        ("criteria/free_energy", {}, None),
        ("criteria/description_length", {"search": "sprites.count"}, None),
        ("criteria/description_length", {"direction": "maximize"}, "write minimize:"),
        ("criteria/free_energy", {"kind": "multilayer"}, "images of one sprite"),
        ("criteria/description_length", {"kind": "anchors"}, "no artefacts"),
        ("criteria/seed_agreement", {"direction": "maximize"}, "sought alone"),
        ("criteria/necessity", {}, "audits"),
        ("criteria/centrality", {}, "not known of one trial"),
        ("criteria/outside", {}, "constraints"),
        ("criteria/descripton_length", {}, "did you mean criteria/description_length"),
    ],
)
def test_check_says_which_criteria_can_be_the_objective(tmp_path, metric, given, word):
    found = checked(tmp_path, metric, **given)
    assert not found if word is None else len(found) == 1 and word in found[0]


def test_stability_may_be_sought_beside_fit_where_there_are_seeds_to_compare():
    assert refusal("seed_agreement", alone=False, direction="maximize", replicates=2) is None
    assert "replicates" in refusal("seed_agreement", alone=False, replicates=1)


@pytest.mark.parametrize("name", GATES)
def test_gates_do_not_compare_across_what_moves_them(name):
    across = CRITERIA[name].not_across
    assert refusal(name, bound=True, searched=["optimizer.learning_rate"]) is None
    assert all(setting in refusal(name, bound=True, searched=[setting]) for setting in across)


def test_the_checklist_of_leaks_names_all_that_steered(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "study: steered\ntrial: {dataset.name: digits, model.kind: clustering}\n"
        "search: {decision.kind: [linear, min_loss]}\n"
        "objective: [{minimize: val/hard_reconstruction}, {maximize: criteria/seed_agreement}]\n"
        "constraints: {criteria/redundancy: {max: 0.9}}\nreplicates: 2\n"
    )
    found = {line["question"]: line for line in checklist(load_space(file).to_dict())}
    asked = found["is the search's objective one of the criteria tested?"]
    assert asked["answer"] == "yes" and "reconstruction, seed_agreement, redundancy" in asked["why"]
    assert found["did the search's objective use labels?"]["answer"] == "no"
