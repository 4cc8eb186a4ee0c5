"""Distances between point clouds and placed sprites: against loops, and by hand."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from trainers.chamfer import UNEXPLAINED, chamfer, distances, points_to_sprites, sprites_to_points


def scene(seed=0):
    g = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(2, 9, 3, generator=g) - 1
    placed = 2.4 * torch.rand(2, 3, 4, 5, 3, generator=g) - 1.2  # some of it beyond the tile
    p = torch.randn(2, 3, 5, generator=g).softmax(-1)
    return points, placed, p


def test_distances_both_ways_are_those_of_a_loop():
    points, placed, _ = scene()
    found = distances(points, placed)
    for b, s, k in itertools.product(range(2), range(3), range(4)):
        sprite = placed[b, s, k]
        each = torch.stack([torch.stack([(y - x).square().sum() for x in points[b]]) for y in sprite])
        inside = [bool((y[:2].abs() <= 1).all()) for y in sprite]
        kept = [each[m].min() for m in range(5) if inside[m]]
        assert_close(found.out[b, s, k], torch.stack(kept).mean() if kept else torch.tensor(0.0))
        assert_close(found.back[b, s, k], each.min(0).values)


def test_the_expected_distance_is_that_of_every_way_to_fill_the_slots():
    points, placed, p = scene()
    back = distances(points, placed).back
    found = points_to_sprites(back, p)
    for b, x in itertools.product(range(2), range(9)):
        given = p[b, :, :4] / p[b, :, :4].sum(1, keepdim=True)
        each = (given * back[b, :, :, x]).sum(1)
        expected = torch.tensor(0.0)
        for shown in itertools.product((False, True), repeat=3):
            chance = torch.stack([1 - p[b, s, 4] if on else p[b, s, 4] for s, on in enumerate(shown)]).prod()
            there = [each[s] for s, on in enumerate(shown) if on]
            expected = expected + chance * (torch.stack(there).min() if there else UNEXPLAINED)
        assert_close(found[b, x], expected)


def test_a_sure_choice_has_the_plain_chamfer_distance_of_what_is_shown():
    points, placed, _ = scene()
    p = torch.zeros(2, 3, 5)
    p[:, 0, 1] = p[:, 1, 3] = p[:, 2, 4] = 1  # the last slot is empty
    found = distances(points, placed)
    expected = (found.out[:, 0, 1] + found.out[:, 1, 3]) / 2
    nearest = torch.minimum(found.back[:, 0, 1], found.back[:, 1, 3])
    assert_close(chamfer(found, p), expected + nearest.mean(-1))


def test_a_sprite_that_is_the_cloud_has_no_error_and_nothing_at_all_the_whole_one():
    points = 2 * torch.rand(1, 6, 3) - 1
    found = distances(points, points[:, None, None])
    assert_close(chamfer(found, torch.tensor([[[1.0, 0.0]]])), torch.zeros(1))
    assert_close(chamfer(found, torch.tensor([[[0.0, 1.0]]])), torch.full((1,), UNEXPLAINED))


@pytest.mark.parametrize("empty", [0.0, 1.0])
def test_gradients_reach_places_and_choices_and_are_finite(empty):
    points, placed, _ = scene()
    placed.requires_grad_()
    logits = torch.zeros(2, 3, 5)
    logits[..., 4] = 1e4 * (2 * empty - 1)
    logits.requires_grad_()
    found, p = distances(points, placed), logits.softmax(-1)
    (sprites_to_points(found.out, p).mean() + points_to_sprites(found.back, p).mean()).backward()
    assert placed.grad.isfinite().all() and logits.grad.isfinite().all()
    assert bool(placed.grad.abs().sum() > 0) == (empty == 0)


def test_what_is_beyond_the_tile_counts_nothing():
    points = torch.zeros(1, 1, 3)
    placed = torch.tensor([[0.5, 0.0, 0.0], [1.5, 0.0, 0.0]])[None, None, None]
    assert_close(distances(points, placed).out, torch.full((1, 1, 1), 0.25))
