"""The training loop: members in, progress out."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import MULTILAYER, setting


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    epochs: int = setting(40, "passes over the training images", low=1)
    batch_size: int = setting(128, "images per step", low=1)
    mask_noise: float = setting(
        0.4, "amplitude of the uniform noise added to masks while training", low=0, high=1, when=MULTILAYER
    )
    report_every: int = setting(1, "epochs between two reports (evaluation and checkpoint)", low=1)
