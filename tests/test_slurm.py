"""The Slurm script, run with stand-ins for Slurm's commands that start everything on this machine."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from launching import check_books, finish, records, space_file, wait_for

from sprite_search.home import Home

SCRIPT = Path(__file__).parents[1] / "infra" / "slurm" / "search.sbatch"
STAND_INS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "scontrol": 'case $1 in show) tr " " "\\n" <<< "$3" ;; requeue) echo "$2" > "$SPRITE_HOME/requeued" ;; esac',
    "sprite-search": f'exec {sys.executable} -m sprite_search "$@"',
}


@pytest.fixture
def slurm(tmp_path):
    """Starts the script as a job on two machines of one CPU."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(stat.S_IRWXU)
    (tmp_path / "home").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
    environment |= {
        "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(SCRIPT.parents[2]),
        "SPRITE_HOME": str(tmp_path / "home"),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "one two",
        "SLURM_CPUS_PER_TASK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    started = []

    def submit(*options):
        started.append(
            subprocess.Popen(
                ["bash", SCRIPT, *map(str, options)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                start_new_session=True,
            )
        )
        return started[-1]

    yield submit
    for job in started:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)


def test_a_job_that_is_ended_drains_is_queued_again_and_goes_on(slurm, tmp_path):
    home, space = Home(tmp_path / "home"), space_file(tmp_path, budget={"trials": 4})
    first = slurm(space)
    wait_for(first, "trial 1 ")
    first.send_signal(signal.SIGTERM)
    status, said = finish(first)
    assert status == 130, said
    assert "running trials end at their next report" in said and "queued again" in said
    assert (home.root / "requeued").read_text().split() == [str(os.getpid())]
    left = [r.number for r in records(home) if not r.done]
    assert left, "it was ended in the middle"

    status, said = finish(slurm(space))
    assert status == 0, said
    check_books(home, trials=4)
    assert all(r.attempt == 2 for r in records(home) if r.number in left)
    assert not list(home.root.glob("ray-*")), "the token is deleted with the job"
    assert not Path(f"/tmp/ray-{os.getpid()}").exists()
