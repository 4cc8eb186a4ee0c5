"""Wrong input of every kind: a sentence that says where, what and what to do; status 2; nothing half-written."""

import errno
import os
import socket
import traceback
from pathlib import Path

import pytest
from click.testing import CliRunner

from sprite_search.checkpoints import open_store
from sprite_search.cli import main
from sprite_search.home import Home
from sprite_search.space import load_space

GOOD = """study: toy
trial:
  dataset: {name: digits, images: 100}
  sprites: {count: 3, hidden: 8, latent: 4}
  training: {epochs: 2, batch_size: 50, report_every: 1}
search:
  optimizer.learning_rate: {log: [1.0e-3, 1.0e-2]}
objective: {minimize: val/reconstruction}
budget: {trials: 3}
resources: {cpu: 1, gpu: 0}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a good space in it and no settings of the user's machine."""
    for name in ("SPRITE_HOME", "SPRITE_STUDY_STORE", "MLFLOW_TRACKING_URI", "SPRITE_CHECKPOINTS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a tiny model."""
    from trainers import train
    from trainers.settings import TrialConfig

    folder = tmp_path_factory.mktemp("trained")
    space = tmp_path_factory.mktemp("space") / "toy.yaml"
    space.write_text(GOOD)
    config = TrialConfig.from_flat({**load_space(space).sample(0), "training.epochs": 1, "seed": 0})
    for progress in train([config]):
        progress.save(folder)
    return folder


@pytest.fixture
def study(here, trained):
    """A home with the study `toy`: two finished trials, one of which kept its weights, and one that failed."""
    import shutil

    from sprite_search.study.ledger import Ledger

    home, space = Home.locate("home"), load_space("toy.yaml")
    ledger = Ledger.create(home, space)
    for number, error in enumerate((0.2, 0.1)):
        assert ledger.ask(space) is not None
        metrics = {"val/reconstruction": error, "val/used_sprites": 1.0, "val/effective_sprites": 2.9}
        ledger.report(space, number, 2, 2, [0], [metrics])
        ledger.complete(space, number)
    ledger.ask(space)
    ledger.fail(2, "diverged")
    store = open_store(home.checkpoints)
    store.save("toy", 0, 2, lambda folder: shutil.copytree(trained, folder, dirs_exist_ok=True) and None, [])
    return home


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def tree(folder):
    """Files below a folder with their sizes, but for locks, which stay, and what databases keep beside themselves."""
    files = (f for f in Path(folder).rglob("*") if f.is_file() and f.suffix != ".lock" and f.name != "lock")
    return {f.relative_to(folder).as_posix(): f.stat().st_size for f in files if not f.name.endswith(("-wal", "-shm"))}


def refused(result, *words, status=2):
    """The result is a message with the words, the status, and no traceback."""
    said = "".join(traceback.format_exception(result.exception)) if result.exception else ""
    assert result.exception is None or isinstance(result.exception, SystemExit), said
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, f"{word!r} is not in: {result.output}"


SPACES = {
    "nothing in it": ("", "bad.yaml", "is empty"),
    "only a comment": ("# nothing\n", "bad.yaml", "is empty"),
    "no mapping": ("- a\n- b\n", "bad.yaml:1"),
    "no YAML": ("study: [toy\n", "bad.yaml"),
    "a tab": ("study: toy\ntrial:\n\tdataset.name: digits\n", "bad.yaml:3"),
    "binary": ("\x00\x01\x02", "bad.yaml"),
    "text that looks like a number": (GOOD.replace("1.0e-3", "1e-3"), "bad.yaml:7", "1.0e-03"),
    "on for a word": (GOOD.replace("name: digits", "name: on"), "bad.yaml:3", "dataset.name"),
    "a key twice": (GOOD + "study: other\n", "bad.yaml:11", "line 1"),
    "a setting twice": (GOOD.replace("search:", "  sprites.count: 4\nsearch:"), "bad.yaml:6", "line 4"),
    "an unknown setting": (GOOD.replace("count: 3", "cuont: 3"), "bad.yaml:4", "did you mean sprites.count?"),
    "an unknown part": (GOOD + "bugdet: {trials: 3}\n", "bad.yaml:11", "did you mean budget?"),
    "a range upside down": (GOOD.replace("[1.0e-3, 1.0e-2]", "[1.0e-2, 1.0e-3]"), "bad.yaml:7", "optimizer"),
    "a logarithm of nothing": (GOOD.replace("1.0e-3", "0.0"), "bad.yaml:7", "log"),
    "a negative rate": (GOOD.replace("1.0e-3", "-1.0"), "bad.yaml:7"),
    "half a sprite": (GOOD.replace("count: 3", "count: 2.5"), "bad.yaml:4", "whole number"),
    "no sprites": (GOOD.replace("count: 3", "count: 0"), "bad.yaml:4", "at least"),
    "an unknown data set": (GOOD.replace("name: digits", "name: digit"), "bad.yaml:3", "did you mean digits?"),
    "a setting that cannot apply": (
        GOOD.replace("search:", "  decision.kind: min_loss\nsearch:\n  decision.activation: [softmax, gumbel_softmax]"),
        "decision.activation",
    ),
    "an unknown metric": (GOOD.replace("val/reconstruction", "val/reconstuction"), "bad.yaml:8", "did you mean"),
    "an objective that needs labels": (
        GOOD.replace("minimize: val/reconstruction", "maximize: labels/accuracy"),
        "oracle",
    ),
    "both directions": (GOOD.replace("{minimize: val/reconstruction}", "{smallest: val/reconstruction}"), "bad.yaml:8"),
    "an unknown sampler": (GOOD + "sampler: {name: tpee}\n", "bad.yaml:11", "tpe"),
    "an unknown pruner": (GOOD + "pruner: {name: hyperbandd}\n", "bad.yaml:11", "hyperband"),
    "no trials": (GOOD.replace("trials: 3", "trials: 0"), "bad.yaml:9"),
    "negative replicates": (GOOD + "replicates: -1\n", "bad.yaml:11"),
    "more than all at random": (GOOD + "random_arm: 1.5\n", "bad.yaml:11"),
    "an unknown point": (GOOD + "start_from: [nobody]\n", "bad.yaml:11", "nobody"),
    "a study that is a path": (GOOD.replace("study: toy", "study: ../toy"), "bad.yaml:1"),
    "a profile that is a list": (GOOD + "profiles: [laptop]\n", "bad.yaml:11"),
    "an alias of itself": ("study: toy\ntrial: &a\n  dataset: *a\n", "aliases"),
    "a bomb of aliases": (
        "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]),
        "aliases",
    ),
    "brackets without end": (f"study: toy\ntrial: {'[' * 2000}", "bad.yaml:2", "nested"),
    "ever deeper": ("".join(f"{' ' * i}a:\n" for i in range(1200)), "bad.yaml:31", "nested"),
    "a merge": (GOOD.replace("{count: 3,", "{<<: {count: 3},"), "bad.yaml:4", "merge"),
    "a list for a key": ("? [a, b]\n: c\n" + GOOD, "bad.yaml:1", "give a name"),
    "two documents": (GOOD + "---\nstudy: other\n", "bad.yaml:11", "document"),
    "an anchor that is not there": (GOOD.replace("count: 3", "count: *n"), "bad.yaml:4", "alias"),
    "a tag that runs code": ("study: !!python/object/apply:os.mkdir [x]\n", "bad.yaml:1", "study"),
    "an octal number": (GOOD.replace("count: 3", "count: 010"), "bad.yaml:4", "is 8 to YAML"),
    "no number in a range": (GOOD.replace("1.0e-3", ".nan"), "bad.yaml:7", "finite"),
    "an endless range": (GOOD.replace("1.0e-2", ".inf"), "bad.yaml:7", "finite"),
    "half a step": (
        GOOD.replace("{count: 3, ", "{").replace("search:", "search:\n  sprites.count: {int: [2, 9], step: 0.5}"),
        "bad.yaml:7",
        "sprites.count.step",
        "whole number",
    ),
    "a list for none at all": (GOOD.replace("1.0e-2]", "1.0e-2], or: [0]"), "bad.yaml:7", "is [0]"),
    "a budget that is a number": (GOOD.replace("{trials: 3}", "3"), "bad.yaml:9", "trials, hours"),
    "resources that are a word": (GOOD.replace("{cpu: 1, gpu: 0}", "many"), "bad.yaml:10", "cpu, gpu"),
    "a million seeds": (GOOD + "replicates: 1000000\n", "bad.yaml:11", "1000"),
    "a point that is a list": (GOOD + "start_from: [[ours_c]]\n", "bad.yaml:11", "no known point"),
}


@pytest.mark.parametrize("command", ["check", "launch"])
@pytest.mark.parametrize("case", SPACES)
def test_a_bad_space(here, case, command):
    text, *words = SPACES[case]
    Path("bad.yaml").write_text(text)
    before = tree(here)
    refused(run(command, "bad.yaml"), *words)
    assert tree(here) == before


def test_a_space_that_is_no_text(here):
    Path("bad.yaml").write_bytes(b"\xff\xfe\x00study")
    refused(run("check", "bad.yaml"), "bad.yaml")


@pytest.mark.parametrize(
    "text", ["settings: [ours_c]\n", "setings: {sprites.count: 3}\n", "settings: {a: [b]}\n", "- a\n"]
)
def test_a_bad_point(here, text):
    Path("points").mkdir()
    Path("points/mine.yaml").write_text(text)
    Path("bad.yaml").write_text(GOOD + "start_from: [mine]\n")
    refused(run("check", "bad.yaml"), "bad.yaml:11", "mine")


def test_everything_wrong_is_said_at_once(here):
    Path("bad.yaml").write_text(
        GOOD.replace("count: 3", "cuont: 3").replace("1.0e-3", "1e-3").replace("trials: 3", "trials: 0")
    )
    refused(
        run("check", "bad.yaml", "toy.yaml"),
        "bad.yaml:4",
        "bad.yaml:7",
        "bad.yaml:9",
        "toy.yaml: all is well",
        "3 problems",
    )


ARGUMENTS = {
    "no such space": (("launch", "nothere.yaml"), "nothere.yaml"),
    "a folder for a space": (("launch", "."), "."),
    "no such profile": (("launch", "toy.yaml", "--profile", "big"), "--profile", "big"),
    "no value": (("launch", "toy.yaml", "--set", "sprites.count"), "name=value"),
    "an unknown setting": (("launch", "toy.yaml", "--set", "sprites.cuont=3"), "did you mean sprites.count?"),
    "a setting out of range": (("launch", "toy.yaml", "--set", "sprites.count=0"), "sprites.count"),
    "a setting of another type": (("launch", "toy.yaml", "--set", "sprites.count=many"), "sprites.count"),
    "a setting that is no number": (("launch", "toy.yaml", "--set", "optimizer.learning_rate=nan"), "finite"),
    "a share that is no number": (("launch", "toy.yaml", "--set", "resources.gpu=nan"), "resources.gpu", "finite"),
    "a setting that is a date": (("launch", "toy.yaml", "--set", "dataset.name=2024-01-01"), "dataset.name"),
    "a study outside of the home": (("launch", "toy.yaml", "--study", "../toy"), "--study", "'../toy'"),
    "a study without a name": (("launch", "toy.yaml", "--study", ""), "--study", "letters"),
    "no folder of images": (("launch", "toy.yaml", "--set", "dataset.name=folder"), "dataset.path", "is not set"),
    "a folder of images that is not there": (
        ("launch", "toy.yaml", "--set", "dataset.name=folder", "--set", "dataset.path=photos"),
        "photos",
    ),
    "a folder without images": (
        ("launch", "toy.yaml", "--set", "dataset.name=folder", "--set", "dataset.path=."),
        "image",
    ),
    "no duration": (("launch", "toy.yaml", "--time-budget", "2"), "2h"),
    "no trials": (("launch", "toy.yaml", "--trials", "0"), "--trials"),
    "more GPUs than there are": (("launch", "toy.yaml", "--set", "resources.gpu=64"), "64", "--set resources.gpu=0"),
    "more CPUs than there are": (("launch", "toy.yaml", "--set", "resources.cpu=4096"), "4096", "resources.cpu"),
    "a file for a home": (("launch", "toy.yaml", "--home", "toy.yaml"), "toy.yaml", "folder"),
    "a home that cannot be": (("launch", "toy.yaml", "--home", "/proc/nowhere"), "/proc/nowhere", "--home"),
    "an unknown command": (("lunch", "toy.yaml"), "lunch"),
    "an unknown option": (("launch", "toy.yaml", "--trails", "3"), "--trials"),
    "an unknown setting to explain": (("settings", "decision.kin"), "did you mean decision.kind?"),
    "nothing yet": (("status",), "sprite-search launch"),
    "nothing to browse": (("ui",), "sprite-search launch"),
    "no port": (("ui", "--port", "99999"), "99999"),
    "no such data set": (("data", "show", "digit"), "did you mean digits?"),
    "no original": (("data", "prepare", "multi_dsprites", "--from", "nowhere"), "nowhere"),
    "a data set that needs no preparing": (("data", "prepare", "digits", "--from", "."), "needs no preparing"),
    "no such checkpoint": (("decompose", "nowhere", "a.png"), "nowhere", "models:/"),
    "no such model": (("decompose", "models:/nobody@champion", "a.png"), "nobody"),
    "no such registered model": (("promote", "nobody", "--rollback"), "nobody"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments(here, case):
    args, *words = ARGUMENTS[case]
    before = tree(here)
    refused(run(*args), *words)
    made = {name for name in tree(here) if name not in before}
    assert not made or made == {"sprite-home/mlflow.db"}  # the registry's own empty database


@pytest.mark.parametrize("command", ["status", "trials", "stop", "criteria", "select", "report", "promote", "doctor"])
def test_a_study_that_is_not_there_gets_a_suggestion(study, command):
    refused(run(command, "toi", "--home", study.root), "toi", "did you mean toy?")


def test_a_study_that_nobody_runs_cannot_be_stopped(study):
    refused(run("stop", "toy", "--home", study.root), "toy: is not running")


def test_an_unknown_way_to_select(study):
    refused(run("select", "toy", "--by", "reconstuction", "--home", study.root), "did you mean reconstruction?")


def test_criteria_without_labels(study):
    refused(run("criteria", "toy", "--home", study.root), "labels", "select")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--trial", 99), ("has no trial 99", "sprite-search trials toy")),
        (("--trial", 1), ("toy/1", "weights were not kept")),
        (("--trial", 2), ("trial 2", "reported nothing")),
        (("--trial", -1), ("--trial",)),
    ],
)
def test_what_cannot_be_promoted(study, more, words):
    refused(run("promote", "toy", "--home", study.root, *more), *words)


def test_a_changed_space_is_refused_with_the_difference(study):
    Path("toy.yaml").write_text(GOOD.replace("1.0e-2", "1.0e-1"))
    before = run("trials", "toy", "--json", "--home", study.root).output
    refused(run("launch", "toy.yaml", "--home", study.root), "optimizer.learning_rate", "--allow-space-change")
    assert run("trials", "toy", "--json", "--home", study.root).output == before


def test_a_study_that_asked_for_nothing_yet_takes_another_space(here):
    """As a launch leaves it that ended before its first trial: the mended file is launched under the same name."""
    from sprite_search.study.ledger import Ledger

    home = Home.locate("home")
    Ledger.create(home, load_space("toy.yaml"))
    Path("toy.yaml").write_text(GOOD.replace("minimize", "maximize").replace("1.0e-2", "1.0e-1"))
    changed = load_space("toy.yaml")
    assert Ledger.create(home, changed).ask(changed) is not None
    assert Ledger.open(home, "toy").space() == changed


def test_a_study_that_another_process_runs(study):
    from sprite_search.study.lease import lease

    with lease(study.study("toy")):
        refused(run("launch", "toy.yaml", "--home", study.root), f"process {os.getpid()}", "sprite-search stop toy")


@pytest.mark.parametrize("name", ["studies.journal"])
def test_a_damaged_ledger(study, name):
    (study.root / name).write_bytes(b"\x00garbage\n" * 20)
    for command in (("status",), ("trials", "toy"), ("launch", "toy.yaml")):
        refused(run(*command, "--home", study.root), name)


def test_a_damaged_record(study):
    (study.root / "mlflow.db").write_bytes(b"this is no database" * 100)
    for command in (("launch", "toy.yaml", "--trials", "4"), ("promote", "toy", "--trial", "0")):
        refused(run(*command, "--home", study.root), "mlflow.db")


@pytest.mark.parametrize("variable", ["SPRITE_STUDY_STORE", "MLFLOW_TRACKING_URI"])
def test_a_server_that_does_not_answer(here, monkeypatch, variable):
    address = {"SPRITE_STUDY_STORE": "postgresql://u:secret@127.0.0.1:9/x", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    monkeypatch.setenv(variable, address[variable])
    result = run("launch", "toy.yaml")
    refused(result, variable)
    assert "secret" not in result.output


def images(folder):
    """Files that are no images, by what is wrong with them."""
    import numpy as np
    from PIL import Image

    good = folder / "good.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(good)
    (folder / "cut.png").write_bytes(good.read_bytes()[:40])
    (folder / "text.png").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "folder.png").mkdir()
    (folder / "itself.png").symlink_to("itself.png")
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(folder / "nan.tif")
    Image.new("LAB", (8, 8)).save(folder / "lab.tif")
    with open(folder / "huge.ppm", "wb") as huge:  # only says that it is
        huge.write(b"P5 60000 60000 255\n" + bytes(100))
    return good


BAD_IMAGES = (
    "missing.png", "cut.png", "text.png", "empty.png", "folder.png", "itself.png", "nan.tif", "lab.tif", "huge.ppm"
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_a_bad_image_among_good_ones(here, trained, bad):
    good = images(here)
    before = tree(here)
    refused(run("decompose", trained, good, bad, "-o", "out"), bad)
    assert tree(here) == before


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_checkpoint(here, trained, damage):
    import shutil

    good = images(here)
    shutil.copytree(trained, "model")
    weights = Path("model/checkpoint.pt")
    weights.write_bytes(weights.read_bytes()[:-200] if damage is None else damage)
    before = tree(here)
    refused(run("decompose", "model", good, "-o", "out"), "model")
    assert tree(here) == before


def test_a_folder_that_is_no_checkpoint(here):
    good = images(here)
    refused(run("decompose", ".", good), "members.json", "give a folder that a training saved")


@pytest.mark.parametrize("output", ["toy.yaml", "toy.yaml/deeper"])
def test_an_output_that_is_no_folder(here, trained, output):
    refused(run("decompose", trained, images(here), "-o", output), "toy.yaml")
    assert Path("toy.yaml").read_text() == GOOD


@pytest.mark.parametrize("output", [".", "nowhere/page.html", "toy.yaml/page.html"])
def test_a_report_that_cannot_be_written(study, output):
    refused(run("report", "toy", "-o", output, "--home", study.root), "-o")


def test_a_full_disk_while_a_report_is_written(study, monkeypatch):
    def full(*args, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = tree(".")
    monkeypatch.setattr(os, "replace", full)
    refused(run("report", "toy", "-o", "page.html", "--home", study.root), "no space is left", status=1)
    assert tree(".") == before


def test_a_full_disk_while_a_checkpoint_is_written_keeps_the_one_before(here, trained):
    store = open_store("checkpoints")
    store.save("toy", 0, 1, lambda folder: (folder / "checkpoint.pt").write_bytes(b"one") and None, [])
    before = tree(here)

    def full(folder):
        (folder / "checkpoint.pt").write_bytes(b"two")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="space"):
        store.save("toy", 0, 2, full, [])
    assert tree(here) == before


def test_a_port_in_use(study):
    (study.root / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(run("ui", "--port", port, "--home", study.root), str(port), "--port")


def test_an_original_that_is_damaged_leaves_nothing(here):
    Path("original.tfrecords").write_bytes(b"\x00" * 1000)
    refused(run("data", "prepare", "multi_dsprites", "--from", "original.tfrecords"), "original.tfrecords")
    assert not any("multi_dsprites" in name and name.endswith(".npy") for name in tree(here))
