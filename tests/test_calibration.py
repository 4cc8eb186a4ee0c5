"""Does a choice that calls itself reliable keep its word? On tables where the answer is known."""

import numpy as np
import pytest

from sprite_search import selection as s


def study(*, noise=0.0, right=True, trials=16, seeds=3, spread=0.04, seed=1):
    """Errors that fall with accuracy (or rise, if not `right`), with `noise` between seeds."""
    generator = np.random.default_rng(seed)
    rows = []
    for trial in range(trials):
        for own in range(seeds):
            accuracy = 0.3 + spread * trial
            error = (1 - accuracy if right else accuracy) + noise * float(generator.normal())
            rows.append(
                {
                    "trial": trial,
                    "seed": own,
                    "state": "complete",
                    "arm": "random",
                    "model.kind": "clustering",
                    "sprites.count": 10,
                    "val/reconstruction": error,
                    "val/hard_reconstruction": error,
                    "val/effective_sprites": 8.0,
                    "val/used_sprites": 1.0,
                    "labels/accuracy": accuracy,
                }
            )
    return s.Study.of("one", rows)


def test_a_perfect_criterion_is_always_reliable_and_good():
    found = s.choices(study(), searches=20)
    assert len(found) == 20 and len({c["trial"] for c in found}) > 1
    made = s.calibrate({"one": found})
    assert (made["reliable"], made["good_when_reliable"], made["good_when_abstained"]) == (1, 1, None)


def test_an_inverted_criterion_without_noise_is_reliably_wrong_and_that_is_said():
    made = s.calibrate({"one": s.choices(study(right=False), searches=20)})
    assert (made["reliable"], made["good_when_reliable"]) == (1, 0)


def test_noise_between_seeds_makes_it_abstain():
    made = s.calibrate({str(i): s.choices(study(noise=5.0, seed=i), searches=10) for i in range(20)})
    assert made["reliable"] < 0.3
    asked = [t["reliable"] for t in made["thresholds"]]
    assert asked == sorted(asked, reverse=True)


def test_shares_by_hand_each_study_weighs_the_same():
    def choice(regret, trust, abstained=False):
        return {"trial": 0, "reliability": trust, "abstained": abstained, "normalised_regret": regret}

    made = s.calibrate(
        {
            "a": [choice(0.1, 0.9), choice(0.3, 0.6), choice(0.0, 0.4, True), choice(1.0, 0.3, True)],
            "b": [choice(0.2, 0.95)],
            "none": [],
        }
    )
    assert made["searches"] == 5 and made["reliable"] == pytest.approx((0.5 + 1) / 2)
    assert made["good_when_reliable"] == pytest.approx((0.5 + 1) / 2) and made["good_when_abstained"] == 0.5
    by = {t["threshold"]: t for t in made["thresholds"]}
    assert by[0.7]["reliable"] == pytest.approx((0.25 + 1) / 2) and by[0.7]["good"] == 1
    assert made["studies"]["b"] == {"reliable": 1, "good_when_reliable": 1, "good_when_abstained": None}


def test_too_few_configurations_or_no_labels_give_nothing():
    assert s.choices(study(trials=8), searches=3) == []
    rows = s.without_labels(study().rows)
    assert s.choices(s.Study("none", rows), searches=3) == []
    assert s.calibrate({})["good_when_reliable"] is None


def test_nothing_to_select_is_left_out():
    assert s.choices(study(spread=0.0), searches=3) == []
