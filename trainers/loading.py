"""A trained model from the checkpoint of its training."""

from __future__ import annotations

from pathlib import Path

import torch

from . import checkpoint
from .decomposition import TrainedModel
from .errors import DataError
from .kinds import OfPoints
from .point_decomposition import TrainedPointModel


def load(folder: Path | str, member: int = 0, device: str | None = None) -> TrainedModel:
    """The trained model of one member, from a folder that `Progress.save` wrote.

    Raises:
        DataError: no readable checkpoint in `folder`, or no such member.
    """
    folder, device = Path(folder), device or ("cuda" if torch.cuda.is_available() else "cpu")
    members, state = checkpoint.members_of(folder), checkpoint.read(folder, device)
    if not 0 <= member < len(members):
        raise DataError(f"{folder}: has {len(members)} members, no member {member}; count from 0")
    own = {name: tensor[member] for name, tensor in state["model"].items()}
    config = members[member]
    part = config.parts["model"]
    made = TrainedPointModel if issubclass(part, OfPoints) else TrainedModel
    return made(config, part.Shape(*state["shape"]), own, checkpoint.epoch_of(state, member), device)
