"""Choosing a trial without labels: pure functions of the table of trials.

`choose` never sees a label: it drops every ``labels/…`` column before it looks. `agreement` and
`criteria_table` read labels, apart from the choice, to say afterwards whether it was a good one.
"""

from .agreement import agreement, criteria_table
from .choice import AUTO, Choice, choose
from .criteria import CRITERIA, Criterion
from .pool import Candidate, Seed, candidates, without_labels

__all__ = [
    "AUTO",
    "CRITERIA",
    "Candidate",
    "Choice",
    "Criterion",
    "Seed",
    "agreement",
    "candidates",
    "choose",
    "criteria_table",
    "without_labels",
]
