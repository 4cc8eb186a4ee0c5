"""`sprite-search doctor`: is this machine able to search, and do the books of a study agree?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import CheckpointStore, open_store
from .home import Home
from .machine import cpus, gpus

if TYPE_CHECKING:
    from .study.records import TrialRecord

PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "scipy", "scikit-learn", "cmaes")

#: Free space in the home below which a search is likely to stop, in bytes.
ROOM = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing looked at; `ok` is False only for what has to be mended."""

    name: str
    ok: bool
    says: str


def examine(home: Home, study: str | None = None) -> dict[str, Any]:
    """Looks at the machine and the stores, and with `study` at its books.

    Returns:
        healthy; checks: name, ok, says; and with a study: counts, trials by state in each of its books.
    Raises:
        InputError: there is no such study.
    """
    checks = [*_machine(), *_stores(home)]
    found: dict[str, Any] = {"home": str(home.root)}
    if study is not None:
        counts, more = _books(home, study)
        checks += more
        found.update(study=study, counts=counts)
    found.update(healthy=all(c.ok for c in checks), checks=[asdict(c) for c in checks])
    return found


def _machine() -> Iterator[Check]:
    yield Check("python", sys.version_info >= (3, 11), f"{platform.python_version()} at {sys.executable}")
    for name in PACKAGES:
        try:
            yield Check(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, False, "is not installed; run `make install`")
    yield Check("processors", True, str(cpus()))
    yield Check("GPUs", True, _gpus())


def _gpus() -> str:
    found = ", ".join(f"{name} with {memory:.0f} GiB" for name, memory in gpus())
    return found or "none; spaces with a `laptop` profile use it"


def _stores(home: Home) -> Iterator[Check]:
    yield _disk("home", home.root)
    yield _temporary()
    yield _tried("studies (Optuna)", lambda: _studies(home))
    yield _tried("record (MLflow)", lambda: _record(home))


def _disk(name: str, folder: Path) -> Check:
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free
    says = f"{folder}: {free / 2**30:.1f} GiB free"
    if not os.access(there, os.W_OK):
        return Check(name, False, f"{folder}: cannot be written; check its permissions or choose another --home")
    if free < ROOM:
        return Check(name, False, f"{says}; make room, or choose another --home")
    return Check(name, True, says if folder.exists() else f"{says}; made by the first launch")


def _temporary() -> Check:
    import tempfile

    return _disk("temporary files (Ray)", Path(tempfile.gettempdir()))


def _tried(name: str, look: Any) -> Check:
    from .failures import explain

    try:
        return Check(name, True, look())
    except Exception as error:
        said = explain(error)
        if said is None:
            raise
        return Check(name, False, said[0])


def _studies(home: Home) -> str:
    from .study.ledger import studies

    if "://" not in home.study_store and not Path(home.study_store).exists():
        return "none yet"
    return f"{len(studies(home))} in {_where(home.study_store)}"


def _record(home: Home) -> str:
    from .tracking import connect

    file = home.tracking_uri.removeprefix("sqlite:///")
    if file != home.tracking_uri and not Path(file).exists():
        return "none yet"
    connect(home)
    return f"answers at {_where(home.tracking_uri)}"


def _where(address: str) -> str:
    """An address without the password in it."""
    head, at, tail = address.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at and "://" in head else address


# -- the books of one study -----------------------------------------------------------------------


def _books(home: Home, study: str) -> tuple[dict[str, dict[str, int]], list[Check]]:
    from .study.lease import holder
    from .study.ledger import Ledger
    from .study.records import counts

    ledger = Ledger.open(home, study)
    records = ledger.records()
    store = open_store(home.checkpoints)
    driver = holder(home.study(study))
    states, wrong = _tracked(home, study, ledger.space().hash, records, store)
    found = {"optuna": counts(records), "mlflow": states, "checkpoints": _kept(records, store, study)}
    checks = [Check("driver", True, _driver(driver, records))]
    if driver is not None:
        # the record is written after the ledger, so the two differ for moments while a search runs
        checks.append(Check("MLflow agrees", True, "not looked at in detail while the search runs"))
    else:
        checks.append(
            Check("MLflow agrees", not wrong, _says(wrong, "every trial once, in its state, no point missing"))
        )
    missing = _checkpoint_problems(records, store, study)
    checks.append(Check("checkpoints agree", not missing, _says(missing, "every trial's reports are kept")))
    return found, checks


def _driver(driver: dict[str, object] | None, records: Sequence[TrialRecord]) -> str:
    if driver is not None:
        return f"process {driver.get('pid', '?')} on {driver.get('host', '?')} runs the study"
    left = sum(not r.done for r in records)
    return (
        f"nobody runs it; launching the same space again takes up {left} unfinished trials"
        if left
        else "nobody runs it"
    )


def _says(wrong: Sequence[str], fine: str) -> str:
    if not wrong:
        return fine
    return "; ".join(wrong) + "; launching the same space again mends it"


def _tracked(
    home: Home, study: str, space_hash: str, records: Sequence[TrialRecord], store: CheckpointStore
) -> tuple[dict[str, int], list[str]]:
    """States of the runs in MLflow, and where they differ from the ledger."""
    from .tracking import Tracker, connect

    if connect(home).get_experiment_by_name(study) is None:
        return {}, [f"MLflow has no experiment {study}"]
    tracker = Tracker(home, study, space_hash=space_hash)
    try:
        wrong = tracker.problems(records, lambda r: store.history(study, r.number))
        return dict(sorted(Counter(tracker.states().values()).items())), wrong
    finally:
        tracker.close()


def _kept(records: Sequence[TrialRecord], store: CheckpointStore, study: str) -> dict[str, int]:
    there = set(store.numbers(study))
    kept = (r.state for r in records if r.number in there)
    return dict(sorted(Counter(kept).items()))


def _checkpoint_problems(records: Sequence[TrialRecord], store: CheckpointStore, study: str) -> list[str]:
    """Trials whose reports are not in their checkpoints, and checkpoints of trials nobody knows."""
    wrong = []
    for record in records:
        if record.epoch and record.state != "running":
            reports = store.history(study, record.number)
            last = int(reports[-1]["epoch"]) if reports else 0
            if last < record.epoch:
                wrong.append(f"trial {record.number} has reports up to epoch {record.epoch}, its checkpoint to {last}")
    known = {r.number for r in records}
    return wrong + [
        f"a checkpoint of trial {n} is there, but the ledger has no such trial"
        for n in store.numbers(study)
        if n not in known
    ]
