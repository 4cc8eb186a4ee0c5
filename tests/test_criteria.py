"""Losses against hand-computed numbers, and the properties that make them comparable."""

import pytest
import torch
from torch.testing import assert_close

from trainers.compositing import compose, in_order
from trainers.criteria import (
    REGULARISERS,
    choices,
    composition_error,
    weighted_sum_error,
    weighted_sum_over_layers,
)


def test_the_two_errors_agree_on_a_hard_choice_and_mixing_never_costs_more():
    image, sprites = torch.rand(3, 1, 8, 8), torch.rand(3, 4, 1, 8, 8)
    hard, soft = torch.eye(4)[[2, 0, 3]], torch.rand(3, 4).softmax(-1)

    def mixed(p):
        return torch.einsum("bk,bkchw->bchw", p, sprites)

    assert_close(composition_error(image, mixed(hard)), weighted_sum_error(image, sprites, hard))
    assert (composition_error(image, mixed(soft)) <= weighted_sum_error(image, sprites, soft)).all()


def test_errors_are_means_over_pixels_and_channels():
    image, mixed = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    assert composition_error(image, mixed).item() == 0.25
    left = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert composition_error(image, mixed, left).item() == 0.125
    both = torch.stack((image, mixed), 1)
    assert weighted_sum_error(image, both, torch.tensor([[0.25, 0.75]])).item() == 0.1875


def test_the_expected_error_over_layers_is_the_sum_over_all_choices():
    g = torch.Generator().manual_seed(0)
    image, background = torch.rand(2, 1, 3, 3, generator=g), torch.rand(2, 1, 3, 3, generator=g)
    colours, masks = torch.rand(2, 2, 3, 1, 3, 3, generator=g), torch.rand(2, 2, 3, 1, 3, 3, generator=g)
    p = torch.rand(2, 2, 3, generator=g).softmax(-1)
    order = in_order(2, p)
    expected = torch.zeros(2)
    for i in range(3):
        for j in range(3):
            alpha = torch.stack((masks[:, 0, i], masks[:, 1, j]), 1)
            colour = torch.stack((colours[:, 0, i], colours[:, 1, j]), 1)
            error = composition_error(image, compose(colour, alpha, order, background))
            expected += p[:, 0, i] * p[:, 1, j] * error
    assert_close(weighted_sum_over_layers(image, colours, masks, p, order, background), expected)


def test_over_one_opaque_layer_it_is_the_plain_expected_error():
    image, sprites = torch.rand(3, 1, 4, 4), torch.rand(3, 5, 1, 4, 4)
    p = torch.rand(3, 5).softmax(-1)
    opaque = torch.ones(3, 1, 5, 1, 4, 4)
    found = weighted_sum_over_layers(image, sprites[:, None], opaque, p[:, None], torch.zeros(1, 1), None)
    assert_close(found, weighted_sum_error(image, sprites, p))


def test_choices_are_all_different():
    assert len({tuple(c) for c in choices(3, 4).tolist()}) == 81


def penalty(name, p, *, empty=False, **settings):
    member = REGULARISERS[name]
    return member.penalty(p, empty, member.Config(**settings))


def test_binary_is_the_beta_density():
    # 6 · 0.1 · 0.9, the density of Beta(2, 2) at 0.1 and 0.9
    assert penalty("binary", torch.tensor([[[0.1, 0.9]]])).item() == pytest.approx(0.54)
    assert penalty("binary", torch.tensor([[[0.0, 1.0]]])).item() == 0


def test_frequency_is_a_floor_on_use():
    even, one = torch.full((8, 1, 4), 0.25), torch.eye(4)[[0] * 8][:, None]
    assert penalty("frequency", even, threshold=1.0).item() == pytest.approx(0)
    assert penalty("frequency", even, threshold=0.5).item() == pytest.approx(0.5)  # 1 − K ε
    assert penalty("frequency", one, threshold=0.5).item() == pytest.approx(1 - 0.125)  # 1 − ε
    rare = torch.tensor([[[0.9, 0.1]]])  # min(.9, .25) + min(.1, .25)
    assert penalty("frequency", rare, threshold=0.5).item() == pytest.approx(0.65)


def test_frequency_leaves_the_empty_sprite_out():
    p = torch.tensor([[[0.2, 0.2, 0.6]]])
    assert penalty("frequency", p, empty=True, threshold=1.0).item() == pytest.approx(0)


def test_frequency_as_in_the_published_code_counts_pairs_of_layer_and_sprite():
    p = torch.tensor([[[0.5, 0.25], [0.1, 0.4]]])  # scaled by their largest: 1, .5 | .25, 1; total 2.75
    expected = 1 - (3 * 0.25 + 0.25 / 2.75) + 0.25 - 0.5 / 2.75  # the .5 and the .25 are below ε = .25
    found = penalty("frequency", p, threshold=0.5, per="layer_and_sprite").item()
    assert found == pytest.approx(expected)


def test_empty_sprite_counts_occupied_layers():
    p = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    assert penalty("empty_sprite", p, empty=True).item() == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("name", list(REGULARISERS))
@pytest.mark.parametrize("kind", ["zero", "hard", "even"])
def test_penalties_are_finite_with_finite_gradients_even_when_a_layer_uses_nothing(name, kind):
    p = {"zero": torch.eye(4)[[3] * 6], "hard": torch.eye(4)[[0, 1, 2, 3, 0, 1]], "even": torch.full((6, 4), 0.25)}
    p = p[kind].reshape(3, 2, 4).requires_grad_()
    for per in ("sprite", "layer_and_sprite") if name == "frequency" else (None,):
        value = penalty(name, p, empty=True, **({"per": per} if per else {}))
        assert value.isfinite() and torch.autograd.grad(value, p)[0].isfinite().all()


@pytest.mark.parametrize("name", list(REGULARISERS))
def test_penalties_do_not_care_how_sprites_are_numbered(name):
    p = torch.rand(5, 2, 4).softmax(-1)
    shuffled = p[..., [2, 0, 1, 3]]  # the empty sprite stays last
    assert_close(penalty(name, p, empty=True), penalty(name, shuffled, empty=True))
