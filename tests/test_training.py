"""The training loop: it learns, resumes bit for bit, and says so when something is wrong."""

import json

import pytest
import torch

from trainers import Diverged, datasets, load, train
from trainers.errors import DataError
from trainers.settings import SettingError, TrialConfig
from trainers.training import Trainer

DIGITS = {
    "dataset.name": "digits",
    "dataset.images": 60,
    "sprites.count": 4,
    "encoder.width": 4,
    "training.epochs": 5,
    "training.batch_size": 16,
}
SCENES = {
    "dataset.name": "multi_dsprites",
    "dataset.images": 24,
    "dataset.size": 16,
    "dataset.objects_max": 2,
    "model.kind": "multilayer",
    "sprites.count": 2,
    "sprites.size": 8,
    "encoder.width": 4,
    "training.epochs": 5,
    "training.batch_size": 8,
}
#: Trainings in which as much as possible changes on the way: parts that join, freezing, drops, reassignment.
TRAININGS = {
    "curriculum": {
        **DIGITS,
        "transformations.sprite": "identity_color_affine_tps",
        "transformations.first": 0.2,
        "transformations.last": 0.6,
        "regularisers.frequency.weight": 0.1,
        "regularisers.binary.weight": 0.01,
        "optimizer.decay_at": 0.7,
        "sprites.freeze": 0.4,
    },
    "reassignment": {
        **DIGITS,
        "sprites.kind": "pixels",
        "decision.kind": "min_loss",
        "decision.reassign_every": 3,
        "decision.reassign_below": 1.0,
    },
    "layers": {
        **SCENES,
        "transformations.sprite": "identity_similarity",
        "regularisers.empty_sprite.weight": 1e-3,
        "sprites.freeze_masks": 0.4,
        "optimizer.decay_sprites": False,
        "decision.learned_temperature": True,
    },
    "layers_reassignment": {
        **SCENES,
        "transformations.sprite": "identity_similarity",
        "decision.kind": "min_loss",
        "decision.passes": 1,
        "decision.reassign_every": 2,
        "decision.reassign_below": 1.0,
        "sprites.freeze_masks": 0.2,
    },
}


def members(settings, count=1):
    return [TrialConfig.from_flat({**settings, "seed": seed}) for seed in range(count)]


def final_state(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def same(a, b):
    """Whether two nested states are equal, bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_interrupted_after_any_epoch_goes_on_bit_for_bit(name, tmp_path):
    configs = members(TRAININGS[name], 2)
    uninterrupted = {}
    for progress in train(configs, device="cpu"):
        uninterrupted[progress.epoch] = progress.metrics
        progress.save(tmp_path / f"{progress.epoch}")
    last = max(uninterrupted)
    assert last == 5
    expected = final_state(tmp_path / f"{last}")
    for epoch in range(1, last):
        resumed = {}
        for progress in train(configs, device="cpu", resume=tmp_path / f"{epoch}"):
            resumed[progress.epoch] = progress.metrics
        progress.save(tmp_path / "resumed")
        assert resumed == {e: m for e, m in uninterrupted.items() if e > epoch}
        assert same(final_state(tmp_path / "resumed"), expected)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_repeats_itself(name, tmp_path):
    for folder in ("a", "b"):
        *_, progress = train(members(TRAININGS[name]), device="cpu")
        progress.save(tmp_path / folder)
    assert same(final_state(tmp_path / "a"), final_state(tmp_path / "b"))


def test_the_clustering_of_digits_is_learnt():
    config = {**DIGITS, "dataset.images": 600, "sprites.count": 10, "encoder.width": 8, "training.epochs": 12}
    progress = list(train(members({**config, "regularisers.frequency.weight": 0.01}), device="cpu"))
    first, last = progress[0].metrics[0], progress[-1].metrics[0]
    assert last["val/reconstruction"] < 0.75 * first["val/reconstruction"]
    assert last["labels/accuracy"] > 0.35  # of ten classes
    assert last["val/used_sprites"] > 0.5


def test_scenes_are_learnt_and_reported():
    *_, last = progress = list(train(members({**SCENES, "dataset.images": 100, "training.epochs": 8}), device="cpu"))
    metrics = last.metrics[0]
    assert metrics["train/loss"] < progress[0].metrics[0]["train/loss"]
    assert metrics.keys() == {
        "train/loss", "train/reconstruction", "val/reconstruction", "val/hard_reconstruction",
        "val/used_sprites", "val/effective_sprites", "val/empty_share", "val/mask_area",
        "labels/mean_accuracy", "labels/pixel_accuracy", "labels/average_iou",
        "labels/ari_foreground", "labels/instance_iou",
    }  # fmt: skip
    assert 0 <= metrics["val/empty_share"] <= 1 and 0 <= metrics["val/mask_area"] <= 1


def test_a_last_batch_of_one_image_waits_for_another_epoch():
    left = len(datasets.load(TrialConfig.from_flat(DIGITS), None).train) - 1
    given = {**DIGITS, "training.batch_size": left, "encoder.pool": 1, "training.epochs": 2}
    trainer = Trainer([TrialConfig.from_flat(given)], datasets.load(TrialConfig.from_flat(given), None), "cpu")
    assert trainer.taken == left
    sums = trainer.one_epoch()
    assert trainer.steps == 1 and sums["loss"].isfinite().all()


def test_reports_come_as_often_as_asked_and_at_the_end():
    config = {**DIGITS, "training.report_every": 2}
    reports = list(train(members(config), device="cpu"))
    assert [p.epoch for p in reports] == [2, 4, 5]
    assert [p.fraction for p in reports] == [0.4, 0.8, 1.0]


def trainer_of(settings):
    configs = members(settings)
    return Trainer(configs, datasets.load(configs[0]), "cpu")


def changed_by_an_epoch(trainer):
    before = {n: p.detach().clone() for n, p in trainer.stack.parameters.items()}
    trainer.one_epoch()
    trainer.epoch += 1
    return {n for n, p in trainer.stack.parameters.items() if not p.equal(before[n])}


def test_a_part_that_has_not_joined_is_not_touched_and_starts_afresh():
    trainer = trainer_of({**TRAININGS["curriculum"], "sprites.freeze": 0.0})
    heads = {n.split(".")[2] for n in trainer.stack.parameters if n.startswith("sequence.")}
    assert heads == {"color", "affine", "tps"}
    for joined in (set(), {"color"}, {"color", "affine"}, {"color", "affine", "tps"}):
        changed = {n.split(".")[2] for n in changed_by_an_epoch(trainer) if n.startswith("sequence.")}
        assert changed == joined
    steps = {n: int(s) for n, s in trainer.optimizer.steps.items() if n.startswith("sequence.")}
    per_epoch = -(-54 // 16)
    assert {s // per_epoch for n, s in steps.items() if ".color." in n} == {3}
    assert {s // per_epoch for n, s in steps.items() if ".tps." in n} == {1}


def test_frozen_colours_stay_while_masks_learn():
    trainer = trainer_of({**SCENES, "sprites.kind": "pixels", "sprites.freeze": 0.2})
    assert {n for n in changed_by_an_epoch(trainer) if n.startswith("sprites.")} == {"sprites.masks"}
    assert {n for n in changed_by_an_epoch(trainer) if n.startswith("sprites.")} == {"sprites.masks", "sprites.colours"}


def test_frozen_sprites_stay_as_a_whole_and_are_never_left_out():
    trainer = trainer_of({**SCENES, "sprites.freeze_masks": 0.2})
    changed = changed_by_an_epoch(trainer)
    assert changed and not any(n.startswith("sprites.") for n in changed)
    assert trainer.metrics({"loss": torch.zeros(1), "error": torch.zeros(1)})[0]["val/empty_share"] == 0
    assert any(n.startswith("sprites.") for n in changed_by_an_epoch(trainer))


def test_learning_rates_drop_for_the_groups_they_should():
    trainer = trainer_of({**DIGITS, "optimizer.decay_at": 0.5, "optimizer.decay_sprites": False})
    early = trainer._rates()
    trainer.epoch = 3
    late = trainer._rates()
    assert early["encoder.body.0.weight"].learning_rates == (1e-3,)
    assert late["encoder.body.0.weight"].learning_rates == pytest.approx((1e-4,))
    assert late["decision.map.weight"].learning_rates == (1e-3,)
    assert late["sprites.codes"].weight_decay == 0 and late["encoder.body.0.weight"].weight_decay == 1e-6


def test_rare_sprites_restart_from_the_most_used_one():
    trainer = trainer_of({**TRAININGS["reassignment"], "decision.reassign_below": 0.5})
    colours = trainer.stack.parameters["sprites.colours"]
    head = trainer.stack.parameters["sequence.heads.affine.weight1"]
    before, head_before = colours.detach().clone(), head.detach().clone()
    p = torch.tensor([[0.0, 1.0, 0.0, 0.0]] * 6 + [[1.0, 0.0, 0.0, 0.0]] * 3 + [[0.0, 0.0, 1.0, 0.0]] * 3)
    trainer.steps = 3
    trainer._reassign(p[None, :, None], trainer.model.phase(0, training=True))
    assert colours[0, :3].equal(before[0, :3])  # used often enough
    assert (colours[0, 3] - before[0, 1]).abs().max() < 1e-3 and not colours[0, 3].equal(before[0, 1])
    assert head[0, 3].equal(head_before[0, 1])
    assert not trainer.usage.any()


def test_a_diverging_loss_names_the_member_and_the_epoch():
    configs = members(DIGITS, 2)
    trainer = Trainer(configs, datasets.load(configs[0]), "cpu")
    with torch.no_grad():
        trainer.stack.parameters["decision.map.weight"][1] = float("nan")
    with pytest.raises(Diverged, match=r"member 1 .*epoch 1.*learning_rate") as caught:
        next(trainer.run())
    assert (caught.value.member, caught.value.epoch) == (1, 1)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    next(iter(train(members(DIGITS), device="cpu"))).save(tmp_path)
    with pytest.raises(DataError, match=r"differs in sprites.count"):
        train(members({**DIGITS, "sprites.count": 5}), device="cpu", resume=tmp_path)
    with pytest.raises(DataError, match="1 members, not 2"):
        train(members(DIGITS, 2), device="cpu", resume=tmp_path)


@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "other", "settings"])
def test_a_damaged_checkpoint_is_named_with_a_way_out(harm, tmp_path):
    next(iter(train(members(DIGITS), device="cpu"))).save(tmp_path)
    state, settings = tmp_path / "checkpoint.pt", tmp_path / "members.json"
    if harm == "missing":
        state.unlink()
    elif harm == "empty":
        state.write_bytes(b"")
    elif harm == "cut":
        state.write_bytes(state.read_bytes()[:2000])
    elif harm == "other":
        torch.save({"version": 0}, state)
    else:
        settings.write_text(json.dumps({"members": [{"sprites.colour": 3}]}))
    with pytest.raises(DataError, match=f"{'members.json' if harm == 'settings' else 'checkpoint.pt'}: .*; "):
        load(tmp_path)


def test_a_finished_training_resumes_to_nothing(tmp_path):
    *_, progress = train(members(DIGITS), device="cpu")
    progress.save(tmp_path)
    assert list(train(members(DIGITS), device="cpu", resume=tmp_path)) == []


def test_members_that_differ_in_more_are_refused():
    with pytest.raises(SettingError, match=r"sprites.count is 4 in one member and 5"):
        train([*members(DIGITS), *members({**DIGITS, "sprites.count": 5})], device="cpu")


@pytest.mark.soak  # minutes of compiling
def test_a_compiled_step_and_the_plain_one_agree():
    """Two phases: the step is compiled for each."""
    base = {**DIGITS, "training.epochs": 2, "transformations.sprite": "identity_translation"}
    base |= {"transformations.first": 0.5, "transformations.last": 0.5}
    plain, compiled = (train([TrialConfig.from_flat({**base, "training.compile": c})]) for c in (False, True))
    for a, b in zip(plain, compiled, strict=True):
        assert b.metrics[0]["train/loss"] == pytest.approx(a.metrics[0]["train/loss"], rel=1e-4)
