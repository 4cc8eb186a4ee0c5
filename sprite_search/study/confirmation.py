"""The second stage: the best configurations are trained again on fresh seeds.

Who leads a search leads partly by luck: the value that made it the best is too good on average (the winner's curse),
the more so the more configurations were tried. Seeds that had no part in the ranking give values without that bias, so
`selection.choose` compares only these where there are any. All configurations get the same fresh seeds.
"""

from __future__ import annotations

from ..artefacts import with_criteria
from ..checkpoints import CheckpointStore
from ..home import Home
from ..selection import choose
from ..space import Space
from ..space.model import MOST_REPLICATES
from .goals import front, spread
from .ledger import Ledger
from .records import searched
from .table import rows


def fresh_seeds(space: Space) -> tuple[int, ...]:
    """Seeds of the second stage: the same for all its configurations, and those of no search."""
    assert space.confirm is not None
    return tuple(range(MOST_REPLICATES, MOST_REPLICATES + space.confirm.seeds))


def pending(ledger: Ledger, space: Space, home: Home, store: CheckpointStore) -> list[int]:
    """Trials whose configurations are still to be trained again, best first; none while the search goes on.

    Which they are is decided once the search is over: the first as `select` ranks them, without labels, degenerate ones
    left out. Of several objectives the Pareto front of those that are not degenerate; where it is larger than
    `confirm.top`, trials spread over all of it, see `goals.spread`.
    """
    if space.confirm is None:
        return []
    records = ledger.records()
    if any(r.state == "running" for r in searched(records)):
        return []
    top = space.confirm.top
    if (best := ledger.leaders(top)) is None:
        table = with_criteria(rows(searched(records)), store, space.name, home.study(space.name))
        choice = choose(table, runners_up=top - 1)
        best = [n for n in (choice.trial, *(r["trial"] for r in choice.runners_up)) if n is not None]
        if space.further_objectives:
            degenerate = {r["trial"] for r in choice.rejected}
            whole = front(space, (r for r in searched(records) if r.number not in degenerate))
            best = [r.number for r in spread(space, whole, top)]
        ledger.set_leaders(top, best)
    again = {r.confirms for r in records}
    return [n for n in best if n not in again]
