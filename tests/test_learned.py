"""Learned selectors: what they see, what they are judged on, and when they ship."""

import numpy as np
import pytest

from sprite_search import selection as s
from sprite_search.selection import learned
from sprite_search.selection.learned import RANKED


def study(name, dataset, *, follows=1, seed=0, trials=12):
    """One criterion follows accuracy, or its opposite, all others are noise."""
    generator = np.random.default_rng(seed)
    noise = ("criteria/description_length", "criteria/redundancy", "criteria/psnr", "criteria/torn")
    rows = [
        {
            "trial": trial,
            "seed": own,
            "state": "complete",
            "arm": "random",
            "dataset.name": dataset,
            "val/hard_reconstruction": float(generator.normal()),
            **{n: float(generator.normal()) for n in noise},
            "criteria/necessity": follows * 0.05 * trial,
            "labels/accuracy": 0.3 + 0.05 * trial + 0.001 * own,
        }
        for trial in range(trials)
        for own in range(2)
    ]
    return s.Study.of(name, rows)


@pytest.fixture(scope="module")
def found():
    sets = ("mnist", "usps", "gtsrb8", "fashion_mnist", "tetrominoes")
    return s.leave_one_out([study(n, n, seed=i) for i, n in enumerate(sets)])


def test_it_learns_which_criterion_to_follow_and_finds_it_in_studies_it_never_saw(found):
    over = {(o["selector"], o["scheme"]): o for o in s.by_selector(found)}
    assert over["ridge", "family left out"]["normalised_regret"] == 0
    assert over["ridge", "family left out"]["spearman"] > 0.8
    assert over["catalogue", "learns nothing"]["normalised_regret"] > 0.1
    assert over["ridge", "family left out"]["p"] == 1 / 32 and "ridge" in s.ships(list(over.values()))


def test_the_family_of_a_study_is_left_out(found, monkeypatch):
    seen = []
    monkeypatch.setattr(
        learned, "predicted", lambda model, training, x: (seen.append([t.study for t in training]), x[:, 0])[1]
    )
    s.leave_one_out([study(n, n) for n in ("mnist", "usps", "gtsrb8")])
    of_mnist = seen[: len(learned.MODELS) * 3 : len(learned.MODELS)]
    assert of_mnist == [["mnist", "usps", "gtsrb8"], ["usps", "gtsrb8"], ["gtsrb8"]]


def test_one_study_leaves_nothing_to_learn_from():
    schemes = {o["scheme"] for o in s.leave_one_out([study("one", "usps")])}
    assert schemes == {"in sample", "learns nothing"}


def test_a_selector_that_is_misled_does_not_ship():
    over = s.by_selector(s.leave_one_out([study("a", "usps"), study("b", "gtsrb8", follows=-1, seed=1)]))
    ridge = {o["scheme"]: o for o in over if o["selector"] == "ridge"}
    assert ridge["family left out"]["worst"] > 1 and s.ships(over) == []
    assert s.ships([]) == []


def test_examples_by_hand():
    own = learned.examples(study("a", "usps", trials=4))
    necessity = own.features[:, RANKED.index("necessity")]
    assert list(necessity) == pytest.approx([6.5 / 7, 4.5 / 7, 2.5 / 7, 0.5 / 7])  # two seeds share a rank
    assert (own.features[:, RANKED.index("ssim")] == 0.5).all()  # it has no value
    assert own.lost == pytest.approx([2.0, 0.1 / 0.075, 0.05 / 0.075, 0.0])
    assert learned.examples(s.Study("none", s.without_labels(study("a", "usps").rows))) is None
