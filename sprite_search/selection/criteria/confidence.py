"""Confidence: how sure choices are. A collapsed model is perfectly confident: never use these alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import SOFTNESS, computed
from .models import Model

#: Weights of regularisers that push the same quantity.
_PUSHED = (*SOFTNESS, "regularisers.binary.weight")

#: Most rows compared in pairs.
ROWS = 1000


def _entropies(p: NDArray[Any]) -> NDArray[np.float64]:
    p = np.maximum(p.astype(np.float64), 1e-12)
    return -(p * np.log(p)).sum(-1)


@computed("C1", "more", "P", degenerate=0.0, not_across=_PUSHED)
def one_hotness(model: Model) -> float:
    """mean probability of the likeliest sprite (C1)."""
    return float(model.probabilities.max(1).mean())


@computed("C2", "less", "P", degenerate=1.0, not_across=_PUSHED, source="Morerio 2018")
def choice_entropy(model: Model) -> float:
    """mean entropy of the probabilities over its largest value (C2)."""
    p = model.probabilities
    return float(_entropies(p).mean() / math.log(p.shape[1])) if p.shape[1] > 1 else math.nan


@computed("C3", "more", "P", degenerate=0.0, not_across=_PUSHED)
def probability_margin(model: Model) -> float:
    """mean difference of the two largest probabilities (C3)."""
    p = np.sort(model.probabilities, 1)
    return float((p[:, -1] - p[:, -2]).mean()) if p.shape[1] > 1 else math.nan


@computed("C4", "less", "P", degenerate=1.5, not_across=_PUSHED, source="eq. 6")
def indecision(model: Model) -> float:
    """mean 6p(1 − p) (C4), what the regulariser L_bin minimises; 1.5 at most."""
    p = model.probabilities
    return float((6 * p * (1 - p)).mean())


@computed("C5", "more", "P", degenerate=0.0, not_across=SOFTNESS, source="Bridle 1992; Hu 2017")
def mutual_information(model: Model) -> float:
    """information between image and sprite, H(mean p) − mean H(p), over its largest value (C5)."""
    p = model.probabilities
    total = _entropies(p.mean(0)) - _entropies(p).mean()
    return float(total / math.log(p.shape[1])) if p.shape[1] > 1 else math.nan


@computed("C6", "more", "P", degenerate=0.0, not_across=("sprites.count", *SOFTNESS), source="Cui 2020")
def nuclear_norm(model: Model) -> float:
    """nuclear norm of the probabilities over its bound √(N min(N, K')) (C6): confident and diverse."""
    p = model.probabilities
    return float(np.linalg.norm(p, "nuc") / math.sqrt(len(p) * min(p.shape)))


@computed("C7", "less", "P", degenerate=1.0, not_across=SOFTNESS, source="Jin 2020")
def confusion(model: Model) -> float:
    """share of the row-normalised class correlation PᵀWP off its diagonal (C7), W weighing sure rows more."""
    p = model.probabilities.astype(np.float64)
    weight = 1 + np.exp(-_entropies(p))
    table = p.T @ (p * (weight / weight.mean())[:, None])
    mass = table.sum(1)
    own = np.diagonal(table)[mass > 1e-9] / mass[mass > 1e-9]
    return float(1 - own.mean())


@computed("C8", "more", "P", degenerate=0.0, source="Saito 2021")
def neighbourhood_density(model: Model) -> float:
    """entropy of how similar the probabilities of an image are to those of others (C8, SND): often misleading."""
    p = model.probabilities[:ROWS].astype(np.float64)
    if len(p) < 3:
        return math.nan
    unit = p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12)
    similar = unit @ unit.T / 0.05
    np.fill_diagonal(similar, -np.inf)
    weight = np.exp(similar - similar.max(1, keepdims=True))
    return float(_entropies(weight / weight.sum(1, keepdims=True)).mean())


@computed("C9", "more", "A D sprites", degenerate=0.0, source="Hruschka 2006")
def error_margin(model: Model) -> float:
    """(second least − least error) over the second least (C9): duplicates of sprites bring it to 0."""
    if model.count < 2:
        return math.nan
    errors = np.sort(model.errors, 1)
    return float(((errors[:, 1] - errors[:, 0]) / np.maximum(errors[:, 1], 1e-8)).mean())


@computed("C10", "less", "A D P E_hard sprites", only="single", not_across=SOFTNESS)
def calibration(model: Model) -> float:
    """divergence KL(softmax(−e/2σ̂²) ‖ p) of the choice from what the errors say, errors being per pixel (C10)."""
    noise = max(float(model["E_hard"].mean()), 1e-10)
    exponent = -model.errors.astype(np.float64) / (2 * noise)
    weight = np.exp(exponent - exponent.max(1, keepdims=True))
    q = weight / weight.sum(1, keepdims=True)
    p = np.maximum(model.probabilities[:, : model.count], 1e-4)
    return float((q * (np.log(np.maximum(q, 1e-12)) - np.log(p))).sum(1).mean())
