"""Properties of every sprite generator, and of how each starts."""

import pytest
import torch
from torch.testing import assert_close

from trainers.kinds import OfImages
from trainers.kmeans import kmeans
from trainers.settings import SettingError, TrialConfig
from trainers.sprites import GENERATORS, Background, gaussian

SAMPLES = torch.rand(30, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def make(kind, *, masks=True, size=(12, 12), seed=0, **settings):
    given = {"model.kind": "multilayer" if masks else "clustering", "sprites.kind": kind, "sprites.count": 5}
    config = TrialConfig.from_flat({**given, **{f"sprites.{n}": v for n, v in settings.items()}})
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return GENERATORS[kind](config.sprites, channels=3, size=size, masks=masks, samples=SAMPLES, generator=generator)


@pytest.mark.parametrize("kind", GENERATORS.names(OfImages))
@pytest.mark.parametrize("masks", [True, False])
def test_sprites_have_their_shape_and_range(kind, masks):
    colours, alphas, _ = make(kind, masks=masks)()
    assert colours.shape == (5, 3, 12, 12) and colours.min() > -0.05 and colours.max() < 1.05  # softly clamped
    assert (alphas.shape == (5, 1, 12, 12)) if masks else (alphas is None)


@pytest.mark.parametrize("kind", GENERATORS.names(OfImages))
def test_every_parameter_gets_a_gradient(kind):
    sprites = make(kind)
    colours, masks, _ = sprites()
    (colours.square().sum() + masks.square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in sprites.parameters())


@pytest.mark.parametrize("kind", GENERATORS.names(OfImages))
def test_row_parameters_have_one_row_per_sprite_and_decide_it(kind):
    sprites = make(kind, masks=False)
    rows = dict(sprites.named_parameters())
    with torch.no_grad():
        for name in sprites.row_parameters:
            assert len(rows[name]) == 5
            rows[name][3] = rows[name][1]
    colours = sprites().colours
    assert_close(colours[3], colours[1])


@pytest.mark.parametrize("kind", GENERATORS.names(OfImages))
def test_the_same_seed_starts_the_same_and_another_does_not(kind):
    assert_close(make(kind, seed=1)().colours, make(kind, seed=1)().colours, rtol=0, atol=0)
    assert not torch.equal(make(kind, seed=1)().colours, make(kind, seed=2)().colours)


@pytest.mark.parametrize("kind", GENERATORS.names(OfImages))
def test_masks_start_as_a_bump(kind):
    masks = make(kind)().masks
    assert (masks[:, 0, 5:7, 5:7] > 0.9).all() and (masks[:, 0, 0, 0] < 0.2).all()


def test_sampled_sprites_are_training_images():
    colours = make("pixels", size=(16, 16))().colours
    assert_close(torch.cdist(colours.flatten(1), SAMPLES.flatten(1)).min(1).values, torch.zeros(5), atol=1e-2, rtol=0)


def test_kmeans_sprites_are_centres():
    colours = make("pixels", size=(16, 16), init="kmeans")().colours
    centres, _ = kmeans(SAMPLES.flatten(1), 5, torch.Generator().manual_seed(0))
    assert_close(colours.flatten(1), centres)


def test_constant_sprites_have_the_value():
    assert (make("pixels", init="constant", constant=0.3)().colours == 0.3).all()


@pytest.mark.parametrize("decoded", [True, False])
def test_the_background_starts_at_the_median_colour(decoded):
    config = TrialConfig.from_flat({"model.kind": "multilayer"})
    samples = torch.full((4, 3, 8, 8), 0.25)
    samples[:, :, :3, :3] = 1.0
    ground = Background(config.sprites, channels=3, size=(8, 8), decoded=decoded, samples=samples)()
    assert_close(ground, torch.full((1, 3, 8, 8), 0.25), atol=0.01, rtol=0)


def test_the_bump_of_an_odd_size_peaks_at_one():
    assert gaussian((5, 7), 0.25)[0, 2, 3] == 1


def test_a_hidden_width_that_cannot_be_grouped_is_refused():
    with pytest.raises(SettingError, match="multiple of 8"):
        make("mlp", hidden=12)
