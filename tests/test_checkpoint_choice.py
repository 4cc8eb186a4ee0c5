"""Which checkpoint of a training to trust: the rule by hand, the weights that are kept for it, and labels after it."""

import itertools
import json
import random

import pytest
import torch
from conftest import TINY_DIGITS

from sprite_search import trusted as service
from sprite_search.checkpoints import TRUSTED, WEIGHTS, FolderStore, open_store
from sprite_search.selection import judge_checkpoints, separated_reports, trusted
from sprite_search.selection.checkpoints import PATIENCE
from sprite_search.trial import SpriteTrial
from trainers import load, train
from trainers.errors import DataError
from trainers.settings import TrialConfig


def reports(errors, calm=None, *, settled_from=0, **more):
    calm = calm or [0.9] * len(errors)
    return [
        {
            "trial": 0,
            "seed": 0,
            "epoch": i + 1,
            "settled": i >= settled_from,
            "sprites.count": 10,
            "val/hard_reconstruction": error,
            "val/effective_sprites": 8.0,
            "val/used_sprites": 1.0,
            "criteria/checkpoint_agreement": own,
            **more,
        }
        for i, (error, own) in enumerate(zip(errors, calm, strict=True))
    ]


@pytest.mark.parametrize(
    ("errors", "calm", "settled_from", "place"),
    [
        ([0.5, 0.4, 0.3, 0.2], None, 0, 3),  # it still learns
        ([0.5, 0.2, 0.3, 0.4], None, 0, 1),  # it turned worse
        ([0.1, 0.5, 0.4, 0.3], None, 1, 3),  # a transformation joined after the first
        ([0.2, 0.2, 0.2, 0.2], None, 0, 3),  # all alike: the last
        ([0.2, 0.201, 0.2, 0.201], [0.9, 0.99, 0.99, 0.6], 0, 2),  # as good, but its choices still move
        ([0.2, 0.19, 0.1], [0.9, 0.9, 0.3], 0, 2),  # clearly better, whatever moves
        ([0.2, *[0.3] * PATIENCE, 0.1], None, 0, 0),  # patience ended
        ([0.2, *[0.3] * (PATIENCE - 1), 0.1], None, 0, PATIENCE),
        ([0.3, 0.2], None, 9, 1),  # none after the curriculum
    ],
)
def test_the_rule_by_hand(errors, calm, settled_from, place):
    assert trusted(reports(errors, calm, settled_from=settled_from)) == place


def test_a_collapsed_model_is_passed_over_and_nothing_is_nothing():
    rows = reports([0.5, 0.4, 0.1])
    rows[2]["val/effective_sprites"] = 1.0
    assert trusted(rows) == 1
    assert trusted([]) is None


@pytest.mark.parametrize("seed", range(5))
def test_only_the_model_that_is_trusted_so_far_has_to_be_kept(seed):
    draw = random.Random(seed)
    rows = reports([draw.uniform(0.1, 0.13) for _ in range(30)], [draw.random() for _ in range(30)], settled_from=3)
    for row in rows:
        row["val/effective_sprites"] = draw.choice([1.0, 8.0, 8.0])
    chosen = [trusted(rows[: n + 1]) for n in range(30)]
    assert all(now in (before, n + 1) for n, (before, now) in enumerate(itertools.pairwise(chosen)))


def test_labels_judge_rules_afterwards():
    """Accuracies 0.5, 0.9, 0.7: the error chose the second, the last loses 0.2 of the 0.2 that a random one loses."""
    rows, labels = [], {}
    for trial in (0, 1):
        own = [{**r, "trial": trial} for r in reports([0.5, 0.2, 0.4])]
        rows += own
        for r, accuracy in zip(own, (0.5, 0.9, 0.7), strict=True):
            labels[trial, 0, r["epoch"]] = {"labels/accuracy": accuracy}
    found = judge_checkpoints(rows, labels)
    assert (found["trainings"], found["differ"], found["target"]) == (2, 2, "labels/accuracy")
    by_rule = {r["rule"]: r for r in found["rules"]}
    assert by_rule["trusted"]["normalised_regret"] == 0 and by_rule["trusted"]["gain"] == pytest.approx(0.2)
    assert by_rule["trusted"]["moved"] == 1 and by_rule["last"]["moved"] == 0
    assert by_rule["last"]["normalised_regret"] == pytest.approx(1.0)
    assert by_rule["last"]["regret"] == pytest.approx(0.2)
    assert by_rule["trusted"]["gain_interval"] == pytest.approx([0.2, 0.2])
    assert judge_checkpoints(rows, {}) is None and judge_checkpoints(rows[:2], labels) is None


def test_labels_move_no_checkpoint():
    mixed = [{**r, "labels/accuracy": 0.1 * i} for i, r in enumerate(reports([0.3, 0.1, 0.2]))]
    plain, labels = separated_reports(mixed)
    assert plain == reports([0.3, 0.1, 0.2]) and labels[0, 0, 2] == {"labels/accuracy": 0.1}
    assert trusted(plain) == trusted(mixed) == trusted([{**r, "labels/accuracy": 0.0} for r in mixed]) == 1


def job(folder, epochs=3):
    config = {**TINY_DIGITS, "training.epochs": epochs, "transformations.strategy": "all"}
    return {
        "study": "toy",
        "number": 0,
        "attempt": 1,
        "config": TrialConfig.from_flat({**config, "seed": 0}).flat() | {"seed": 0},
        "seeds": [3, 5],
        "checkpoints": str(folder),
        "data": str(folder),
        "cpu": 1,
        "gpu": 0,
        "gpu_memory": 0,
        "rungs": [],
        "driver": 0,
    }


def run(given, steps):
    trial = SpriteTrial({"job": given})
    results = [trial.step() for _ in range(steps)]
    trial.cleanup()
    return results


def test_a_worker_keeps_the_model_of_each_seed_that_is_trusted(tmp_path, monkeypatch):
    """Seed 3 is trusted after the first epoch and seed 5 after the last, over a worker that is started again."""
    monkeypatch.setattr(service, "places", lambda config, history: [0, len(history) - 1])
    given = job(tmp_path)
    run(given, 1)
    store = open_store(str(tmp_path))
    assert not (store.latest("toy", 0) / TRUSTED).exists()  # the last is trusted of both
    first = load(store.latest("toy", 0), member=0)
    run({**given, "attempt": 2}, 3)
    latest = store.latest("toy", 0)
    assert service.folder(latest) == latest / TRUSTED
    assert service.kept(latest).epochs == [1, 3]
    models = [load(latest / TRUSTED, member=m) for m in (0, 1)]
    last = [load(latest, member=m) for m in (0, 1)]
    same = [
        all(
            torch.equal(a, b) for a, b in zip(x.model.state_dict().values(), y.model.state_dict().values(), strict=True)
        )
        for x, y in ((models[0], first), (models[1], last[1]), (models[0], last[0]))
    ]
    assert same == [True, True, False]
    assert (models[0].epoch, models[1].epoch) == (1, 3)
    members = [TrialConfig.from_flat({**given["config"], "seed": s}) for s in given["seeds"]]
    with pytest.raises(DataError, match="folder above"):
        train(members, resume=latest / TRUSTED)
    store.drop("toy", 0)
    assert not list(latest.rglob(WEIGHTS)) and service.folder(latest) == latest


def test_reports_say_whether_the_curriculum_is_over_and_carry_criteria(tmp_path):
    given = job(tmp_path)
    given["config"] = {**given["config"], "transformations.strategy": "id+rest", "transformations.first": 0.5}
    run(given, 3)
    history = FolderStore(tmp_path).history("toy", 0)
    assert [r["settled"] for r in history] == [False, False, True]
    assert all("criteria/description_length" in m for r in history for m in r["metrics"])
    assert service.places(given["config"], history) == [2, 2]


def test_the_choice_is_said_in_words():
    config = {"sprites.count": 10}
    metrics = [{n: v for n, v in r.items() if "/" in n} for r in reports([0.5, 0.2, 0.4], [0.9, 0.9, 0.5])]
    history = [{"epoch": i + 1, "settled": True, "metrics": [m]} for i, m in enumerate(metrics)]
    found = service.described(config, json.loads(json.dumps(history)), 0)
    assert (found["epoch"], found["last"]) == (2, 3)
    assert "after epoch 2, not the last (3)" in found["says"] and "0.90 to 0.50" in found["says"]
    assert service.described(config, history[:2], 0) == {"epoch": 2, "last": 2, "says": ""}
    assert service.described(config, [], 0) is None
