"""What makes training on a CPU fast: threads, memory and numbers too small to matter."""

import subprocess
import sys

import pytest
import torch

from trainers.cpu import flushed_denormals
from trainers.datasets import load
from trainers.settings import TrialConfig
from trainers.training import Trainer

LEAST = torch.finfo(torch.float32).tiny

if not torch.set_flush_denormal(False):
    pytest.skip("this CPU computes denormals whatever one sets", allow_module_level=True)


def is_flushed() -> bool:
    return bool(torch.tensor(LEAST) * 0.5 == 0)


def test_denormals_are_flushed_within_and_as_before_after():
    assert not is_flushed()
    with flushed_denormals():
        assert is_flushed()
        with flushed_denormals():
            assert is_flushed()
        assert is_flushed(), "who set it outside keeps it"
    assert not is_flushed()
    with pytest.raises(ValueError), flushed_denormals():
        raise ValueError
    assert not is_flushed()


def test_training_leaves_no_denormals():
    given = {"dataset.name": "digits", "dataset.images": 40, "sprites.count": 2, "transformations.strategy": "all"}
    members = [TrialConfig.from_flat({**given, "seed": 0})]
    trainer = Trainer(members, load(members[0]), "cpu")
    for first, _ in trainer.optimizer.moments.values():
        first.fill_(LEAST / 8)  # as a unit leaves it that no image reaches any more
    trainer.one_epoch()
    for name, (first, _) in trainer.optimizer.moments.items():
        assert trainer.optimizer.steps[name].all(), name
        assert not ((first != 0) & (first.abs() < LEAST)).any(), name
    assert not is_flushed()


def test_a_dedicated_process_flushes_in_every_thread():
    said = """
import torch
from trainers.cpu import dedicate_process, flushed_denormals
dedicate_process(2)
numbers = torch.full((1 << 20,), torch.finfo(torch.float32).tiny)
assert torch.get_num_threads() == 2
assert 0.4 < (numbers * 0.5 == 0).float().mean() < 0.6, "the other thread does, the process itself does not"
with flushed_denormals():
    assert (numbers * 0.5 == 0).all()
"""
    subprocess.run([sys.executable, "-c", said], check=True)
