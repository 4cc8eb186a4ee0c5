"""Decomposing images: a picture and a list for each, or a sentence and nothing at all."""

import json

import numpy as np
import pytest
from PIL import Image

from sprite_search.decompose import decompose, read_image
from sprite_search.errors import InputError
from sprite_search.home import Home
from trainers import load
from trainers.decomposition import Decomposition
from trainers.errors import DataError
from trainers.objects import objects


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    path = tmp_path / "scene.png"
    Image.fromarray(pixels).save(path)
    return path


def test_each_image_gets_an_overlay_and_a_list_of_objects(scenes_checkpoint, image, tmp_path):
    [found] = decompose(str(scenes_checkpoint), [image], tmp_path / "out", Home(tmp_path))
    written = json.loads((tmp_path / "out" / "scene.json").read_text())
    assert written["objects"] == found["objects"] and written["image"] == str(image)
    with Image.open(tmp_path / "out" / "scene_overlay.png") as overlay:
        assert min(overlay.size) >= 300
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["scene.json", "scene_overlay.png"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "I;16", "F"])
def test_any_kind_of_image_is_taken(tmp_path, mode):
    path = tmp_path / f"x.{'tif' if mode in ('CMYK', 'I;16', 'F') else 'png'}"
    Image.new(mode, (13, 7)).save(path)
    for channels in (1, 3):
        pixels, size = read_image(path, channels, (8, 9))
        assert pixels.shape == (channels, 8, 9) and pixels.dtype == np.uint8 and size == (7, 13)


def test_images_are_taken_as_people_see_them(tmp_path):
    upright = np.zeros((4, 2), np.uint8)
    upright[0] = 255
    turned = Image.fromarray(np.rot90(upright).copy())  # as a camera held sideways saves it, with a note
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    deep = Image.fromarray(upright.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    Image.fromarray(upright.astype(np.float32) / 255).save(tmp_path / "real.tif")
    clear = Image.new("RGBA", (2, 4), (0, 0, 0, 255))
    clear.paste((10, 20, 30, 0), (0, 0, 2, 1))
    clear.save(tmp_path / "clear.png")
    for name in ("turned.png", "deep.png", "real.tif", "clear.png"):
        pixels, size = read_image(tmp_path / name, 1, (4, 2))
        assert size == (4, 2) and (pixels[0] == upright).all(), name


def test_boxes_are_given_in_pixels_of_the_file_too(digits_checkpoint, tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "wide.png")
    [found] = decompose(str(digits_checkpoint), [tmp_path / "wide.png"], tmp_path / "out", Home(tmp_path))
    assert found["image_size"] == [20, 30] and found["objects"][0]["box_in_image"] == [0, 0, 30, 20]


def test_of_a_trials_replicates_the_one_of_least_error_is_used(digits_checkpoint, tmp_path):
    import shutil

    trial = tmp_path / "trial"
    for epoch, errors in ((2, (0.1, 0.2)), (4, (0.2, 0.1))):
        shutil.copytree(digits_checkpoint, trial / f"{epoch:06d}")
        reports = [{"epoch": epoch, "time": 0, "metrics": [{"val/reconstruction": e} for e in errors]}]
        (trial / f"{epoch:06d}" / "history.json").write_text(json.dumps(reports))
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    [found] = decompose(str(trial), [tmp_path / "x.png"], tmp_path / "out", Home(tmp_path))
    assert found["seed"] == 1


def make_bad(tmp_path, case, good):
    path = tmp_path / f"{case.replace(' ', '_')}.png"
    if case == "a text":
        path.write_text("no picture")
    elif case == "an empty file":
        path.write_bytes(b"")
    elif case == "cut short":
        path.write_bytes(good.read_bytes()[:-200])
    elif case == "a folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "there is no such image"),
        ("a text", "is no image that can be read"),
        ("an empty file", "is no image that can be read"),
        ("cut short", "is damaged"),
        ("a folder", "is a folder"),
    ],
)
def test_a_bad_image_is_named_and_nothing_is_written(scenes_checkpoint, image, tmp_path, case, words):
    bad = make_bad(tmp_path, case, image)
    with pytest.raises(InputError, match=words) as caught:
        decompose(str(scenes_checkpoint), [image, bad], tmp_path / "out", Home(tmp_path))
    assert str(bad) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name_are_refused(scenes_checkpoint, image, tmp_path):
    with pytest.raises(InputError, match="overwrite each other"):
        decompose(str(scenes_checkpoint), [image, image], tmp_path / "out", Home(tmp_path))


def test_a_model_that_is_none_is_refused(image, tmp_path):
    with pytest.raises(InputError, match="neither models:/NAME@ALIAS nor the folder"):
        decompose(str(tmp_path / "nothing"), [image], tmp_path / "out", Home(tmp_path))
    with pytest.raises(DataError):
        decompose(str(tmp_path), [image], tmp_path / "out", Home(tmp_path))


def test_objects_by_hand():
    masks = np.zeros((1, 3, 4, 6), np.float32)
    masks[0, 0, 1:3, 2:5] = 0.9  # shown
    masks[0, 1] = 0.4  # too faint to be seen anywhere
    colours = np.zeros((1, 3, 4, 6), np.float32)
    colours[0, 0] = 0.5
    found = Decomposition(
        reconstruction=colours,
        sprite=np.array([[2, 0, -1]]),
        probabilities=np.full((1, 3, 4), 0.25, np.float32),
        error=np.zeros(1),
        layer_masks=masks,
        instances=np.zeros((1, 4, 6), np.int64),
        classes=np.zeros((1, 4, 6), np.int64),
        transformed=np.zeros((1, 3, 4, 4, 6), np.float32),
    )
    [only] = objects(found, 0)
    assert only == {
        "layer": 1,
        "sprite": 2,
        "confidence": 0.25,
        "box": [2, 1, 5, 3],
        "area": 0.25,
        "colour": [0.5, 0.0, 0.0],
    }


def test_a_clustering_model_finds_one_object_the_whole_image(digits_checkpoint):
    found = load(digits_checkpoint).decompose(np.zeros((2, 1, 8, 8), np.uint8))
    for i in range(2):
        [only] = objects(found, i)
        assert only["box"] == [0, 0, 8, 8] and only["area"] == 1
