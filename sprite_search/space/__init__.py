"""Search spaces: YAML files checked line by line, and the `Space` they describe."""

from .dimension import Dimension
from .loading import load_space, problems
from .model import Budget, Constraint, Objective, Resources, Space

__all__ = [
    "Budget",
    "Constraint",
    "Dimension",
    "Objective",
    "Resources",
    "Space",
    "load_space",
    "problems",
]
