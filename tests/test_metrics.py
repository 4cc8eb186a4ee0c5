"""Metrics by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from trainers import metrics

RANDOM = np.random.default_rng(0)
PAIRS = [(RANDOM.integers(0, c, 200), RANDOM.integers(0, k, 200)) for c, k in [(5, 5), (3, 7), (7, 3), (4, 1), (1, 1)]]


@pytest.mark.parametrize(("true", "predicted"), PAIRS)
def test_information_and_ari_agree_with_scikit_learn(true, predicted):
    assert metrics.nmi(true, predicted) == pytest.approx(
        reference.normalized_mutual_info_score(true, predicted), abs=1e-12
    )
    assert metrics.ami(true, predicted) == pytest.approx(
        reference.adjusted_mutual_info_score(true, predicted), abs=1e-9
    )
    table = metrics.contingency(true, predicted)
    assert metrics.adjusted_rand(table) == pytest.approx(reference.adjusted_rand_score(true, predicted), abs=1e-12)


@pytest.mark.parametrize(("true", "predicted"), PAIRS)
def test_renaming_clusters_changes_no_metric(true, predicted):
    renamed = RANDOM.permutation(predicted.max() + 1)[predicted]
    for metric in (metrics.clustering_accuracy, metrics.many_to_one_accuracy, metrics.nmi, metrics.ami):
        assert metric(true, renamed) == pytest.approx(metric(true, predicted))


def test_accuracy_matches_one_to_one_even_with_more_clusters_than_classes():
    true = [0, 0, 0, 0, 1, 1]
    predicted = [2, 2, 0, 0, 1, 1]
    assert metrics.clustering_accuracy(true, predicted) == pytest.approx(4 / 6)
    assert metrics.many_to_one_accuracy(true, predicted) == 1


def test_mean_accuracy_and_iou_by_hand():
    # rows: background, square; columns: the two predicted classes, named the other way round
    table = np.array([[10, 80], [10, 0]])
    assert metrics.mean_class_accuracy(table) == pytest.approx((80 / 90 + 1) / 2)
    assert metrics.average_iou(table) == pytest.approx((80 / 90 + 10 / 20) / 2)


def test_pixel_accuracy_counts_pixels_not_classes():
    # background, square and disc, named 1, 2 and 0: right are 80 + 6 + 1 of 100 pixels
    table = np.array([[6, 80, 4], [0, 1, 6], [1, 1, 1]])
    assert metrics.pixel_accuracy(table) == pytest.approx(87 / 100)
    assert metrics.mean_class_accuracy(table) == pytest.approx((80 / 90 + 6 / 7 + 1 / 3) / 3)


def test_a_class_that_no_prediction_is_left_for_counts_zero():
    table = np.array([[8], [2]])
    assert metrics.mean_class_accuracy(table) == pytest.approx(0.5)
    assert metrics.pixel_accuracy(table) == pytest.approx(0.8)
    assert metrics.average_iou(table) == pytest.approx(0.4)


def test_foreground_ari_looks_at_true_objects_only():
    true = np.array([[[0, 0, 1, 1, 2, 2]]])
    perfect = np.array([[[5, 3, 2, 2, 1, 1]]])
    merged = np.array([[[0, 0, 1, 1, 1, 1]]])
    assert metrics.ari_foreground(true, perfect) == 1
    assert metrics.ari_foreground(true, merged) == 0
    assert np.isnan(metrics.ari_foreground(np.zeros((1, 1, 6), int), merged))


def test_instance_iou_by_hand():
    true = np.array([[[0, 0, 1, 1]]])
    predicted = np.array([[[7, 7, 7, 2]]])
    assert metrics.instance_iou(true, predicted) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics.instance_iou(true, np.zeros((1, 1, 4), int)) == pytest.approx(0.5 / 2)


@pytest.mark.parametrize(
    ("true", "predicted", "words"),
    [([0, 1], [0], "2 true labels but 1"), ([], [], "at least one"), ([-1, 0], [0, 0], "0 or above")],
)
def test_labels_that_do_not_fit_are_refused(true, predicted, words):
    with pytest.raises(ValueError, match=words):
        metrics.contingency(np.array(true, int), np.array(predicted, int))
