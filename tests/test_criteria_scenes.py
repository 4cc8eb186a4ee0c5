"""Criteria of scenes, by hand."""

import numpy as np
import pytest
from explained import model, value

from sprite_search.selection.criteria import CRITERIA
from sprite_search.selection.criteria.scenes import mask_agreement


def masks(*boxes, images=1, side=8):
    """(N, L, 8, 8): each layer covers rows a to b and columns c to d."""
    made = np.zeros((images, len(boxes), side, side), np.uint8)
    for layer, (a, b, c, d) in enumerate(boxes):
        made[:, layer, a:b, c:d] = 255
    return made


def scene(name, choice, m, count=2, **more):
    return value(name, choice, count, M=m, **more)


def test_emptiness_is_the_distance_from_the_band():
    m = masks((0, 2, 0, 2), (4, 6, 4, 6))
    assert scene("emptiness", [[0, 1]], m) == pytest.approx(0.05)
    assert scene("emptiness", [[0, -1]], m) == 0
    assert scene("emptiness", [[-1, -1]], m) == pytest.approx(0.1)


def test_overlap_is_the_share_of_covered_pixels():
    """4 x 4 and 4 x 4 pixels with 2 x 4 in common: 8 of 24."""
    assert scene("overlap", [[0, 1]], masks((0, 4, 0, 4), (2, 6, 0, 4))) == pytest.approx(8 / 24)


def test_softness_over_the_pixels_that_masks_touch():
    m = masks((0, 2, 0, 2), (0, 0, 0, 0))
    assert scene("mask_softness", [[0, -1]], m) == 0
    m[0, 0, 0, 0], m[0, 0, 0, 1] = 51, 0  # 3 pixels touched: 4 · 0.2 · 0.8 = 0.64 and twice 0
    assert scene("mask_softness", [[0, -1]], m) == pytest.approx(0.64 / 3)


def test_fragments_are_counted_for_layers_that_cover_something():
    m = masks((0, 2, 0, 2), (4, 6, 4, 6))
    m[0, 0, 7, 7] = 255  # a second part of the first
    assert scene("fragments", [[0, 1]], m) == pytest.approx(1.5)
    assert scene("fragments", [[0, -1]], m * np.array([1, 0], np.uint8)[None, :, None, None]) == pytest.approx(2)


def test_sprites_that_always_appear_together_co_occur():
    """Sprites 0 and 1 side by side in 3 of 6 images, sprite 2 alone in the others: p_01 = p_0 = p_1 = 1/2, so 1."""
    m = np.concatenate([masks((0, 2, 0, 2), (0, 2, 2, 4), images=3), masks((0, 2, 0, 2), (0, 0, 0, 0), images=3)])
    choice = [[0, 1]] * 3 + [[2, -1]] * 3
    assert scene("co_occurrence", choice, m, count=3) == pytest.approx(1.0)
    far = masks((0, 2, 0, 2), (6, 8, 6, 8), images=6)
    assert scene("co_occurrence", [[0, 1]] * 6, far) == 0
    # near in all images is no more than by chance
    assert scene("co_occurrence", [[0, 1]] * 6, masks((0, 2, 0, 2), (0, 2, 2, 4), images=6)) == 0


def seen(instances):
    return model([[0, 1]], 2, M=masks((0, 0, 0, 0), (0, 0, 0, 0)), instances=np.array(instances)[None])


def test_two_seeds_agree_on_objects_that_are_in_the_same_place():
    both = [[1, 1, 0], [0, 2, 2]]
    assert mask_agreement([seen(both), seen([[2, 2, 0], [0, 1, 1]])]) == pytest.approx(1.0)
    # two pairs against all in one: no pair beyond chance
    assert mask_agreement([seen(both), seen([[1, 1, 0], [0, 1, 1]])]) == 0
    # the same objects on 4 of 6 pixels
    assert mask_agreement([seen(both), seen([[1, 1, 1], [2, 2, 2]])]) == pytest.approx(4 / 6)


def test_objects_in_other_places_and_none_at_all_are_no_agreement():
    nothing, left, right = (seen(x) for x in ([[0, 0]], [[1, 0]], [[0, 1]]))
    assert mask_agreement([left, right]) == 0
    assert mask_agreement([left, nothing]) == 0 and mask_agreement([nothing, nothing]) == 0
    assert mask_agreement([left, left]) == 1


def test_points_of_a_scene_carry_the_class_of_the_sprite_in_front():
    instances = np.zeros((1, 8, 8), int)
    instances[0, :4], instances[0, 4:, :4] = 1, 2
    found = model([[1, 0]], 2, M=masks((0, 0, 0, 0), (0, 0, 0, 0)), instances=instances)
    assert found.partition.reshape(4, 4).tolist() == [[2] * 4, [2] * 4, [1, 1, 0, 0], [1, 1, 0, 0]]
    assert CRITERIA["seed_agreement"].compute([found, found]) == pytest.approx(1.0)


def disagreeing(first, second, *, other=(0, 1)):
    """Two seeds of one scene of two objects, whose sprites are 0 and 1 in the first and `other` in the second."""
    empty = masks((0, 0, 0, 0), (0, 0, 0, 0), images=len(first))
    seeds = (first, [[0, 1]] * len(first)), (second, [list(other)] * len(second))
    made = [model(choice, 2, M=empty, instances=np.array(instances)) for instances, choice in seeds]
    return CRITERIA["instance_disagreement"].compute(made)


def test_seeds_that_agree_on_objects_and_not_on_their_classes_disagree():
    scene = [[[1, 1, 0, 0, 2, 2]], [[1, 1, 0, 0, 2, 2]]]
    assert disagreeing(scene, scene) == pytest.approx(0)
    swapped = [
        [[1, 1, 0, 0, 2, 2]],
        [[2, 2, 0, 0, 1, 1]],
    ]  # layers have no order: the same objects, the other way round
    assert disagreeing(scene, scene, other=(1, 0)) == pytest.approx(0)  # a renaming of sprites is no disagreement
    # the second scene has its sprites exchanged: objects agree fully, classes on the background and no further
    from trainers.metrics import ami

    classes = ami(np.tile([1, 1, 0, 0, 2, 2], 2), np.array([1, 1, 0, 0, 2, 2, 2, 2, 0, 0, 1, 1]))
    assert disagreeing(scene, swapped) == pytest.approx(1 - classes) and 0 < classes < 1


def test_a_collapsed_seed_disagrees_fully():
    assert disagreeing([[[1, 1, 0, 2]]], [[[1, 1, 0, 2]]], other=(1, 1)) == 1
