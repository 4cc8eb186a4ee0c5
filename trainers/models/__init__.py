"""Models: how transformed sprites explain an image.

A model is a pure function of images, noise and weights: it draws nothing, and what changes over the training
(which transformations have joined, what is frozen) comes in as a `Phase` of plain Python values, so that a call
batches over members and never waits for the device.

Shapes: B images of C channels and H x W pixels; K sprites of h x w pixels, K' with the empty one, which is last;
L layers.
"""

from ..families import import_modules
from .base import MODELS, ImageShape, Inspection, Model, Outcome, Phase, SpriteModel
from .explanation import Explanation, Labels, PointExplanation

__all__ = [
    "MODELS",
    "Explanation",
    "ImageShape",
    "Inspection",
    "Labels",
    "Model",
    "Outcome",
    "Phase",
    "PointExplanation",
    "SpriteModel",
]

import_modules(__name__, __path__)
