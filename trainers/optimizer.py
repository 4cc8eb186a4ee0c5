"""Adam over the parameters of all members at once, with one learning rate per member."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import setting


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    learning_rate: float = setting(1e-3, "step size of Adam", above=0, high=1)
    weight_decay: float = setting(1e-6, "L2 penalty on encoder and heads; sprites and decision have none", low=0)
    decay_at: float = setting(
        0.875, "share of the training after which learning rates drop; 1 is never", above=0, high=1
    )
    decay: float = setting(0.1, "factor of the drop", above=0, high=1, when={})
    decay_sprites: bool = setting(
        True, "drop the sprites' and decision's learning rate too", source="§10.4 of the code"
    )
