"""A checkpoint is whole or not there, and is kept as long as somebody needs it."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sprite_search.checkpoints import WEIGHTS, CheckpointStore
from sprite_search.errors import InputError, WorkError


def entries(epochs):
    return [{"epoch": e, "time": 1000 + e, "metrics": [{"val/reconstruction": 1 / e}]} for e in range(1, epochs + 1)]


def weights(text):
    def write(folder):
        (folder / WEIGHTS).write_text(text)
        (folder / "pictures").mkdir()
        (folder / "pictures" / "sprites.png").write_text("drawn")

    return write


def save(store, number, epoch):
    return store.save("study", number, epoch, weights(f"{number} at {epoch}"), entries(epoch))


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


def test_an_unknown_trial_has_no_checkpoint_and_no_history(store):
    assert store.latest("study", 0) is None
    assert store.history("study", 0) == []


def test_the_newest_checkpoint_is_the_only_one_and_holds_all_reports(store):
    for epoch in (1, 2, 10):
        folder = save(store, 7, epoch)
    assert store.latest("study", 7) == folder
    assert (folder / WEIGHTS).read_text() == "7 at 10"
    assert store.history("study", 7) == entries(10)
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["000010"]


def test_saving_an_epoch_again_replaces_it(store):
    save(store, 0, 3)
    folder = store.save("study", 0, 3, weights("again"), entries(3))
    assert (folder / WEIGHTS).read_text() == "again"


def test_a_save_that_fails_leaves_the_one_before_and_nothing_else(store):
    before = save(store, 0, 1)

    def full(folder):
        (folder / WEIGHTS).write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.save("study", 0, 2, full, entries(2))
    assert store.latest("study", 0) == before
    assert store.history("study", 0) == entries(1)
    assert list(before.parent.iterdir()) == [before]


def test_a_process_killed_while_it_saves_leaves_the_one_before(store):
    before = save(store, 0, 1)
    program = f"""
        import os, signal
        from sprite_search.checkpoints import CheckpointStore
        def write(folder):
            (folder / "checkpoint.pt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        CheckpointStore({str(store.root)!r}).save("study", 0, 2, write, [])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert done.returncode == -signal.SIGKILL
    assert store.latest("study", 0) == before
    after = save(store, 0, 2)
    assert [p for p in after.parent.iterdir() if p.is_dir()] == [after], "what the killed process left is cleared"


def test_retention_drops_weights_and_keeps_history_and_pictures(store):
    for number in range(4):
        save(store, number, 2)
    store.retain("study", {1, 3})
    kept = [n for n in range(4) if (store.latest("study", n) / WEIGHTS).exists()]
    assert kept == [1, 3]
    for number in range(4):
        assert store.history("study", number) == entries(2)
        assert (store.latest("study", number) / "pictures" / "sprites.png").exists()


def test_retention_of_a_study_leaves_other_studies_alone(store):
    save(store, 0, 1)
    store.retain("another", set())
    assert (store.latest("study", 0) / WEIGHTS).exists()


def test_a_history_that_a_disk_cut_off_counts_as_none(store):
    folder = save(store, 0, 2)
    (folder / "history.json").write_text(json.dumps(entries(2))[:20])
    assert store.history("study", 0) == []


def test_an_address_is_refused_with_what_to_do():
    with pytest.raises(InputError, match="SPRITE_CHECKPOINTS"):
        CheckpointStore("s3://bucket/checkpoints")


def test_one_worker_at_a_time_owns_a_trial(store):
    with store.owned("study", 0), pytest.raises(WorkError, match="another worker"), store.owned("study", 0, wait=0):
        pass
    with store.owned("study", 0, wait=0), store.owned("study", 1, wait=0):
        pass


def _own(root, ready):
    with CheckpointStore(root).owned("study", 0):
        ready.set()
        time.sleep(600)


def test_a_killed_worker_owns_its_trial_no_longer(store):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    worker = context.Process(target=_own, args=(store.root, ready))
    worker.start()
    try:
        assert ready.wait(60)
        with pytest.raises(WorkError), store.owned("study", 0, wait=0):
            pass
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    with store.owned("study", 0, wait=0):
        pass
