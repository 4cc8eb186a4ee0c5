"""Criteria as columns of the table: what holds for all of them."""

import json
import math
import random

import numpy as np
import pytest
from explained import arrays

from sprite_search.selection import CRITERIA
from sprite_search.selection.compute import compute, missing
from sprite_search.selection.criteria.geometry import invariant_distance

COMPUTED = [n for n, c in CRITERIA.items() if c.compute is not None]
SINGLE = [n for n in COMPUTED if CRITERIA[n].only != "scenes"]
SCENES = [n for n in COMPUTED if CRITERIA[n].only != "single"]
N, K = 40, 4

#: Known to mislead: SND; the rank of sprites, full for noise; the agreement of a sure choice with the errors per
#: pixel, which are never so sure. Usage is alike in all models here.
MISLEADING = {"neighbourhood_density", "sprite_rank", "calibration", "imbalance"}


def row(trial, seed, **more):
    return {
        "trial": trial,
        "seed": seed,
        "state": "complete",
        "sprites.count": K,
        "optimizer.learning_rate": trial,
        "labels/accuracy": 0.5,
        **more,
    }


def noise(seed):
    return np.random.default_rng(seed)


def pictures():
    """Images of K classes, a blurred pattern each, and their classes."""
    g = noise(0)
    patterns = g.random((K, 1, 8, 8)).repeat(2, 2).repeat(2, 3)
    classes = np.arange(N) % K
    images = 200 * patterns[classes] + 40 * g.random((N, 1, 16, 16))
    return images.astype(np.uint8), classes


IMAGES, CLASSES = pictures()
INVARIANT = invariant_distance(IMAGES)


def single(seed, wrong):
    """A clustering that gives a share of the images to sprites at random, and is the less sure the more it does."""
    g = noise(seed)
    choice = np.where(g.random(N) < wrong, g.integers(0, K, N), CLASSES)
    p = np.full((N, 1, K), 0.02 + wrong / K)
    p[np.arange(N), 0, choice] += 0.5
    p /= p.sum(-1, keepdims=True)
    errors = 0.05 + (0.1 + 0.3 * wrong) * g.random((N, 1, K)) + 0.2 * (np.arange(K) != CLASSES[:, None])[:, None]
    sprites = np.stack([IMAGES[choice == k].mean(0) if (choice == k).any() else IMAGES.mean(0) for k in range(K)])
    other = np.where(g.random(N) < wrong / 2, g.integers(0, K, N), choice)
    own = np.take_along_axis(errors[:, 0], choice[:, None], 1)[:, 0] * (1 + 3 * wrong)
    pose = g.normal(size=(N, 1, 2)) + wrong * choice[:, None, None]
    return arrays(
        choice, K, P=p.astype(np.float16), D=errors.astype(np.float16), pixels=256, E=own * 0.9, E_hard=own,
        E_still=own * (1.5 + wrong), E_foreground=own * 2, variance=np.full(N, 0.1), ssim=1 - own, moran=own,
        B=pose.astype(np.float16), displacement=own[:, None] * 0.1, torn=own[:, None] * 0.01,
        outside=own[:, None] * 0.1, Z=(np.eye(K)[choice] + (0.1 + wrong) * g.normal(size=(N, K))).astype(np.float16),
        sprites=sprites.round(), A_aug=other, A_prev=other, images=IMAGES, invariant=INVARIANT,
    )  # fmt: skip


def scene(seed, wrong):
    """Two objects side by side in each image, some of them missed, torn or doubled."""
    g = noise(seed)
    masks = np.zeros((N, 2, 16, 16), np.uint8)
    masks[:, 0, 2:7, 2:7], masks[:, 1, 9:14, 9:14] = 255, 255
    hurt = g.random(N) < wrong
    masks[hurt, 1, 4:9, 4:9] = 200
    choice = np.stack([CLASSES, (CLASSES + 1) % K], 1)
    choice = np.where(g.random((N, 2)) < wrong, g.integers(0, K, (N, 2)), choice)
    choice[g.random(N) < 0.2, 1] = -1
    masks[choice < 0] = 0
    instances = np.where(masks[:, 1] > 127, 2, np.where(masks[:, 0] > 127, 1, 0))
    errors = 0.05 + 0.3 * g.random((N, 2, K + 1))
    own = errors.mean((1, 2)) * (1 + wrong)
    return arrays(
        choice, K, M=masks, instances=instances, D=errors.astype(np.float16), E=own, E_hard=own * 1.1,
        E_still=own * 1.5, E_foreground=own, variance=np.full(N, 0.1), ssim=1 - own, moran=own,
        B=g.normal(size=(N, 2, 3)).astype(np.float16), displacement=own[:, None].repeat(2, 1),
        torn=own[:, None].repeat(2, 1), outside=own[:, None].repeat(2, 1), Z=g.normal(size=(N, 8)).astype(np.float16),
        sprites=g.integers(0, 256, (K, 4, 6, 6)), A_aug=choice, A_prev=choice,
    )  # fmt: skip


def study(make, wrong=(0.0, 0.1, 0.5, 0.9)):
    """Rows and artefacts of trials with two seeds each, the later the worse."""
    rows = [row(t, s) for t in range(len(wrong)) for s in (0, 1)]
    return rows, {(t, s): make(10 * t + s, w) for t, w in enumerate(wrong) for s in (0, 1)}


def columns(table, names=COMPUTED):
    return {n: [r[f"criteria/{n}"] for r in table] for n in names}


@pytest.mark.parametrize(("make", "names"), [(single, SINGLE), (scene, SCENES)], ids=["single", "scenes"])
def test_every_criterion_has_a_value_for_every_model_or_says_why_not(make, names):
    rows, artefacts = study(make)
    values, why = columns(compute(rows, artefacts)), missing(rows, artefacts)
    assert all(np.isfinite(values[n]).all() for n in names)
    for name in set(COMPUTED) - set(names):
        assert np.isnan(values[name]).all()
        assert all("is for" in reasons[name] for reasons in why.values())
    assert not any(set(names) & set(reasons) for reasons in why.values())


@pytest.mark.parametrize("name", sorted(set(SINGLE) - MISLEADING))
def test_a_good_clustering_is_better_than_a_poor_one(name):
    values = columns(compute(*study(single)), [name])[name]
    sign = 1 if CRITERIA[name].smaller_is_better else -1
    costs = sign * np.array(values).reshape(4, 2).mean(1)
    if name in ("usage_gap", "feature_rank"):
        assert costs[0] < costs[3] + 0.3  # hardly moved by this
    else:
        assert costs[0] < costs[3]


@pytest.mark.parametrize("name", ["overlap", "mask_softness", "residual_structure", "mask_agreement"])
def test_good_scenes_are_better_than_poor_ones(name):
    values = columns(compute(*study(scene)), [name])[name]
    sign = 1 if CRITERIA[name].smaller_is_better else -1
    costs = sign * np.array(values).reshape(4, 2).mean(1)
    assert costs[0] < costs[3]


@pytest.mark.parametrize("make", [single, scene])
def test_no_permutation_of_labels_changes_a_byte(make):
    rows, artefacts = study(make)
    first = json.dumps(columns(compute(rows, artefacts)))
    accuracies = [i / 10 for i in range(len(rows))]
    for seed in range(2):
        random.Random(seed).shuffle(accuracies)
        shuffled = [{**r, "labels/accuracy": a} for r, a in zip(rows, accuracies, strict=True)]
        assert json.dumps(columns(compute(shuffled, artefacts))) == first
    without = [{n: v for n, v in r.items() if not n.startswith("labels/")} for r in rows]
    assert json.dumps(columns(compute(without, artefacts))) == first


def test_names_of_sprites_do_not_matter():
    """Renamed alike in choices, probabilities, errors and sprites, every model is worth what it was."""
    rows, artefacts = study(single)
    order = np.array([2, 0, 3, 1])  # the sprite that comes to each place
    place = np.argsort(order)
    renamed = {
        key: {
            **a,
            **{n: place[a[n]].astype(np.int16) for n in ("A", "A_aug", "A_prev")},
            **{n: a[n][..., order] for n in ("P", "D")},
            "sprites": a["sprites"][order],
        }
        for key, a in artefacts.items()
    }
    before, after = columns(compute(rows, artefacts)), columns(compute(rows, renamed))
    for name in SINGLE:
        assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("make", [single, scene])
def test_a_collapsed_model_gets_the_value_for_degenerate_labellings(make):
    rows, artefacts = study(make)
    artefacts[2, 1] = {**artefacts[2, 1], "A": np.where(artefacts[2, 1]["A"] >= 0, 0, -1).astype(np.int16)}
    table = compute(rows, artefacts)
    found = {n: v[5] for n, v in columns(table).items()}
    for name, criterion in CRITERIA.items():
        if criterion.compute and criterion.degenerate is not None and criterion.scope == "checkpoint":
            other = "single" if make is scene else "scenes"
            assert criterion.only == other or found[name] == criterion.degenerate, name
    assert found["centrality"] == 0 and found["seed_agreement"] == 0
    sign = {n: 1 if CRITERIA[n].smaller_is_better else -1 for n in found}
    for name, criterion in CRITERIA.items():
        if criterion.compute and criterion.degenerate is not None and math.isfinite(found[name]):
            assert sign[name] * criterion.degenerate >= sign[name] * columns(table)[name][0], name


def test_what_is_missing_is_nan_with_its_reason():
    rows, artefacts = study(single)
    rows.append(row(9, 0))
    del artefacts[0, 1]
    artefacts[1, 0] = {n: v for n, v in artefacts[1, 0].items() if n not in ("A_prev", "invariant")}
    values, why = columns(compute(rows, artefacts)), missing(rows, artefacts)
    assert math.isnan(values["psnr"][1]) and "no artefacts" in why[0, 1]["psnr"]
    assert math.isnan(values["psnr"][8]) and "no artefacts" in why[9, 0]["psnr"]
    assert math.isnan(values["checkpoint_agreement"][2]) and "A_prev" in why[1, 0]["checkpoint_agreement"]
    assert math.isnan(values["invariant_purity"][2]) and "invariant" in why[1, 0]["invariant_purity"]
    assert math.isnan(values["seed_agreement"][0]) and "two seeds" in why[0, 0]["seed_agreement"]
    for i, r in enumerate(rows):
        key = (r["trial"], r["seed"])
        assert all(math.isnan(values[n][i]) == (n in why[key]) for n in COMPUTED)


def test_trials_on_other_images_are_not_compared():
    rows, artefacts = study(single)
    for seed in (0, 1):
        artefacts[3, seed] = {**artefacts[3, seed], "subset": np.array("others")}
    values, why = columns(compute(rows, artefacts)), missing(rows, artefacts)
    assert math.isnan(values["centrality"][6]) and "same images" in why[3, 0]["centrality"]
    alone = columns(compute(rows[:6], artefacts))
    assert values["centrality"][:6] == alone["centrality"]
    assert np.isfinite(values["psnr"]).all()


def test_the_order_of_rows_does_not_matter():
    rows, artefacts = study(single)
    order = list(range(len(rows)))
    random.Random(1).shuffle(order)
    first, second = columns(compute(rows, artefacts)), columns(compute([rows[i] for i in order], artefacts))
    for name in COMPUTED:
        assert [first[name][i] for i in order] == pytest.approx(second[name], nan_ok=True), name


def test_the_catalogue_has_at_least_forty_criteria_of_nine_groups():
    assert len(CRITERIA) >= 60 and len({c.group for c in CRITERIA.values()}) == 9
    assert all(c.about and c.key and c.scope for c in CRITERIA.values())
    assert all(c.needs for c in CRITERIA.values() if c.compute)


def test_every_setting_that_values_do_not_compare_across_exists():
    from trainers.settings import catalogue

    named = {name for c in CRITERIA.values() for name in c.not_across}
    assert named <= set(catalogue())
