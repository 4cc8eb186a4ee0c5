"""Whether a pruner can do what is asked of it with the seeds there are."""

from __future__ import annotations

from .document import Entry
from .model import Space
from .names import SEED_PRUNERS
from .reading_dimensions import Wrong


def check_pruner(space: Space, given: Entry | None, wrong: Wrong) -> None:
    """Names a level that is none, and pruners that compare seeds where there are too few; `given` is the entry."""
    if given is None:
        return
    name, p = space.pruner["name"], float(space.pruner.get("p", 0.1))
    if not 0 < p < 0.5:
        said = f"is {p:g}; give a chance between 0 and 0.5, e.g. 0.1"
        wrong(given.value["p"], "pruner.p", said)
    elif name in SEED_PRUNERS and space.replicates < 2:
        said = f"{name} compares seeds, but each configuration has one; give replicates of 2 or more, or use median"
        wrong(given, "pruner", said)
    elif name == "wilcoxon" and 0.5**space.replicates >= p:
        enough = next(n for n in range(2, 64) if 0.5**n < p)
        said = (
            f"wilcoxon finds nothing below p = {p:g} with {space.replicates} seeds (the least it finds is"
            f" {0.5**space.replicates:g}); give replicates of {enough} or more, a larger p, or use interval"
        )
        wrong(given, "pruner", said)
