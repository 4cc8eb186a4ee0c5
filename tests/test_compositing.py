"""Composition of layers against the definition, pixel by pixel, and the greedy search against trying everything."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from trainers.compositing import compose, greedy, in_order, label_map, product, visibility


def scene(*, images=3, layers=3, sprites=4, channels=2, side=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    colours = torch.rand(images, layers, sprites, channels, side, side, generator=g, dtype=torch.float64)
    masks = torch.rand(images, layers, sprites, 1, side, side, generator=g, dtype=torch.float64)
    upper = torch.rand(images, layers, layers, generator=g, dtype=torch.float64).tril(-1)
    occlusion = upper + (1 - upper).tril(-1).transpose(1, 2)
    background = torch.rand(images, channels, side, side, generator=g, dtype=torch.float64)
    image = torch.rand(images, channels, side, side, generator=g, dtype=torch.float64)
    return image, colours, masks, occlusion, background


def by_definition(colours, masks, occlusion, background):
    """Eq. 2 as written: each layer times what those in front let through; the background is a layer behind all."""
    layers = colours.shape[1]
    total = torch.zeros_like(background)
    for back in range(layers):
        through = torch.ones_like(masks[:, 0])
        for front in range(layers):
            if front != back:
                through = through * (1 - occlusion[:, front, back, None, None, None] * masks[:, front])
        total = total + through * masks[:, back] * colours[:, back]
    for front in range(layers):
        background = background * (1 - masks[:, front])
    return total + background


def compose_choice(choice, colours, masks, occlusion, background):
    pick = choice[:, :, None, None, None, None]
    alpha = masks.take_along_dim(pick, 2)[:, :, 0]
    colour = colours.take_along_dim(pick, 2)[:, :, 0]
    return compose(colour, alpha, occlusion, background)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_the_product_by_halves_is_the_product(n):
    x = torch.rand(4, n, 3, dtype=torch.float64, requires_grad=True)
    assert_close(product(x, 1), x.prod(1))
    assert_close(torch.autograd.grad(product(x, 1).sum(), x), torch.autograd.grad(x.prod(1).sum(), x))


def test_layers_compose_as_defined_for_any_occlusion():
    _, colours, masks, occlusion, background = scene()
    c, a = colours[:, :, 0], masks[:, :, 0]
    assert_close(compose(c, a, occlusion, background), by_definition(c, a, occlusion, background))
    assert_close(compose(a * c, a, occlusion, background, premultiplied=True), compose(c, a, occlusion, background))
    assert_close(compose(c, a, occlusion), by_definition(c, a, occlusion, torch.zeros_like(background)))


def test_without_predicted_occlusion_later_layers_are_in_front():
    masks = torch.ones(1, 2, 1, 1, 1)
    colours = torch.tensor([0.25, 0.75]).reshape(1, 2, 1, 1, 1)
    assert compose(colours, masks, in_order(2, masks)).item() == 0.75
    half = 0.5 * masks  # 0.5 · 0.75 in front, and half of 0.5 · 0.25 shows through
    assert compose(colours, half, in_order(2, masks)).item() == 0.4375
    assert compose(colours, half, in_order(2, masks), torch.ones(1, 1, 1, 1)).item() == 0.6875


def test_what_a_layer_lets_through_hand_computed():
    cover = torch.tensor([0.5, 0.25, 1.0]).reshape(1, 3, 1, 1, 1)
    occlusion = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.5], [1.0, 0.5, 0.0]])
    # layer 0 is behind 2 (opaque); 1 is behind 0 (half) and half behind 2; 2 is half behind 1
    assert visibility(cover, occlusion).flatten().tolist() == [0.0, 0.25, 0.875]


def test_labels_show_the_front_most_layer_and_nothing_of_empty_ones():
    masks = torch.tensor([[[1.0, 1.0, 0.0, 0.4]], [[0.0, 0.9, 0.0, 0.2]]])[None]
    order = in_order(2, masks)
    assert label_map(torch.tensor([[5, 7]]), masks, order).tolist() == [[[5, 7, 0, 0]]]
    assert label_map(torch.tensor([[5, 7]]), masks, order.T).tolist() == [[[5, 5, 0, 0]]]
    assert label_map(torch.tensor([[5, 0]]), masks, order).tolist() == [[[5, 5, 0, 0]]]


def test_a_circle_of_layers_still_gets_a_label():
    circle = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    assert label_map(torch.tensor([[1, 2, 3]]), torch.ones(1, 3, 1, 1), circle).tolist() == [[[3]]]
    level = torch.full((2, 2), 0.5)
    assert label_map(torch.tensor([[1, 2]]), torch.ones(1, 2, 1, 1), level).tolist() == [[[2]]]


@pytest.mark.parametrize("with_background", [True, False])
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_greedy_search_is_coordinate_descent_over_full_compositions(seed, passes, with_background):
    image, colours, masks, occlusion, background = scene(seed=seed)
    masks[:, :, -1] = 0  # the empty sprite
    background = background if with_background else None
    price = torch.tensor([0.02, 0.02, 0.02, 0.0], dtype=torch.float64)
    batch, layers, sprites = masks.shape[:3]
    expected = torch.full((batch, layers), sprites - 1)  # the empty sprite everywhere
    for _ in range(passes):
        for layer in range(layers):
            errors = []
            for k in range(sprites):
                tried = expected.clone()
                tried[:, layer] = k
                composite = compose_choice(tried, colours, masks, occlusion, background)
                errors.append((image - composite).square().flatten(1).mean(1) + price[k])
            expected[:, layer] = torch.stack(errors, 1).argmin(1)
    found = greedy(image, colours, masks, occlusion, background, price, passes=passes)
    assert found.tolist() == expected.tolist()


def test_with_one_layer_the_greedy_search_is_exhaustive():
    image, colours, masks, occlusion, background = scene(layers=1, sprites=6)
    errors = [
        (image - compose_choice(torch.full((3, 1), k), colours, masks, occlusion, background)).square().sum((1, 2, 3))
        for k in range(6)
    ]
    free = torch.zeros(6, dtype=torch.float64)
    found = greedy(image, colours, masks, occlusion, background, free, passes=1)
    assert found[:, 0].tolist() == torch.stack(errors, 1).argmin(1).tolist()


def test_layers_that_do_not_overlap_are_searched_exactly():
    image, colours, masks, occlusion, background = scene(layers=2, side=6)
    masks[:, 0, :, :, :, 3:] = 0
    masks[:, 1, :, :, :, :3] = 0
    best = min(
        itertools.product(range(4), repeat=2),
        key=lambda ks: (
            (image[0] - compose_choice(torch.tensor([ks] * 3), colours, masks, occlusion, background)[0])
            .square()
            .sum()
            .item()
        ),
    )
    free = torch.zeros(4, dtype=torch.float64)
    assert tuple(greedy(image, colours, masks, occlusion, background, free, passes=1)[0].tolist()) == best


def test_the_search_runs_under_vmap():
    image, colours, masks, occlusion, background = scene()
    free = torch.zeros(4, dtype=torch.float64)
    both = [torch.stack((t, t.flip(0))) for t in (image, colours, masks, occlusion, background)]
    found = torch.vmap(lambda *t: greedy(*t, free, passes=2))(*both)
    assert found[0].tolist() == found[1].flip(0).tolist()
