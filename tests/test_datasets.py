"""Data sets: what they promise, generated scenes, original files, and files that are wrong."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from tfrecords import record

from sprite_search import data as commands
from sprite_search.errors import InputError
from sprite_search.home import Home
from trainers.datasets import DATASETS, load
from trainers.datasets.tfrecord import examples
from trainers.errors import DataError
from trainers.settings import SettingError, TrialConfig

SMALL = {"digits": {}, "multi_dsprites": {"dataset.images": 30, "dataset.size": 24, "model.kind": "multilayer"}}


def config(name, **given):
    own = {f"dataset.{n}": v for n, v in given.items()}
    return TrialConfig.from_flat({"dataset.name": name, **SMALL.get(name, {}), **own})


@pytest.mark.parametrize("name", SMALL)
def test_images_are_bytes_in_memory_and_split_without_overlap(name):
    dataset = load(config(name))
    assert dataset.images.dtype == torch.uint8 and dataset.images.dim() == 4
    together = torch.cat([dataset.train, dataset.held_out])
    assert len(together.unique()) == len(together) == len(dataset.images)
    for part in (dataset.labels, dataset.instances, dataset.classes):
        assert part is None or len(part) == len(dataset.images)


@pytest.mark.parametrize("name", SMALL)
def test_images_and_split_do_not_depend_on_the_seed_of_a_trial(name):
    first = load(config(name))
    other = load(TrialConfig.from_flat({**config(name).flat(), "seed": 5}))
    assert first.fingerprint == other.fingerprint
    assert torch.equal(first.held_out, other.held_out)


@pytest.mark.parametrize("name", SMALL)
def test_fewer_images_are_the_first_of_the_same_shuffle(name):
    if name == "multi_dsprites":
        pytest.skip("scenes are generated one by one: see the next test")
    assert torch.equal(load(config(name, images=20)).images, load(config(name)).images[:20])


def test_scene_i_is_the_same_however_many_are_made():
    def arrays(count):
        made = config("multi_dsprites", images=count)
        return DATASETS["multi_dsprites"].arrays(made.dataset, None)

    few, many = arrays(5), arrays(12)
    assert torch.equal(few.images, many.images[:5])
    assert torch.equal(few.instances, many.instances[:5])


def test_scenes_keep_their_promises():
    dataset = load(config("multi_dsprites", images=200, objects_min=2, objects_max=3, ground="gray"))
    images, instances, classes = dataset.images, dataset.instances, dataset.classes
    assert classes.max() == 3 and set(dataset.class_names) == {"square", "ellipse", "heart"}
    assert torch.equal(instances > 0, classes > 0)
    counts = [len(i.unique()) - 1 for i in instances]
    assert max(counts) == 3 and min(counts) >= 1  # one object may be hidden by another
    for image, instance, kind in zip(images[:20], instances, classes, strict=False):
        for number in instance.unique():
            assert len(kind[instance == number].unique()) == 1, "an object has one class"
        corners = image[:, [0, 0, -1, -1], [0, -1, 0, -1]][:, instance[[0, 0, -1, -1], [0, -1, 0, -1]] == 0]
        assert corners.numel() == 0 or (corners == corners[0]).all(), "the ground is gray"


def test_saturated_colours_of_one_class_differ_and_class_colours_do_not():
    def colours(kind):
        dataset = load(config("multi_dsprites", images=100, colours=kind, separate=True, objects_max=2))
        found = dataset.images.permute(0, 2, 3, 1)[dataset.classes == 1]
        return found.float().std(0).max()

    assert colours("saturated") > 80 > colours("by_class")


def test_generated_scenes_are_kept_and_read_again(tmp_path):
    first = load(config("multi_dsprites"), tmp_path)
    [folder] = (tmp_path / "generated").glob("multi_dsprites-*/")
    before = (folder / "images.npy").stat().st_mtime_ns
    assert load(config("multi_dsprites"), tmp_path).fingerprint == first.fingerprint
    assert (folder / "images.npy").stat().st_mtime_ns == before


def test_a_damaged_cache_says_which_folder_to_delete(tmp_path):
    load(config("multi_dsprites"), tmp_path)
    [folder] = (tmp_path / "generated").glob("multi_dsprites-*/")
    (folder / "images.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="delete this folder"):
        load(config("multi_dsprites"), tmp_path)


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="free some space"):
        load(config("multi_dsprites"), tmp_path)
    assert [p.name for p in (tmp_path / "generated").iterdir() if p.is_dir()] == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objects_min": 4, "objects_max": 2}, "objects_max"),
        ({"radius_min": 0.4, "radius_max": 0.2}, "radius_max"),
        ({"size": 3}, "at least 12"),
    ],
)
def test_settings_that_contradict_are_refused(given, words):
    with pytest.raises(SettingError, match=words):
        config("multi_dsprites", **given)


def test_more_images_than_there_are_is_refused():
    with pytest.raises(DataError, match="1797 images; ask for fewer"):
        load(config("digits", images=5000))


def test_original_scenes_that_were_not_prepared_are_asked_for(tmp_path):
    with pytest.raises(DataError, match="data prepare multi_dsprites"):
        load(TrialConfig.from_flat({"dataset.name": "multi_dsprites", "dataset.source": "original"}), tmp_path)


# -- original files --------------------------------------------------------------------------------


def scenes(count=3):
    random = np.random.default_rng(0)
    for _ in range(count):
        masks = np.zeros((6, 64, 64), np.uint8)
        masks[0] = 255
        masks[0, :20, :20], masks[1, :20, :20] = 0, 255
        masks[0, 40:, 40:], masks[2, 40:, 40:] = 0, 255
        yield {
            "image": random.integers(0, 256, (64, 64, 3), dtype=np.uint8).tobytes(),
            "mask": masks.tobytes(),
            "shape": [0.0, 1.0, 3.0, 2.0, 0.0, 0.0],
            "visibility": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0],
        }


@pytest.mark.parametrize("packed", [True, False])
def test_the_original_file_is_converted_and_then_used(tmp_path, packed):
    path = tmp_path / "multi_dsprites_colored_on_grayscale.tfrecords"
    content = b"".join(map(record, scenes(30)))
    path.write_bytes(gzip.compress(content) if packed else content)
    home = Home(tmp_path / "home")
    assert commands.prepare(home, "multi_dsprites", path)["images"] == 30
    dataset = load(TrialConfig.from_flat({"dataset.name": "multi_dsprites", "dataset.images": 30}), home.data)
    one = dataset.classes[0]
    assert (one[:20, :20] == 1).all() and (one[40:, 40:] == 3).all() and one[30, 30] == 0
    assert dataset.instances[0][50, 50] == 2
    wanted = {bytes(s["image"]) for s in scenes(30)}
    assert {i.permute(1, 2, 0).contiguous().numpy().tobytes() for i in dataset.images} == wanted


def test_folders_of_pictures_are_converted(tmp_path):
    for part in ("images", "masks", "sem_masks"):
        (tmp_path / part).mkdir()
        for i in range(12):
            value = {"images": (10 * i, 0, 0), "masks": i % 3, "sem_masks": i % 3}[part]
            mode = "RGB" if part == "images" else "L"
            Image.new(mode, (64, 64), value).save(tmp_path / part / f"{i}.png")
    home = Home(tmp_path / "home")
    row = commands.prepare(home, "multi_dsprites", tmp_path)
    assert row["images"] == 12
    assert any(r["name"] == "multi_dsprites" and r["prepared"] for r in commands.available(home))
    arrays = DATASETS["multi_dsprites"].convert(tmp_path)
    assert arrays.images[:, 0, 0, 0].tolist() == [10 * i for i in range(12)], "in the order of their numbers"


BROKEN = {
    "cut short": lambda c: gzip.compress(c)[:-40],
    "cut within a record": lambda c: c[:-30],
    "no records": lambda c: b"",
    "something else": lambda c: b"not a TFRecord file at all, but long enough to be read as one",
    "other records": lambda c: record({"picture": b"1"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_original_is_refused_and_what_was_there_stays(tmp_path, case):
    good, bad = tmp_path / "good.tfrecords", tmp_path / "bad.tfrecords"
    content = b"".join(map(record, scenes(12)))
    good.write_bytes(content)
    bad.write_bytes(BROKEN[case](content))
    home = Home(tmp_path / "home")
    commands.prepare(home, "multi_dsprites", good)
    with pytest.raises(DataError, match=r"bad\.tfrecords"):
        commands.prepare(home, "multi_dsprites", bad)
    assert (
        len(load(TrialConfig.from_flat({"dataset.name": "multi_dsprites", "dataset.images": 12}), home.data).images)
        == 12
    )


def test_numbers_of_an_example_are_read():
    scene = next(iter(scenes(1)))
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.tfrecords"
        path.write_bytes(record(scene))
        [found] = examples(path)
    assert found["shape"] == scene["shape"] and found["image"] == [scene["image"]]


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("multi_dsprite", ".", "did you mean multi_dsprites"),
        ("digits", ".", "needs no preparing"),
        ("multi_dsprites", "missing", "does not exist"),
    ],
)
def test_what_cannot_be_prepared_is_told(tmp_path, name, source, words):
    with pytest.raises(InputError, match=words):
        commands.prepare(Home(tmp_path / "home"), name, tmp_path / source)


@pytest.mark.parametrize("name", ["digits", "multi_dsprites"])
def test_a_contact_sheet_is_drawn(tmp_path, name):
    with Image.open(commands.show(Home(tmp_path / "home"), name, tmp_path / "sheet.png")) as sheet:
        assert sheet.width > 16 * 90
