"""Choosing a trial without labels: pure functions of the table of trials.

`choose` never sees a label: it drops every ``labels/…`` column before it looks. `agreement` and `evaluate` read
labels, apart from the choice, to say afterwards whether it was a good one and which criteria would have made it.
`load` reads the tables of a study, `judge` compares its criteria with labels, `over_studies` several studies.
Nothing here needs Ray, MLflow, torch or a store: tables in, tables out.
"""

from .aggregate import aggregated
from .agreement import agreement
from .audit import alarms, audit, best_of_n, scored
from .calibration import calibrate, choices
from .checkpoints import judge_checkpoints, separated_reports, trusted
from .choice import AUTO, Choice, choose
from .criteria import CRITERIA, Criterion
from .evaluation import evaluate, label_curve, separated
from .goals import goals
from .incumbents import incumbents
from .labels_needed import worth
from .leakage import checklist
from .learned import by_selector, leave_one_out, ships
from .pool import Candidate, Gate, Seed, candidates, gates, without_labels
from .redraws import Recompute, pairs_of, recompute_from, recompute_with
from .roles import AUDIT, AUDIT_SCENES
from .studies import by_family, judge, over_studies
from .tables import Study, load, records, save, studies_in

__all__ = [
    "AUDIT",
    "AUDIT_SCENES",
    "AUTO",
    "CRITERIA",
    "Candidate",
    "Choice",
    "Criterion",
    "Gate",
    "Recompute",
    "Seed",
    "Study",
    "aggregated",
    "agreement",
    "alarms",
    "audit",
    "best_of_n",
    "by_family",
    "by_selector",
    "calibrate",
    "candidates",
    "checklist",
    "choices",
    "choose",
    "evaluate",
    "gates",
    "goals",
    "incumbents",
    "judge",
    "judge_checkpoints",
    "label_curve",
    "leave_one_out",
    "load",
    "over_studies",
    "pairs_of",
    "recompute_from",
    "recompute_with",
    "records",
    "save",
    "scored",
    "separated",
    "separated_reports",
    "ships",
    "studies_in",
    "trusted",
    "without_labels",
    "worth",
]
