"""Whether a pruner can do what is asked of it with the seeds there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Space
from .names import SEED_PRUNERS

if TYPE_CHECKING:
    from .reading import Reader


def check_pruner(reader: Reader, space: Space) -> None:
    """Names a level that is none, and pruners that compare seeds where there are too few."""
    name, p = space.pruner["name"], float(space.pruner.get("p", 0.1))
    if not 0 < p < 0.5:
        said = f"is {p:g}; give a chance between 0 and 0.5, e.g. 0.1"
        reader.wrong(reader.top["pruner"].value["p"], "pruner.p", said)
    elif name in SEED_PRUNERS and space.replicates < 2:
        said = f"{name} compares seeds, but each configuration has one; give replicates of 2 or more, or use median"
        reader.wrong(reader.top["pruner"], "pruner", said)
    elif name == "wilcoxon" and 0.5**space.replicates >= p:
        enough = next(n for n in range(2, 64) if 0.5**n < p)
        said = (
            f"wilcoxon finds nothing below p = {p:g} with {space.replicates} seeds (the least it finds is"
            f" {0.5**space.replicates:g}); give replicates of {enough} or more, a larger p, or use interval"
        )
        reader.wrong(reader.top["pruner"], "pruner", said)
