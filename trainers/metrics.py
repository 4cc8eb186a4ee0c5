"""Metrics: what reports say of a model, by name and definition (§4 of the paper).

Each is one function under `@metric`, which files it in `METRICS` under the name that reports, MLflow and search
spaces use; to add one, write a function here. Those under ``labels/`` need labels: no search sees them unless its
space says so.

Labels are integer arrays (numpy or torch on the CPU). Predicted clusters and true classes are matched one
to one by the assignment of largest overlap (Hungarian), over a table that need not be square.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

Table = NDArray[np.int64]

#: What a metric is given, see `evaluation.evaluate`:
#: ``training``   sums of "loss" and "error" over the images of the last epoch, and how many they were;
#: ``held_out``   a `HeldOut`;
#: ``labels``     the class of each held-out image, and the sprite of its first layer;
#: ``pixels``     the `contingency` of true and predicted classes of all held-out pixels (or points);
#: ``instances``  true and predicted instance of each pixel, (N, H, W), 0 is background;
#: ``segments``   the same with the predicted background given to a layer where one is near.
Given = Literal["training", "held_out", "labels", "pixels", "instances", "segments"]

#: A sprite counts as used when its share is at least this part of an even share 1/K.
USED = 0.2


@dataclass(frozen=True)
class Metric:
    """A metric: its function, what that is given, and what a search has to know of it."""

    function: Callable[..., float]
    given: Given
    #: starts of settings that scale it directly: searched with one of them its values would not compare
    scaled_by: tuple[str, ...] = ()
    #: whether it may still be one of several objectives then, as settings drive rather than scale it
    traded: bool = False
    #: one of the few worth a column, a line of a note and a curve
    shown: bool = False


METRICS: dict[str, Metric] = {}

_F = TypeVar("_F", bound=Callable[..., float])


def metric(name: str, given: Given, **facts: Any) -> Callable[[_F], _F]:
    """Decorator that files a function in `METRICS`; `facts` are the other fields of `Metric`."""

    def file(function: _F) -> _F:
        if name in METRICS:
            raise ValueError(f"metric {name!r} is defined twice")
        METRICS[name] = Metric(function, given, **facts)
        return function

    return file


def measured(given: Mapping[Given, tuple[Any, ...]]) -> dict[str, float]:
    """All metrics that can be had from what is given."""
    return {name: m.function(*given[m.given]) for name, m in METRICS.items() if m.given in given}


def shown_metrics() -> list[str]:
    """Names of the few metrics that are worth a column where trials are listed."""
    return [name for name, m in METRICS.items() if m.shown]


# -- without labels -------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """Sums over the held-out images: errors, how often each sprite (K,) and none was chosen, and area of masks."""

    images: int
    error: float
    hard_error: float
    usage: NDArray[np.float64]
    empty: float
    area: float

    @property
    def occupied(self) -> float:
        """Layers that show something, at least 1 to divide by."""
        return max(float(self.usage.sum()), 1.0)


@metric("train/loss", "training", scaled_by=("regularisers.",))
def training_loss(sums: Mapping[str, float], images: int) -> float:
    """Mean training loss of the last epoch, regularisers and all."""
    return sums["loss"] / images


@metric("train/reconstruction", "training")
def training_reconstruction(sums: Mapping[str, float], images: int) -> float:
    """Mean squared error of the reconstructions of the last epoch, as trained: with its noise."""
    return sums["error"] / images


@metric("val/reconstruction", "held_out")
def reconstruction(found: HeldOut) -> float:
    """Mean squared error of the model's own reconstruction, no regulariser in it."""
    return found.error / found.images


@metric("val/hard_reconstruction", "held_out")
def hard_reconstruction(found: HeldOut) -> float:
    """The same with the likeliest sprite alone in each layer.

    Far above the former where a model explains images by mixing sprites rather than by choosing one.
    """
    return found.hard_error / found.images


@metric("val/used_sprites", "held_out", scaled_by=("regularisers.frequency.", "sprites.count"), traded=True)
def used_sprites(found: HeldOut) -> float:
    """Share of the K sprites that are chosen at least 0.2/K of the time."""
    return float((found.usage / found.occupied >= USED / len(found.usage)).mean())


@metric(
    "val/effective_sprites",
    "held_out",
    scaled_by=("regularisers.frequency.", "sprites.count"),
    traded=True,
    shown=True,
)
def effective_sprites(found: HeldOut) -> float:
    """Exp of the entropy of usage, from 1 to K; 0 when no layer shows anything."""
    return float(np.exp(_entropy(found.usage / found.occupied))) if found.usage.any() else 0.0


@metric("val/empty_share", "held_out", scaled_by=("regularisers.empty_sprite.",), traded=True)
def empty_share(found: HeldOut) -> float:
    """Share of layers that show nothing, 0 for models without an empty sprite."""
    return found.empty / max(float(found.usage.sum()) + found.empty, 1.0)


@metric("val/mask_area", "held_out", scaled_by=("regularisers.empty_sprite.",), traded=True)
def mask_area(found: HeldOut) -> float:
    """Mean area of the masks of the layers that show something, as a share of the image.

    Of point clouds the share of the points that such a layer explains.
    """
    return found.area / found.occupied


# -- with labels ----------------------------------------------------------------------------------


def contingency(true: ArrayLike, predicted: ArrayLike) -> Table:
    """Counts of (class, cluster) pairs, (classes, clusters); labels are 0, 1, …

    Raises:
        ValueError: for labels of different lengths, none at all, or negative ones.
    """
    t, p = np.asarray(true).ravel(), np.asarray(predicted).ravel()
    if len(t) != len(p):
        raise ValueError(f"{len(t)} true labels but {len(p)} predictions; give one prediction per label")
    if not len(t):
        raise ValueError("no labels to compare; give at least one")
    if t.min() < 0 or p.min() < 0:
        raise ValueError("labels must be 0 or above; leave out what has none")
    shape = (int(t.max()) + 1, int(p.max()) + 1)
    return np.bincount(t.astype(np.int64) * shape[1] + p, minlength=shape[0] * shape[1]).reshape(shape)


def matched(table: Table) -> Table:
    """The table made square (zero rows or columns added), its columns permuted so that the diagonal is largest."""
    side = max(table.shape)
    square = np.zeros((side, side), dtype=np.int64)
    square[: table.shape[0], : table.shape[1]] = table
    return square[:, linear_sum_assignment(-square)[1]]


@metric("labels/accuracy", "labels", shown=True)
def clustering_accuracy(true: ArrayLike, predicted: ArrayLike) -> float:
    """ACC: share of images whose cluster is the one matched to their class; 1 is perfect."""
    return pixel_accuracy(contingency(true, predicted))


@metric("labels/accuracy_many_to_one", "labels")
def many_to_one_accuracy(true: ArrayLike, predicted: ArrayLike) -> float:
    """Share of images in the majority class of their cluster (purity); rises with the number of clusters by itself."""
    table = contingency(true, predicted)
    return float(table.max(0).sum() / table.sum())


@metric("labels/nmi", "labels")
def nmi(true: ArrayLike, predicted: ArrayLike) -> float:
    """Normalised mutual information, arithmetic mean; two constant labellings agree fully (1)."""
    table = contingency(true, predicted)
    most = _mean_entropy(table)
    return 1.0 if most == 0 else max(0.0, mutual_information(table) / most)


@metric("labels/ami", "labels")
def ami(true: ArrayLike, predicted: ArrayLike) -> float:
    """Adjusted mutual information, arithmetic mean (Vinh et al. 2010): 0 by chance, whatever the number of clusters.

    Two constant labellings agree fully (1).
    """
    table = contingency(true, predicted)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    chance, most = expected_mutual_information(table), _mean_entropy(table)
    return 1.0 if table.size == 1 or most <= chance else (mutual_information(table) - chance) / (most - chance)


def mutual_information(table: Table) -> float:
    """Of a table of counts, in nats."""
    rows, columns, total = table.sum(1, keepdims=True), table.sum(0, keepdims=True), table.sum()
    at = table > 0
    return float((table[at] * np.log(table[at] * float(total) / (rows * columns)[at])).sum() / total)


def expected_mutual_information(table: Table) -> float:
    """Mutual information expected of two labellings of these sizes at random (Vinh et al. 2010, eq. 24a)."""
    rows, columns, total = table.sum(1), table.sum(0), int(table.sum())
    rows, columns = rows[rows > 0], columns[columns > 0]
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    information = 0.0
    for a in rows:
        b = columns[:, None]
        n = np.arange(1, min(int(a), int(columns.max())) + 1)[None]
        possible = (n <= b) & (n >= a + b - total)
        safe = np.where(possible, n, np.maximum(1, a + b - total))
        f = log_factorial
        log_p = f[a] + f[b] + f[total - a] + f[total - b] - f[total] - f[safe] - f[a - safe] - f[b - safe]
        terms = safe / total * np.log(total * safe / (a * b)) * np.exp(log_p - f[total - a - b + safe])
        information += float(terms[possible].sum())
    return information


def _mean_entropy(table: Table) -> float:
    return (_entropy(table.sum(1) / table.sum()) + _entropy(table.sum(0) / table.sum())) / 2


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


@metric("labels/mean_accuracy", "pixels", shown=True)
def mean_class_accuracy(table: Table) -> float:
    """mAcc of a pixel table (true classes, predicted classes) of a whole data set, background included.

    Classes are matched over all pixels at once; then the mean over true classes of the share of their
    pixels that is right. Classes without pixels count 0.
    """
    square = matched(table)[: table.shape[0]]
    return float(_ratio(np.diagonal(square), square.sum(1)).mean())


@metric("labels/pixel_accuracy", "pixels", shown=True)
def pixel_accuracy(table: Table) -> float:
    """Pixel accuracy of a pixel table: share of all pixels that are right, matched as for `mean_class_accuracy`.

    The background, most of many images, weighs as much as it is large here, where mAcc counts it as one class.
    """
    return float(np.trace(matched(table)) / table.sum())


@metric("labels/average_iou", "pixels")
def average_iou(table: Table) -> float:
    """avg-mIoU of a pixel table: after matching, mean over true classes of intersection over union."""
    square = matched(table)
    classes = table.shape[0]
    hits = np.diagonal(square)
    return float(_ratio(hits, square.sum(1) + square.sum(0) - hits)[:classes].mean())


def _ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)


def adjusted_rand(table: Table) -> float:
    """Adjusted Rand index of one contingency table; 1 where there is nothing to tell apart."""
    pairs, rows, columns = _pairs(table).sum(), _pairs(table.sum(1)).sum(), _pairs(table.sum(0)).sum()
    total = _pairs(np.asarray(table.sum()))
    expected = rows * columns / total if total else 0.0
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((pairs - expected) / (most - expected))


def _pairs(n: NDArray[np.int64]) -> NDArray[np.float64]:
    n = n.astype(np.float64)
    return n * (n - 1) / 2


@metric("labels/ari_foreground", "segments", shown=True)
def ari_foreground(true: ArrayLike, predicted: ArrayLike) -> float:
    """ARI-FG: mean over images of the adjusted Rand index on the pixels of true objects.

    Args:
        true: instance of each pixel, (N, H, W), 0 is background.
        predicted: likewise; a pixel taken for background is one more segment here. The published
            variant gives those to the nearest layer first (`models.explanation.nearest_layers`).
    """
    scores = []
    for t, p in zip(np.asarray(true), np.asarray(predicted), strict=True):
        if (objects := t > 0).any():
            scores.append(adjusted_rand(contingency(t[objects], p[objects])))
    return float(np.mean(scores)) if scores else float("nan")


@metric("labels/instance_iou", "instances")
def instance_iou(true: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over images of the mean over true segments (background included) of their matched IoU.

    Segments are matched per image to the largest total IoU; a true segment that none is left for counts
    0 (as in ClevrTex, Karazija et al. 2021).
    """
    scores = []
    for t, p in zip(np.asarray(true), np.asarray(predicted), strict=True):
        table = contingency(t, p)
        table = table[table.sum(1) > 0]
        union = table.sum(1)[:, None] + table.sum(0)[None] - table
        iou = table / np.maximum(union, 1)
        rows, columns = linear_sum_assignment(-iou)
        scores.append(iou[rows, columns].sum() / len(table))
    return float(np.mean(scores)) if scores else float("nan")
