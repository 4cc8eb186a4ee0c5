"""Data sets of single images: their files, their recipes, and a user's own folder."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.datasets import DATASETS, Arrays, cache, load
from trainers.datasets.classics import MNIST, USPS, fetched
from trainers.datasets.files import read_images
from trainers.datasets.frgc import FRGC
from trainers.datasets.gtsrb import CLASSES, GTSRB8
from trainers.datasets.variants import AffNIST, affine, colour
from trainers.errors import DataError
from trainers.settings import TrialConfig

#: Folder of original files, where there are any.
ORIGINALS = os.environ.get("SPRITE_TEST_DATA")


def config(name, **given):
    return TrialConfig.from_flat({"dataset.name": name, **{f"dataset.{n}": v for n, v in given.items()}})


def digits(count, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Arrays(
        torch.randint(1, 256, (count, 1, 28, 28), generator=g, dtype=torch.uint8),
        labels=torch.arange(count) % 10,
        class_names=tuple("0123456789"),
    )


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of prepared data in which MNIST has 3 test digits and 5 for training."""
    monkeypatch.setattr(MNIST, "tests", 3)
    cache.write(tmp_path / "mnist", digits(8))
    return tmp_path


# -- data sets of torchvision ---------------------------------------------------------------------


def test_parts_are_those_of_the_authors_and_test_images_come_first(data):
    whole = digits(8).images
    for part, wanted in {"all": whole, "test": whole[:3], "train": whole[3:]}.items():
        found = MNIST.arrays(config("mnist", part=part).dataset, data)
        assert torch.equal(found.images, wanted) and len(found.labels) == len(wanted)


def test_what_is_downloaded_is_kept(tmp_path):
    calls = []

    def download(root):
        calls.append(root)
        return digits(4)

    first, second = (fetched("some", tmp_path, download) for _ in range(2))
    assert len(calls) == 1 and torch.equal(first.images, second.images)
    assert not calls[0].exists(), "the archives are not"


def test_without_a_network_the_message_says_what_to_do(tmp_path):
    def download(root):
        raise RuntimeError("Error downloading x.gz\nmore")

    with pytest.raises(DataError, match=r"mnist: is not prepared.*downloading x.gz.*data prepare mnist --from") as told:
        fetched("mnist", tmp_path, download)
    assert "\n" not in str(told.value)
    assert [p for p in tmp_path.iterdir() if p.suffix != ".lock"] == []


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "usps", "svhn", "svhn_extra"])
def test_originals_that_are_missing_or_wrong_are_named(tmp_path, name, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", _no_network)
    source = DATASETS[name]
    with pytest.raises(DataError, match=next(iter(source.files)).replace(".", r"\.")):
        source.convert(tmp_path)
    for file in source.files:
        (tmp_path / file).write_bytes(b"nothing")
    with pytest.raises(DataError, match="not the original ones"):
        source.convert(tmp_path)


def _no_network(*args, **kwargs):
    raise OSError("no network")


@pytest.mark.skipif(ORIGINALS is None, reason="SPRITE_TEST_DATA names no folder of original files")
@pytest.mark.parametrize(
    ("name", "shape", "per_class"),
    [
        ("mnist", (70_000, 1, 28, 28), [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]),
        ("fashion_mnist", (70_000, 1, 28, 28), [7000] * 10),
        ("usps", (9298, 1, 16, 16), [1553, 1269, 929, 824, 852, 716, 834, 792, 708, 821]),
        ("gtsrb8", (10_650, 3, 28, 28), [1410, 1440, 1470, 1320, 1110, 1200, 1500, 1200]),
    ],
)
def test_the_original_files_are_read_whole(name, shape, per_class):
    made = DATASETS[name].convert(Path(ORIGINALS) / name)
    assert tuple(made.images.shape) == shape and made.images.dtype == torch.uint8
    assert torch.bincount(made.labels).tolist() == per_class
    assert made.images.max() == 255


# -- HDF5 -----------------------------------------------------------------------------------------


def write_hdf5(path, **arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path


def test_usps_is_read_from_the_file_that_circulates(tmp_path, monkeypatch):
    monkeypatch.setattr(USPS, "tests", 2)
    chance = np.random.default_rng(0)
    test, train = chance.random((2, 256), np.float32), chance.random((3, 256), np.float32)
    write_hdf5(
        tmp_path / "usps.h5", test__data=test, test__target=[7, 1], train__data=train, train__target=np.arange(3)
    )
    made = USPS.convert(tmp_path)
    assert made.labels.tolist() == [7, 1, 0, 1, 2]
    assert np.array_equal(made.images[0].numpy().ravel(), (test[0] * 255).round().astype(np.uint8))


def test_faces_are_turned_upright_and_people_counted_from_zero(tmp_path):
    upright = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    path = write_hdf5(tmp_path / "data4torch.h5", data=upright.transpose(0, 1, 3, 2), labels=[5, 9, 5, 7])
    made = FRGC.convert(path)
    assert np.array_equal(made.images.numpy(), upright)
    assert made.labels.tolist() == [0, 2, 0, 1]


@pytest.mark.parametrize("source", [USPS, FRGC])
def test_files_that_are_no_hdf5_or_hold_something_else_are_refused(tmp_path, source):
    with pytest.raises(DataError, match="not there"):
        source.convert(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match="no HDF5 file"):
        source.convert(tmp_path / "text.h5")
    with pytest.raises(DataError, match="holds other data"):
        source.convert(write_hdf5(tmp_path / "other.h5", x=[1]))


# -- made of MNIST --------------------------------------------------------------------------------


def test_a_digit_is_coloured_by_its_index():
    gray = digits(3).images
    made = colour(gray)
    g = torch.Generator().manual_seed(2)
    weight, bias = 2 * torch.rand(3, 1, 1, generator=g) - 1, torch.rand(3, 1, 1, generator=g)
    wanted = (weight * gray[2].float() / 255 + bias).abs()
    assert torch.equal(made[2], (wanted / wanted.max() * 255).round().to(torch.uint8))
    assert torch.equal(made[:2], colour(gray[:2]))


def test_coloured_digits_keep_their_labels_and_are_made_once(data):
    part = config("mnist_color", part="train").dataset
    made, again = (DATASETS["mnist_color"].arrays(part, data) for _ in range(2))
    assert torch.equal(made.images, colour(digits(8).images)[3:])
    assert torch.equal(made.images, again.images) and torch.equal(made.labels, digits(8).labels[3:])


def test_digits_under_affine_maps_stay_whole():
    square = torch.zeros(50, 1, 28, 28, dtype=torch.uint8)
    square[:, :, 10:18, 10:18] = 200
    made = affine(square, seed=0)
    assert made.shape == (50, 1, 40, 40)
    areas = (made > 100).sum((1, 2, 3)).float()
    assert ((areas > 64 * 0.8**2 * 0.8) & (areas < 64 * 1.2**2 * 1.2)).all(), "none leaves the canvas"
    assert areas.std() > 1
    assert made[:, :, [0, -1]].max() == made[..., [0, -1]].max() == 0
    assert torch.equal(made, affine(square, seed=0)) and not torch.equal(made, affine(square, seed=1))


def test_affnist_is_a_stand_in_until_the_original_is_prepared(data, tmp_path):
    from scipy.io import savemat

    generated = AffNIST.arrays(config("affnist").dataset, data)
    assert generated.images.shape == (3, 1, 40, 40)
    with pytest.raises(DataError, match="data prepare affnist"):
        AffNIST.arrays(config("affnist", source="original").dataset, data)

    pixels = np.random.default_rng(0).integers(0, 256, (1600, 5), np.uint8)
    savemat(tmp_path / "test.mat", {"affNISTdata": {"image": pixels, "label_int": np.array([3, 1, 4, 1, 5])}})
    original = AffNIST.convert(tmp_path / "test.mat")
    assert original.labels.tolist() == [3, 1, 4, 1, 5]
    assert np.array_equal(original.images[1].numpy().ravel(), pixels[:, 1])
    cache.write(data / "affnist", original)
    assert len(AffNIST.arrays(config("affnist").dataset, data).images) == 5
    assert len(AffNIST.arrays(config("affnist", source="generated").dataset, data).images) == 3


def test_what_is_no_affnist_file_is_refused(tmp_path):
    from scipy.io import savemat

    (tmp_path / "a.mat").write_text("hello")
    savemat(tmp_path / "b.mat", {"x": 1})
    for name in ("a.mat", "b.mat", "missing.mat"):
        with pytest.raises(DataError, match="is no AffNIST file"):
            AffNIST.convert(tmp_path / name)


# -- traffic signs --------------------------------------------------------------------------------


def sign(value, size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_signs(folder, *, classes=tuple(CLASSES), tracks=4, frames=3):
    for label in classes:
        for track in range(tracks):
            for frame in range(frames):
                path = folder / f"GTSRB/{'test' if track == 0 else 'train'}/{label:05d}/{track:05d}_{frame:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(sign(label + 10 * track))
    return folder


def test_signs_are_read_from_folders_and_archives_alike(tmp_path):
    write_signs(tmp_path / "all")
    write_signs(tmp_path / "all", classes=(1,))
    with zipfile.ZipFile(tmp_path / "signs.zip", "w") as archive:
        for file in sorted((tmp_path / "all").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "all"))
    opened, zipped = GTSRB8.convert(tmp_path / "all"), GTSRB8.convert(tmp_path / "signs.zip")
    assert opened.images.shape == (8 * 4 * 3, 3, 28, 28)
    assert torch.equal(opened.images, zipped.images) and torch.equal(opened.groups, zipped.groups)
    assert torch.bincount(opened.labels).tolist() == [12] * 8, "other classes are left out"
    assert torch.bincount(opened.groups).tolist() == [3] * 32


def test_a_track_is_never_split_between_training_and_held_out_images(tmp_path):
    cache.write(tmp_path / "gtsrb8", GTSRB8.convert(write_signs(tmp_path / "signs")))
    dataset = load(config("gtsrb8", held_out=0.2), tmp_path)
    groups = dataset.arrays.groups
    held_out, train = (set(groups[i].tolist()) for i in (dataset.held_out, dataset.train))
    assert not held_out & train and len(held_out | train) == 32
    assert 0.2 * 96 <= len(dataset.held_out) < 0.2 * 96 + 3
    assert len(set(groups[dataset.held_out[:6]].tolist())) > 2, "the first of them are not of one track"


def test_signs_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no images named like"):
        GTSRB8.convert(tmp_path)
    write_signs(tmp_path, classes=[c for c in CLASSES if c != 17])
    with pytest.raises(DataError, match="no images of the classes 17"):
        GTSRB8.convert(tmp_path)
    write_signs(tmp_path)
    (tmp_path / "GTSRB/train/00003/00001_00000.png").write_text("hello")
    with pytest.raises(DataError, match=r"00001_00000\.png"):
        GTSRB8.convert(tmp_path)
    (tmp_path / "bad.zip").write_text("hello")
    with pytest.raises(DataError, match=r"bad\.zip.*no readable"):
        GTSRB8.convert(tmp_path / "bad.zip")


# -- a user's own folder --------------------------------------------------------------------------


def halves(mode="RGB", size=(64, 32), colours=("red", "blue")):
    """An image whose left half has another colour than its right half."""
    image = Image.new("RGB", size, colours[1])
    image.paste(Image.new("RGB", (size[0] // 2, size[1]), colours[0]), (0, 0))
    return image.convert(mode)


def test_images_of_all_sizes_and_formats_become_one_stack(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    halves().save(tmp_path / "a.png")
    halves(size=(31, 77)).save(tmp_path / "b.jpg")
    halves("P").save(tmp_path / "c.gif")
    halves("CMYK").save(tmp_path / "deep/d.tiff")
    halves().save(tmp_path / "deep/er/E.BMP")
    halves().save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no image")
    dataset = load(config("folder", path=str(tmp_path), side=16))
    assert dataset.images.shape == (5, 3, 16, 16)
    left, right = dataset.images[..., 8, 2].float(), dataset.images[..., 8, 13].float()
    assert (left[:, 0] > 200).all() and (right[:, 2] > 200).all()
    assert dataset.labels is None


@pytest.mark.parametrize(
    ("fit", "corner", "middle"), [("resize", 255, 255), ("crop", 255, 255), ("pad", 0, 255)], ids=str
)
def test_the_fit_says_what_becomes_of_the_proportions(fit, corner, middle):
    file = io.BytesIO()
    white = Image.new("L", (60, 20), 255)
    white.paste(0, (0, 0, 10, 20))
    white.save(file, "PNG")
    [image] = read_images([("x", file.getvalue)], size=12, fit=fit, channels="auto")
    assert image.shape == (1, 12, 12)
    assert image[0, 0, 6] == corner and image[0, 6, 6] == middle
    assert (image[0, 6, 0] == 0) == (fit != "crop"), "only a crop loses the sides"


def test_turned_transparent_and_deep_images_are_seen_as_people_see_them(tmp_path):
    turned = halves(size=(64, 32))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(tmp_path / "a.png", exif=exif)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "b.png")
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(tmp_path / "c.png")
    images = read_images([tmp_path / f"{n}.png" for n in "abc"], size=8, fit="resize", channels="rgb")
    assert images[0, :, 0, 4].tolist() == [255, 0, 0] and images[0, :, 7, 4].tolist() == [0, 0, 255]
    assert (images[1] == 255).all() and (images[2] == 255).all()


def test_gray_images_stay_gray_unless_one_has_colour(tmp_path):
    for i in range(3):
        Image.new("L", (9, 9), 50 * i).save(tmp_path / f"{i}.png")
    assert load(config("folder", path=str(tmp_path))).images.shape[1] == 1
    halves().save(tmp_path / "colour.png")
    assert load(config("folder", path=str(tmp_path))).images.shape[1] == 3
    assert load(config("folder", path=str(tmp_path), channels="gray")).images.shape[1] == 1


def test_sub_folders_name_classes_only_when_asked(tmp_path):
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for i in range(2):
            halves().save(tmp_path / kind / f"{i}.png")
    assert load(config("folder", path=str(tmp_path))).labels is None
    dataset = load(config("folder", path=str(tmp_path), labels="subfolders"))
    assert dataset.class_names == ("cat", "dog") and sorted(dataset.labels.tolist()) == [0, 0, 1, 1]
    halves().save(tmp_path / "stray.png")
    with pytest.raises(DataError, match=r"stray\.png lies in none"):
        load(config("folder", path=str(tmp_path), labels="subfolders"))


def test_a_folder_is_read_once_and_anew_when_a_file_changes(tmp_path):
    photos, home = tmp_path / "photos", tmp_path / "data"
    photos.mkdir()
    for i in range(2):
        Image.new("L", (9, 9), 50 * i).save(photos / f"{i}.png")
    asked = config("folder", path=str(photos), side=8)
    first = load(asked, home)
    assert len(list((home / "generated").glob("folder-*[!k]"))) == 1
    assert load(asked, home).fingerprint == first.fingerprint
    Image.new("L", (9, 9), 255).save(photos / "1.png")
    assert load(asked, home).fingerprint != first.fingerprint


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.path: is not set"):
        load(config("folder"))
    with pytest.raises(DataError, match="is no folder"):
        load(config("folder", path=str(tmp_path / "missing")))
    with pytest.raises(DataError, match="holds 0 images"):
        load(config("folder", path=str(tmp_path)))
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(sign(3)[:-40] if i else sign(3))
    with pytest.raises(DataError, match=r"1\.png.*2\.png.*and 2 more: not readable"):
        load(config("folder", path=str(tmp_path)))
