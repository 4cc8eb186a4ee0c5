"""Artefacts: what criteria read of a trained model, collected and kept."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import TINY_DIGITS, TINY_SCENES
from torch.testing import assert_close

from sprite_search import artefacts as kept
from sprite_search.checkpoints import FolderStore
from trainers import datasets, train
from trainers.artefacts import Subset, augmented, moran, ssim
from trainers.settings import TrialConfig
from trainers.training import Trainer
from trainers.transformations.affine import Affine
from trainers.transformations.lookup import coordinates, displacement, outside, torn

MIN_LOSS = {"decision.kind": "min_loss"}
MOVING = {"transformations.strategy": "all", "training.epochs": 1}


def last(given, seeds=(0,)):
    *_, progress = train([TrialConfig.from_flat({**given, "seed": seed}) for seed in seeds])
    return progress


def lookup(theta, size=(32, 32)):
    beta = torch.tensor(theta)[None] - torch.tensor([[1.0, 0, 0, 0, 1, 0]])
    start = coordinates(size, beta)[None]
    return torch.nn.functional.grid_sample(start, Affine.grid(beta, size), align_corners=False)[0]


@pytest.mark.parametrize("given", [TINY_DIGITS, TINY_SCENES], ids=["digits", "scenes"])
@pytest.mark.parametrize("more", [{}, MIN_LOSS], ids=["linear", "min_loss"])
def test_the_error_with_the_chosen_sprites_is_the_error_of_hard_choices(given, more):
    found = last({**given, **MOVING, **more}).artefacts()[0]
    assert found["D"].shape == found["P"].shape and found["A"].shape == found["D"].shape[:2]
    for layer in range(found["A"].shape[1]):
        own = np.take_along_axis(found["D"][:, layer], found["A"][:, layer, None].astype(int), 1)[:, 0]
        assert_close(own.astype(np.float32), found["E_hard"], rtol=2e-3, atol=1e-5)
    assert (found["A"] == np.where(found["P"].argmax(-1) == len(found["sprites"]), -1, found["P"].argmax(-1))).all()
    assert all(np.isfinite(v).all() for n, v in found.items() if v.dtype.kind == "f" and n != "E_foreground")


def test_min_loss_takes_the_sprite_of_least_error_in_every_image():
    found = last({**TINY_DIGITS, **MIN_LOSS}).artefacts()[0]
    assert (found["D"][:, 0].argmin(-1) == found["A"][:, 0]).all()


def test_without_transformations_nothing_moves_and_the_still_error_is_the_hard_error():
    still = last({**TINY_DIGITS, "transformations.sprite": "identity"}).artefacts()[0]
    assert still["B"].shape[-1] == 0
    assert_close(still["E_still"], still["E_hard"])
    for name in ("displacement", "torn", "outside"):
        assert_close(still[name].astype(np.float32), np.zeros_like(still[name], dtype=np.float32), atol=1e-3, rtol=0)


def test_members_trained_together_have_the_artefacts_they_have_alone():
    together, alone = last(TINY_DIGITS, (3, 5)).artefacts()[1], last(TINY_DIGITS, (5,)).artefacts()[0]
    assert together.keys() == alone.keys() and together["subset"] == alone["subset"]
    for name in ("E", "D", "P", "Z", "ssim"):
        assert_close(together[name].astype(np.float32), alone[name].astype(np.float32), rtol=1e-2, atol=1e-3)


def test_the_subset_is_the_same_for_every_seed_and_setting_and_starts_with_held_out_images():
    subsets = []
    for seed, count in ((0, 4), (7, 6)):
        config = TrialConfig.from_flat({**TINY_DIGITS, "dataset.images": 800, "sprites.count": count, "seed": seed})
        subsets.append(Trainer([config], datasets.load(config), "cpu").subset)
    assert subsets[0].key == subsets[1].key
    assert torch.equal(subsets[0].images, subsets[1].images)
    assert len(subsets[0].images) == 500
    assert subsets[0].held_out.tolist() == [True] * 80 + [False] * 420
    assert subsets[0].thumbnails()["images"].shape == (500, 1, 8, 8)


def test_labels_leave_every_artefact_byte_identical():
    progress = last(TINY_DIGITS)
    trainer = progress.trainer
    before = progress.artefacts()[0]
    arrays = trainer.dataset.arrays
    shuffled = dataclasses.replace(arrays, labels=arrays.labels[torch.randperm(len(arrays.labels))])
    trainer.dataset = dataclasses.replace(trainer.dataset, arrays=shuffled)
    del trainer.subset
    after = progress.artefacts()[0]
    assert before.keys() == after.keys()
    assert all(before[n].tobytes() == after[n].tobytes() for n in before)


def test_masks_are_sampled_and_empty_layers_have_none():
    found = last({**TINY_SCENES, "regularisers.empty_sprite.weight": 0.5, **MIN_LOSS}).artefacts()[0]
    masks, shown = found["M"], found["A"] >= 0
    assert masks.shape == (40, 2, 16, 16) and found["instances"].shape == (40, 16, 16)
    assert not shown.all() and (masks[~shown] == 0).all() and (found["B"][~shown] == 0).all()
    one = found["instances"] == 1
    assert (masks[:, 0][one] > 127).all()


def test_coordinates_are_their_own_lookup():
    same = lookup([1.0, 0, 0, 0, 1, 0])
    assert_close(same, coordinates((32, 32), same), atol=1e-6, rtol=0)
    assert displacement(same).item() == pytest.approx(0, abs=1e-9)
    assert torn(same) == 0
    assert outside(same, same[2], torch.tensor(1.0)).item() == pytest.approx(0, abs=1e-5)


def test_displacement_is_the_mean_square_of_a_shift():
    """By half a side: every pixel inside looks 1 further right, and half of the sprite leaves the image."""
    moved = lookup([1.0, 0, 1.0, 0, 1, 0])
    assert displacement(moved).item() == pytest.approx(1.0, abs=1e-5)
    assert outside(moved, moved[2], torch.tensor(1.0)).item() == pytest.approx(0.5, abs=0.04)
    assert torn(moved) == 0


@pytest.mark.parametrize(("scale", "share"), [(1.9, 0.0), (2.1, 1.0), (0.55, 0.0), (0.45, 1.0)])
def test_areas_that_change_by_more_than_four_are_torn(scale, share):
    assert torn(lookup([scale, 0, 0, 0, scale, 0])).item() == share


def test_a_sprite_made_larger_than_the_image_is_partly_outside():
    """Twice as wide and high: a quarter of it is seen."""
    large = lookup([0.5, 0, 0, 0, 0.5, 0], size=(64, 64))
    assert outside(large, large[2], torch.tensor(1.0)).item() == pytest.approx(0.75, abs=0.02)


def test_moran_is_positive_for_a_blob_negative_for_a_checkerboard_and_0_for_a_constant():
    blob = torch.zeros(8, 8)
    blob[:, :4] = 1
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1.0
    # 112 pairs, of which the 8 across the edge of the blob differ: (104 - 8) / 112
    assert_close(moran(torch.stack([blob, board, torch.ones(8, 8)])), torch.tensor([96 / 112, -1.0, 0.0]))


def test_ssim_is_one_for_equal_images_and_that_of_wang_for_flat_ones():
    x = torch.rand(2, 3, 16, 16)
    assert_close(ssim(x, x), torch.ones(2))
    flat = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 0.25)
    assert ssim(*flat).item() == pytest.approx((2 * 0.5 * 0.25 + 1e-4) / (0.25 + 0.0625 + 1e-4), rel=1e-3)


def test_augmented_images_are_moved_by_a_sixteenth_and_keep_their_border():
    x = torch.arange(32.0).expand(1, 1, 32, 32) / 32
    moved = augmented(x, torch.zeros(1, 32, 32))
    assert_close(moved[..., 2:], x[..., :-2])
    assert_close(moved[..., :2], x[..., :1].expand(1, 1, 32, 2))


def test_what_is_written_is_read_with_the_assignments_before_it(tmp_path):
    first, second = ({"A": np.array([[k], [1]], np.int16), "subset": np.array("abc")} for k in (0, 3))
    images = {"images": np.zeros((2, 1, 4, 4), np.uint8), "subset": np.array("abc")}
    for name, found in (("old", first), ("new", second)):
        (tmp_path / name).mkdir()
        before = kept.assignments(tmp_path / "old", [4, 5]) if name == "new" else {}
        kept.write(tmp_path / name, kept.after(before, {4: found}), images=images)
    read = kept.read(tmp_path / "new", 4)
    assert read["A"].tolist() == [[3], [1]] and read["A_prev"].tolist() == [[0], [1]]
    assert "A_prev" not in kept.read(tmp_path / "old", 4)
    assert str(kept.images(tmp_path / "new")["subset"]) == "abc"
    (tmp_path / "new" / "artefacts" / "seed4.npz").write_bytes(b"damaged")
    assert kept.read(tmp_path / "new", 4) is None and kept.read(tmp_path, 0) is None


def test_a_subset_of_scenes_is_smaller():
    config = TrialConfig.from_flat({**TINY_SCENES, "dataset.images": 200})
    data = datasets.load(config)
    assert len(Subset.of(data, scenes=True, device=torch.device("cpu")).images) == 128
    assert len(Subset.of(data, scenes=False, device=torch.device("cpu")).images) == 200


@pytest.fixture(scope="module")
def trained():
    """Two configurations of two seeds each, as they report and as they are looked at."""
    made = []
    for rate in (0.001, 0.003):
        progress = last({**TINY_DIGITS, "optimizer.learning_rate": rate}, (0, 1))
        made.append((progress.artefacts(), progress.thumbnails(), progress.metrics))
    return made


@pytest.fixture
def study(trained, tmp_path):
    """A store with the artefacts of two trials and a table of three, of which the last still runs."""
    store, rows = FolderStore(tmp_path / "checkpoints"), []
    for trial, (found, images, metrics) in enumerate(trained):
        store.save("toy", trial, 2, lambda f, a=found, i=images: kept.write(f, dict(enumerate(a)), images=i), [])
        rows += [
            {
                "trial": trial,
                "seed": s,
                "state": "complete",
                "epoch": 2,
                "attempt": 1,
                "sprites.count": 4,
                "optimizer.learning_rate": trial,
                **m,
            }
            for s, m in enumerate(metrics)
        ]
    return store, [*rows, {**rows[0], "trial": 2, "state": "running"}, {**rows[0], "trial": 3, "seed": None}]


def criteria_of(rows):
    return [{n: v for n, v in r.items() if n.startswith("criteria/")} for r in rows]


def test_rows_of_ended_trials_get_their_criteria(study, tmp_path):
    store, rows = study
    made = kept.with_criteria(rows, store, "toy", tmp_path / "study")
    found = criteria_of(made)
    names = {"criteria/composition_gap", "criteria/seed_agreement", "criteria/centrality", "criteria/invariant_purity"}
    assert all(names <= set(f) for f in found[:4]) and found[4:] == [{}, {}]
    assert all(np.isfinite(v) for f in found for v in f.values())
    assert "criteria/checkpoint_agreement" not in found[0]  # there was no checkpoint before
    assert [{n: v for n, v in m.items() if n not in f} for m, f in zip(made, found, strict=True)] == rows


def test_criteria_are_computed_once_until_another_trial_ends(study, tmp_path):
    store, rows = study
    first = kept.with_criteria(rows, store, "toy", tmp_path / "study")
    nothing = FolderStore(tmp_path / "gone")
    assert kept.with_criteria(rows, nothing, "toy", tmp_path / "study") == first
    without = [{n: v for n, v in r.items() if not n.startswith("labels/")} for r in rows]
    assert criteria_of(kept.with_criteria(without, nothing, "toy", tmp_path / "study")) == criteria_of(first)
    ended = [*rows[:4], {**rows[4], "state": "pruned"}]
    assert kept.with_criteria(ended, nothing, "toy", tmp_path / "study") == ended


def test_a_home_that_cannot_be_written_and_a_damaged_file_cost_only_time(study, tmp_path):
    store, rows = study
    (tmp_path / "file").write_text("")
    first = kept.with_criteria(rows, store, "toy", tmp_path / "file")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "criteria.json").write_text("{")
    assert kept.with_criteria(rows, store, "toy", tmp_path / "study") == first
    assert criteria_of(first)[0]


def test_all_trials_share_the_distance_between_images(study, tmp_path):
    store, rows = study
    found = kept.collected(rows[:4], store, "toy", tmp_path / "study")
    assert set(found) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert found[0, 0]["invariant"] is found[1, 1]["invariant"]
    again = kept.collected(rows[:4], store, "toy", tmp_path / "study")
    assert np.array_equal(again[0, 0]["invariant"], found[0, 0]["invariant"])
