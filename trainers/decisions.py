"""Decisions: which sprite each layer of each image shows.

A decision that predicts probabilities turns image features f (B, D) into scores (B, L, K'), and these into
p (B, L, K') by an activation; K' counts the empty sprite, which is last. Noise comes in as an argument, so that
a module is a pure function of its inputs. Min-Loss predicts nothing: it tries every sprite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .families import Family
from .kinds import OfImages
from .settings import MULTILAYER, setting

DECISIONS = Family("decision.kind")

SOFTMAX, GUMBEL, HARD_GUMBEL = "softmax", "gumbel_softmax", "hard_gumbel_softmax"


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise −log(−log u) from uniform noise u in [0, 1); finite for any u."""
    u = uniform.clamp(1e-10, 1 - 6e-8)
    return -(-u.log()).log()


def choose(scores: Tensor, temperature: Tensor | float, activation: str, noise: Tensor | None = None) -> Tensor:
    """p = softmax((scores + g) / τ) over the last axis; g is Gumbel noise while training (§3.3).

    Args:
        scores: (..., K').
        temperature: τ > 0.
        activation: `softmax` ignores the noise; `hard_gumbel_softmax` returns one-hot rows whose gradient
            is that of the soft ones (straight-through; StampNet, Visser et al. 2019).
        noise: Gumbel noise of the scores' shape; None, as in evaluation, is the plain softmax.
    Returns:
        (..., K'), rows sum to 1.
    """
    if noise is None or activation == SOFTMAX:
        return (scores / temperature).softmax(-1)
    soft = ((scores + noise) / temperature).softmax(-1)
    if activation != HARD_GUMBEL:
        return soft
    hard = one_hot(soft)
    return hard + soft - soft.detach()


def one_hot(p: Tensor) -> Tensor:
    """Rows with 1 at their largest entry (the first of equals) and 0 elsewhere."""
    return F.one_hot(p.argmax(-1), p.shape[-1]).to(p.dtype)


class PredictsProbabilities(nn.Module):
    """Decisions that predict p (B, L, K') from image features; a subclass says how scores are made."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        activation: str = setting(
            GUMBEL,
            "how scores become a choice; Gumbel noise only while training",
            choices=(SOFTMAX, GUMBEL, HARD_GUMBEL),
            source="§3.3",
        )
        temperature: float = setting(1.0, "temperature τ: lower is nearer to a hard choice", above=0)
        learned_temperature: bool = setting(False, "learn τ, starting at the given temperature", source="Table 8")
        loss: str = setting(
            "composition",
            "error of the mixed image (eq. 4) or expected error over choices (eq. 3)",
            choices=("composition", "weighted_sum"),
            source="eq. 3-4",
            when={"model.kind": OfImages},
        )

        presence: bool = setting(
            False,
            "predict whether a layer shows anything apart from which sprite it is; else empty is one more sprite",
            source="MarioNette, Smirnov et al. 2021",
            when={"model.empty_sprite": True},
        )

    def __init__(self, config: Config, *, features: int, layers: int, sprites: int, latent: int, empty: bool):
        super().__init__()
        self.activation = config.activation
        self.presence = nn.Linear(features, layers) if empty and config.presence else None
        self.layers, self.scored = layers, sprites + (empty and self.presence is None)
        raw = torch.tensor(config.temperature + math.log(-math.expm1(-config.temperature)))
        if config.learned_temperature:
            self.raw_temperature = nn.Parameter(raw)  # τ = softplus of it, always above 0
        else:
            self.register_buffer("raw_temperature", raw, persistent=False)

    def scores(self, features: Tensor, codes: Tensor | None) -> Tensor:
        """features f (B, D) of images, codes z (K, latent) of sprites, if they have any -> (B, L, K').

        K' without the empty sprite where presence is predicted apart.
        """
        raise NotImplementedError

    def forward(
        self, features: Tensor, codes: Tensor | None, noise: Tensor | None = None, *, allow_empty: bool = True
    ) -> Tensor:
        """p (B, L, K'); `noise` as in `choose`. Without `allow_empty` the last sprite gets exactly 0."""
        scores, tau = self.scores(features, codes), F.softplus(self.raw_temperature)
        if allow_empty and self.presence is None:
            return choose(scores, tau, self.activation, noise)
        # the empty sprite is last among K': apart from the others here, or not there
        scores = scores if self.presence is not None else scores[..., :-1]
        p = choose(scores, tau, self.activation, None if noise is None else noise[..., :-1])
        if self.presence is None or not allow_empty:
            return F.pad(p, (0, 1))
        there = self.presence(features).sigmoid()[..., None]
        return torch.cat((there * p, 1 - there), -1)


@DECISIONS.add("linear")
class LinearMapping(PredictsProbabilities):
    """Scores are one linear map of the image's features (the paper's default)."""

    def __init__(self, config: PredictsProbabilities.Config, *, features: int, **sizes: Any):
        super().__init__(config, features=features, **sizes)
        self.map = nn.Linear(features, self.layers * self.scored)

    def scores(self, features: Tensor, codes: Tensor | None) -> Tensor:
        return self.map(features).unflatten(-1, (self.layers, self.scored))


@DECISIONS.add("weight_prediction")
class WeightPrediction(PredictsProbabilities):
    """Scores each sprite by how its code fits the image (MarioNette, Smirnov et al. 2021).

    p = softmax(⟨norm(W_l f), norm(z_k)⟩ / (τ √D)), with D the number of image features. Sprites that are not
    decoded from codes (`pixels`) get codes of their own here, and so does the empty sprite.
    """

    def __init__(self, config: PredictsProbabilities.Config, *, features: int, sprites: int, latent: int, **sizes: Any):
        super().__init__(config, features=features, sprites=sprites, latent=latent, **sizes)
        self.own = sprites if latent == 0 else 0
        self.latent, self.scale = latent or 128, features**-0.5
        self.query = nn.Linear(features, self.layers * self.latent)
        if codes := self.scored - sprites + self.own:
            self.codes = nn.Parameter(torch.randn(codes, self.latent))

    def scores(self, features: Tensor, codes: Tensor | None) -> Tensor:
        given = [] if self.own or codes is None else [codes]
        keys = torch.cat([*given, *([self.codes] if hasattr(self, "codes") else [])])
        query = self.query(features).unflatten(-1, (self.layers, self.latent))
        query, keys = (F.layer_norm(x, (self.latent,)) for x in (query, keys))
        return query @ keys.T * self.scale


@DECISIONS.add("min_loss")
class MinLoss:
    """Takes the sprite with the least error (DTI, Monnier et al.); greedy over layers.

    Has no parameters: the model transforms every sprite, and `compositing.greedy` finds the best ones.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        passes: int = setting(3, "sweeps of the greedy search over layers", low=1, high=10, when=MULTILAYER)
        reassignment: bool = setting(True, "restart rarely used sprites from the most used one", source="§3.4")
        reassign_below: float = setting(
            0.2,
            "usage under which a sprite is restarted, as a share of 1/K",
            above=0,
            high=1,
            when={"decision.reassignment": True},
        )
        reassign_every: int = setting(
            50, "steps between two checks of usage", low=1, when={"decision.reassignment": True}
        )
