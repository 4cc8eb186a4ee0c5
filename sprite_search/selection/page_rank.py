"""Which nodes of a weighted graph the others point to most: PageRank (Brin and Page 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Share of the walk that follows the edges; the rest goes anywhere.
FOLLOWED = 0.85


def page_rank(weights: NDArray[np.float64], followed: float = FOLLOWED) -> NDArray[np.float64]:
    """Share of a random walk that is at each node, (n,), sums to 1: r = followed · Pᵀ r + (1 − followed) / n.

    Args:
        weights: of edges from each row to each column, (n, n), none below 0; a node without any goes anywhere.
        followed: share of steps along edges, the others go anywhere.
    """
    count = len(weights)
    out = weights.sum(1, keepdims=True)
    steps = np.divide(weights, out, out=np.full((count, count), 1 / max(count, 1)), where=out > 0)
    anywhere = np.full(count, (1 - followed) / max(count, 1))
    return np.asarray(np.linalg.solve(np.eye(count) - followed * steps.T, anywhere))
