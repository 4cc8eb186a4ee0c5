"""The command line: help at once, exit statuses, JSON, and what each command refuses."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sprite_search import cli
from sprite_search.cli import main
from sprite_search.errors import InputError, WorkError
from sprite_search.failures import explain
from sprite_search.options import Assignment, Duration

HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "sklearn")
SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "quickstart.yaml"


def commands(group=main, path=()):
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def run(*args, **more):
    return CliRunner().invoke(main, [str(a) for a in args], **more)


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_a_sentence_of_help(path):
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "." in result.output.split("\n\n")[1]


def test_help_imports_nothing_heavy():
    """Imports are what makes help slow: none of the heavy packages is imported, by any command's help."""
    for path in ((), ("launch",), ("select",), ("data", "list")):
        code = [sys.executable, "-X", "importtime", "-m", "sprite_search", *path, "--help"]
        traced = subprocess.run(code, capture_output=True, text=True, check=True).stderr
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in traced.splitlines()}
        assert "click" in imported
        assert not imported.intersection(HEAVY)


def test_a_dry_run_starts_and_writes_nothing(tmp_path):
    """What is never imported starts no process and opens no database."""
    program = f"""
import sys
from pathlib import Path
from sprite_search.cli import main
main(["launch", {str(SPACE)!r}, "--dry-run"], standalone_mode=False)
assert not {{"ray", "mlflow"}} & set(sys.modules), "would be slow, too"
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPRITE_", "MLFLOW_", "RAY_"))}
    environment["PYTHONPATH"] = str(SPACE.parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sample 4: " in done.stdout and "resources: " in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("here: wrong; do this"), 2, "here: wrong; do this"),
        (WorkError("it broke"), 1, "it broke"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left", "x.pt"), 1, "no space is left"),
        (OSError(errno.EADDRINUSE, "in use"), 2, "--port"),
        (PermissionError(errno.EACCES, "denied", "/root/x"), 2, "/root/x: permission denied"),
        (FileNotFoundError(errno.ENOENT, "no", "a.png"), 2, "a.png: there is no such file"),
        (MemoryError(), 1, "memory"),
    ],
)
def test_one_place_turns_exceptions_into_exit_statuses(monkeypatch, error, status, words):
    def fail(*args):
        raise error

    monkeypatch.setattr(cli, "_show", fail)
    result = run("settings")
    assert result.exit_code == status
    assert words in result.output and "Traceback" not in result.output


def test_errors_of_the_science_are_the_users():
    from trainers.errors import DataError
    from trainers.settings import SettingError

    assert explain(DataError("a.npy: damaged; get it again")) == ("a.npy: damaged; get it again", 2)
    assert explain(SettingError("decision.kind", "is 3"))[1] == 2


def test_a_fault_of_the_program_is_not_dressed_up():
    assert explain(RuntimeError("bug")) is None
    assert explain(KeyError("bug")) is None


@pytest.mark.parametrize(("text", "hours"), [("2h", 2), ("90m", 1.5), ("1h30m", 1.5), ("36s", 0.01), ("1d", 24)])
def test_durations(text, hours):
    assert Duration().convert(text, None, None) == pytest.approx(hours)


@pytest.mark.parametrize("text", ["2", "h", "2 hours", "-1h", "0h", "1h-30m", ""])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@pytest.mark.parametrize("text", ["a", "=3", "a=", " = "])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(click.BadParameter, match="name=value"):
        Assignment().convert(text, None, None)
    assert Assignment().convert("a=b=c", None, None) == ("a", "b=c")


def test_settings_are_listed_in_full_by_section_and_by_name():
    from trainers.settings import catalogue

    assert {s["name"] for s in json.loads(run("settings", "--json").output)} == set(catalogue())
    section = json.loads(run("settings", "decision", "--json").output)
    assert {s["name"] for s in section} == {n for n in catalogue() if n.startswith("decision.")}
    shown = run("settings", "decision.temperature").output
    assert "decision.temperature" in shown and "above" not in shown


def test_an_unknown_setting_gets_a_suggestion():
    result = run("settings", "decision.temprature")
    assert result.exit_code == 2 and "did you mean decision.temperature?" in result.output


def test_status_of_a_home_without_studies(tmp_path):
    result = run("status", "--home", tmp_path)
    assert result.exit_code == 2 and "sprite-search launch" in result.output
