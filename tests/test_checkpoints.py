"""Checkpoints are whole or not there, whoever is killed when."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sprite_search.checkpoints import WEIGHTS, CheckpointStore
from sprite_search.errors import InputError, WorkError


def writer(text):
    def write(folder):
        (folder / WEIGHTS).write_text(text)
        (folder / "pictures").mkdir()
        (folder / "pictures" / "sprites.png").write_text(text)

    return write


def history(epochs):
    return [{"epoch": e, "time": e, "metrics": [{"val/reconstruction": 1 / e}]} for e in range(1, epochs + 1)]


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path)


def test_the_newest_checkpoint_and_its_history_are_found_and_older_ones_are_gone(store):
    assert store.latest("toy", 3) is None and store.history("toy", 3) == []
    for epoch in (2, 9, 10):
        store.save("toy", 3, epoch, writer(f"epoch {epoch}"), history(epoch))
    latest = store.latest("toy", 3)
    assert latest.relative_to(store.root).as_posix() == "toy/000003/000010"
    assert (latest / WEIGHTS).read_text() == "epoch 10"
    assert store.history("toy", 3) == history(10)
    assert [p.name for p in store.trial("toy", 3).iterdir()] == ["000010"]
    assert store.latest("toy", 4) is None and store.latest("other", 3) is None


def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(store):
    store.save("toy", 0, 1, writer("one"), history(1))

    def fails(folder):
        (folder / WEIGHTS).write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        store.save("toy", 0, 2, fails, history(2))
    assert (store.latest("toy", 0) / WEIGHTS).read_text() == "one"
    assert store.history("toy", 0) == history(1)
    assert [p.name for p in store.trial("toy", 0).iterdir()] == ["000001"]


def test_the_same_epoch_can_be_written_again(store):
    for text in ("one", "two"):
        store.save("toy", 0, 1, writer(text), history(1))
    assert (store.latest("toy", 0) / WEIGHTS).read_text() == "two"


WRITE = """
import os, signal, sys
from sprite_search.checkpoints import CheckpointStore
store, epoch, when = CheckpointStore(sys.argv[1]), 0, int(sys.argv[2])
def write(folder):
    for part in range(4):
        (folder / f"part{part}").write_text(str(epoch))
        if epoch * 4 + part == when:
            os.kill(os.getpid(), signal.SIGKILL)
history = []
while True:
    epoch += 1
    history.append({"epoch": epoch})
    store.save("toy", 0, epoch, write, history)
"""


@pytest.mark.parametrize("when", [4, 9, 15])
def test_a_worker_killed_while_writing_leaves_a_whole_checkpoint_or_none(store, when):
    killed = subprocess.run([sys.executable, "-c", WRITE, str(store.root), str(when)])
    assert killed.returncode == -signal.SIGKILL
    latest, whole = store.latest("toy", 0), when // 4 - 1
    assert (latest.name if latest else None) == (f"{whole:06d}" if whole else None)
    assert [h["epoch"] for h in store.history("toy", 0)] == list(range(1, whole + 1))
    if latest:
        assert {(latest / f"part{i}").read_text() for i in range(4)} == {str(whole)}
    store.save("toy", 0, 99, writer("after"), [])
    assert [p.name for p in store.trial("toy", 0).iterdir()] == ["000099"]


def test_only_weights_of_trials_to_keep_stay_and_histories_and_pictures_always_do(store):
    for number in range(6):
        store.save("toy", number, 5, writer(str(number)), history(5))
    store.save("other", 0, 5, writer("0"), history(5))
    store.retain("toy", {1, 4})
    assert sorted(p.parent.parent.name for p in store.root.glob(f"toy/*/*/{WEIGHTS}")) == ["000001", "000004"]
    assert (store.latest("other", 0) / WEIGHTS).exists()
    for number in range(6):
        assert store.history("toy", number) == history(5)
        assert (store.latest("toy", number) / "pictures" / "sprites.png").exists()
    store.retain("toy", {1, 4})
    store.retain("never", set())


HOLD = """
import sys, time
from sprite_search.checkpoints import CheckpointStore
with CheckpointStore(sys.argv[1]).owned("toy", 0):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_workers_do_not_train_one_trial(store):
    """The second waits for the first to end, as an orphan of a killed driver does."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True) as orphan:
        try:
            assert orphan.stdout.readline().strip() == "held"
            began = time.monotonic()
            with pytest.raises(WorkError, match="another worker still trains"), store.owned("toy", 0, wait=0.3):
                pass
            assert time.monotonic() - began >= 0.3
            with store.owned("toy", 1, wait=0.0):
                pass
        finally:
            os.kill(orphan.pid, signal.SIGKILL)
    with store.owned("toy", 0, wait=5.0):
        store.save("toy", 0, 1, writer("one"), history(1))
    with store.owned("toy", 0, wait=0.0):
        assert store.history("toy", 0) == history(1)


def test_a_damaged_history_is_no_history(store):
    folder = store.save("toy", 0, 1, writer("one"), history(1))
    (folder / "history.json").write_text(json.dumps(history(1))[:-4])
    assert store.history("toy", 0) == []


def test_an_address_is_refused_as_root():
    with pytest.raises(InputError, match="SPRITE_CHECKPOINTS"):
        CheckpointStore("s3://bucket/checkpoints")
