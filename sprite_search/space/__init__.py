"""Search spaces: YAML files checked line by line, and the `Space` they describe."""

from .loading import load_space, problems
from .model import Budget, Dimension, Objective, Resources, Space

__all__ = ["Budget", "Dimension", "Objective", "Resources", "Space", "load_space", "problems"]
