"""The record in MLflow: one run per trial and seed, each step once, whatever dies in between."""

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sprite_search import tracking
from sprite_search.errors import InputError
from sprite_search.home import Home
from sprite_search.study.records import TrialRecord
from sprite_search.tracking import Tracker, text, tracker
from sprite_search.tracking.outbox import Outbox

ROOT = Path(__file__).parents[1]


def record(number=0, state="running", epoch=0, seeds=2, **more):
    """A trial as the ledger has it after `epoch` of 4 epochs."""
    return TrialRecord(
        number,
        f"toy/{number}",
        state,
        params={"decision.kind": "linear", "optimizer.learning_rate": 0.001},
        config={
            "dataset.name": "digits",
            "decision.kind": "linear",
            "optimizer.learning_rate": 0.001,
            "model.on": True,
        },
        epoch=epoch,
        epochs=4,
        seeds=tuple({"seed": s, "metrics": metrics(epoch, s)} for s in range(seeds)) if epoch else (),
        value=sum(metrics(epoch, s)["val/reconstruction"] for s in range(seeds)) / seeds if epoch else None,
        **more,
    )


def metrics(epoch, seed):
    return {"train/loss": 2.0 / epoch, "val/reconstruction": 1.0 / epoch + 0.5 * seed, "labels/accuracy": 0.1 * epoch}


def history(epochs=4, seeds=2):
    return [
        {"epoch": e, "time": 1_700_000_000_000 + e, "metrics": [metrics(e, s) for s in range(seeds)]}
        for e in range(1, epochs + 1)
    ]


def opened(home, **more):
    return Tracker(home, "toy", space_hash="abc", tags={"sprite.data": "f" * 64}, **more)


def runs(home, client=None):
    """All runs by their key, as lists."""
    client = client or tracking.connect(home)
    found = {}
    for run in client.search_runs([client.get_experiment_by_name("toy").experiment_id]):
        found.setdefault(run.data.tags["sprite.trial_key"], []).append(run)
    return found


def steps(home, run, metric="val/reconstruction"):
    return [(m.step, m.value) for m in tracking.connect(home).get_metric_history(run.info.run_id, metric)]


def dump(home):
    with closing(sqlite3.connect(home.root / "mlflow.db")) as database:
        return list(database.iterdump())


@pytest.fixture
def home(mlflow_home):
    return mlflow_home


def test_a_finished_trial_is_one_run_with_a_child_per_seed(home):
    track = opened(home)
    track.begin(record(), [0, 1])
    for entry in history()[:3]:
        track.log(record(epoch=entry["epoch"]), [entry])
    track.end(record(state="complete", epoch=4), history())
    assert track.close() == []
    found = runs(home)
    assert set(found) == {"toy/0", "toy/0/0", "toy/0/1"} and all(len(r) == 1 for r in found.values())
    parent, child = found["toy/0"][0], found["toy/0/1"][0]
    assert parent.info.run_name == "#0 linear" and child.info.run_name == "#0 seed 1"
    assert parent.info.status == child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.params == {
        "dataset.name": "digits", "decision.kind": "linear", "optimizer.learning_rate": "0.001", "model.on": "true",
    }  # fmt: skip
    assert child.data.params == {**parent.data.params, "seed": "1"}
    assert {k: v for k, v in parent.data.tags.items() if k in ("sprite.state", "sprite.attempt", "sprite.arm")} == {
        "sprite.state": "complete", "sprite.attempt": "1", "sprite.arm": "optimised",
    }  # fmt: skip
    assert [d.dataset.name for d in parent.inputs.dataset_inputs] == ["digits"]
    # the mean of 1/e and 1/e + 0.5; standard error of two values d apart is d / 2
    assert steps(home, parent) == [(e, pytest.approx(1 / e + 0.25)) for e in (1, 2, 3, 4)]
    assert steps(home, parent, "val/reconstruction_se") == [(e, pytest.approx(0.25)) for e in (1, 2, 3, 4)]
    assert steps(home, child) == [(e, pytest.approx(1 / e + 0.5)) for e in (1, 2, 3, 4)]
    times = tracking.connect(home).get_metric_history(child.info.run_id, "train/loss")
    assert [m.timestamp for m in times] == [1_700_000_000_000 + e for e in (1, 2, 3, 4)]


def test_ten_thousand_points_are_all_written_once(home):
    seeds, names = range(5), [f"train/{i}" for i in range(20)]
    reports = [
        {"epoch": e, "time": 1_700_000_000_000 + e, "metrics": [{n: e + s / 10 for n in names} for s in seeds]}
        for e in range(1, 101)
    ]
    track = opened(home)
    track.begin(record(seeds=5), list(seeds))
    for entry in reports:
        track.log(record(seeds=5), [entry])
    track.end(record(state="complete", epoch=4, seeds=5), reports)
    assert track.close(patience=300) == []
    children = [runs(home)[f"toy/0/{seed}"][0].info.run_id for seed in seeds]
    with closing(sqlite3.connect(home.root / "mlflow.db")) as database:
        found = database.execute("SELECT run_uuid, key, step, value FROM metrics WHERE key LIKE 'train/%'").fetchall()
    points = [(children.index(run), key, step, value) for run, key, step, value in found if run in children]
    assert len(points) == 10_000
    assert set(points) == {(s, n, e, e + s / 10) for s in seeds for n in names for e in range(1, 101)}


def test_pictures_configuration_and_curves_are_artifacts(home, tmp_path):
    import yaml

    for seed in (0, 1):
        (tmp_path / f"pictures/seed{seed}").mkdir(parents=True)
        (tmp_path / f"pictures/seed{seed}/sprites.png").write_bytes(b"png")
    track = opened(home, pictures_of=lambda record: tmp_path / "pictures")
    track.begin(record(), [0, 1])
    track.end(record(state="complete", epoch=4), history())
    track.close()
    client, found = tracking.connect(home), runs(home)
    parent, child = found["toy/0"][0].info.run_id, found["toy/0/1"][0].info.run_id
    assert {a.path for a in client.list_artifacts(parent)} == {"config.yaml", "pictures"}
    assert {a.path for a in client.list_artifacts(parent, "pictures")} == {
        "pictures/curves.png",
        "pictures/sprites.png",
    }
    assert {a.path for a in client.list_artifacts(child, "pictures")} == {"pictures/sprites.png"}
    file = home.artifacts / "toy" / parent / "artifacts/config.yaml"
    assert yaml.safe_load(file.read_text()) == {"trial": dict(record().config)}


@pytest.mark.parametrize(
    ("state", "status", "tag"),
    [("pruned", "FINISHED", ("sprite.pruned_at", "2")), ("failed", "FAILED", ("sprite.reason", "loss is not finite"))],
)
def test_other_ends_say_why(home, state, status, tag):
    track = opened(home)
    track.begin(record(), [0, 1])
    track.end(record(state=state, epoch=2, reason="loss is not finite" if state == "failed" else None), history(2))
    track.close()
    for one in runs(home).values():
        assert one[0].info.status == status and one[0].data.tags["sprite.state"] == state
        assert one[0].data.tags[tag[0]] == tag[1]


def test_a_trial_that_fails_before_its_first_report_leaves_nothing_open(home):
    track = opened(home)
    track.begin(record(), [0, 1])
    track.end(record(state="failed", reason="out of memory"), [])
    track.close()
    assert [r[0].info.status for r in runs(home).values()] == ["FAILED"] * 3


def test_a_value_that_is_not_a_number_is_shown_as_such(home):
    broken = [*history(1), {"epoch": 2, "time": 5, "metrics": [{"val/reconstruction": math.inf}] * 2}]
    track = opened(home)
    track.end(record(state="failed", epoch=2), broken)
    track.close()
    assert math.isnan(dict(steps(home, runs(home)["toy/0"][0]))[2])


@pytest.mark.parametrize("cut", range(5))
def test_another_driver_goes_on_with_the_same_runs(home, cut):
    """The first dies after `cut` reports; the second writes the whole history again, as far as it knows it."""
    first = opened(home)
    first.begin(record(), [0, 1])
    first.log(record(epoch=cut), history(cut)) if cut else None
    first.close()
    second = opened(home)
    second.begin(record(epoch=cut, attempt=2), [0, 1])
    for upto in range(max(1, cut), 5):
        second.log(record(epoch=upto, attempt=2), history(upto))
    second.end(record(state="complete", epoch=4, attempt=2), history())
    second.close()
    found = runs(home)
    assert len(found) == 3 and all(len(r) == 1 for r in found.values())
    for (one,) in found.values():
        assert [s for s, _ in steps(home, one)] == [1, 2, 3, 4]
        assert one.data.tags["sprite.attempt"] == "2"
    assert opened(home).problems([record(state="complete", epoch=4)], lambda r: history()) == []


def test_writing_everything_again_changes_nothing(home):
    states = []
    for _ in range(2):
        track = opened(home)
        track.begin(record(), [0, 1])
        track.log(record(epoch=2), history(2))
        track.close()
        states.append(dump(home))
    assert states[0] == states[1]


def test_a_run_is_written_in_few_requests(home):
    """Requests are what a trial costs: with all of it known, each run is made, filled and closed by one each."""
    track = opened(home)
    asked = []

    class Counted:
        def __getattr__(self, name):
            asked.append(name)
            return getattr(track.client, name)

    track.runs.client = Counted()
    track._outbox._pause = 3600.0  # until it closes
    for number in (0, 1):
        track.begin(record(number), [0, 1])
        for entry in history():
            track.log(record(number, epoch=entry["epoch"]), [entry])
        track.end(record(number, "complete", 4), history())
    assert track.close() == []
    wanted = {"create_run": 3, "log_batch": 3, "set_terminated": 3, "log_inputs": 1}
    found = {name: asked.count(name) for name in set(asked)}
    assert found == {name: 2 * n for name, n in wanted.items()} | {"search_runs": 1}, "what is there is asked once"
    assert opened(home).problems([record(n, "complete", 4) for n in (0, 1)], lambda r: history()) == []


def test_a_run_larger_than_a_request_is_written_in_several(home):
    config = {f"a.b{i}": i for i in range(205)}
    names = [f"train/{i}" for i in range(30)]
    long = [{"epoch": e, "time": e, "metrics": [dict.fromkeys(names, 1.0 / e)] * 2} for e in range(1, 71)]
    track = opened(home)
    track.end(replace(record(state="complete", epoch=4), config=config), long)
    assert track.close() == []
    one = runs(home)["toy/0/1"][0]
    assert len(one.data.params) == 206 and one.data.tags["sprite.epoch"] == "70"
    assert [s for s, _ in steps(home, one, "train/29")] == list(range(1, 71))


def test_reconciling_makes_what_is_missing_and_nothing_twice(home):
    ledger = [
        record(0, "complete", 4),
        record(1, "pruned", 2),
        record(2, "failed", reason="diverged"),
        record(3, "running", 2),
        record(4, "queued"),
    ]
    first = opened(home)
    first.begin(record(0), [0, 1])
    first.log(record(0, epoch=1), history(1))
    first.begin(record(9), [0, 1])  # the ledger lost it
    first.close()
    track = opened(home)
    assert [p.partition(" ")[0] for p in track.problems(ledger, lambda r: history(r.epoch))] == [
        "toy/9", "toy/0", "toy/1", "toy/2", "toy/3",
    ]  # fmt: skip
    track.reconcile(ledger, lambda r: history(r.epoch))
    assert track.close() == []
    found = runs(home)
    assert {k for k in found if k.count("/") == 1} == {"toy/0", "toy/1", "toy/2", "toy/3", "toy/9"}
    assert [steps(home, found[f"toy/{n}"][0])[-1:] for n in (0, 1, 2, 3)] == [
        [(4, 0.5)], [(2, 0.75)], [], [(2, 0.75)],
    ]  # fmt: skip
    assert {found[k][0].info.status for k in ("toy/9", "toy/9/0", "toy/9/1")} == {"KILLED"}
    assert opened(home).problems(ledger, lambda r: history(r.epoch)) == []
    settled = [r for r in ledger if r.done]
    once = dump(home)
    again = opened(home)
    again.reconcile([*settled, ledger[3]], lambda r: history(r.epoch))
    again.close()
    assert dump(home) == once


def test_a_run_whose_end_was_cut_short_counts_as_running_and_is_ended_by_the_next_driver(home):
    track, whole = opened(home), [record(state="complete", epoch=4)]

    class Cut:
        def __getattr__(self, name):
            if name == "set_terminated":
                raise ConnectionError("killed here")
            return getattr(track.client, name)

    track.runs.client = Cut()
    track.end(whole[0], history())
    assert track.close(patience=0.0) == ["toy/0"]
    assert runs(home)["toy/0/0"][0].data.tags["sprite.state"] == "complete"
    track = opened(home)
    assert track.states() == {"toy/0": "running"}
    assert track.problems(whole, lambda r: history()) == ["toy/0 is complete in the ledger but running in MLflow"]
    track.reconcile(whole, lambda r: history())
    assert track.close() == []
    assert opened(home).problems(whole, lambda r: history()) == []


def test_a_reconciliation_leaves_alone_what_the_driver_has_taken_up(home):
    track = opened(home)
    track.begin(record(0), [0, 1])
    track.close()
    track = opened(home)
    track.reconcile([], lambda r: [])
    track.begin(record(0, attempt=2), [0, 1])
    track.close()
    assert runs(home)["toy/0"][0].info.status == "RUNNING"


def judged(trial, seed, value, **more):
    return {"trial": trial, "seed": seed, "epoch": 4, "criteria/balance": value, "val/reconstruction": 9.0, **more}


def test_criteria_go_to_the_runs_of_seeds_and_their_mean_to_that_of_the_trial(home):
    kept = opened(home)
    kept.begin(record(), [0, 1])
    kept.end(record(state="complete", epoch=4), history())
    more = {"criteria/seed": 1.0}  # that the other seed does not have
    kept.judge([judged(0, 0, 0.2), judged(0, 1, 0.4, **more), {"trial": 1, "seed": 0, "epoch": 1}])
    assert kept.close() == []
    found = runs(home)
    assert steps(home, found["toy/0/0"][0], "criteria/balance") == [(4, 0.2)]
    assert steps(home, found["toy/0"][0], "criteria/balance") == [(4, pytest.approx(0.3))]
    assert (
        "criteria/seed" not in found["toy/0"][0].data.metrics and found["toy/0/1"][0].data.metrics["criteria/seed"] == 1
    )
    assert found["toy/0/0"][0].data.metrics["val/reconstruction"] == 0.25
    assert found["toy/0"][0].info.status == "FINISHED"


def test_criteria_are_written_again_only_where_they_changed(home):
    kept = opened(home)
    kept.begin(record(), [0, 1])
    kept.end(record(state="complete", epoch=4), history())
    kept.close()
    for value in (0.4, 0.4, 0.6):
        kept = opened(home)
        kept.judge([judged(0, 0, 0.2), judged(0, 1, value)])
        assert kept.close() == []
    found = runs(home)
    assert steps(home, found["toy/0/0"][0], "criteria/balance") == [(4, 0.2)]
    assert [v for _, v in steps(home, found["toy/0/1"][0], "criteria/balance")] == [0.4, 0.6]


def test_runs_on_the_pareto_front_are_tagged_and_lose_the_tag_when_they_leave_it(home):
    kept = opened(home)
    for number in (0, 1):
        kept.end(record(number, "complete", 4), history())
    assert kept.close() == []
    for front, marks in (({"toy/0"}, ("true", "false")), ({"toy/1"}, ("false", "true")), (None, ("false", "true"))):
        kept = opened(home)
        kept.judge([], front)
        assert kept.close() == []
        found = runs(home)
        assert tuple(found[f"toy/{n}"][0].data.tags["sprite.pareto"] for n in (0, 1)) == marks


def test_problems_names_what_differs(home):
    track = opened(home)
    track.end(record(0, "complete", 4), history())
    track.end(record(1, "complete", 4), history())
    track.close()
    client, found = tracking.connect(home), runs(home)
    client.log_metric(found["toy/0/1"][0].info.run_id, "val/reconstruction", 7.0, step=4)
    client.delete_run(found["toy/1/0"][0].info.run_id)
    client.create_run(found["toy/0"][0].info.experiment_id, tags={"sprite.trial_key": "toy/1", "sprite.role": "trial"})
    said = "\n".join(opened(home).problems([record(0, "complete", 4), record(1, "pruned", 4)], lambda r: history()))
    for words in ("toy/0 seed 1 was reported at epochs [1, 2, 3, 4]", "toy/1 has 2 runs", "no run of seed 0", "pruned"):
        assert words in said


def child(home, body, **environment):
    """Runs Python code in a process of its own, with the helpers of this file."""
    code = "from test_tracking import *\nhome = Home(Path(%r))\n" % str(home.root) + textwrap.dedent(body)  # noqa: UP031
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths, **environment})


WHOLE = """
track = opened(home)
track.begin(record(), [0, 1])
for entry in history():
    track.log(record(epoch=entry["epoch"]), [entry])
track.end(record(state="complete", epoch=4), history())
track.close()
"""


def test_a_driver_killed_just_after_a_run_was_made_leaves_one_run_per_key(home):
    for _ in range(3):  # each kill is after one more run: the trial's, then those of its seeds
        assert child(home, WHOLE, SPRITE_FAULT="after_create_run").returncode == -signal.SIGKILL
    assert child(home, WHOLE).returncode == 0
    assert {key: len(found) for key, found in runs(home).items()} == {"toy/0": 1, "toy/0/0": 1, "toy/0/1": 1}
    assert opened(home).problems([record(state="complete", epoch=4)], lambda r: history()) == []


@pytest.mark.soak
@pytest.mark.parametrize("trial", range(12))
def test_killed_at_any_moment_the_next_driver_completes_the_record(home, trial):
    delay = random.Random(trial).uniform(0.0, 0.6)
    body = "import threading\n" + WHOLE.replace(
        "track.begin", f"threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()\ntrack.begin", 1
    )
    child(home, body)
    assert child(home, WHOLE).returncode == 0
    assert opened(home).problems([record(state="complete", epoch=4)], lambda r: history()) == []


class Away:
    """A client whose server can go away."""

    def __init__(self, client):
        self.client, self.away, self.asked = client, True, threading.Event()

    def __getattr__(self, name):
        def call(*args, **more):
            self.asked.set()
            if self.away:
                raise ConnectionError("the server is away")
            return getattr(self.client, name)(*args, **more)

        return call


def test_a_server_that_is_away_holds_up_nothing_and_loses_nothing(home):
    track = opened(home)
    track.runs.client = server = Away(track.client)
    track.begin(record(), [0, 1])
    for entry in history():
        track.log(record(epoch=entry["epoch"]), [entry])
    assert server.asked.wait(30)
    while track.trouble is None:
        pass
    assert "away" in track.trouble
    server.away = False
    track.end(record(state="complete", epoch=4), history())
    assert track.close() == [] and track.trouble is None
    assert opened(home).problems([record(state="complete", epoch=4)], lambda r: history()) == []


def test_a_server_that_stays_away_is_named_at_the_end_and_the_next_start_repairs_it(home):
    track = opened(home)
    track.runs.client = Away(track.client)
    track.end(record(state="complete", epoch=4), history())
    assert track.close(patience=0.0) == ["toy/0"]
    assert opened(home).problems([record(state="complete", epoch=4)], lambda r: history()) == [
        "toy/0 has no run in MLflow"
    ]
    track = opened(home)
    track.reconcile([record(state="complete", epoch=4)], lambda r: history())
    assert track.close() == []
    assert opened(home).problems([record(state="complete", epoch=4)], lambda r: history()) == []


def test_what_waits_for_a_server_is_bounded_and_completed_when_the_trial_ends(home, monkeypatch):
    monkeypatch.setattr(tracker, "_MOST_WAITING", 2)
    track = opened(home)
    track.runs.client = server = Away(track.client)
    for entry in history():
        track.log(record(epoch=entry["epoch"]), [entry])
    assert sum(len(w.reports) for w in track._wanted.values()) <= 2
    server.away = False
    track.end(record(state="complete", epoch=4), history())
    assert track.close() == []
    assert [s for s, _ in steps(home, runs(home)["toy/0"][0])] == [1, 2, 3, 4]


def test_a_run_deleted_by_hand_is_made_again(home):
    track = opened(home)
    track.begin(record(), [0])
    track.log(record(epoch=1, seeds=1), history(1, seeds=1))
    while track._outbox.undelivered() or not track.runs._runs.get("toy/0"):
        pass
    tracking.connect(home).delete_run(runs(home)["toy/0"][0].info.run_id)
    track.end(record(state="complete", epoch=4, seeds=1), history(seeds=1))
    assert track.close() == []
    assert [s for s, _ in steps(home, runs(home)["toy/0"][0])] == [1, 2, 3, 4]


def test_a_trial_that_mlflow_refuses_does_not_hold_up_the_others(home):
    track = opened(home)
    wrong = replace(record(0, "complete", 4), config={"not allowed!": 1})
    track.end(wrong, history())
    track.end(record(1, "complete", 4), history())
    assert track.close() == ["toy/0"]
    assert runs(home)["toy/1"][0].info.status == "FINISHED"


def test_a_database_that_fails_is_told_without_a_traceback(home, capfd):
    track = opened(home)
    with closing(sqlite3.connect(home.root / "mlflow.db")) as database:
        database.execute("ALTER TABLE runs RENAME TO elsewhere")
    track.end(record(state="complete", epoch=4), history())
    assert track.close(patience=0.0) == ["toy/0"]
    assert "no such table" in track.trouble
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_a_store_that_cannot_be_used_is_the_users_to_mend(home, monkeypatch, tmp_path):
    other = Home(tmp_path / "other")
    with pytest.raises(InputError, match="no record in MLflow yet"):
        tracking.connect(other, create=False)
    assert not other.root.exists()
    other.create()
    (other.root / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(InputError, match=r"mlflow\.db: is no MLflow database"):
        tracking.connect(other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    with pytest.raises(InputError, match="does not answer") as error:
        tracking.connect(home)
    assert "secret" not in str(error.value)


def test_an_experiment_of_somebody_elses_study_is_not_written_to(home, tmp_path, monkeypatch):
    opened(home).close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", home.tracking_uri)
    with pytest.raises(InputError, match="belongs to a study kept elsewhere"):
        opened(Home(tmp_path / "another"))
    opened(home).close()
    client = tracking.connect(home)
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    with pytest.raises(InputError, match="was deleted"):
        opened(home)


# -- words and numbers ----------------------------------------------------------------------------


def test_names_come_from_what_was_searched():
    assert text.title(replace(record(7), params={"a": "linear", "b": 0.1, "c": "gumbel_softmax"})) == (
        "#7 linear gumbel_softmax"
    )
    assert (
        text.title(replace(record(7), params={"optimizer.learning_rate": 0.00012345})) == "#7 learning_rate=0.0001234"
    )
    assert text.title(replace(record(7, point="ours_d"), params={"a": "linear"})) == "#7 ours_d linear"


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_the_note_says_how_a_trial_ended(state):
    note = text.note(record(3, state, 2, reason="its worker died" if state == "failed" else None))
    assert state in note.lower() and "`decision.kind` linear" in note and "| 1 | 1 |" in note


def test_means_are_over_the_seeds_that_have_a_metric():
    found = text.means([{"val/x": 1.0, "train/x": 1.0}, {"val/x": 4.0}, {"val/x": 4.0}])
    assert found == {"val/x": 3.0, "val/x_se": pytest.approx(1.0), "train/x": 1.0}


# -- the outbox -----------------------------------------------------------------------------------


def test_names_posted_while_one_is_delivered_are_delivered_once_more():
    sent, started, go = [], threading.Event(), threading.Event()

    def deliver(name):
        sent.append(name)
        started.set()
        go.wait(30)

    box = Outbox(deliver, pause=0.0)
    box.post("a")
    assert started.wait(30)
    for name in "aabb":
        box.post(name)
    go.set()
    assert box.close() == [] and sent == ["a", "a", "b"]


def test_many_that_wait_are_delivered_after_one_pause():
    """Else a receiver that is quick gets no more than one name in each pause."""
    pauses, sent, go = [], [], threading.Event()

    class Closing(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            return go.wait(30)

    box = Outbox(sent.append, pause=0.5)
    box._closing = Closing()
    for number in range(10):
        box.post(str(number))
    go.set()
    while len(sent) < 10:
        pass
    assert pauses == [0.5]
    assert box.close() == [] and sent == [str(n) for n in range(10)]


def test_what_fails_goes_behind_the_others_and_is_tried_again():
    sent, failures = [], iter([ConnectionError("1"), ConnectionError("2")])

    def deliver(name):
        if name == "a" and (error := next(failures, None)):
            raise error
        sent.append(name)

    box = Outbox(deliver, pause=0.05)
    for name in "abc":
        box.post(name)
    assert box.close() == [] and sorted(sent) == ["a", "b", "c"] and sent[0] == "b"


def test_the_hopeless_is_given_up_and_tried_when_posted_again():
    tries = []

    def deliver(name):
        tries.append(name)
        raise ValueError("refused")

    box = Outbox(deliver, hopeless=lambda error: isinstance(error, ValueError), pause=0.0)
    box.post("a")
    while len(tries) < 3 or box._waiting:
        pass
    assert box.undelivered() == ["a"]
    box.post("a")
    assert box.close() == ["a"] and len(tries) == 6
