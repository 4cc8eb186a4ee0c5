"""K-means: the baseline every sprite model must beat, and one way to start sprites."""

from __future__ import annotations

import torch
from torch import Tensor


def kmeans(points: Tensor, count: int, generator: torch.Generator, *, iterations: int = 100) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from k-means++ seeds (Arthur & Vassilvitskii 2007).

    Args:
        points: (N, D) floats, N >= count.
        count: K, the number of centres.
        generator: draws the seeds.
        iterations: at most this many rounds; it stops when no point changes its centre.
    Returns:
        Centres (K, D) and the nearest centre of each point (N,). A centre that loses all its points
        moves to the point farthest from its own centre.
    """
    if len(points) < count:
        raise ValueError(f"K-means needs at least as many points as centres, but got {len(points)} for {count}")
    centres = _seeds(points, count, generator)
    chosen = torch.full((len(points),), -1)
    for _ in range(iterations):
        distances, nearest = torch.cdist(points, centres).min(1)
        if torch.equal(nearest, chosen):
            break
        chosen = nearest
        sums = torch.zeros_like(centres).index_add_(0, chosen, points)
        sizes = torch.bincount(chosen, minlength=count)
        centres = sums / sizes.clamp_min(1)[:, None]
        lost = (sizes == 0).nonzero()[:, 0]
        centres[lost] = points[distances.topk(len(lost)).indices]
    return centres, chosen


def _seeds(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    first = torch.randint(len(points), (1,), generator=generator)
    centres = points[first]
    squared = torch.full((len(points),), torch.inf)
    for _ in range(count - 1):
        squared = torch.minimum(squared, (points - centres[-1]).square().sum(1))
        odds = squared if squared.sum() > 0 else torch.ones_like(squared)
        centres = torch.cat([centres, points[torch.multinomial(odds, 1, generator=generator)]])
    return centres
