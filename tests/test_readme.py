"""The README is true: its commands run as they stand, its files exist, its snippet works in a clean process."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from sprite_search.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

#: What makes a search small enough for a test, without changing what it does.
SMALL = ["--trials", "2", "--set", "training.epochs=2", "--set", "replicates=1", "--set", "dataset.images=200"]

#: Commands that are only parsed here, as they need a person, a file of the user's or a long time; what tests them.
ELSEWHERE = {
    "ui": "test_ui.py",
    "stop": "test_bad_input.py",
    "probe": "test_probe.py",  # needs a GPU
    "data": "test_datasets.py",
    "launch search_spaces/multi_dsprites.yaml": "test_space.py",  # the file; the search takes a quarter of an hour
}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    lines = (line for block in blocks("sh") for line in block.splitlines())
    return [line for line in (re.sub(r"\s+#.*", "", line) for line in lines) if line]


def ours():
    return [c for c in commands() if c.startswith("sprite-search ")]


def command_of(words):
    """The click command that words name, and its arguments."""
    command = main
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("line", ours())
def test_every_command_exists_with_these_options(line):
    command, words = command_of(shlex.split(line)[1:])
    command.make_context("sprite-search", list(words))


def test_every_command_of_the_program_is_in_the_readme():
    assert set(main.commands) <= {shlex.split(line)[1] for line in ours()} | {"data"}


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for line in commands():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


def test_ci_runs_the_tests_the_lint_and_the_types():
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(f"make {target}" in ci for target in ("test", "lint", "types"))


def test_what_is_not_run_here_is_tested_elsewhere():
    assert all((ROOT / "tests" / file).exists() for file in ELSEWHERE.values())


def test_every_file_it_names_exists():
    named = re.findall(r"`((?:trainers|sprite_search|search_spaces|tests)/[\w/.]*)`", README)
    named += re.findall(r"\]\(([\w/.]+)\)", README)
    named += [w for line in ours() for w in shlex.split(line) if w.startswith("search_spaces/")]
    assert len(named) > 15
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_families_it_names_exist():
    from importlib import import_module

    for family, place in re.findall(r"`@(\w+)\.add` \| (?:a file of )?`([\w/.]+)`", README):
        module = place.rstrip("/").removesuffix(".py").replace("/", ".")
        assert len(getattr(import_module(module), family)) > 0


def test_the_variables_it_names_are_read():
    sources = "".join(f.read_text() for f in (ROOT / "sprite_search").rglob("*.py"))
    for variable in re.findall(r"`(SPRITE_\w+|MLFLOW_\w+|RAY_\w+)=", README):
        assert variable in sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands are run: the search spaces, and images of the user's."""
    made = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "search_spaces", made / "search_spaces")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(made / "photo.png")
    (made / "photos").mkdir()
    chance = np.random.default_rng(0)
    for i in range(200):
        pixels = np.kron(chance.integers(0, 256, (2, 3, 3), np.uint8), np.ones((4, 5, 1), np.uint8))
        Image.fromarray(pixels).save(made / f"photos/{i}.jpg")
    return made


def run(command, folder, timeout=300):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPRITE_", "MLFLOW_", "RAY_"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


def test_the_commands_run_one_after_the_other_and_the_snippet_after_them(folder):
    """Searches are made small, and so may choose nothing: the promotion is told what to take."""
    ran = []
    for line in ours():
        words = shlex.split(line)[1:]
        if any(line.removeprefix("sprite-search ").startswith(e) for e in ELSEWHERE) or "digits-20" in line:
            continue
        if words[0] == "launch" and "--dry-run" not in words:
            words += SMALL
        if words[0] == "promote":
            words += ["--trial", "0", "--force"]  # two epochs may leave every trial degenerate
        done = run([sys.executable, "-m", "sprite_search", *words], folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        ran.append(words[0])
    assert {"launch", "select", "promote", "decompose", "report", "doctor"} <= set(ran)
    assert "All trials" in (folder / "quickstart.html").read_text()
    assert list((folder / "sprite-home" / "artifacts" / "quickstart").glob("*/artifacts/decision_card.html"))
    assert (folder / "found" / "photo.json").exists() and (folder / "found" / "photo_overlay.png").exists()

    (snippet,) = blocks("python")
    (folder / "snippet.py").write_text(snippet)
    done = run([sys.executable, "-I", "snippet.py"], folder)
    assert done.returncode == 0, done.stderr
    assert "sprites" in done.stdout
