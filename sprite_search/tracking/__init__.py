"""MLflow: the record people browse. The ledger is the truth; this repairs itself from it."""

from . import views
from .runs import Report
from .store import connect, shown
from .tracker import Tracker

__all__ = ["Report", "Tracker", "connect", "shown", "views"]
