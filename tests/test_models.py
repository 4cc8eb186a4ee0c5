"""Models: what must hold for any of them, and the two ways of mixing."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from trainers import load, train
from trainers.decisions import DECISIONS, MinLoss, PredictsProbabilities, gumbel
from trainers.errors import DataError
from trainers.kinds import OfImages
from trainers.models import MODELS, ImageShape
from trainers.settings import SettingError, TrialConfig

SHAPE = ImageShape(3, 16, 16)
SMALL = {"sprites.count": 3, "encoder.width": 4, "transformations.strategy": "all", "training.epochs": 4}
LAYERS = {**SMALL, "model.kind": "multilayer", "sprites.size": 8, "model.layers": 2}


def make(settings, seed=0):
    torch.manual_seed(seed)
    config = TrialConfig.from_flat(settings)
    samples = torch.rand(20, 3, *SHAPE.size)
    model = config.parts["model"](config, SHAPE, samples, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # away from the special start, where heads give zeros
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def noise_for(model, batch):
    drawn = {n: torch.rand(*shape) for n, shape in model.noise(batch).items()}
    return {n: gumbel(u) if n == "gumbel" else u for n, u in drawn.items()}


def losses(settings):
    for name in DECISIONS.names(PredictsProbabilities):
        for loss in ("composition", "weighted_sum"):
            yield {**settings, "decision.kind": name, "decision.loss": loss}
    for name in DECISIONS.names(MinLoss):
        yield {**settings, "decision.kind": name}


#: on a grid there is neither an order to predict nor another way to mix
PLACES = {n: v for n, v in LAYERS.items() if n not in ("model.occlusion", "model.mix", "sprites.size")} | {
    "model.kind": "anchors",
    "model.grid": 2,
    "transformations.layer": "identity_shift",
}

#: One of everything: decisions and losses for each model, then each setting of the layers in turn.
MANY = [
    *itertools.chain(*(losses(s) for s in (SMALL, LAYERS))),
    *(
        {**LAYERS, **change}
        for change in (
            {"model.mix": "exact"},
            {"model.background": False},
            {"model.empty_sprite": False},
            {"model.occlusion": False},
            {"model.layers": 1},
            {"model.layers": 3},
            {"sprites.kind": "pixels"},
            {"sprites.size": 0},
            {"transformations.sprite": "identity_similarity"},
            {"transformations.sprite": "similarity_tps", "transformations.shared": True},
            {"transformations.layer": "identity", "transformations.sprite": "color_affine"},
            {"transformations.background": "color_affine"},
            {"training.mask_noise": 0.0},
            {"training.focus": 0.3},
            {"regularisers.empty_sprite.weight": 0.1, "regularisers.frequency.weight": 0.1},
        )
    ),
    {**PLACES, "decision.presence": True},
    {**PLACES, "model.empty_sprite": False},
    {**LAYERS, "decision.presence": True},
    {**SMALL, "transformations.shared": True},
    {**SMALL, "transformations.sprite": "identity"},
    {**SMALL, "sprites.kind": "pixels", "transformations.padding": "border"},
]


def differences(settings):
    return ",".join(f"{n}={v}" for n, v in settings.items() if SMALL.get(n) != v and n != "sprites.size")


@pytest.mark.parametrize("settings", MANY, ids=differences)
def test_every_model_has_a_finite_loss_a_gradient_and_an_explanation(settings):
    model = make(settings)
    x, phase = torch.rand(5, 3, *SHAPE.size), model.phase(1, training=True)
    weights = {n: torch.tensor(0.1) for n in ("frequency", "binary") if model.decision is not None}
    outcome = model.loss(x, noise_for(model, 5), weights, phase=phase)
    assert outcome.loss.isfinite() and outcome.error.isfinite()
    slots = model.count + model.empty
    assert outcome.p.shape == (5, model.slots, slots)
    assert_close(outcome.p.sum(-1), torch.ones(5, model.slots))
    outcome.loss.backward()
    learned = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {n.partition(".")[0] for n in learned} >= {"encoder", "sprites"}
    with torch.no_grad():
        found = model.eval().explain(x, {}, phase=model.phase(1, training=False))
    assert found.reconstruction.shape == x.shape and found.choice.shape == (5, model.slots)
    assert found.colours.shape == (5, model.slots, *x.shape[1:])
    assert found.masks.shape == (5, model.slots, 1, *SHAPE.size)
    assert_close(found.error, (found.reconstruction - x).square().mean((1, 2, 3)))


@pytest.mark.parametrize("sprite", ["identity", "identity_similarity", "color_similarity"])
@pytest.mark.parametrize("noisy", [True, False])
def test_for_hard_choices_mixing_before_and_after_placing_agree(sprite, noisy):
    model = make({**LAYERS, "transformations.sprite": sprite, "model.layers": 3})
    phase, x = model.phase(1, training=True), torch.rand(6, 3, *SHAPE.size)
    scene = model.scene(x, {"mask": torch.rand(3, *SHAPE.size)} if noisy else {}, phase)
    p = torch.nn.functional.one_hot(torch.randint(4, (6, 3)), 4).float()
    before = model.render(scene, p)
    assert_close(before, model.render_exact(scene, p), atol=1e-5, rtol=1e-5)


def test_for_soft_choices_they_are_near():
    model = make(LAYERS)
    phase, x = model.phase(1, training=False), torch.rand(6, 3, *SHAPE.size)
    scene, p = model.scene(x, {}, phase), torch.rand(6, 2, 4).softmax(-1)
    assert (model.render(scene, p) - model.render_exact(scene, p)).abs().max() < 0.05


@pytest.mark.parametrize("base", [SMALL, LAYERS], ids=["clustering", "layers"])
def test_renumbering_the_sprites_renumbers_the_choice_and_nothing_else(base):
    settings = {**base, "decision.kind": "weight_prediction", "transformations.shared": True, "sprites.kind": "mlp"}
    model = make(settings).eval()
    x, phase = torch.rand(4, 3, *SHAPE.size), model.phase(1, training=False)
    with torch.no_grad():
        first = model.explain(x, {}, phase=phase)
        model.sprites.codes.copy_(model.sprites.codes[[2, 0, 1]].clone())
        second = model.explain(x, {}, phase=phase)
    assert_close(first.p[..., [2, 0, 1]], second.p[..., :3])
    assert_close(first.reconstruction, second.reconstruction)


def test_min_loss_takes_the_sprite_of_least_error():
    model = make({**SMALL, "decision.kind": "min_loss"}).eval()
    x, phase = torch.rand(5, 3, *SHAPE.size), model.phase(1, training=False)
    with torch.no_grad():
        found = model.explain(x, {}, phase=phase)
        betas = model.sequence.betas(model.encoder(x), phase.joined["sprite"])
        each = (x[:, None] - model.transformed(betas, model.sprites().colours)).square().mean((2, 3, 4))
    assert found.choice[:, 0].tolist() == each.argmin(1).tolist()
    assert_close(found.error, each.amin(1))
    assert_close(found.hard_error, each.amin(1))


def test_an_expensive_sprite_is_not_used_and_a_frozen_one_is_never_left_out():
    model = make({**LAYERS, "decision.kind": "min_loss"}).eval()
    x, phase = torch.rand(4, 3, *SHAPE.size), model.phase(1, training=False)
    with torch.no_grad():
        dear = model.explain(x, {"empty_sprite": torch.tensor(10.0)}, phase=phase)
        frozen = dataclasses.replace(phase, frozen_sprites=True)
        forced = model.explain(x, {"empty_sprite": torch.tensor(10.0)}, phase=frozen)
    assert (dear.choice == model.count).all() and (forced.choice < model.count).all()


def test_predicted_occlusion_is_one_or_the_other_way_round():
    model = make({**LAYERS, "model.layers": 4})
    front = model.occlusion(torch.randn(5, model.encoder.features))
    off = ~torch.eye(4, dtype=torch.bool)
    assert_close((front + front.transpose(1, 2))[:, off], torch.ones(5, 12))
    assert not front.diagonal(dim1=1, dim2=2).any()


def test_a_weighted_sum_of_too_many_choices_is_refused():
    with pytest.raises(SettingError, match=r"decision.loss is weighted_sum, .* 11\^5 = 161,051 ways, .*; choose"):
        TrialConfig.from_flat(
            {"model.kind": "multilayer", "model.layers": 5, "sprites.count": 10, "decision.loss": "weighted_sum"}
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = {
        **LAYERS, "dataset.name": "multi_dsprites", "dataset.images": 30, "dataset.size": 16, "training.epochs": 2,
        "training.batch_size": 10,
    }  # fmt: skip
    *_, progress = train([TrialConfig.from_flat({**config, "seed": s}) for s in (0, 1)], device="cpu")
    progress.save(folder)
    return folder


def test_a_saved_model_explains_images_again(trained):
    model = load(trained, member=1, device="cpu")
    assert (model.config["seed"], model.epoch, model.shape) == (1, 2, SHAPE)
    assert model.sprites().shape == (3, 4, 8, 8) and model.background().shape == (3, 16, 16)
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 16, 16), dtype=np.uint8)
    found = model.decompose(images)
    again = model.decompose(torch.from_numpy(images).float() / 255)
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(again, field.name))
    assert found.reconstruction.shape == (70, 3, 16, 16) and found.reconstruction.dtype == np.float32
    assert found.transformed.shape == (70, 2, 4, 16, 16) and found.layer_masks.shape == (70, 2, 16, 16)
    assert found.probabilities.shape == (70, 2, 4) and found.sprite.shape == (70, 2)
    assert found.instances.max() <= 2 and found.classes.max() <= 3
    assert set(np.unique(found.sprite)) <= {-1, 0, 1, 2}
    for n, layer in itertools.product(range(70), range(2)):  # a pixel's class is that of the layer it shows
        shown = found.classes[n][found.instances[n] == layer + 1]
        assert (shown == found.sprite[n, layer] + 1).all()


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), r"shape \(2, 3, 8, 8\).*takes \(N, 3, 16, 16\)"),
        (np.zeros((3, 16, 16), np.uint8), "convert"),
        (np.zeros((0, 3, 16, 16), np.uint8), "shape"),
        (np.full((1, 3, 16, 16), 200.0), "outside 0…1"),
        (np.full((1, 3, 16, 16), np.nan), "outside 0…1"),
        (np.zeros((1, 3, 16, 16), np.int32), "int32"),
    ],
)
def test_unfit_images_are_refused_with_a_reason(trained, images, problem):
    with pytest.raises(DataError, match=problem):
        load(trained, device="cpu").decompose(images)


def test_a_member_that_is_not_there_is_refused(trained):
    with pytest.raises(DataError, match="has 2 members, no member 2"):
        load(trained, member=2)


def test_loading_leaves_the_global_random_state_alone(trained):
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    load(trained)
    assert torch.rand(2).equal(expected)


def test_all_models_are_covered_here():
    assert set(MODELS.names(OfImages)) == {TrialConfig.from_flat(s)["model.kind"] for s in MANY}
