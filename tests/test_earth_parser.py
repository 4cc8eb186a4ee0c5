"""The Learnable Earth Parser: what must hold of it, and that its training is like any other."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sprite_search.decompose import decompose
from sprite_search.decompose_clouds import read_cloud
from sprite_search.errors import InputError
from sprite_search.home import Home
from trainers import datasets, load, train
from trainers.datasets import DATASETS
from trainers.errors import DataError
from trainers.kinds import OfImages, OfPoints
from trainers.models import MODELS
from trainers.models.earth_parser import PARTS, CloudShape, homes, rotation
from trainers.objects import objects
from trainers.point_sprites import GENERATORS
from trainers.settings import SettingError, TrialConfig
from trainers.training import Trainer

SMALL = {
    "model.kind": "earth_parser",
    "dataset.name": "point_scenes",
    "dataset.images": 24,
    "dataset.points": 40,
    "model.layers": 3,
    "model.cells": 8,
    "model.heights": 3,
    "sprites.count": 3,
    "sprites.points": 10,
    "encoder.width": 4,
    "training.epochs": 5,
    "training.batch_size": 8,
}
CHANGES = (
    {},
    {"model.empty_sprite": False},
    {"model.layers": 1},
    {"decision.kind": "weight_prediction"},
    {"decision.activation": "hard_gumbel_softmax"},
    {"decision.presence": True},
    {"sprites.start": "cubes"},
    {"encoder.pool": 4},
    {"transformations.strategy": "all"},
    {"regularisers.frequency.weight": 0.1, "regularisers.layer_frequency.weight": 0.1},
)


def members(settings, count=1):
    return [TrialConfig.from_flat({**settings, "seed": seed}) for seed in range(count)]


def make(settings, seed=0):
    torch.manual_seed(seed)
    config = TrialConfig.from_flat({**SMALL, **settings})
    samples = datasets.load(config).images
    model = config.parts["model"](config, CloudShape(40), samples, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # away from the special start, where heads give zeros
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, samples[:6]


def noise_for(model, batch):
    return {n: torch.rand(*shape) for n, shape in model.noise(batch).items()}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_it_has_a_finite_loss_a_gradient_everywhere_and_an_explanation(change):
    model, x = make(change)
    weights = {n: torch.tensor(0.1) for n in ("frequency", "empty_sprite") if n == "frequency" or model.empty}
    outcome = model.loss(x, noise_for(model, 6), weights, phase=model.phase(4, training=True))
    kinds = 3 + model.empty
    assert outcome.loss.isfinite() and outcome.error.isfinite() and outcome.p.shape == (6, model.layers, kinds)
    assert_close(outcome.p.sum(-1), torch.ones(6, model.layers))
    outcome.loss.backward()
    untouched = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert untouched <= {"decision.codes"}
    with torch.no_grad():
        found = model.eval().explain(x, {}, phase=model.phase(4, training=False))
    labels = found.labels(x, 3)
    assert found.reconstruction.shape == (6, model.layers, 10, 3) and labels.classes.shape == (6, 40)
    assert_close(found.area().sum(-1) + (found.owner == model.layers).float().mean(-1), torch.ones(6))
    for n, layer in itertools.product(range(6), range(model.layers)):  # a point's class is that of the slot it shows
        shown = labels.classes[n][labels.instances[n] == layer + 1]
        assert (shown == found.choice[n, layer] + 1).all()


def test_points_belong_to_the_nearest_slot_that_shows_something():
    model, x = make({})
    with torch.no_grad():
        found = model.eval().explain(x, {}, phase=model.phase(4, training=False))
    apart = torch.cdist(x[:, None].expand(-1, 3, -1, -1), found.reconstruction).amin(-1)
    apart[found.choice == 3] = torch.inf
    expected = torch.where(apart.amin(1).isfinite(), apart.argmin(1), 3)
    assert (found.owner == expected).float().mean() > 0.99  # but for two slots that are as near


def test_renumbering_the_sprites_renumbers_the_choice_and_nothing_else():
    model, x = make({})
    order, phase = [2, 0, 1], model.phase(4, training=False)
    model.eval()
    with torch.no_grad():
        first = model.explain(x, {}, phase=phase)
        for parameter in (model.sprites.points, model.sprites.log_size):
            parameter.copy_(parameter[order].clone())
        for parameter in (model.decision.map.weight, model.decision.map.bias):
            parameter.copy_(parameter[[*order, 3]].clone())
        second = model.explain(x, {}, phase=phase)
    assert_close(first.p[..., [*order, 3]], second.p)
    assert_close(first.error, second.error)
    assert_close(first.reconstruction[first.choice < 3], second.reconstruction[second.choice < 3])
    assert first.owner.equal(second.owner)


def test_the_order_of_points_does_not_matter():
    model, x = make({})
    order, phase = torch.randperm(40), model.phase(4, training=False)
    with torch.no_grad():
        first, second = (model.eval().explain(v, {}, phase=phase) for v in (x, x[:, order]))
    assert_close(first.p, second.p)
    assert_close(first.error, second.error)
    assert first.owner[:, order].equal(second.owner)


def test_an_untrained_rotation_leaves_points_as_they_are_and_any_keeps_lengths():
    assert_close(rotation(torch.zeros(2), torch.zeros(2, 2)), torch.eye(3).expand(2, 3, 3), atol=1e-6, rtol=0)
    turned = rotation(torch.randn(5), torch.randn(5, 2))
    assert_close(turned @ turned.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
    quarter = rotation(torch.zeros(1), torch.tensor([[-1.0, 1.0]]))[0] @ torch.tensor([1.0, 0.0, 0.3])
    assert_close(quarter, torch.tensor([0.0, 1.0, 0.3]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("slots", [1, 4, 16, 64])
def test_slots_begin_apart_and_on_the_tile(slots):
    at = homes(slots)
    assert at.shape == (slots, 2) and at.abs().max() <= 0.8
    apart = torch.cdist(at, at) + 9 * torch.eye(slots)
    assert apart.min() > 0.5 / slots**0.5


def test_parts_join_one_by_one_and_what_waits_is_not_touched():
    given = {**SMALL, "training.epochs": 10, "transformations.first": 0.1, "transformations.last": 0.3}
    configs = members(given)
    trainer = Trainer(configs, datasets.load(configs[0]), "cpu")
    late = {"size": "sprites.log_size", "points": "sprites.points", "stretch": "stretch.weight3"}
    for count in range(1, len(PARTS) + 1):
        before = {n: p.detach().clone() for n, p in trainer.stack.parameters.items()}
        trainer.one_epoch()
        trainer.epoch += 1
        changed = {n for n, p in trainer.stack.parameters.items() if not p.equal(before[n])}
        assert {part for part, name in late.items() if name in changed} == set(PARTS[1:count])
        assert "move.weight3" in changed and any(n.startswith("decision.") for n in changed)
    assert configs[0].parts["model"].settled(configs[0]) == pytest.approx(0.3)


def test_members_equal_separate_runs():
    own = (
        {"seed": 3, "optimizer.learning_rate": 1e-3, "regularisers.empty_sprite.weight": 0.0},
        {"seed": 4, "optimizer.learning_rate": 3e-3, "regularisers.empty_sprite.weight": 0.1},
    )
    configs = [TrialConfig.from_flat({**SMALL, "training.epochs": 2, **o}) for o in own]
    together = list(train(configs, device="cpu"))
    for member, config in enumerate(configs):
        for packed, alone in zip(together, train([config], device="cpu"), strict=True):
            for name in ("train/loss", "train/reconstruction", "val/reconstruction"):
                assert packed.metrics[member][name] == pytest.approx(alone.metrics[0][name], rel=1e-3), name


def test_a_training_interrupted_after_any_epoch_goes_on_bit_for_bit(tmp_path):
    configs = members({**SMALL, "transformations.first": 0.2, "transformations.last": 0.6}, 2)
    uninterrupted = {}
    for progress in train(configs, device="cpu"):
        uninterrupted[progress.epoch] = progress.metrics
        progress.save(tmp_path / f"{progress.epoch}")
    expected = torch.load(tmp_path / "5" / "checkpoint.pt", weights_only=True)["model"]
    for epoch in range(1, 5):
        resumed = {}
        for progress in train(configs, device="cpu", resume=tmp_path / f"{epoch}"):
            resumed[progress.epoch] = progress.metrics
        progress.save(tmp_path / "resumed")
        assert resumed == {e: m for e, m in uninterrupted.items() if e > epoch}
        found = torch.load(tmp_path / "resumed" / "checkpoint.pt", weights_only=True)["model"]
        assert all(found[n].equal(expected[n]) for n in expected)


def test_it_learns_and_reports_what_models_of_scenes_do():
    given = {"dataset.images": 100, "dataset.points": 64, "training.epochs": 8, "transformations.strategy": "all"}
    *_, last = progress = list(train(members({**SMALL, **given, "optimizer.learning_rate": 3e-3}), device="cpu"))
    metrics = last.metrics[0]
    assert metrics["val/reconstruction"] < 0.5 * progress[0].metrics[0]["val/reconstruction"]
    assert metrics.keys() == {
        "train/loss", "train/reconstruction", "val/reconstruction", "val/hard_reconstruction",
        "val/used_sprites", "val/effective_sprites", "val/empty_share", "val/mask_area",
        "labels/mean_accuracy", "labels/pixel_accuracy", "labels/average_iou",
        "labels/ari_foreground", "labels/instance_iou",
    }  # fmt: skip
    assert last.artefacts() == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    *_, progress = train(members({**SMALL, "training.epochs": 2}, 2), device="cpu")
    progress.save(folder)
    return folder


def test_a_saved_model_explains_clouds_again_of_any_number_of_points(trained):
    model = load(trained, member=1, device="cpu")
    assert (model.config["seed"], model.epoch, model.shape) == (1, 2, CloudShape(40))
    assert model.sprites().shape == (3, 10, 3) and model.background() is None
    x = np.random.default_rng(0).uniform(-1, 1, (70, 25, 3)).astype(np.float32)
    found, again = model.decompose(x), model.decompose(torch.from_numpy(x))
    for name, value in vars(found).items():
        np.testing.assert_array_equal(value, getattr(again, name))
    assert found.instances.shape == found.classes.shape == (70, 25) and found.sprite.shape == (70, 3)
    assert found.reconstruction.shape == (70, 3, 10, 3) and found.probabilities.shape == (70, 3, 4)
    for i in range(70):
        listed = json.loads(json.dumps(objects(found, i)))
        assert sum(o["area"] for o in listed) == pytest.approx((found.instances[i] > 0).mean(), abs=1e-3)
        for o in listed:
            own = x[i][found.instances[i] == o["layer"]]
            np.testing.assert_allclose(o["box"], [*own.min(0), *own.max(0)], atol=1e-4)


def test_decompose_explains_files_of_points(trained, tmp_path):
    cloud = np.random.default_rng(1).uniform((-0.5, -0.5, 0), (0.5, 0.5, 0.4), (300, 3))
    np.save(tmp_path / "a.npy", cloud)
    np.savetxt(tmp_path / "b.xyz", cloud[:25])  # fewer than the model takes
    files = [tmp_path / "a.npy", tmp_path / "b.xyz"]
    large, small = decompose(str(trained), files, tmp_path / "out", Home(tmp_path))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "a.json",
        "a_overlay.png",
        "b.json",
        "b_overlay.png",
    ]
    assert (large["points"], large["points_taken"], small["points"], small["points_taken"]) == (300, 40, 25, 40)
    assert json.loads((tmp_path / "out" / "a.json").read_text())["objects"] == large["objects"]
    for one in (large, small):
        for o in one["objects"]:
            assert o["box_in_cloud"] == pytest.approx(o["box"], abs=1e-4)


def test_clouds_of_a_model_of_tiles_are_brought_to_the_tile_and_back(trained):
    model = load(trained, device="cpu")
    model.config = {"dataset.tile": 4.0}
    far = np.array([[10.0, 20, 7], [13, 22, 9]])
    file = trained / "far.npy"
    np.save(file, far)
    points, scale, origin, count = read_cloud(file, model)
    assert count == 2 and points.shape == (40, 3)
    np.testing.assert_allclose(points.min(0), [-0.75, -0.5, 0], atol=1e-6)
    np.testing.assert_allclose(points.max(0), [0.75, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(np.unique(points * scale + origin, axis=0), far, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "points", "problem"),
    [
        ("metres.npy", np.full((3, 3), 5.0), r"metres.npy: is not on the tile, as it reaches 5 half sides"),
        ("below.npy", np.full((3, 3), -0.9), r"below.npy: is not on the tile"),
        ("flat.npy", np.zeros((3, 2)), r"flat.npy: no points can be read"),
        ("missing.npy", None, r"missing.npy: there is no such file"),
        ("photo.png", np.zeros((3, 3)), r"photo.png: is no point cloud; give files that end in .npy"),
    ],
)
def test_clouds_that_cannot_be_explained_are_told_and_nothing_is_written(trained, tmp_path, name, points, problem):
    if points is not None:
        with (tmp_path / name).open("wb") as file:
            np.save(file, points)
    with pytest.raises((InputError, DataError), match=problem):
        decompose(str(trained), [tmp_path / name], tmp_path / "out", Home(tmp_path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (np.zeros((2, 5), np.float32), r"shape \(2, 5\), but the model takes \(N, P, 3\)"),
        (np.zeros((0, 5, 3), np.float32), "shape"),
        (np.full((1, 5, 3), np.nan), "not finite"),
        (np.zeros((1, 5, 3), np.uint8), "not finite floats"),
    ],
)
def test_unfit_points_are_refused_with_a_reason(trained, points, problem):
    with pytest.raises(DataError, match=problem):
        load(trained, device="cpu").decompose(points)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dataset.name": "digits"}, r"dataset.name is digits, which is for images, .*; choose one of point_"),
        ({"sprites.kind": "mlp"}, r"sprites.kind is mlp, which is for images, .*; choose one of points"),
        ({"decision.kind": "min_loss"}, r"decision.kind is min_loss, .*; choose linear"),
        ({"transformations.strategy": "id+g1+g2"}, r"id\+g1\+g2, .*; choose one-by-one"),
        ({"transformations.sprite": "affine"}, r"transformations.sprite has no effect"),
        ({"decision.loss": "composition"}, r"decision.loss has no effect"),
        ({"model.kind": "clustering"}, r"dataset.name is point_scenes, which is for point clouds"),
    ],
)
def test_what_is_for_images_is_refused(given, words):
    base = {n: SMALL[n] for n in ("model.kind", "dataset.name")}
    with pytest.raises(SettingError, match=words):
        TrialConfig.from_flat({**base, **given})


def test_every_member_that_looks_at_data_is_for_one_kind_and_defaults_follow():
    for family in (MODELS, GENERATORS, DATASETS):
        assert sorted([*family.names(OfImages), *family.names(OfPoints)]) == sorted(family)
    assert TrialConfig.from_flat({n: SMALL[n] for n in ("model.kind", "dataset.name")})["sprites.kind"] == "points"
    assert TrialConfig.from_flat({})["sprites.kind"] == "mlp"
