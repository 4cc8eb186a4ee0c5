"""Geometry: whether images that look alike get the same sprite. Which space it is measured in decides."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import computed
from .models import Model, Pool
from .partitions import ami, distances, purity, silhouette

#: Most images compared in pairs.
IMAGES = 1000

#: Neighbours of an image whose sprites are looked at.
NEIGHBOURS = 10

#: The fixed group of the invariant distance: shifts by up to so many pixels of a thumbnail, and degrees.
SHIFT, ANGLES = 2, (-15.0, 0.0, 15.0)

#: Settings that change the space of a model's own features.
_SPACE = ("encoder.kind", "encoder.width", "encoder.pool", "sprites.count", "transformations.sprite", "decision.kind")


def invariant_distance(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """d(i, j) = min over a fixed group of shifts and rotations τ of ‖x_i − τ x_j‖, symmetric (G2).

    Each image is brought to mean 0 and norm 1 first, so that a change of brightness or contrast does not count.
    One matrix for all trials of a study. Cf. the tangent distance of Simard et al. 1993.

    Args:
        images: thumbnails (N, C, h, w); the first 1000 are taken.
    Returns:
        (n, n) float32.
    """
    from scipy.ndimage import rotate, shift

    x = images[:IMAGES].astype(np.float32) / 255
    plain = _unit(x)
    closest = np.full((len(x), len(x)), -1.0, dtype=np.float32)
    for angle in ANGLES:
        turned = rotate(x, angle, axes=(3, 2), reshape=False, order=1, mode="nearest") if angle else x
        for down in range(-SHIFT, SHIFT + 1):
            for right in range(-SHIFT, SHIFT + 1):
                moved = shift(turned, (0, 0, down, right), order=0, mode="nearest")
                np.maximum(closest, plain @ _unit(moved).T, out=closest)
    closest = np.maximum(closest, closest.T)  # one of two directions is enough
    distance = np.sqrt(np.maximum(2 - 2 * closest, 0))
    np.fill_diagonal(distance, 0)
    return distance.astype(np.float32)


def _unit(images: NDArray[Any]) -> NDArray[np.float32]:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _pixels(model: Model) -> NDArray[np.float32]:
    images = model.arrays["images"][:IMAGES]
    return images.reshape(len(images), -1).astype(np.float32) / 255


@computed("G1", "more", "A images", only="single", degenerate=-1.0, source="Rousseeuw 1987")
def pixel_silhouette(model: Model) -> float:
    """silhouette in pixel space (G1): distances mean little where objects move."""
    return silhouette(distances(_pixels(model)), model.partition[:IMAGES])


@computed("G1", "more", "A images", only="single", degenerate=0.0, source="Caliński & Harabasz 1974")
def pixel_calinski_harabasz(model: Model) -> float:
    """variance between over variance within clusters of pixels, per degree of freedom (G1)."""
    x, labels = _pixels(model), model.partition[:IMAGES]
    names, centres, sizes = _centres(x, labels)
    within = float(((x - centres[np.searchsorted(names, labels)]) ** 2).sum())
    between = float((sizes * ((centres - x.mean(0)) ** 2).sum(1)).sum())
    k, n = len(names), len(x)
    return between / (k - 1) * (n - k) / within if within > 0 and 1 < k < n else 0.0


@computed("G1", "less", "A images", only="single", degenerate=100.0, source="Davies & Bouldin 1979")
def pixel_davies_bouldin(model: Model) -> float:
    """mean over clusters of pixels of the worst ratio of their widths to their distance (G1)."""
    x, labels = _pixels(model), model.partition[:IMAGES]
    names, centres, sizes = _centres(x, labels)
    if len(names) < 2:
        return 100.0
    own = np.searchsorted(names, labels)
    width = np.bincount(own, np.linalg.norm(x - centres[own], axis=1)) / sizes
    apart = distances(centres)
    np.fill_diagonal(apart, np.inf)
    ratio = (width[:, None] + width[None]) / np.maximum(apart, 1e-9)
    return float(min(ratio.max(1).mean(), 100.0))


def _centres(x: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray]:
    """Names, means and sizes of clusters."""
    names, own, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    member = np.eye(len(names), dtype=np.float32)[own]
    return names, member.T @ x / sizes[:, None], sizes


@computed("G2", "more", "A invariant", only="single", degenerate=-1.0)
def invariant_silhouette(model: Model) -> float:
    """silhouette in the distance that small shifts, rotations and contrast leave as it is (G2)."""
    return silhouette(model["invariant"], model.partition[:IMAGES])


@computed("G3", "more", "A invariant", only="single", degenerate=0.0)
def invariant_purity(model: Model) -> float:
    """share of the 10 nearest images with the same sprite, chance left out, in the invariant distance (G3)."""
    return purity(model["invariant"], model.partition[:IMAGES], NEIGHBOURS)


@computed("G5", "more", "A Z", only="single", degenerate=-1.0, not_across=_SPACE, source="cf. ACE, 2403.14830")
def feature_silhouette(model: Model) -> float:
    """silhouette in the model's own features (G5): spaces differ from trial to trial."""
    return silhouette(distances(model["Z"][:IMAGES]), model.partition[:IMAGES])


@computed("G6", "more", "A Z", scope="pool", only="single", source="baseline of ACE, 2403.14830")
def pooled_silhouette(pool: Pool) -> NDArray[np.float64]:
    """mean rank of the silhouette in the features of each finished trial, from 0 to 1 (G6)."""
    from scipy.stats import rankdata

    at, scores = pool.silhouettes
    if len(pool.models) < 2 or not len(at):
        return np.full(len(pool.models), math.nan)
    ranks = (rankdata(np.round(scores, 12), axis=1) - 1) / (len(pool.models) - 1)
    return np.asarray(ranks.mean(0))


@computed("G8", "more", "A Z", only="single", degenerate=0.0, source="Musgrave 2208.07360")
def feature_agreement(model: Model) -> float:
    """AMI of the choice of sprites with k-means of the model's own features (G8)."""
    from scipy.cluster.vq import kmeans2

    z = model["Z"].astype(np.float64)
    z = z - z.mean(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster is no fault of ours
        _, found = kmeans2(z, model.count, iter=20, minit="++", rng=np.random.default_rng(0))
    return ami(model.partition, found.astype(np.int64))


@computed("G9", "more", "Z", not_across=_SPACE, source="Garrido 2210.02885")
def feature_rank(model: Model) -> float:
    """effective rank of the features, exp of the entropy of their singular values, over their number (G9, RankMe)."""
    z = model["Z"].astype(np.float64)
    values = np.linalg.svd(z, compute_uv=False)
    share = values / max(float(values.sum()), 1e-12) + 1e-12
    return float(np.exp(-(share * np.log(share)).sum()) / z.shape[1])


@computed("G10", "more", "A images", only="single", degenerate=0.0)
def referee_purity(model: Model) -> float:
    """as invariant_purity, in histograms of oriented gradients: brings their bias with it (G10)."""
    return purity(distances(gradients(model.arrays["images"][:IMAGES])), model.partition[:IMAGES], NEIGHBOURS)


def gradients(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit histograms of gradient directions in 4x4 cells, 8 directions each: (N, C, h, w) -> (N, 128)."""
    x = images.astype(np.float32).mean(1) / 255
    down, right = np.gradient(x, axis=(1, 2))
    size, turn = np.hypot(down, right), np.arctan2(down, right)
    way = np.floor((turn + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    rows, columns = (np.arange(side) * 4 // side for side in x.shape[1:])
    cell = (rows[:, None] * 4 + columns) * 8 + way
    index = np.arange(len(x))[:, None, None] * 128 + cell
    found = np.bincount(index.ravel(), size.ravel(), minlength=len(x) * 128).reshape(len(x), 128)
    return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)).astype(np.float32)
