"""Properties of every encoder."""

import pytest
import torch
from torch.testing import assert_close

from trainers.encoder import ENCODERS
from trainers.settings import TrialConfig


def make(kind, *, size=(28, 28), channels=3, **settings):
    config = TrialConfig.from_flat({"encoder.kind": kind, **{f"encoder.{n}": v for n, v in settings.items()}})
    return ENCODERS[kind](config.encoder, channels=channels, size=size)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (35, 40)])
@pytest.mark.parametrize("pool", [1, 4])
def test_features_have_the_promised_length_at_any_size(kind, size, pool):
    encoder = make(kind, size=size, pool=pool, channels=1)
    assert encoder(torch.rand(3, 1, *size)).shape == (3, encoder.features)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("size", [(8, 8), (35, 40)])
def test_a_thumbnail_of_the_image_is_among_the_features(kind, size):
    encoder = make(kind, size=size, thumbnail=4).eval()
    images = torch.rand(2, 3, *size)
    features = encoder(images)
    assert features.shape == (2, encoder.features)
    assert_close(encoder.without_thumbnail(features), encoder.map(images).flatten(1))
    # a part of the image as wide and high as a value of the thumbnail is its mean, around mid-grey
    corner = images[:, 0, : -(-size[0] // 4), : -(-size[1] // 4)].mean((-2, -1)) - 0.5
    assert_close(features[:, -3 * 16], corner)


def test_without_a_thumbnail_features_are_those_of_the_published_encoders():
    encoder = make("resnet20", pool=1)
    assert encoder.features == 64
    assert TrialConfig.from_flat({})["encoder.thumbnail"] == 0


@pytest.mark.parametrize("kind", ENCODERS)
def test_members_of_a_stack_equal_separate_encoders_running_statistics_included(kind):
    torch.manual_seed(0)  # a batch of four may have channels of hardly any variance, whose rounding errors are large
    encoders = [make(kind, size=(12, 12)) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(encoders)
    images = torch.rand(2, 4, 3, 12, 12)

    def call(p, b, x):
        return torch.func.functional_call(encoders[0], (p, b), (x,))

    together = torch.vmap(call)(parameters, buffers, images)
    for i, encoder in enumerate(encoders):
        assert_close(together[i], encoder(images[i]), atol=1e-4, rtol=1e-4)
        for name, own in encoder.named_buffers():
            assert_close(buffers[name][i], own)


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_parameter_gets_a_gradient(kind):
    encoder = make(kind)
    encoder(torch.rand(2, 3, 28, 28)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_blocks_deepen_the_cheap_encoder_at_its_small_map():
    plain, deep = make("conv"), make("conv", blocks=2)
    assert plain.features == deep.features
    more = [m for m in deep.modules() if isinstance(m, torch.nn.Conv2d)][3:]
    assert [(m.in_channels, m.out_channels, m.stride) for m in more] == 4 * [(64, 64, (1, 1))]
    assert deep(torch.rand(2, 3, 28, 28)).shape == (2, deep.features)


def test_resnets_have_the_published_depth():
    depth = {k: sum(isinstance(m, torch.nn.Conv2d) for m in make(k).modules()) for k in ("resnet20", "resnet32")}
    assert depth == {"resnet20": 19, "resnet32": 31}  # the last layer of the name is the classifier, absent here


@pytest.mark.parametrize("kind", ENCODERS)
def test_half_precision_is_near_full_precision(kind):
    x = torch.rand(4, 1, 64, 64)
    full, half = (make(kind, channels=1, size=(64, 64), precision=p).eval() for p in ("float32", "bfloat16"))
    half.load_state_dict(full.state_dict())
    y, near = full(x).detach(), half(x).detach()
    assert near.dtype == torch.float32
    assert not torch.equal(near, y)
    torch.testing.assert_close(near, y, rtol=0.1, atol=0.05 * float(y.abs().max()))
