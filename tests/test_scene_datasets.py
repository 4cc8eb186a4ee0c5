"""Tetrominoes and CLEVR: generated scenes and original files."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from tfrecords import record

from trainers.datasets import DATASETS, load
from trainers.datasets.clevr import Clevr, Clevr6
from trainers.datasets.tetrominoes import BLOCK, SHAPES, SIZE, Tetrominoes, generate
from trainers.errors import DataError
from trainers.settings import TrialConfig

# -- Tetrominoes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes():
    return generate(400, seed=0)


def test_there_are_nineteen_fixed_tetrominoes_of_four_connected_blocks():
    assert len(SHAPES) == 19
    assert len({(s.shape, s.tobytes()) for s in SHAPES.values()}) == 19
    for shape in SHAPES.values():
        assert shape.sum() == 4 and shape.any(0).all() and shape.any(1).all()
        neighbours = (shape[1:] & shape[:-1]).sum() + (shape[:, 1:] & shape[:, :-1]).sum()
        assert neighbours >= 3


def test_a_scene_has_three_whole_pieces_of_the_class_and_colour_it_says(scenes):
    shapes = list(SHAPES.values())
    for image, instance, kind in zip(scenes.images, scenes.instances, scenes.classes, strict=True):
        assert instance.unique().tolist() == [0, 1, 2, 3], "no piece hides another"
        for number in (1, 2, 3):
            mask = (instance == number).numpy()
            [label] = np.unique(kind.numpy()[mask])
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert np.array_equal(cut, np.kron(shapes[label - 1], np.ones((BLOCK, BLOCK), bool)))
            colours = image[:, mask].unique(dim=1)
            assert colours.shape[1] == 1 and set(colours.flatten().tolist()) <= {0, 255} and colours.sum() > 0
        assert image[:, instance == 0].max() == 0


def test_every_class_colour_and_place_occurs(scenes):
    assert set(scenes.classes.unique().tolist()) == set(range(20))
    assert len(scenes.images.permute(0, 2, 3, 1).reshape(-1, 3).unique(dim=0)) == 7
    shown = (scenes.instances > 0).float().mean(0)
    assert shown.min() > 0


def test_scenes_follow_from_their_seed_and_number(scenes):
    assert torch.equal(generate(50, seed=0).images, scenes.images[:50])
    assert not torch.equal(generate(50, seed=1).images, scenes.images[:50])


def test_they_are_kept_and_read_again(tmp_path):
    config = TrialConfig.from_flat(
        {"dataset.name": "tetrominoes", "dataset.images": 30, "model.kind": "multilayer", "sprites.count": 19}
    )
    assert load(config, tmp_path).fingerprint == load(config, tmp_path).fingerprint
    assert len([f for f in (tmp_path / "generated").iterdir() if f.is_dir()]) == 1


def piece_record(made, i):
    owner = made.instances[i].numpy()
    masks = np.stack([owner == e for e in range(4)] + [np.zeros_like(owner, bool)]) * np.uint8(255)
    return {
        "image": made.images[i].permute(1, 2, 0).contiguous().numpy().tobytes(),
        "mask": masks.tobytes(),
        "visibility": [1.0, 1.0, 1.0, 1.0, 0.0],
    }


def test_original_tetrominoes_have_the_classes_their_masks_show(tmp_path, scenes):
    (tmp_path / "tetrominoes_train.tfrecords").write_bytes(
        gzip.compress(b"".join(record(piece_record(scenes, i)) for i in range(20)))
    )
    made = Tetrominoes.convert(tmp_path)
    for part in ("images", "instances", "classes"):
        assert torch.equal(getattr(made, part), getattr(scenes, part)[:20])


def test_a_mask_that_is_no_piece_is_refused(tmp_path, scenes):
    wrong = piece_record(scenes, 0)
    masks = np.frombuffer(wrong["mask"], np.uint8).reshape(5, SIZE, SIZE).copy()
    masks[1] = masks[1] & masks[1][::-1, ::-1] | np.eye(SIZE, dtype=np.uint8) * 255
    (tmp_path / "a.tfrecords").write_bytes(record({**wrong, "mask": masks.tobytes()}))
    with pytest.raises(DataError, match=r"record 0 .* no tetromino"):
        Tetrominoes.convert(tmp_path / "a.tfrecords")


# -- CLEVR ----------------------------------------------------------------------------------------


def solids(count, seed=0):
    """A scene of `count` solids, each a square of 20 pixels; the first is a metal sphere in the middle."""
    chance = np.random.default_rng(seed)
    masks = np.zeros((11, 240, 320), np.uint8)
    owner = np.zeros((240, 320), int)
    for e in range(1, count + 1):
        top, left = (110, 150) if e == 1 else (chance.integers(30, 90), chance.integers(70, 230))
        owner[top : top + 20, left : left + 20] = e
    for e in range(11):
        masks[e][owner == e] = 255
    image = np.zeros((240, 320, 3), np.uint8)
    image[owner == 1] = (0, 200, 0)
    seen = bytes([0] + [1] * count + [0] * (10 - count))
    return {
        "image": image.tobytes(),
        "mask": masks.tobytes(),
        "shape": bytes([0, 2] + [1] * 9),
        "material": bytes([0, 2] + [1] * 9),
        "visibility": [float(v) for v in seen],
    }


@pytest.fixture
def clevr(tmp_path):
    path = tmp_path / "clevr_with_masks_train.tfrecords"
    path.write_bytes(gzip.compress(b"".join(record(solids(n, n)) for n in (3, 7, 6, 10))))
    return path


def test_scenes_are_cut_out_and_their_classes_are_material_and_shape(clevr):
    made = Clevr.convert(clevr)
    assert made.images.shape == (4, 3, 128, 128) and made.images.dtype == torch.uint8
    middle = (int((120 - 29) * 128 / 192), int((160 - 64) * 128 / 192))
    assert made.class_names[made.classes[0][middle] - 1] == "metal sphere"
    assert made.instances[0][middle] == 1 and made.images[0][(1, *middle)] == 200
    assert set(made.classes.unique().tolist()) == {0, 1, 4}


def test_clevr6_has_the_scenes_of_at_most_six_objects(clevr):
    made = Clevr6.convert(clevr)
    assert len(made.images) == 2 and made.instances.max() <= 6


@pytest.mark.parametrize("name", ["clevr", "clevr6"])
def test_what_is_not_prepared_says_how(tmp_path, name):
    config = TrialConfig.from_flat({"dataset.name": name, "model.kind": "multilayer"})
    with pytest.raises(DataError, match=f"data prepare {name} --from PATH"):
        load(config, tmp_path)


def test_pictures_in_folders_are_taken_as_they_are(tmp_path):
    for part, mode in (("images", "RGB"), ("masks", "L"), ("sem_masks", "L")):
        (tmp_path / part).mkdir()
        for i in range(3):
            Image.new(mode, (128, 128), i).save(tmp_path / part / f"{i}.png")
    assert Clevr6.convert(tmp_path).classes[:, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("change", [{"shape": bytes([0, 9] + [1] * 9)}, {"image": b"short"}, {"mask": b""}])
def test_records_that_are_no_scene_are_refused(tmp_path, change):
    (tmp_path / "a.tfrecords").write_bytes(record({**solids(2), **change}))
    with pytest.raises(DataError, match="record 0"):
        DATASETS["clevr"].convert(tmp_path / "a.tfrecords")
