"""Point clouds: generated scenes, files of a user's own, and files that are wrong."""

import struct

import numpy as np
import pytest
import torch

from sprite_search import data as commands
from sprite_search.home import Home
from trainers.datasets import DATASETS, load, summary
from trainers.datasets.point_files import READERS, list_clouds, read_points
from trainers.datasets.point_scenes import SHAPES
from trainers.errors import DataError
from trainers.kinds import OfPoints
from trainers.settings import SettingError, TrialConfig

POINTS = np.array([[0.0, 0.5, 1.25], [-2.0, 3.5, 0.0], [1e3, -0.125, 7.0]])
CLASSES = np.array([2, 0, 2])


def config(name, **given):
    own = {f"dataset.{n}": v for n, v in given.items()}
    return TrialConfig.from_flat({"model.kind": "earth_parser", "dataset.name": name, **own})


def scenes(**given):
    return load(config("point_scenes", **{"images": 30, **given}))


def test_scenes_keep_their_promises():
    dataset = scenes(images=60, points=200, floor=0.25, jitter=0.0, shapes_min=1, shapes_max=3)
    clouds, classes, instances = dataset.images, dataset.classes, dataset.instances
    assert clouds.shape == (60, 200, 3) and clouds.dtype == torch.float32
    assert dataset.class_names == ("ground", *SHAPES) and set(classes.unique().tolist()) == {0, 1, 2, 3, 4}
    assert clouds[..., :2].abs().max() <= 1 and clouds[..., 2].min() >= 0
    assert ((instances == 0) == (classes == 0)).all() and (clouds[..., 2][classes == 0] == 0).all()
    assert ((instances == 0).sum(1) == 50).all() and instances.amax(1).max() == 3 and instances.amax(1).min() == 1
    for cloud, kind, owner in zip(clouds, classes, instances, strict=True):
        for number in range(1, int(owner.max()) + 1):
            own = cloud[owner == number]
            assert len(kind[owner == number].unique()) == 1, "an object has one class"
            assert (own[:, :2].amax(0) - own[:, :2].amin(0)).max() < 0.8


def test_without_ground_classes_count_from_the_first_shape():
    dataset = scenes(floor=0.0, kinds=2)
    assert dataset.class_names == ("house", "tree") and set(dataset.classes.unique().tolist()) == {0, 1}
    assert dataset.instances.min() == 1


def test_scene_i_is_the_same_however_many_are_made_and_a_seed_changes_it():
    def arrays(count, seed=0):
        return DATASETS["point_scenes"].arrays(config("point_scenes", images=count, scene_seed=seed).dataset, None)

    few, many = arrays(4), arrays(9)
    assert torch.equal(few.images, many.images[:4]) and torch.equal(few.classes, many.classes[:4])
    assert not torch.equal(few.images, arrays(4, seed=1).images)


def test_scenes_are_kept_and_read_again(tmp_path):
    first = load(config("point_scenes", images=12), tmp_path)
    [folder] = (tmp_path / "generated").glob("point_scenes-*/")
    before = (folder / "images.npy").stat().st_mtime_ns
    assert load(config("point_scenes", images=12), tmp_path).fingerprint == first.fingerprint
    assert (folder / "images.npy").stat().st_mtime_ns == before


def test_settings_that_contradict_are_refused():
    with pytest.raises(SettingError, match="shapes_max"):
        config("point_scenes", shapes_min=4, shapes_max=2)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_stand_on_the_ground_within_the_reach_of_a_place(name):
    points = SHAPES[name](np.random.default_rng(0), 4000)
    assert points.shape == (4000, 3) and -1e-9 <= points[:, 2].min() < 0.05
    assert np.linalg.norm(points[:, :2], axis=1).max() < 0.35 and points[:, 2].max() < 0.8


# -- files ----------------------------------------------------------------------------------------


def header(kind, count=3):
    properties = "property float x\nproperty double y\nproperty float z\nproperty uchar label\n"
    return f"ply\nformat {kind} 1.0\ncomment made here\nelement vertex {count}\n{properties}end_header\n".encode()


def written(folder, kind):
    """The three points as a file of that kind."""
    path = folder / f"cloud.{kind.partition('-')[0]}"
    rows = [" ".join(map(str, p)) for p in POINTS]
    if kind == "npy":
        np.save(path, np.concatenate([POINTS, np.ones((3, 2))], 1).astype(np.float32))
    elif kind == "npz":
        np.savez(path, points=POINTS, classes=CLASSES)
    elif kind == "ply":
        lines = "".join(f"{row} {c}\n" for row, c in zip(rows, CLASSES, strict=True))
        path.write_bytes(header("ascii") + lines.encode())
    elif kind in ("ply-little", "ply-big"):
        order, name = ("<", "binary_little_endian") if kind == "ply-little" else (">", "binary_big_endian")
        packed = [struct.pack(f"{order}fdfB", *p, int(c)) for p, c in zip(POINTS, CLASSES, strict=True)]
        path.write_bytes(header(name) + b"".join(packed))
    else:
        comma = "," if kind == "csv" else " "
        first = "x,y,z,i\n" if kind == "csv" else "# x y z\n\n"
        path.write_text(first + "".join(row.replace(" ", comma) + f"{comma}9\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "ply", "ply-little", "ply-big", "xyz", "txt", "csv"])
def test_every_format_gives_the_same_points(kind, tmp_path):
    cloud = read_points(written(tmp_path, kind))
    np.testing.assert_allclose(cloud.points, POINTS)
    if kind.startswith(("npz", "ply")):
        assert cloud.classes.tolist() == CLASSES.tolist()
    else:
        assert cloud.classes is None


def test_every_reader_has_a_test():
    assert set(READERS) == {".npy", ".npz", ".ply", ".xyz", ".txt", ".csv"}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.npy", b"no array", "no points can be read"),
        ("a.npz", b"PK", "no points can be read"),
        ("a.xyz", b"1 2 3\n4 5\n", "point 2 is '4 5', not three numbers"),
        ("a.txt", b"", r"has shape \(0, 3\)"),
        ("a.csv", b"1,2,nan\n", "not finite"),
        ("a.ply", b"ply\n", "is no PLY file"),
        ("a.ply", header("ascii") + b"1 2 3 0\n", "has 1 vertices of the 3 it announces"),
        ("a.ply", header("binary_little_endian") + b"12345", "no points can be read"),
        ("a.ply", header("ascii").replace(b"float x", b"list uchar int x") + b"\n", "has lists in its vertices"),
    ],
)
def test_a_damaged_file_is_named_with_its_trouble(name, content, problem, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: .*{problem}.*; mend or remove it|{problem}.*; mend"):
        read_points(tmp_path / name)


def folder_of(root, count, *, classes=False, scale=1.0):
    random = np.random.default_rng(0)
    for i in range(count):
        points = random.uniform(0, 1, (50, 3)) * [4 * scale, 2 * scale, scale] + [100, 200, 30]
        more = {"classes": random.choice([3, 7], 50)} if classes else {}
        (root / f"sub{i % 2}").mkdir(exist_ok=True)
        np.savez(root / f"sub{i % 2}" / f"{i}.npz", points=points, **more)
    return config("point_folder", path=str(root), points=64)


def test_a_folder_of_files_is_centred_and_keeps_its_proportions(tmp_path):
    dataset = load(folder_of(tmp_path, 6))
    clouds = dataset.images
    assert clouds.shape == (6, 64, 3) and dataset.classes is None and len(list_clouds(tmp_path)) == 6
    low, high = clouds.amin(1), clouds.amax(1)
    assert (low[:, 2] >= 0).all() and (low[:, 2] < 0.05).all()  # some points are left out where there are more
    assert (high - low)[:, 0].max() == pytest.approx(2, abs=1e-5)  # the longest side of all spans the tile
    assert ((high + low)[:, :2].abs() < 0.1).all() and (high - low)[:, 1].max() < 1.01


def test_classes_of_points_are_numbered_from_zero_under_their_names(tmp_path):
    dataset = load(folder_of(tmp_path, 4, classes=True))
    assert dataset.class_names == ("3", "7") and set(dataset.classes.unique().tolist()) == {0, 1}
    assert summary(dataset.arrays) == {
        "images": 4, "points": 64, "axes": 3, "has": ["classes"], "classes": ["3", "7"],
    }  # fmt: skip


def test_files_are_cut_into_tiles(tmp_path):
    folder_of(tmp_path, 2, scale=10)
    dataset = load(config("point_folder", path=str(tmp_path), points=16, tile=10.0))
    assert len(dataset.images) > 4
    assert dataset.images[..., :2].abs().max() <= 1 + 1e-6 and (dataset.images[..., 2].amin(1) >= 0).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: config("point_folder"), "dataset.path: is not set"),
        (lambda root: config("point_folder", path=str(root / "none")), "is no folder"),
        (lambda root: config("point_folder", path=str(root)), "holds no point clouds; give files that end in .npy"),
        (lambda root: folder_of(root, 1), "gives 1 files, but training needs two or more"),
    ],
)
def test_a_folder_that_gives_nothing_says_why(make, words, tmp_path):
    with pytest.raises(DataError, match=words):
        load(make(tmp_path))


def test_the_commands_list_and_show_them(tmp_path):
    home = Home(tmp_path).create()
    assert set(DATASETS.names(OfPoints)) <= {row["name"] for row in commands.available(home)}
    sheet = commands.show(home, "point_scenes", tmp_path / "scenes.png")
    assert sheet.stat().st_size > 5000
