"""Training losses: reconstruction (eq. 3, 4) and regularisers (eq. 5-7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .decisions import PredictsProbabilities
from .families import Family
from .settings import POSITIVE, setting

REGULARISERS = Family("regulariser")


@REGULARISERS.add("frequency")
class Frequency:
    """L_freq: every sprite should be used at least at rate ε (eq. 5)."""

    when: Mapping[str, Any] = {"decision.kind": PredictsProbabilities}

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(0.0, "λ_freq: weight of the penalty on unused sprites", low=0, source="eq. 5")
        threshold: float = setting(
            0.5,
            "usage ε that is enough, as a share of 1/K",
            above=0,
            high=1,
            when={"regularisers.frequency.weight": POSITIVE},
        )


@REGULARISERS.add("binary")
class Binary:
    """L_bin: probabilities should be near 0 or 1 (eq. 6)."""

    when: Mapping[str, Any] = {"decision.kind": PredictsProbabilities}

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(0.0, "λ_bin: weight of the penalty on undecided probabilities", low=0, source="eq. 6")


@REGULARISERS.add("empty_sprite")
class EmptySprite:
    """L_empty: a layer should stay empty unless it helps (eq. 7)."""

    when: Mapping[str, Any] = {"model.empty_sprite": True}

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(0.0, "λ_empty: price of an occupied layer", low=0, source="eq. 7")
