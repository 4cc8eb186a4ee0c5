"""Sprite models: the science. Needs torch, numpy, scipy and torchvision, and nothing else.

`train` trains, `load` takes up what a training saved; both are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decomposition import Decomposition, TrainedModel
    from .loading import load
    from .training import Diverged, Progress, train

__all__ = ["Decomposition", "Diverged", "Progress", "TrainedModel", "load", "train"]

_HOMES = {
    "Decomposition": "decomposition",
    "Diverged": "training",
    "Progress": "training",
    "TrainedModel": "decomposition",
    "load": "loading",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'trainers' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
