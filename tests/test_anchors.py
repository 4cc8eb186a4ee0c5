"""Sprites on a grid: windows land where they belong, overlap as told, and the whole equals a plain loop."""

import pytest
import torch

from trainers.datasets import Arrays, Dataset
from trainers.settings import SettingError, TrialConfig
from trainers.training import Trainer

GIVEN = {
    "model.kind": "anchors",
    "model.layers": 2,
    "model.grid": 4,
    "sprites.kind": "mlp",
    "sprites.hidden": 32,
    "sprites.latent": 16,
    "sprites.count": 3,
    "decision.kind": "weight_prediction",
    "decision.activation": "softmax",
    "decision.presence": True,
    "transformations.sprite": "identity",
    "transformations.layer": "identity_shift",
    "transformations.background": "identity",
    "encoder.kind": "conv",
    "encoder.width": 8,
    "training.mask_noise": 0.0,
    "training.batch_size": 4,
}


def trainer(**more):
    images = torch.randint(0, 256, (4, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    every = torch.arange(4)
    made = Trainer(
        [TrialConfig.from_flat({**GIVEN, **more})], Dataset(Arrays(images), train=every, held_out=every), "cpu"
    )
    with torch.no_grad():
        torch.manual_seed(0)
        for value in made.stack.parameters.values():
            value.add_(0.2 * torch.randn_like(value))
    made.model.load_state_dict({n: t[0] for n, t in made.stack.state().items()}, strict=False)
    return made


def explained(made):
    x = made.images.float() / 255
    return x, made.model.eval().explain(x, {}, phase=made.model.phase(0, training=False))


def test_a_window_is_two_cells_around_its_own():
    model = trainer().model
    assert model.window() == (8, 12)
    at = model.placing(24)
    assert at.shape == (4, 24, 12)
    first = at.argmax(1)[0]  # cells are six pixels: the first window begins half a cell outside
    assert at[0, :, :3].sum() == 0 and first[3:].tolist() == list(range(9))
    assert at[1].argmax(0).tolist() == list(range(3, 15))


def test_the_four_sets_hold_every_window_once_and_never_two_at_a_pixel():
    model = trainer().model
    spread = model.spread(torch.ones(16, 2, 1, *model.window()))
    assert spread.shape == (1, 8, 1, 16, 24)
    assert spread.max() == 1
    inside = sum(float(model.placing(16)[i].sum() * model.placing(24)[j].sum()) for i in range(4) for j in range(4))
    assert spread.sum() == 2 * inside


def test_the_image_is_its_windows_laid_over_each_other_one_by_one():
    made = trainer()
    x, found = explained(made)
    model, image = made.model, made.model.background()[0].expand_as(x).clone()
    layers = found.colours.shape[1]
    assert layers == 2 * 4 * 4
    # cells of even rows and columns first, layer by layer: the order of the sets
    own = model.sets(x.device)
    for layer in sorted(range(layers), key=lambda n: int(own[n])):
        mask = found.masks[:, layer]
        image = image * (1 - mask) + mask * found.colours[:, layer]
    torch.testing.assert_close((x - image).square().mean((1, 2, 3)), found.hard_error)
    front = found.occlusion
    torch.testing.assert_close(front, (own[:, None] > own).to(front.dtype).expand_as(front))


def test_presence_is_a_factor_of_its_own():
    made = trainer()
    _, found = explained(made)
    features = made.model.encoder(made.images.float() / 255)
    there = made.model.decision.presence(features).sigmoid().reshape(4, -1)
    torch.testing.assert_close(found.p[..., -1], 1 - there)
    torch.testing.assert_close(found.p.sum(-1), torch.ones(4, 32))


def test_the_order_within_a_layer_is_drawn_and_layers_stay_in_order():
    model = trainer().model
    front = model.in_front(torch.tensor([0.3, 0.9, 0.1, 0.5, 0.2, 0.4, 0.6, 0.8]))
    assert (front + front.T + torch.eye(8) == 1).all()
    assert front[4:, :4].all() and front[1, 0] == 1 and front[2, 0] == 0


def test_cells_see_alike():
    """What a cell shows follows from its own features: all cells share their networks."""
    model = trainer().model
    x = torch.rand(1, 3, 16, 24)
    features = model.encoder(x)
    assert features.shape[0] == 16
    p = model.decision(features, model.sprites().codes)
    torch.testing.assert_close(model.decision(features.flip(0), model.sprites().codes), p.flip(0))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model.grid": 3}, "even number of places"),
        ({"model.grid": 6}, "does not divide"),
        ({"decision.kind": "min_loss"}, "every sprite everywhere"),
        ({"decision.loss": "weighted_sum"}, "too many places"),
    ],
)
def test_what_does_not_fit_is_refused(more, words):
    given = {
        n: v
        for n, v in {**GIVEN, **more}.items()
        if more.get("decision.kind") is None or "decision." not in n or n in more
    }
    with pytest.raises(SettingError, match=words):
        images = torch.zeros(4, 3, 16, 24, dtype=torch.uint8)
        every = torch.arange(4)
        Trainer([TrialConfig.from_flat(given)], Dataset(Arrays(images), train=every, held_out=every), "cpu")


def test_it_reports_and_resumes_like_any_model(tmp_path):
    whole, part = trainer(), trainer()
    for one in (whole, part):
        one.one_epoch()
        one.epoch += 1
    part.save(tmp_path)
    again = trainer()
    again.resume(tmp_path)
    assert again.metrics(again.one_epoch()) == whole.metrics(whole.one_epoch())
    assert again.artefacts() == []
