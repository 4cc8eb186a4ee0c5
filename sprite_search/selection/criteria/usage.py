"""Usage: how the sprites share the images. Gates rather than rankings: data may be imbalanced."""

from __future__ import annotations

import math

import numpy as np

from .base import Row, computed, from_row, number
from .models import Model
from .partitions import entropy


@from_row("U1", "more", degenerate=0.0, not_across=("regularisers.frequency.weight",), source="eq. 5")
def balance(row: Row) -> float:
    """entropy of sprite usage over its largest value ln K (U1)."""
    count, effective = number(row, "sprites.count"), number(row, "val/effective_sprites")
    return math.log(effective) / math.log(count) if count > 1 and effective > 0 else math.nan


@from_row("U2", "more", degenerate=1.0, not_across=("sprites.count",), source="Hill numbers")
def effective_sprites(row: Row) -> float:
    """exp of the entropy of sprite usage (U2)."""
    return number(row, "val/effective_sprites")


@from_row("U3", "more", source="threshold of the published code")
def used_sprites(row: Row) -> float:
    """share of sprites used at least 0.2/K of the time (U3): 1/K where all images show the same one."""
    return number(row, "val/used_sprites")


@computed("U4", "less", "A P", degenerate=1.0)
def usage_gap(model: Model) -> float:
    """½ Σ |soft usage − hard usage| (U4): 0 where choices are hard."""
    p = model.probabilities
    hard = np.bincount(p.argmax(1), minlength=p.shape[1]) / len(p)
    return float(np.abs(p.mean(0) - hard).sum() / 2)


@computed("U5", "less", "A sprites")
def imbalance(model: Model) -> float:
    """how far the entropy of usage is below that expected of shares drawn at random (U5).

    The prior is uniform over all shares (Dirichlet with α = 1): expected entropy ψ(K + 1) − ψ(2).
    """
    from scipy.special import digamma

    return float(max(0.0, digamma(model.count + 1) - digamma(2) - entropy(model.usage)))
