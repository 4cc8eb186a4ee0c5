"""Models for criteria to look at: artefacts small enough to compute with by hand."""

import numpy as np

from sprite_search.selection.criteria import CRITERIA, Model


def arrays(choice, count, **given):
    """Artefacts of N images (or N x L layers) with these choices of K sprites; what is given replaces the rest."""
    a = np.array(choice, np.int16)
    a = a[:, None] if a.ndim == 1 else a
    n, layers = a.shape
    k = count + (1 if a.shape[1] > 1 else 0)
    hot = np.eye(count + 1, dtype=np.float16)[np.where(a < 0, count, a)][..., :k]
    made = {
        "subset": np.array("images"),
        "held_out": np.ones(n, bool),
        "pixels": np.array(4),
        "A": a,
        "P": hot,
        "D": (0.5 - 0.4 * hot).astype(np.float16),
        "E": np.full(n, 0.1, np.float32),
        "E_hard": np.full(n, 0.1, np.float32),
        "B": np.zeros((n, layers, 0), np.float16),
        "sprites": np.zeros((count, 1, 1, 1), np.uint8),
    }
    return {**made, **{name: _array(name, value) for name, value in given.items()}}


_TYPES = {"A": np.int16, "A_aug": np.int16, "A_prev": np.int16, "sprites": np.uint8, "images": np.uint8, "M": np.uint8}


def _array(name, value):
    made = np.array(value)
    if name in _TYPES:
        made = made.astype(_TYPES[name])
    elif made.dtype == np.float64:
        made = made.astype(np.float32)
    return made[:, None] if name in ("A", "A_aug", "A_prev") and made.ndim == 1 else made


def model(choice, count, *, row=(), **given):
    return Model({"trial": 0, "seed": 0, "state": "complete", **dict(row)}, arrays(choice, count, **given))


def value(name, *args, **more):
    """A criterion of the model that `model` makes of the other arguments."""
    return CRITERIA[name].compute(model(*args, **more))
