"""Decisions: which sprite each layer of each image shows."""

from __future__ import annotations

from dataclasses import dataclass

from .families import Family
from .settings import setting

DECISIONS = Family("decision.kind")


class PredictsProbabilities:
    """Mixin of decisions that predict p (B, L, K) from image features."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        activation: str = setting(
            "gumbel_softmax",
            "how scores become a choice; Gumbel noise only while training",
            choices=("softmax", "gumbel_softmax", "hard_gumbel_softmax"),
            source="§3.3",
        )
        temperature: float = setting(1.0, "temperature τ: lower is nearer to a hard choice", above=0)
        learned_temperature: bool = setting(False, "learn τ, starting at the given temperature", source="Table 8")
        loss: str = setting(
            "composition",
            "error of the mixed image (eq. 4) or expected error over choices (eq. 3)",
            choices=("composition", "weighted_sum"),
            source="eq. 3-4",
        )


@DECISIONS.add("linear")
class LinearMapping(PredictsProbabilities):
    """Scores are one linear map of the image's features (the paper's default)."""


@DECISIONS.add("weight_prediction")
class WeightPrediction(PredictsProbabilities):
    """Scores each sprite by how its code fits the image (MarioNette, Smirnov et al. 2021)."""


@DECISIONS.add("min_loss")
class MinLoss:
    """Takes the sprite with the least error (DTI, Monnier et al.); greedy over layers."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        passes: int = setting(
            3, "sweeps of the greedy search over layers", low=1, high=10, when={"model.kind": "multilayer"}
        )
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
