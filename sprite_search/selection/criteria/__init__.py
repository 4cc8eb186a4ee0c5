"""Label-free criteria: numbers by which trials can be ranked when nobody knows the answer.

One module per group; criteria of one group fail together. To add a criterion, write a function under one of the
decorators of `base` in the module of its group: `compute`, `select --by` and `criteria` know it from then on.
"""

from . import (  # noqa: F401  (fills CRITERIA)
    ace,
    confidence,
    consensus,
    fit,
    geometry,
    redundancy,
    scenes,
    stability,
    transformations,
    usage,
)
from .base import COLUMN, CRITERIA, Criterion, Row, criterion, metric, number
from .models import Model, Pool

__all__ = ["COLUMN", "CRITERIA", "Criterion", "Model", "Pool", "Row", "criterion", "metric", "number"]
