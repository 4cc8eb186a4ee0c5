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


def record(number=0):
    return TrialRecord(
        number, f"study/{number}", "complete", config={"decision.kind": "linear"}, value=0.1, seeds=SEEDS
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    tracker = Tracker(home, "study", space_hash="abc")
    for number in (0, 1):
        tracker.begin(record(number), [3, 4])
        tracker.end(record(number), [], None)
    tracker.close()
    return home


@pytest.fixture(scope="module")
def promoted(home, digits_checkpoint):
    return promote(
        home, record(), 4, checkpoint=digits_checkpoint, model_name="digits", tags={"sprite.space_hash": "abc"}
    )


def test_a_version_carries_its_lineage_and_the_alias_points_at_it(home, promoted):
    client = connect(home)
    version = client.get_model_version_by_alias("digits", "champion")
    assert (promoted.version, promoted.created, int(version.version)) == (1, True, 1)
    wanted = {"sprite.trial_key": "study/0", "sprite.seed": "4", "sprite.study": "study", "sprite.space_hash": "abc"}
    assert wanted.items() <= version.tags.items()
    assert json.loads(version.tags["sprite.gate"])["passed"] is True


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
        table = model.predict(np.load({str(tmp_path / "images.npy")!r}))
        assert model.metadata.signature.inputs is not None
        print("RESULT" + table.to_json())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=decoy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout.partition("RESULT")[2])
    wanted = load(digits_checkpoint, member=1).decompose(images.transpose(0, 3, 1, 2))
    assert [table["sprites"][str(i)] for i in range(5)] == wanted.sprite.tolist()
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
