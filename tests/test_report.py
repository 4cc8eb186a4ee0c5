"""The page about a study: whole, safe, and in need of nothing else."""

import re

import numpy as np
import pytest
from PIL import Image

from sprite_search import report
from sprite_search.checkpoints import open_store
from sprite_search.space import Space
from sprite_search.study.records import TrialRecord


def record(n, error, *, state="complete", labels=True, **more):
    metrics = {"val/reconstruction": error, "val/used_sprites": 1.0, "val/effective_sprites": 5.0}
    if labels:
        metrics["labels/accuracy"] = 1 - error
    return TrialRecord(
        number=n,
        key=f"toy/{n}",
        state=state,
        arm="random",
        config={"sprites.count": 10, "model.kind": "clustering", "optimizer.learning_rate": 0.1 * (n + 1)},
        value=error if state == "complete" else None,
        epoch=4,
        epochs=4,
        seeds=tuple({"seed": s, "metrics": {k: v + 1e-4 * s for k, v in metrics.items()}} for s in (0, 1)),
        started=10.0 * n,
        finished=10.0 * n + 5,
        **more,
    )


@pytest.fixture
def store(tmp_path):
    """Pictures of trial 1, as a worker leaves them."""
    made = open_store(tmp_path / "checkpoints")

    def write(folder):
        pictures = folder / "pictures" / "seed0"
        pictures.mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(pictures / "sprites.png")

    made.save("toy", 1, 4, write, [])
    return made


SPACE = Space(name="toy", about="<b>5 > 4 & 3</b>", fixed={"sprites.count": 10})


def page(records, store):
    return report.page(SPACE, records, store)


def test_it_needs_nothing_else_and_escapes_what_users_wrote(store):
    html = page([record(0, 0.3), record(1, 0.1), record(2, 0.2, state="failed", reason="<script>")], store)
    assert "&lt;b&gt;5 &gt; 4 &amp; 3&lt;/b&gt;" in html and "<b>5" not in html and "<script" not in html
    assert not re.findall(r"(?:src|href)=['\"](?!data:)", html)
    assert html.count("data:image/png;base64,") == 1


def test_it_says_which_trial_and_why_apart_from_what_labels_say(store):
    html = page([record(0, 0.3), record(1, 0.1), record(2, 0.2)], store)
    trust, _, rest = html.partition("<h2>How it compares with labels</h2>")
    assert "Trial 1, seed 0." in trust and "labels/accuracy" not in trust
    assert "labels/accuracy" in rest and "regret 0;" in rest


@pytest.mark.parametrize(
    "records", [[], [record(0, 0.3)], [record(0, 0.3, labels=False), record(1, 0.2, labels=False)]]
)
def test_there_is_a_page_for_every_state_of_a_study(store, records):
    assert page(records, store).endswith("</html>\n")
