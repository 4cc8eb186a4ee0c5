"""Redundancy and necessity: whether every sprite is needed."""

from __future__ import annotations

import math

import numpy as np

from .base import computed
from .models import Model
from .partitions import entropy
from .stability import centred, correlation


@computed("R1", "less", "A sprites", degenerate=1.0)
def redundancy(model: Model) -> float:
    """correlation of each used sprite with the one most like it, over shifts; mean (R1): high for similar classes."""
    if len(model.used) < 2:
        return 1.0
    pictures = centred(model)
    table = correlation(pictures, pictures)
    np.fill_diagonal(table, -1)
    return float(table.max(1).mean())


@computed("R2", "more", "A sprites", degenerate=0.0)
def sprite_rank(model: Model) -> float:
    """effective rank of the sprites, less their mean, over what K sprites can have (R2): full for noise."""
    pictures = model.arrays["sprites"].astype(np.float64).reshape(model.count, -1) / 255
    values = np.linalg.svd(pictures - pictures.mean(0), compute_uv=False)
    return math.exp(entropy(values)) / (model.count - 1) if model.count > 1 and values.sum() > 1e-9 else 0.0


@computed("R3", "more", "A D sprites", degenerate=-1.0)
def necessity(model: Model) -> float:
    """how much worse, relatively, the next best sprite shows the images of one; median over used sprites (R3)."""
    if model.count < 2 or not len(model.used):
        return 0.0
    losses = []
    for k in model.used:
        errors = model.errors[model.choice == k]
        own = errors[:, k]
        next_best = np.delete(errors, k, 1).min(1)
        losses.append(float(((next_best - own) / np.maximum(own, 1e-6)).mean()))
    return float(np.median(losses))


@computed("R4", "more", "A D pixels sprites", only="single", degenerate=-1.0, source="Pelleg & Moore 2000 (X-means)")
def merge_gain(model: Model) -> float:
    """bits per pixel lost by the best merge of two used sprites into one of them (R4): above 0, all are needed.

    Merging l into k changes NP/2 log₂ σ̂², N H₂(A) and saves P_s/2 log₂ N.
    """
    images, pixels = len(model.choice), int(model["pixels"])
    own = np.take_along_axis(model.errors, model.choice[:, None], 1)[:, 0].astype(np.float64)
    noise, counts = max(float(own.mean()), 1e-10), np.bincount(model.choice, minlength=model.count).astype(float)
    saved = model.arrays["sprites"][0].size / 2 * math.log2(images) if images > 1 else 0.0
    losses = []
    for gone in model.used:
        at = model.choice == gone
        for k in model.used:
            if k == gone:
                continue
            merged = max(noise + float((model.errors[at, k] - own[at]).sum()) / images, 1e-10)
            shares = counts.copy()
            shares[k], shares[gone] = shares[k] + shares[gone], 0
            choices = images * (entropy(shares) - entropy(counts)) / math.log(2)
            losses.append(images * pixels / 2 * math.log2(merged / noise) + choices - saved)
    return min(losses) / (images * pixels) if losses else 0.0
