"""Choosing a trial without labels: pure functions of the table of trials.

`choose` never sees a label: it drops every ``labels/…`` column before it looks. `agreement` and `evaluate` read
labels, apart from the choice, to say afterwards whether it was a good one and which criteria would have made it.
"""

from .agreement import agreement
from .choice import AUTO, Choice, choose
from .criteria import CRITERIA, Criterion
from .evaluation import evaluate, label_curve, separated
from .labels_needed import worth
from .leakage import checklist
from .pool import Candidate, Seed, candidates, without_labels
from .redraws import Recompute, recompute_from

__all__ = [
    "AUTO",
    "CRITERIA",
    "Candidate",
    "Choice",
    "Criterion",
    "Recompute",
    "Seed",
    "agreement",
    "candidates",
    "checklist",
    "choose",
    "evaluate",
    "label_curve",
    "recompute_from",
    "separated",
    "without_labels",
    "worth",
]
