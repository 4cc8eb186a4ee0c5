"""Criteria of geometry, by hand."""

import numpy as np
import pytest
from explained import model, value
from sklearn import metrics

from sprite_search.selection.criteria import CRITERIA, Pool
from sprite_search.selection.criteria.geometry import gradients, invariant_distance
from sprite_search.selection.criteria.partitions import purity, silhouette

LINE = np.array([0.0, 0.2, 0.8, 1.0])  # two pairs; silhouettes 1 - 0.2/0.9 and 1 - 0.2/0.7
IMAGES = (255 * LINE).round().reshape(4, 1, 1, 1)
PAIRS = ((1 - 2 / 9) + (1 - 2 / 7)) / 2


def distance(points):
    return np.abs(points[:, None] - points[None]).astype(np.float32)


def test_pixels_by_hand():
    given = {"images": IMAGES}
    assert value("pixel_silhouette", [0, 0, 1, 1], 2, **given) == pytest.approx(PAIRS, rel=1e-4)
    assert value("pixel_calinski_harabasz", [0, 0, 1, 1], 2, **given) == pytest.approx(32, rel=1e-3)  # 0.64 · 2 / 0.04
    assert value("pixel_davies_bouldin", [0, 0, 1, 1], 2, **given) == pytest.approx(0.25, rel=1e-3)  # 0.2 / 0.8


def test_pixels_are_as_scikit_learn_has_them():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 1, 3, 3))
    choice = generator.integers(0, 3, 40)
    flat = images.reshape(40, -1) / 255
    for name, theirs in (
        ("pixel_silhouette", metrics.silhouette_score),
        ("pixel_calinski_harabasz", metrics.calinski_harabasz_score),
        ("pixel_davies_bouldin", metrics.davies_bouldin_score),
    ):
        assert value(name, choice, 3, images=images) == pytest.approx(theirs(flat, choice), abs=1e-4)


def test_silhouette_and_purity_in_the_invariant_distance():
    d = distance(LINE)
    assert value("invariant_silhouette", [0, 0, 1, 1], 2, invariant=d) == pytest.approx(PAIRS, rel=1e-4)
    # of the 3 others 1 has the same sprite: (1/3 − 1/2) / (1 − 1/2)
    assert value("invariant_purity", [0, 0, 1, 1], 2, invariant=d) == pytest.approx(-1 / 3)
    assert purity(d, np.array([0, 0, 1, 1]), 1) == 1
    assert purity(d, np.array([0, 1, 0, 1]), 1) == pytest.approx(-1.0)


def test_images_alone_in_their_cluster_have_silhouette_0():
    assert silhouette(distance(LINE), np.arange(4)) == 0
    assert silhouette(distance(LINE), np.zeros(4, int)) == -1


def test_the_invariant_distance_ignores_shifts_and_contrast_and_sees_shapes():
    images = np.zeros((4, 1, 16, 16), np.uint8)
    images[0, 0, 5:11, 7:9] = 200
    images[1, 0, 6:12, 8:10] = 200  # moved
    images[2, 0, 5:11, 7:9] = 100  # fainter
    images[3, 0, 7:9, 5:11] = 200  # lying down
    d = invariant_distance(images)
    assert (d == d.T).all() and (np.diag(d) == 0).all()
    assert d[0, 1] == pytest.approx(0, abs=1e-3) and d[0, 2] == pytest.approx(0, abs=1e-3)
    assert d[0, 3] > 0.5


def test_a_small_rotation_is_near():
    from scipy.ndimage import rotate

    bar = np.zeros((16, 16), np.float32)
    bar[2:14, 7:9] = 200
    turned = rotate(bar, 15, reshape=False, order=1)
    lying = bar.T
    d = invariant_distance(np.stack([bar, turned, lying])[:, None].astype(np.uint8))
    assert d[0, 1] < 0.35 * d[0, 2]


def test_features_by_hand():
    z = LINE[:, None]
    assert value("feature_silhouette", [0, 0, 1, 1], 2, Z=z) == pytest.approx(PAIRS, rel=1e-4)
    assert value("feature_agreement", [0, 0, 1, 1], 2, Z=z) == pytest.approx(1.0)
    assert value("feature_agreement", [0, 1, 0, 1], 2, Z=z) < 0.1
    assert value("feature_rank", [0, 1], 2, Z=np.eye(2)) == pytest.approx(1.0)
    assert value("feature_rank", [0, 1], 2, Z=np.ones((2, 2))) == pytest.approx(0.5)


def test_the_pooled_score_ranks_in_the_features_of_every_finished_trial():
    """In either space the pairs come first, the crossed ones last: ranks 1 and 0, and between them 1/2."""
    choices = [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    models = [
        model(c, 2, row={"trial": i, "optimizer.learning_rate": i}, Z=LINE[:, None] * (i + 1))
        for i, c in enumerate(choices)
    ]
    assert CRITERIA["pooled_silhouette"].compute(Pool(models)).tolist() == [1.0, 0.0, 0.5]


def test_the_referee_looks_at_directions():
    x = np.linspace(0, 255, 16).astype(np.uint8)
    images = np.stack([np.tile(x, (16, 1))] * 11 + [np.tile(x[:, None], (1, 16))] * 11)[:, None]
    assert value("referee_purity", [0] * 11 + [1] * 11, 2, images=images) == pytest.approx(1.0)
    assert value("referee_purity", [0, 1] * 11, 2, images=images) < 0.1
    assert gradients(images).shape == (22, 128)
