"""What several tests need: small trained models."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

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


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


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
