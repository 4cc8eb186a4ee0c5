"""How many labels a criterion is worth."""

import numpy as np
import pytest

from sprite_search.selection.labels_needed import curve, one_to_one, worth
from trainers.metrics import clustering_accuracy


def test_accuracy_on_labelled_images_is_the_one_to_one_accuracy():
    generator = np.random.default_rng(0)
    assignments, labels = generator.integers(0, 7, (5, 40)), generator.integers(0, 4, 40)
    assert one_to_one(assignments, labels) == pytest.approx([clustering_accuracy(labels, a) for a in assignments])


def models(generator, shares, images=600, classes=4):
    """Models that give so large a share of the images the sprite of their class, the others any."""
    labels = generator.integers(0, classes, images)
    right = generator.random((len(shares), images)) < np.array(shares)[:, None]
    return np.where(right, labels, generator.integers(0, classes, (len(shares), images))), labels


def test_more_labels_select_better_and_all_of_them_best():
    generator = np.random.default_rng(1)
    shares = np.linspace(0.2, 0.9, 12)
    assignments, labels = models(generator, shares)
    accuracy = one_to_one(assignments, labels)
    found = curve(assignments, labels, np.arange(12)[:, None], accuracy, counts=(5, 50, 600), repeats=50)
    regrets = [f["normalised_regret"] for f in found]
    assert [f["labels"] for f in found] == [5, 50, 600]
    assert 1 > regrets[0] > regrets[1] > regrets[2] == pytest.approx(0)
    chosen = [0, 3, 6]
    few = curve(assignments, labels, np.arange(12)[:, None], accuracy, counts=(600,), repeats=2, first=chosen)
    assert few[0]["regret"] == pytest.approx(accuracy.max() - accuracy[chosen].max())


def test_ties_are_averaged_and_seeds_too():
    """Two configurations of two seeds that one image cannot tell apart: half the regret of the worse one."""
    assignments = np.zeros((4, 3), int)
    places = np.array([[0, 1], [2, 3]])
    (found,) = curve(assignments, np.zeros(3, int), places, np.array([0.2, 0.6]), counts=(1,), repeats=3)
    assert found == {"labels": 1, "regret": pytest.approx(0.2), "normalised_regret": pytest.approx(1)}


def test_more_labels_than_images_are_left_out():
    assert curve(np.zeros((2, 3), int), np.zeros(3, int), np.array([[0], [1]]), np.array([0.1, 0.5]), counts=(9,)) == []


def points(*values):
    return [{"labels": n, "normalised_regret": y} for n, y in values]


def test_worth_by_hand():
    found = points((5, 0.5), (10, 0.25), (20, 0.3), (50, 0.1))
    assert worth(found, 1.2) == 0
    assert worth(found, 0.5) == pytest.approx(5)
    assert worth(found, 0.375) == pytest.approx(np.sqrt(6 * 11) - 1)  # half way in log(1 + n)
    assert worth(found, 0.1) == pytest.approx(50)
    assert worth(found, 0.0) == 50  # or more
    assert worth(found, None) is None and worth([], 0.3) is None and worth(points((5, None)), 0.3) is None
