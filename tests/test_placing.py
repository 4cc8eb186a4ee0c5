"""Placing and mixing together: what the two make one after the other, in values and gradients."""

import pytest
import torch
from torch.func import vmap

from trainers.mixing import mix_of_masked
from trainers.placing import place_and_mix
from trainers.transformations import TRANSFORMATIONS, Sequence, sample_axes
from trainers.transformations.family import AxisTransformation, axis_warp

B, L, K, SPRITE, IMAGE = 2, 4, 3, (4, 6), (7, 5)

#: scale, x and y of the layers of both images: they show all of the sprites, parts of them, and three times nothing
SCALE = [1.0, 2.0, 3.0, 0.4, 9.0, 2.0, 1e5, 2.0]
X = [0.0, 0.3, -2.0, 0.1, 1.0, 0.0, 1e4, 9.0]
Y = [0.0, -1.1, 1.5, 0.2, 4.0, -9.0, 1e4, 0.0]


def given(channels, *, noisy, members=()):
    g = torch.Generator().manual_seed(channels)
    kinds = channels + 1 + noisy
    pixels = 2 * torch.rand(*members, B, L, K, kinds, *SPRITE, generator=g, dtype=torch.float64) - 0.5
    axes = torch.tensor([SCALE, X, Y], dtype=torch.float64).expand(*members, 3, B * L).clone()
    axes += torch.rand(axes.shape, generator=g, dtype=torch.float64) / 50
    noise = torch.rand(*members, K, *IMAGE, generator=g, dtype=torch.float64) - 0.5 if noisy else None
    p = torch.rand(*members, B, L, K, generator=g, dtype=torch.float64).softmax(-1)
    return pixels.requires_grad_(), axes.requires_grad_(), noise, p.requires_grad_()


def warp(axes, padding="zeros"):
    return axis_warp(axes.unbind(), SPRITE, IMAGE, padding)


def together(pixels, axes, noise, p):
    return place_and_mix(pixels, warp(axes), noise, p)


def apart(pixels, axes, noise, p, padding="zeros"):
    placed = sample_axes(pixels.flatten(0, 1).flatten(1, 2), warp(axes, padding))
    return mix_of_masked(placed.reshape(*pixels.shape[:4], *IMAGE), noise, p)


def assert_same(made, expected, inputs):
    weights = [torch.randn_like(x) for x in expected]
    found, right = (torch.autograd.grad(x, inputs, weights) for x in (made, expected))
    for a, b in zip((*made, *found), (*expected, *right), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("noisy", [True, False], ids=["noise", "no noise"])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_and_gradients_are_those_of_one_after_the_other(channels, noisy):
    pixels, axes, noise, p = given(channels, noisy=noisy)
    expected = apart(pixels, axes, noise, p)
    shown = expected[0].flatten(2).any(-1).flatten()
    assert shown.tolist() == [True] * 5 + [False] * 3, "layers that show something, and layers that do not"
    assert_same(together(pixels, axes, noise, p), expected, (pixels, axes, p))


def test_outside_of_a_sprite_may_be_its_border():
    pixels, axes, noise, p = given(3, noisy=True)
    made = place_and_mix(pixels, warp(axes, "border"), noise, p)
    assert_same(made, apart(pixels, axes, noise, p, "border"), (pixels, axes, p))


def test_sprites_may_be_laid_out_in_any_way():
    pixels, axes, noise, p = given(3, noisy=True)
    other = pixels.detach().movedim(-2, 0).contiguous().movedim(0, -2).requires_grad_()
    assert_same(together(other, axes, noise, p), together(other.contiguous(), axes, noise, p), (other, axes, p))
    same = pixels[:, :1].expand(-1, L, -1, -1, -1, -1)
    assert_same(together(same, axes, noise, p), together(same.contiguous(), axes, noise, p), (pixels, axes, p))


@pytest.mark.parametrize("noisy", [True, False], ids=["noise", "no noise"])
def test_members_are_placed_as_if_alone(noisy):
    pixels, axes, noise, p = given(3, noisy=noisy, members=(2,))
    made = vmap(together, (0, 0, 0 if noisy else None, 0))(pixels, axes, noise, p)
    alone = [together(pixels[m], axes[m], noise[m] if noisy else None, p[m]) for m in range(2)]
    assert_same(made, [torch.stack(x) for x in zip(*alone, strict=True)], (pixels, axes, p))


def test_compiled_values_and_gradients_are_the_same():
    pixels, axes, noise, p = given(3, noisy=True)
    compiled = torch.compile(together, backend="aot_eager", fullgraph=True)
    assert_same(compiled(pixels, axes, noise, p), together(pixels, axes, noise, p), (pixels, axes, p))


@pytest.mark.parametrize("number", range(3), ids=["scale", "x", "y"])
def test_a_place_that_is_not_a_number_is_not_overlooked(number):
    pixels, axes, noise, p = given(3, noisy=True)
    axes = axes.detach().clone()
    axes[number, 1] = torch.nan
    whole = pixels.detach().clone()
    whole[0, 1, 0] = torch.nan
    cover, _ = together(whole, axes, noise, p)
    assert cover[0, 1].isnan().any() and cover[0, 0].isfinite().all()


@pytest.mark.parametrize(
    "names", ["position", "color_position", "affine_shift", "translation_color", "color", "affine"]
)
def test_a_sequence_gives_the_warp_it_ends_in(names):
    sequence = Sequence(names.split("_"), slots=L, features=8, channels=3, in_size=SPRITE, out_size=IMAGE)
    pixels = torch.rand(B, L, K, 5, *SPRITE)
    betas = [torch.randn_like(b) / 5 for b in sequence.betas(torch.randn(B, 8), [True] * len(sequence.names))]
    before = sequence.before_axes(betas, pixels)
    ends_in_axes = issubclass(TRANSFORMATIONS[sequence.names[-1]], AxisTransformation)
    assert (before is not None) == ends_in_axes
    if before is not None:
        moved, last = before
        placed = sample_axes(moved.flatten(0, 1).flatten(1, 2), last).reshape(B, L, K, 5, *IMAGE)
        torch.testing.assert_close(placed, sequence.apply_betas(betas, pixels, batched=True))


@pytest.mark.parametrize("noisy", [True, False], ids=["noise", "no noise"])
def test_on_other_devices_no_value_is_looked_at(noisy):
    pixels, axes, noise, p = (None if x is None else x.to("meta") for x in given(3, noisy=noisy, members=(2,)))
    cover, paint = vmap(together, (0, 0, 0 if noisy else None, 0))(pixels, axes, noise, p)
    assert cover.shape == (2, B, L, 1, *IMAGE) and paint.shape == (2, B, L, 3, *IMAGE)
    found = torch.autograd.grad(cover.sum() + paint.sum(), (pixels, axes, p))
    assert [x.shape for x in found] == [pixels.shape, axes.shape, p.shape]
