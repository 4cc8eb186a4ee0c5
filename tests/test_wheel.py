"""The built wheel, used from a folder where someone else's `trainers/` lies in wait."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPACE = """
study: tiny
trial:
  dataset: {name: digits, images: 120}
  sprites: {count: 3, hidden: 8, latent: 4}
  training: {epochs: 2, batch_size: 60, report_every: 1}
search: {optimizer.learning_rate: {log: [1.0e-3, 1.0e-2]}}
objective: {minimize: val/reconstruction}
budget: {trials: 1}
resources: {cpu: 1}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built without network from a copy, so that nothing is left in the tree."""
    import shutil

    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for package in ("sprite_search", "trainers"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)], check=True, timeout=300
    )
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder the wheel was installed into."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    command = [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, timeout=300)
    return target


@pytest.fixture
def decoy(tmp_path):
    """A folder with a package `trainers` that must never be imported, and a small space."""
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "__init__.py").write_text("raise RuntimeError('the decoy was imported')\n")
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def run(installed, folder, command, timeout=120):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPRITE_", "MLFLOW_", "RAY_"))}
    environment |= {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


def ways(installed):
    """The two ways to start: the console script, and the module (which puts the current folder first)."""
    return [str(installed / "bin" / "sprite-search")], [sys.executable, "-m", "sprite_search"]


def test_the_wheel_holds_both_packages_whole_and_nothing_else(wheel):
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    files = (f for p in ("sprite_search", "trainers") for s in ("py", "css", "js") for f in (ROOT / p).rglob(f"*.{s}"))
    assert names == {f.relative_to(ROOT).as_posix() for f in files}


def test_the_wheel_is_marked_private(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(archive.read(n) for n in archive.namelist() if n.endswith("METADATA")).decode()
    assert "Private :: Do Not Upload" in metadata and "License-Expression: MIT" in metadata


def test_commands_use_the_installed_trainers_not_the_one_in_this_folder(installed, decoy):
    for start in ways(installed):
        done = run(installed, decoy, [*start, "check", "tiny.yaml"])
        assert done.returncode == 0, done.stderr
        assert run(installed, decoy, [*start, "settings", "decision"]).returncode == 0


@pytest.mark.parametrize("way", [0, 1], ids=["script", "module"])
def test_a_search_started_beside_a_decoy_trains_with_ours(installed, decoy, way):
    done = run(installed, decoy, [*ways(installed)[way], "launch", "tiny.yaml", "--home", "home"], timeout=400)
    assert done.returncode == 0, done.stderr
    assert "trial 0 complete" in done.stdout and "decoy" not in done.stdout + done.stderr
