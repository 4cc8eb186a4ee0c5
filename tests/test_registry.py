"""Promotion: once, with its lineage, behind a gate, and loadable anywhere."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from sprite_search.decompose import decompose
from sprite_search.errors import InputError, WorkError
from sprite_search.home import Home
from sprite_search.registry import fetch, promote, rollback
from sprite_search.study.records import TrialRecord
from sprite_search.tracking import Tracker, connect
from trainers import load

SEEDS = tuple({"seed": s, "metrics": {"val/reconstruction": 0.1}} for s in (3, 4))


def record(number=0, state="complete", seeds=SEEDS):
    return TrialRecord(number, f"study/{number}", state, config={"decision.kind": "linear"}, value=0.1, seeds=seeds)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    tracker = Tracker(home, "study", space_hash="abc", tags={"sprite.code": "c0de", "sprite.data": "da7a"})
    for number in (0, 1):
        tracker.begin(record(number), [3, 4])
        tracker.end(record(number), [])
    tracker.close()
    return home


@pytest.fixture(scope="module")
def promoted(home, digits_checkpoint):
    return promote(
        home, record(), 4, checkpoint=digits_checkpoint, model_name="digits", tags={"sprite.code": "of today"}
    )


def test_a_version_carries_its_lineage_and_the_alias_points_at_it(home, promoted):
    client = connect(home)
    version = client.get_model_version_by_alias("digits", "champion")
    assert (promoted.version, promoted.created, int(version.version)) == (1, True, 1)
    wanted = {"sprite.trial_key": "study/0", "sprite.seed": "4", "sprite.study": "study", "sprite.space_hash": "abc"}
    wanted |= {"sprite.code": "c0de", "sprite.data": "da7a"}  # what the run was trained with
    assert wanted.items() <= version.tags.items()
    assert json.loads(version.tags["sprite.gate"])["passed"] is True


def test_promoting_leaves_the_run_as_it_was(home, promoted):
    client = connect(home)
    experiment = client.get_experiment_by_name("study").experiment_id
    [run] = client.search_runs([experiment], "tags.`sprite.trial_key` = 'study/0'")
    version = client.get_model_version_by_alias("digits", "champion")
    assert version.run_id == run.info.run_id and run.info.status == "FINISHED"
    assert run.data.params == {"decision.kind": "linear"}
    assert run.info.end_time < version.creation_timestamp


def test_promoting_again_makes_no_new_version(home, promoted, digits_checkpoint):
    again = promote(home, record(), 4, checkpoint=digits_checkpoint, model_name="digits")
    assert (again.version, again.created) == (promoted.version, False)
    assert len(connect(home).search_model_versions("name = 'digits'")) == 1


def test_a_gate_that_is_not_met_changes_nothing_unless_forced(home, promoted, digits_checkpoint):
    gate = {"passed": False, "reasons": ["all sprites are one"]}
    with pytest.raises(WorkError, match="all sprites are one"):
        promote(home, record(1), 3, checkpoint=digits_checkpoint, model_name="digits", gate=gate)
    client = connect(home)
    assert int(client.get_model_version_by_alias("digits", "champion").version) == 1
    forced = promote(home, record(1), 3, checkpoint=digits_checkpoint, model_name="digits", gate=gate, force=True)
    assert (forced.version, forced.created) == (2, True)
    assert client.get_model_version("digits", "2").tags["sprite.forced"] == "true"
    assert rollback(home, "digits").version == 1
    assert int(client.get_model_version_by_alias("digits", "champion").version) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (record(1, "pruned"), "the trial is pruned, not complete"),
        (record(1, seeds=({"seed": 3, "metrics": {"val/reconstruction": float("nan")}},)), "is not a number"),
    ],
)
def test_what_is_not_whole_is_refused_whatever_else_is_said_of_it(home, promoted, digits_checkpoint, wrong, words):
    with pytest.raises(WorkError, match=words):
        promote(home, wrong, 3, checkpoint=digits_checkpoint, model_name="digits", gate={"passed": True, "reasons": []})
    assert int(connect(home).get_model_version_by_alias("digits", "champion").version) == 1


@pytest.mark.parametrize("names", [{"model_name": "a/b"}, {"model_name": " "}, {"alias": "v1"}, {"alias": "a b"}])
def test_names_the_registry_would_refuse_are_told_before_anything_is_done(home, promoted, digits_checkpoint, names):
    before = len(connect(home).search_model_versions())
    with pytest.raises(InputError, match="cannot be a"):
        promote(home, record(1), 3, checkpoint=digits_checkpoint, **{"model_name": "digits", **names})
    assert len(connect(home).search_model_versions()) == before


def test_a_crash_before_the_alias_moves_makes_no_second_version(home, digits_checkpoint, monkeypatch):
    from sprite_search import registry

    def crash(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(registry, "_point", crash)
        promote(home, record(), 3, checkpoint=digits_checkpoint, model_name="crashed")
    again = promote(home, record(), 3, checkpoint=digits_checkpoint, model_name="crashed")
    assert (again.version, again.created) == (1, False)
    assert int(connect(home).get_registered_model("crashed").aliases["champion"]) == 1


def test_there_is_nothing_to_go_back_to_for_a_model_that_is_not_there(home, promoted):
    with pytest.raises(InputError, match="no such registered model"):
        rollback(home, "unknown")
    with pytest.raises(InputError, match="nothing to go back to"):
        rollback(home, "digits", alias="other")


def test_a_checkpoint_or_seed_that_is_not_there_is_told(home, tmp_path, digits_checkpoint):
    with pytest.raises(InputError, match="holds no checkpoint"):
        promote(home, record(), 4, checkpoint=tmp_path, model_name="other")
    with pytest.raises(InputError, match="has no seed 9; it has 3, 4"):
        promote(home, record(), 9, checkpoint=digits_checkpoint, model_name="other")


def test_a_clean_process_elsewhere_predicts_what_the_checkpoint_does(home, promoted, digits_checkpoint, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    decoy = tmp_path / "elsewhere"
    (decoy / "sprite_search").mkdir(parents=True)
    (decoy / "sprite_search" / "__init__.py").write_text("raise ImportError('the model must not need this package')")
    script = f"""
        import json, sys, warnings
        import numpy as np
        import mlflow
        mlflow.set_tracking_uri({home.tracking_uri!r})
        model = mlflow.pyfunc.load_model("models:/digits@champion")
        images = np.load({str(tmp_path / "images.npy")!r})
        table = model.predict(images)
        assert "sprite_search" not in sys.modules
        shown = model.predict(images, params={{"reconstruction": True}})["reconstruction"]
        assert np.shape(shown.tolist()) == (5, 8, 8, 1)
        for wrong in (images / 255.0, images[:, :4], images.transpose(0, 3, 1, 2)):
            try:
                model.predict(wrong)
            except mlflow.MlflowException as error:
                assert "schema" in str(error)
            else:
                raise AssertionError("took images of another kind")
        print("RESULT" + table.to_json())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=decoy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout.partition("RESULT")[2])
    wanted = load(digits_checkpoint, member=1).decompose(images.transpose(0, 3, 1, 2))
    assert [table["sprites"][str(i)] for i in range(5)] == wanted.sprite.tolist()
    assert table["objects"]["0"][0]["box"] == [0, 0, 8, 8]
    assert [table["error"][str(i)] for i in range(5)] == pytest.approx(wanted.error.tolist(), abs=1e-6)


def test_the_registered_checkpoint_is_the_trial_s(home, promoted, digits_checkpoint):
    folder, member = fetch(home, "models:/digits@champion")
    assert member == 1
    assert (folder / "checkpoint.pt").read_bytes() == (digits_checkpoint / "checkpoint.pt").read_bytes()


@pytest.mark.parametrize("uri", ["models:/digits@nobody", "models:/unknown@champion", "models:/digits/99"])
def test_a_model_that_is_not_there_is_told(home, promoted, uri):
    with pytest.raises(InputError, match="no such model"):
        fetch(home, uri)


def test_decompose_takes_a_model_of_the_registry(home, promoted, tmp_path):
    from PIL import Image

    Image.new("L", (20, 30), 128).save(tmp_path / "gray.png")
    [found] = decompose("models:/digits@champion", [tmp_path / "gray.png"], tmp_path / "out", home)
    assert found["size"] == [8, 8] and len(found["objects"]) == 1
