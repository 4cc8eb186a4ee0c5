"""Transformations: whether they are plausible. Gates and bands: large motion is right where objects really move."""

from __future__ import annotations

import math

import numpy as np

from .base import computed
from .models import Model

_FAMILY = ("transformations.sprite", "transformations.layer")


def _over_items(model: Model, name: str) -> float:
    values = model[name][model.shown]
    return float(values.mean()) if len(values) else math.nan


@computed("D1", "less", "A displacement", not_across=_FAMILY, source="Mattar 2012")
def displacement(model: Model) -> float:
    """mean squared distance that a sprite's own warp moves a pixel, half a side being 1 (D1): a gate."""
    return _over_items(model, "displacement")


@computed("D2", "less", "A torn", not_across=_FAMILY, source="Bookstein 1989")
def torn(model: Model) -> float:
    """share of pixels whose area changes by more than a factor of 4, or folds over (D2): a gate."""
    return _over_items(model, "torn")


@computed("D3", "less", "E_still E_hard held_out", not_across=_FAMILY)
def transformation_reliance(model: Model) -> float:
    """held-out error without the sprites' own transformations over that with them (D3): high is right where
    objects really move."""
    return float(model.fit("E_still").mean() / max(model.fit("E_hard").mean(), 1e-10))


@computed("D4", "more", "A B sprites", degenerate=0.0, not_across=_FAMILY)
def pose_independence(model: Model) -> float:
    """variance of the transformation parameters within sprites over their whole variance (D4): 1 where pose does
    not carry class. Mean over the parameters that vary."""
    betas, choice = model["B"][model.shown].astype(np.float64), model.choice
    spread = betas.var(0) if len(betas) else np.zeros(0)
    betas = betas[:, spread > 1e-6]
    if not betas.shape[1]:
        return math.nan
    member = np.eye(model.count)[choice]
    means = member.T @ betas / np.maximum(member.sum(0), 1)[:, None]
    within = ((betas - means[choice]) ** 2).mean(0)
    return float((within / betas.var(0)).mean())


@computed("D5", "less", "A outside")
def outside(model: Model) -> float:
    """share of a shown sprite that is moved out of the image (D5): a gate."""
    return _over_items(model, "outside")
