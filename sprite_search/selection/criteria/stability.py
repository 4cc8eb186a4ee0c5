"""Stability: whether other seeds, changed images or more training say the same. Collapsed models are stable too,
so every agreement with one counts 0."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .base import computed
from .models import Model, agreement
from .partitions import ami

#: How far sprites of two seeds may be shifted against each other, as a share of the side.
SHIFT = 0.25


def over_pairs(seeds: Sequence[Model], compare: Callable[[Model, Model], float]) -> float:
    """Median over pairs of seeds; NaN for fewer than two."""
    values = [compare(a, b) for a, b in itertools.combinations(seeds, 2)]
    return float(np.median(values)) if values else math.nan


@computed("S1", "more", "A sprites", scope="config", source="Lange 2004; von Luxburg 2010")
def seed_agreement(seeds: Sequence[Model]) -> float:
    """AMI of the choices of two seeds, median over pairs (S1): high for too few sprites as well."""
    return over_pairs(seeds, agreement)


@computed("S2", "more", "A sprites", scope="config", source="Duan 2020, 1905.12614")
def sprite_agreement(seeds: Sequence[Model]) -> float:
    """correlation of the matched sprites of two seeds, median over pairs (S2): unused sprites match nothing."""
    return over_pairs(seeds, matched_sprites)


def matched_sprites(a: Model, b: Model) -> float:
    """Mean over the sprites of the larger set of the correlation with their match, the best one over shifts.

    Sprites are centred on the mean of those in use, so that what all share does not count.
    """
    from scipy.optimize import linear_sum_assignment

    if a.collapsed or b.collapsed or a.arrays["sprites"].shape[1:] != b.arrays["sprites"].shape[1:]:
        return 0.0
    table = np.zeros((a.count, b.count))
    table[np.ix_(a.used, b.used)] = np.maximum(correlation(centred(a), centred(b)), 0)
    return float(table[linear_sum_assignment(-table)].sum() / max(len(a.used), len(b.used)))


def centred(model: Model) -> NDArray[np.float64]:
    """The sprites in use, colours weighed by masks where there are any, less their mean: (used, C, h, w)."""
    pictures = model.arrays["sprites"][model.used].astype(np.float64) / 255
    if model.scenes:
        pictures = np.concatenate([pictures[:, :-1] * pictures[:, -1:], pictures[:, -1:]], 1)
    return pictures - pictures.mean(0)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest normalised correlation over cyclic shifts of at most a quarter of the side: (n, m)."""
    flat_a, flat_b = np.fft.rfft2(a), np.fft.rfft2(b)
    height, width = a.shape[-2:]
    table = np.empty((len(a), len(b)))
    rows, columns = _allowed(height)[:, None], _allowed(width)
    for i, spectrum in enumerate(flat_a):
        products = np.fft.irfft2((spectrum[None] * flat_b.conj()).sum(1), s=(height, width))
        table[i] = products[:, rows, columns].max((-2, -1))
    norms = [np.sqrt((x**2).sum((1, 2, 3))) for x in (a, b)]
    return table / np.maximum(np.outer(*norms), 1e-9)


def _allowed(side: int) -> NDArray[np.int64]:
    most = int(side * SHIFT)
    return np.arange(-most, most + 1) % side


@computed("S4", "more", "A A_aug sprites", degenerate=0.0, source="Ji 2019 (IIC)")
def augmentation_agreement(model: Model) -> float:
    """AMI of the choices with those for images moved by a sixteenth of the side, and with noise (S4)."""
    return same_images(model, "A_aug")


@computed("S5", "more", "A A_prev sprites", degenerate=0.0, source="nmi_diff of the published code")
def checkpoint_agreement(model: Model) -> float:
    """AMI of the choices with those of the checkpoint before (S5): high where nothing is learnt any more."""
    return same_images(model, "A_prev")


def same_images(model: Model, name: str) -> float:
    """AMI of the choices of all layers, empty ones included, with other choices for the same images."""
    now, then = (np.asarray(model.arrays[n]).astype(np.int64).ravel() + 1 for n in ("A", name))
    return ami(now, then)
