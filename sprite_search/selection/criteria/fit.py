"""Fit: how well images are reproduced. Blind to merged sprites; better with more sprites and freer motion."""

from __future__ import annotations

import math

import numpy as np

from .base import CAPACITY, SOFTNESS, Row, computed, from_row, number
from .models import Model
from .partitions import entropy

_BOTH = (*CAPACITY, *SOFTNESS)

#: Precision to which a transformation parameter is worth sending, for all families.
PRECISION = 0.01


@from_row("F2", "less", not_across=CAPACITY, source="Monnier 2020")
def reconstruction(row: Row) -> float:
    """mean squared error on held-out images, each layer showing its likeliest sprite alone (F2 of F5).

    The plain error where that was not recorded.
    """
    name = "val/hard_reconstruction"
    return number(row, name if name in row else "val/reconstruction")


@from_row("F5", "less", not_across=_BOTH, source="paper §4.4")
def soft_reconstruction(row: Row) -> float:
    """mean squared error on held-out images, sprites mixed as the model mixes them (F5)."""
    return number(row, "val/reconstruction")


@from_row("F1", "less", not_across=_BOTH, source="paper §4.4")
def training_reconstruction(row: Row) -> float:
    """mean squared error on training images (F1)."""
    return number(row, "train/reconstruction")


@from_row("F6", "less")
def generalisation_gap(row: Row) -> float:
    """held-out error over training error, less one (F6): near 0 for collapsed models too, never use it alone."""
    train, held_out = number(row, "train/reconstruction"), number(row, "val/reconstruction")
    return held_out / train - 1 if train > 0 else math.nan


@computed("F3", "less", "E E_hard held_out", not_across=CAPACITY)
def composition_gap(model: Model) -> float:
    """error of the likeliest sprites alone less that of the mix (F3): how much is explained by mixing.

    A gate: 0 for Min-Loss and for blurry sprites. From eq. 3 against eq. 4 of the paper.
    """
    return float(model.fit("E_hard").mean() - model.fit("E").mean())


@computed("F4", "less", "A D sprites")
def decision_gap(model: Model) -> float:
    """how much worse the chosen sprite is than the best one, relative to it (F4).

    0 by construction for Min-Loss, and nearly so where sprites are duplicates.
    """
    errors = model.errors
    if not len(errors):
        return math.nan
    least = errors.min(1)
    own = np.take_along_axis(errors, model.choice[:, None], 1)[:, 0]
    return float(((own - least) / np.maximum(least, 1e-6)).mean())


@computed("F7", "more", "E held_out", not_across=_BOTH)
def psnr(model: Model) -> float:
    """peak signal-to-noise ratio 10 log₁₀(1/e), mean over held-out images (F7): weighs easy images more."""
    return float((-10 * np.log10(np.maximum(model.fit("E"), 1e-10))).mean())


@computed("F7", "more", "ssim held_out", not_across=_BOTH, source="Wang 2004")
def ssim(model: Model) -> float:
    """structural similarity of held-out images and their reconstructions (F7)."""
    return float(model.fit("ssim").mean())


@computed("F8", "less", "E variance held_out", not_across=_BOTH)
def normalised_error(model: Model) -> float:
    """held-out error over the variance of the image's pixels, mean over images that are not flat (F8)."""
    variance = model.fit("variance")
    seen = variance > 1e-6
    return float((model.fit("E")[seen] / variance[seen]).mean()) if seen.any() else math.nan


@computed("F8", "less", "E_foreground held_out", not_across=_BOTH)
def foreground_error(model: Model) -> float:
    """held-out error on pixels that are not like the median image of the data (F8)."""
    errors = model.fit("E_foreground")
    errors = errors[np.isfinite(errors)]
    return float(errors.mean()) if len(errors) else math.nan


@computed("F9", "less", "E_hard held_out", not_across=CAPACITY)
def tail_error(model: Model) -> float:
    """mean of the worst tenth of the held-out errors with the likeliest sprites alone (F9)."""
    errors = np.sort(model.fit("E_hard"))
    return float(errors[-math.ceil(len(errors) / 10) :].mean())


@computed("F10", "less", "A B E_hard pixels sprites", source="Rissanen; Mizutani & Kanai 1703.00039")
def description_length(model: Model) -> float:
    """bits per pixel to send residuals, choices, transformation parameters and used sprites (F10).

    [NP/2 log₂(2πe σ̂²) + n H₂(A) + n Σ_d ½ log₂⁺(Var β_d / δ²) + K_used P_s/2 log₂ N] / NP, δ = 0.01. Residuals
    of intensities count as Gaussian, so that the first term can be below 0.
    """
    images, pixels, items = len(model.shown), int(model["pixels"]), len(model.choice)
    noise = max(float(model["E_hard"].mean()), 1e-10)
    residual = images * pixels / 2 * math.log2(2 * math.pi * math.e * noise)
    choices = items * entropy(model.usage) / math.log(2)
    betas = model["B"][model.shown]
    spread = betas.var(0) / PRECISION**2 if items else np.zeros(0)
    motion = items * float(np.log2(np.maximum(spread, 1)).sum()) / 2
    return (residual + choices + motion + _sprites(model, images) / math.log(2)) / (images * pixels)


@computed("F11", "less", "A E_hard pixels sprites", source="Schwarz 1978")
def bic(model: Model) -> float:
    """Bayesian information criterion per pixel: ln σ̂² + K_used P_s ln(N) / NP (F11); its penalty is too weak."""
    images, pixels = len(model.shown), int(model["pixels"])
    noise = max(float(model["E_hard"].mean()), 1e-10)
    return math.log(noise) + 2 * _sprites(model, images) / (images * pixels)


def _sprites(model: Model, images: int) -> float:
    """Nats to send the used sprites, half a ln N for each of their numbers."""
    return len(model.used) * model.arrays["sprites"][0].size / 2 * math.log(images)


@computed("F12", "less", "A D P E_hard pixels sprites", only="single", source="Frey & Jojic 2003")
def free_energy(model: Model) -> float:
    """negative log-likelihood per pixel of a mixture of the transformed sprites with Gaussian noise (F12)."""
    pixels, noise = int(model["pixels"]), max(float(model["E_hard"].mean()), 1e-10)
    share = np.log(np.maximum(model.probabilities.mean(0)[: model.count], 1e-12))
    exponent = share - pixels * model.errors / (2 * noise)
    top = exponent.max(1, keepdims=True)
    likelihood = top[:, 0] + np.log(np.exp(exponent - top).sum(1))
    return float(math.log(2 * math.pi * noise) / 2 - likelihood.mean() / pixels)


@computed("O4", "less", "moran", source="Moran 1950")
def residual_structure(model: Model) -> float:
    """Moran's I of the absolute residual (O4): a missed object is a blob, noise is not."""
    return float(model["moran"].mean())
