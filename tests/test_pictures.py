"""Pictures show what they say."""

import numpy as np
import pytest
from conftest import TINY_DIGITS
from PIL import Image

from sprite_search import pictures
from sprite_search.checkpoints import open_store
from sprite_search.trial import SpriteTrial
from trainers import datasets, load


@pytest.mark.parametrize("kind", ["digits", "scenes"])
def test_a_trial_gets_its_pictures(kind, request, tmp_path):
    model = load(request.getfixturevalue(f"{kind}_checkpoint"))
    files = pictures.save_trial_pictures(model, datasets.load(model.config), tmp_path)
    names = {f.stem for f in files}
    assert {"sprites", "reconstructions", "transformed"} <= names
    assert ("segmentation" in names) == (kind == "scenes")
    for file in files:
        with Image.open(file) as image:
            assert image.width > 200 and len(image.convert("RGB").getcolors(1 << 20)) > 2, file


@pytest.mark.parametrize(("every", "rung", "drawn_at"), [(1, 2, {2, 4}), (2, 1, {2, 4}), (1, 4, {4})])
def test_a_trial_is_drawn_wherever_it_may_end(tmp_path, every, rung, drawn_at):
    """At its rungs, or the first report after one, where the pruner may end it; and at its end, with curves."""
    config = {**TINY_DIGITS, "training.epochs": 4, "training.report_every": every}
    job = {"study": "toy", "number": 0, "config": config, "attempt": 1, "seeds": [0, 1], "rungs": [rung], "driver": 0}
    job |= {"cpu": 1, "gpu": 0, "gpu_memory": None, "checkpoints": str(tmp_path / "kept"), "data": str(tmp_path)}
    trial, store, found = SpriteTrial({"job": job}), open_store(job["checkpoints"]), {}
    for epoch in range(every, 5, every):
        assert trial.train()["epoch"] == epoch
        if folder := store.pictures("toy", 0):
            found[epoch] = {f.relative_to(folder).as_posix() for f in folder.rglob("*.png")}
    trial.stop()
    sheets = {f"seed{seed}/{name}.png" for seed in (0, 1) for name in ("sprites", "reconstructions", "transformed")}
    assert found == {epoch: sheets | ({"curves.png"} if epoch == 4 else set()) for epoch in drawn_at}


def test_a_picture_keeps_its_pixels_and_is_large_enough_to_see():
    image = np.random.default_rng(0).random((3, 8, 8))
    shown = np.asarray(pictures.picture(image))
    scale = shown.shape[0] // 8
    assert shown.shape[0] >= 96
    assert (shown[::scale, ::scale] == (image.transpose(1, 2, 0) * 255).round()).all()


def test_what_a_mask_hides_shows_the_board():
    image = np.ones((4, 16, 16))
    image[0], image[3, :8] = 0.0, 0.0
    shown = np.asarray(pictures.picture(image))
    half = shown.shape[0] // 2
    assert len(np.unique(shown[: half - 1].reshape(-1, 3), axis=0)) == 2
    assert (shown[half + 1 :] == [0, 255, 255]).all()


def test_labels_have_one_colour_each_and_the_background_its_own():
    labels = np.array([[0, 1], [2, 0]])
    colours = pictures.colourise(labels).transpose(1, 2, 0)
    assert (colours[0, 0] == colours[1, 1]).all()
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 3


def test_curves_are_drawn_even_with_gaps(tmp_path):
    history = [
        {"epoch": e, "metrics": [{"val/reconstruction": 1 / e, **({"train/reconstruction": 1.0} if e > 2 else {})}, {}]}
        for e in range(1, 9)
    ]
    with Image.open(pictures.curves(history, tmp_path / "curves.png")) as image:
        assert len(image.getcolors(1 << 20)) > 2


def test_sprites_are_sorted_by_use():
    sprites = np.zeros((3, 1, 4, 4))
    sprites[2] = 1.0
    sheet = np.asarray(pictures.sprite_sheet(sprites, np.array([0.1, 0.2, 0.7])))
    first = sheet[30:100, 10:100]
    assert (first == 255).all(), "the most used sprite, the white one, comes first"
