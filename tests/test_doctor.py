"""The examination: what is counted as wrong, and that it says what to do."""

import pytest

from sprite_search import doctor
from sprite_search.checkpoints import open_store
from sprite_search.home import Home
from sprite_search.study.records import TrialRecord


def record(n, *, state="complete", epoch=4):
    return TrialRecord(number=n, key=f"toy/{n}", state=state, epoch=epoch, epochs=4)


@pytest.fixture
def store(tmp_path):
    made = open_store(tmp_path)
    for n in (0, 1):
        made.save("toy", n, 4, lambda folder: None, [{"epoch": 4, "time": 0, "metrics": [{}]}])
    return made


def problems(records, store):
    return doctor._checkpoint_problems(records, store, "toy")


def test_checkpoints_that_agree_are_fine(store):
    assert problems([record(0), record(1), record(2, state="queued", epoch=0)], store) == []


def test_a_trial_whose_reports_were_lost_is_named(store):
    assert problems([record(0), record(1), record(2)], store) == [
        "trial 2 has reports up to epoch 4, its checkpoint to 0"
    ]


def test_a_checkpoint_of_nobody_is_named(store):
    (wrong,) = problems([record(0)], store)
    assert "trial 1" in wrong and "no such trial" in wrong


def test_a_home_that_does_not_exist_yet_is_healthy(tmp_path, monkeypatch):
    for name in ("SPRITE_STUDY_STORE", "MLFLOW_TRACKING_URI", "SPRITE_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    found = doctor.examine(Home.locate(tmp_path / "home"))
    assert {c["name"] for c in found["checks"]} >= {"python", "torch", "ray", "optuna", "mlflow", "GPUs", "home"}
    assert not (tmp_path / "home").exists()
    assert found["healthy"] or any("make room" in c["says"] for c in found["checks"])


def test_what_is_missing_or_unreachable_is_wrong_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = doctor.examine(Home.locate(tmp_path))
    wrong = {c["name"]: c["says"] for c in found["checks"] if not c["ok"]}
    assert not found["healthy"]
    assert "make install" in wrong["no-such-package"]
    assert "mlflow.db" in wrong["record (MLflow)"]


def test_passwords_are_not_shown():
    assert doctor._where("postgresql://user:secret@host/db") == "postgresql://…@host/db"
    assert doctor._where("/home/me@work/x") == "/home/me@work/x"
