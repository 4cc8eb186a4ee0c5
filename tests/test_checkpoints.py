"""A checkpoint is whole or not there, and is kept as long as somebody needs it."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest
from servers import KEYS, s3

from sprite_search.checkpoints import WEIGHTS, FolderStore, open_store
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


@pytest.fixture(scope="module")
def objects():
    """Address of a store of objects."""
    with pytest.MonkeyPatch.context() as patch, s3() as address:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        yield address


@pytest.fixture
def folder(tmp_path):
    return open_store(tmp_path / "checkpoints")


@pytest.fixture(params=["folder", "objects"])
def store(request, folder):
    """One of each kind."""
    if request.param == "folder":
        return folder
    request.getfixturevalue("objects")
    return open_store(f"s3://sprites/{uuid.uuid4().hex}/")


def content(folder):
    """Files of a checkpoint and what is in them, but for its history."""
    return {
        f.relative_to(folder).as_posix(): f.read_text()
        for f in folder.rglob("*")
        if f.is_file() and f.name != "history.json"
    }


def test_an_unknown_trial_has_no_checkpoint_and_no_history(store):
    assert store.latest("study", 0) is None
    assert store.history("study", 0) == []


def test_the_newest_checkpoint_is_the_only_one_and_holds_all_reports(store):
    for epoch in (1, 2, 10):
        save(store, 7, epoch)
    assert content(store.latest("study", 7)) == {WEIGHTS: "7 at 10", "pictures/sprites.png": "drawn"}
    assert [f.name for f in store.pictures("study", 7).iterdir()] == ["sprites.png"]
    assert store.history("study", 7) == entries(10)
    assert store.numbers("study") == [7]


def test_saving_an_epoch_again_replaces_it(store):
    save(store, 0, 3)
    store.save("study", 0, 3, weights("again"), entries(3))
    assert content(store.latest("study", 0))[WEIGHTS] == "again"


def test_a_save_that_fails_leaves_the_one_before_and_nothing_else(store):
    save(store, 0, 1)
    before = content(store.latest("study", 0))

    def full(folder):
        (folder / WEIGHTS).write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.save("study", 0, 2, full, entries(2))
    assert content(store.latest("study", 0)) == before
    assert store.history("study", 0) == entries(1)


KILLED = """
import os, signal, sys
from sprite_search.checkpoints import open_store
store = open_store(sys.argv[1])
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
def write(folder):
    (folder / "a").write_text("half")
    (folder / "checkpoint.pt").write_text("half")
    if sys.argv[2] == "writing":
        die()
if sys.argv[2] == "uploading":
    upload = store._upload
    store._upload = lambda folder, key, files: (upload(folder, key, files[:1]), die())
if sys.argv[2] == "uploaded":
    store._put = die
store.save("study", 0, 2, write, [])
"""


@pytest.mark.parametrize(
    ("store", "when"),
    [("folder", "writing"), ("objects", "writing"), ("objects", "uploading"), ("objects", "uploaded")],
    indirect=["store"],
)
def test_a_process_killed_while_it_saves_leaves_the_one_before(store, when):
    save(store, 0, 1)
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root), when])
    assert done.returncode == -signal.SIGKILL
    assert content(store.latest("study", 0))[WEIGHTS] == "0 at 1"
    assert store.history("study", 0) == entries(1)
    save(store, 0, 3)
    assert content(store.latest("study", 0))[WEIGHTS] == "0 at 3"
    assert remains(store) == {"000003"} or remains(store) == {"1-000003"}, "what the killed process left is cleared"


def remains(store):
    """Names of the checkpoints of trial 0."""
    if isinstance(store, FolderStore):
        return {p.name for p in store.trial("study", 0).iterdir() if p.is_dir()}
    return {n for n in store._list(store.trial("study", 0)) if n[0].isdigit()}


def test_retention_drops_weights_and_keeps_history_and_pictures(store):
    for number in range(4):
        save(store, number, 2)
    store.retain("study", {1, 3})
    kept = [n for n in range(4) if (store.latest("study", n) / WEIGHTS).exists()]
    assert kept == [1, 3]
    for number in range(4):
        assert store.history("study", number) == entries(2)
        assert (store.pictures("study", number) / "sprites.png").exists()
    store.retain("study", {1, 3})


def test_retention_of_a_study_leaves_other_studies_alone(store):
    save(store, 0, 1)
    store.retain("another", set())
    assert (store.latest("study", 0) / WEIGHTS).exists()


def test_a_history_that_a_disk_cut_off_counts_as_none(folder):
    checkpoint = save(folder, 0, 2)
    (checkpoint / "history.json").write_text(json.dumps(entries(2))[:20])
    assert folder.history("study", 0) == []


@pytest.mark.parametrize("address", ["s3:/bucket://x", "ftp://host/checkpoints", "s3://sprites/none"])
def test_an_address_that_cannot_be_used_is_refused_with_what_to_do(address, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("sprite_search.checkpoints.objects._PATIENCE", 0.0)
    with pytest.raises(InputError, match="SPRITE_CHECKPOINTS"):
        open_store(address).check()


def test_a_bucket_that_is_not_there_is_refused_at_once(objects):
    with pytest.raises(InputError, match="NO_SUCH_BUCKET"):
        open_store("s3://another/checkpoints").check()
    open_store("s3://sprites/checkpoints").check()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="SPRITE_CHECKPOINTS"):
        open_store(tmp_path / "file" / "checkpoints").check()


def test_one_worker_at_a_time_owns_a_trial(tmp_path):
    store = FolderStore(tmp_path, wait=0)
    with store.owned("study", 0), pytest.raises(WorkError, match="another worker"), store.owned("study", 0):
        pass
    with store.owned("study", 0), store.owned("study", 1):
        pass


def test_a_worker_cut_off_from_the_others_spoils_nothing_when_it_comes_back(objects):
    """Its trial was given to another, and went on from its checkpoint."""
    lost, new = (open_store("s3://sprites/cut") for _ in range(2))
    with lost.owned("study", 0, 1):
        save(lost, 0, 2)
        with new.owned("study", 0, 2):
            assert new.history("study", 0) == entries(2)
            # it looked before the other came, and writes only now
            lost._refuse_if_taken = lambda prefix, attempt: None
            save(lost, 0, 3)
            assert new.history("study", 0) == entries(3), "as long as the other has written nothing"
            save(new, 0, 3)
            save(lost, 0, 9)
            assert new.history("study", 0) == entries(3)
            del lost._refuse_if_taken
            with pytest.raises(WorkError, match="later attempt"):
                save(lost, 0, 10)
            save(new, 0, 4)
            assert remains(new) == {"2-000004"}
    with pytest.raises(WorkError, match="later attempt"), lost.owned("study", 0, 1):
        pass


def test_a_store_that_is_away_for_a_while_is_waited_for(objects, monkeypatch):
    store, answers = open_store("s3://sprites/away"), [OSError("AWS Error NETWORK_CONNECTION")] * 3
    put = store._put
    monkeypatch.setattr("sprite_search.checkpoints.objects.time.sleep", lambda seconds: None)
    monkeypatch.setattr(
        store, "_put", lambda *args: put(*args) if not answers else (_ for _ in ()).throw(answers.pop())
    )
    save(store, 0, 1)
    assert not answers and store.history("study", 0) == entries(1)


def test_downloads_do_not_fill_the_disk(objects, monkeypatch):
    monkeypatch.setattr("sprite_search.checkpoints.objects._KEPT", 3)
    store = open_store("s3://sprites/many")
    save(store, 0, 1)
    folders = [store.latest("study", 0) for _ in range(5)]
    assert [f.exists() for f in folders] == [False, False, True, True, True]


def _own(root, ready):
    with open_store(root).owned("study", 0):
        ready.set()
        time.sleep(600)


def test_a_killed_worker_owns_its_trial_no_longer(tmp_path):
    store = FolderStore(tmp_path, wait=0)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    worker = context.Process(target=_own, args=(store.root, ready))
    worker.start()
    try:
        assert ready.wait(60)
        with pytest.raises(WorkError), store.owned("study", 0):
            pass
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    with store.owned("study", 0):
        pass
