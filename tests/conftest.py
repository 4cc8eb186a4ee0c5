"""What several tests need: small trained models, and homes whose MLflow store is made already."""

import os
import signal
import sqlite3
import sys
import textwrap
from contextlib import closing
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Programs that tests and scripts call are those of this environment, activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

import pytest
import torch

TINY_DIGITS = {
    "dataset.name": "digits",
    "dataset.images": 80,
    "sprites.count": 4,
    "sprites.hidden": 16,
    "encoder.width": 4,
    "encoder.pool": 1,
    "training.epochs": 2,
    "training.batch_size": 32,
}
TINY_SCENES = {
    "dataset.name": "multi_dsprites",
    "dataset.source": "generated",
    "dataset.images": 40,
    "dataset.size": 16,
    "dataset.objects_max": 2,
    "dataset.radius_min": 0.25,
    "dataset.radius_max": 0.3,
    "model.kind": "multilayer",
    "sprites.count": 3,
    "sprites.size": 12,
    "sprites.hidden": 16,
    "encoder.width": 4,
    "encoder.pool": 1,
    "training.epochs": 1,
    "training.batch_size": 16,
}


STORES = (
    "SPRITE_HOME",
    "SPRITE_STUDY_STORE",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "SPRITE_CHECKPOINTS",
    "SPRITE_DATA",
)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A shell that starts the tests in the background leaves SIGINT ignored, and what they start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_launch_left():
    """Ends searches that a test started and, as it failed, did not wait for."""
    yield
    if "launching" in sys.modules:
        sys.modules["launching"].end_all()


def _train(given, folder, seeds):
    from trainers import train
    from trainers.settings import TrialConfig

    for progress in train([TrialConfig.from_flat({**given, "seed": seed}) for seed in seeds]):
        last = progress
    folder.mkdir(exist_ok=True)
    last.save(folder)
    return folder


@pytest.fixture(scope="session")
def digits_checkpoint(tmp_path_factory):
    """Folder of a checkpoint of two members trained on digits."""
    return _train(TINY_DIGITS, tmp_path_factory.mktemp("digits") / "checkpoint", [0, 1])


@pytest.fixture(scope="session")
def scenes_checkpoint(tmp_path_factory):
    """Folder of a checkpoint of one member trained on scenes."""
    return _train(TINY_SCENES, tmp_path_factory.mktemp("scenes") / "checkpoint", [0])


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory):
    """An empty MLflow database: making one takes seconds."""
    from sprite_search.home import Home
    from sprite_search.tracking import connect

    with pytest.MonkeyPatch.context() as patch:
        for name in STORES:
            patch.delenv(name, raising=False)
        home = Home(tmp_path_factory.mktemp("store"))
        connect(home)
    return home.root / "mlflow.db"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home that is not there yet, and no store of a study elsewhere."""
    from sprite_search.home import Home

    monkeypatch.delenv("SPRITE_STUDY_STORE", raising=False)
    return Home(tmp_path / "home")


@pytest.fixture
def mlflow_home(mlflow_store, tmp_path, monkeypatch):
    """A home of its own with an empty MLflow store, and nothing of the user's settings."""
    from sprite_search.home import Home

    for name in STORES:
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path / "home").create()
    with closing(sqlite3.connect(mlflow_store)) as old, closing(sqlite3.connect(home.root / "mlflow.db")) as new:
        old.backup(new)
    return home


@pytest.fixture
def write(tmp_path):
    """Writes a search space into a file, indented as it may be, and returns the path."""

    def make(text):
        path = tmp_path / "space.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return make
