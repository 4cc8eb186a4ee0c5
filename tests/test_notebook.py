"""The walk-through of docs/notebook.md runs as it stands, where nothing but numpy and scipy can be imported."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from sprite_search import selection

ROOT = Path(__file__).parents[1]

#: Put before the blocks: what a notebook need not have raises when it is imported.
ALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {unwanted!r}:
            raise ImportError(f"{{name}} is not here")
sys.meta_path.insert(0, Nothing())
"""
UNWANTED = (
    "torch", "torchvision", "ray", "optuna", "mlflow", "pandas", "sklearn", "matplotlib", "plotly", "yaml", "click",
    "rich", "PIL", "h5py", "pyarrow", "cmaes",
)  # fmt: skip


def test_the_walk_through_runs_with_numpy_and_scipy_alone():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), re.DOTALL)
    code = ALONE.format(unwanted=UNWANTED) + "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    choice = selection.choose(selection.load(ROOT / "docs" / "tables" / "criteria-usps", labels=False).rows)
    assert said[0] == f"{choice.trial} {choice.seed} {choice.reliability} {choice.abstained}"
    assert set(choice.reasons) <= set(said)
    assert any(line.startswith("passed at least 1.5 effective sprites") for line in said)
    assert "'labels/accuracy': 0.8" in said[-1]


def test_tables_of_pandas_are_tables():
    import pandas

    rows = [{"trial": t, "seed": 0, "state": "complete", "val/reconstruction": 0.1 * t} for t in (3, 1, 2)]
    frame = pandas.DataFrame([*rows, {"trial": 4, "seed": 0, "state": "failed", "val/reconstruction": float("nan")}])
    study = selection.Study.of("mine", frame)
    assert selection.choose(study.rows).trial == 1 and "val/reconstruction" not in study.rows[3]


def test_a_study_under_another_name_keeps_it_when_written(tmp_path):
    study = selection.load(ROOT / "docs" / "tables" / "criteria-usps")
    again = selection.load(selection.save(dataclasses.replace(study, name="mine"), tmp_path))
    assert again.name == "mine" and again.labels == study.labels
