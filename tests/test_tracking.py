"""MLflow holds what the ledger says: once each, whole after any crash."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.study.records import TrialRecord
from sprite_search.tracking import Tracker


def record(number=0, **given):
    seeds = tuple({"seed": s, "metrics": {"val/reconstruction": 0.1}} for s in (0, 1))
    base = TrialRecord(
        number,
        f"study/{number}",
        "running",
        config={"decision.kind": "linear", "transformations.shared": False},
        params={"decision.kind": "linear"},
        epochs=3,
        seeds=seeds,
    )
    return dataclasses.replace(base, **given)


def history(epochs):
    return [
        {
            "epoch": e,
            "time": 1_000_000 + e,
            "metrics": [{"val/reconstruction": 1 / e, "train/loss": 2 / e}, {"val/reconstruction": 3 / e}],
        }
        for e in range(1, epochs + 1)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests here: making one takes seconds."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def open_tracker(store, request):
    made = []

    own = request.node.name[:60].replace("[", "-").replace("]", "")

    def make(name=own):
        made.append(Tracker(store, name, space_hash="abc"))
        return made[-1]

    yield make
    for tracker in made:
        tracker.close()


def runs(tracker, role):
    return list(tracker._search(f"tags.`sprite.role` = '{role}'"))


def points(tracker, run, metric="val/reconstruction"):
    return [(m.step, m.value) for m in tracker.client.get_metric_history(run.info.run_id, metric)]


def test_a_finished_trial_is_one_run_with_a_child_per_seed(open_tracker, tmp_path):
    tracker = open_tracker()
    pictures = tmp_path / "seed0"
    pictures.mkdir()
    (pictures / "sprites.png").write_bytes(b"png")
    tracker.begin(record(), [0, 1])
    tracker.log(record(), history(2))
    done = record(state="complete", epoch=3)
    tracker.end(done, history(3), tmp_path)
    tracker.close()
    [parent] = runs(tracker, "trial")
    children = runs(tracker, "seed")
    assert parent.info.status == "FINISHED" and parent.data.tags["sprite.state"] == "complete"
    assert parent.data.tags["sprite.trial_key"] == "study/0" and parent.data.tags["sprite.space_hash"] == "abc"
    assert parent.data.params == {"decision.kind": "linear", "transformations.shared": "false"}
    assert points(tracker, parent) == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert parent.data.metrics["val/reconstruction_se"] == pytest.approx(1 / 3)
    assert sorted(c.data.params["seed"] for c in children) == ["0", "1"]
    assert all(c.data.tags["mlflow.parentRunId"] == parent.info.run_id for c in children)
    names = {a.path for a in tracker.client.list_artifacts(parent.info.run_id)}
    assert names == {"config.json", "pictures"}
    assert tracker.problems([done], lambda r: history(3)) == []


@pytest.mark.parametrize(
    ("state", "status", "extra"),
    [
        ("complete", "FINISHED", {}),
        ("pruned", "FINISHED", {"sprite.pruned_at": "2"}),
        ("failed", "FAILED", {"sprite.reason": "loss not finite"}),
    ],
)
def test_states_are_mapped_as_the_design_says(open_tracker, state, status, extra):
    tracker = open_tracker()
    done = record(state=state, epoch=2, reason="loss not finite" if state == "failed" else None)
    tracker.begin(record(), [0, 1])
    tracker.end(done, history(2), None)
    tracker.close()
    [parent] = runs(tracker, "trial")
    assert parent.info.status == status
    assert extra.items() <= parent.data.tags.items()
    assert all(c.info.status == status for c in runs(tracker, "seed"))


def test_saying_everything_twice_changes_nothing(open_tracker):
    for _ in range(2):
        tracker = open_tracker()
        tracker.begin(record(), [0, 1])
        tracker.log(record(), history(2))
        tracker.log(record(), history(3))
        tracker.end(record(state="complete", epoch=3), history(3), None)
        tracker.close()
    assert len(runs(tracker, "trial")) == 1 and len(runs(tracker, "seed")) == 2
    assert [step for step, _ in points(tracker, runs(tracker, "trial")[0])] == [1, 2, 3]


def test_reconciling_adds_what_is_missing_and_closes_what_has_no_trial(open_tracker):
    tracker = open_tracker()
    tracker.begin(record(0), [0, 1])
    tracker.log(record(0), history(1))
    tracker.begin(record(7), [0])
    tracker.close()
    tracker = open_tracker()
    now = [
        record(0, state="complete", epoch=3),
        record(1, state="pruned", epoch=2),
        record(2, state="queued", seeds=()),
    ]
    reports = {0: history(3), 1: history(2), 2: []}
    assert tracker.problems(now, lambda r: reports[r.number]) != []
    tracker.reconcile(now, lambda r: reports[r.number])
    found = {r.data.tags["sprite.trial_key"]: r for r in runs(tracker, "trial")}
    assert found["study/7"].info.status == "KILLED"
    assert found["study/1"].data.tags["sprite.state"] == "pruned"
    assert [s for s, _ in points(tracker, found["study/0"])] == [1, 2, 3]
    mine = [p for p in tracker.problems(now, lambda r: reports[r.number]) if "study/7" not in p]
    assert mine == []


def test_problems_name_what_disagrees(open_tracker):
    tracker = open_tracker()
    tracker.begin(record(0), [0, 1])
    tracker.end(record(0, state="complete", epoch=2), history(2), None)
    tracker.close()
    other = [record(0, state="pruned", epoch=3), record(1, state="complete", epoch=3)]
    found = "\n".join(tracker.problems(other, lambda r: history(3)))
    assert "study/0 is pruned in the ledger but complete in MLflow" in found
    assert "MLflow has [1, 2]" in found and "study/1 has no run" in found


def test_a_crash_right_after_a_run_is_made_leaves_one_that_is_found_again(store, open_tracker):
    tracker = open_tracker("crash")
    tracker.close()
    script = f"""
        from sprite_search.home import Home
        from sprite_search.tracking import Tracker
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_tracking import record
        from pathlib import Path
        tracker = Tracker(Home(Path({str(store.root)!r})), "crash", space_hash="abc")
        tracker.begin(record(), [0, 1])
        tracker.close()
    """
    environment = {**os.environ, "SPRITE_FAULT": "after_create_run"}
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    again = open_tracker("crash")
    again.reconcile([record(state="complete", epoch=3)], lambda r: history(3))
    assert len(runs(again, "trial")) == 1 and len(runs(again, "seed")) == 2


def test_a_store_that_is_away_holds_nothing_up_and_loses_nothing(open_tracker, monkeypatch):
    tracker = open_tracker()
    real, failures = tracker.client.log_batch, iter(range(2))

    def away(*args, **kwargs):
        if next(failures, None) is not None:
            raise ConnectionError("away")
        return real(*args, **kwargs)

    monkeypatch.setattr(tracker.client, "log_batch", away)
    tracker.begin(record(), [0, 1])
    tracker.end(record(state="complete", epoch=3), history(3), None)
    tracker.close()
    assert [s for s, _ in points(tracker, runs(tracker, "trial")[0])] == [1, 2, 3]


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"this is not SQLite at all, but some text instead\n" * 50)
    with pytest.raises(InputError, match="is no MLflow database"):
        Tracker(Home(tmp_path), "study", space_hash="abc")


def test_a_server_that_does_not_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match="check that the server runs"):
        Tracker(Home(tmp_path), "study", space_hash="abc")
