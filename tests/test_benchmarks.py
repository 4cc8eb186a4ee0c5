"""The benchmarks run, on something tiny, and print what they promise."""

import dataclasses
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SPACES = BENCHMARKS.parent / "search_spaces"


def test_kmeans_of_colours_and_shapes_finds_clean_scenes():
    from trainers.datasets import Arrays, Dataset

    made = runpy.run_path(str(BENCHMARKS / "unseen_scenes.py"))
    images, instances, classes = (torch.zeros(12, *s, dtype=torch.uint8) for s in ((3, 16, 16), (16, 16), (16, 16)))
    for i in range(12):
        for o, (colour, top) in enumerate((((255, 0, 0), 1), ((0, 255, 0), 9))):
            square = torch.ones(6, 6, dtype=torch.uint8)
            if (kind := (i + o) % 2) == 1:
                square[:3, :3] = 0
            at = (slice(top, top + 6), slice(i % 8, i % 8 + 6))
            images[i][:, *at] = square * torch.tensor(colour, dtype=torch.uint8)[:, None, None]
            instances[i][at], classes[i][at] = square * (o + 1), square * (kind + 1)
    every = torch.arange(12)
    scenes = Dataset(Arrays(images, instances=instances, classes=classes), train=every, held_out=every)
    assert made["baseline"](scenes, 2, 2, 0) == pytest.approx(
        {f"labels/{n}": 1 for n in ("ari_foreground", "mean_accuracy", "pixel_accuracy", "average_iou")}
    )


def test_unseen_scenes_are_measured_for_every_seed(scenes_checkpoint):
    from trainers import checkpoint

    made = runpy.run_path(str(BENCHMARKS / "unseen_scenes.py"))
    members = tuple(checkpoint.members_of(scenes_checkpoint))
    scenes = made["unseen"](members[0], 24, 99)
    assert len(scenes.held_out) == 24
    trained, untrained = (made["measure"](members, scenes, f) for f in (scenes_checkpoint, None))
    assert len(trained) == len(untrained) == len(members)
    assert trained != untrained
    assert made["line"]("both", [{"val/reconstruction": 0.1}, {"val/reconstruction": 0.3}]).endswith(
        "| 0.200 ± 0.141 |"
    )


def test_a_study_that_is_not_there_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["unseen_scenes.py", "nothing", "--home", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(BENCHMARKS / "unseen_scenes.py"), run_name="__main__")
    assert "has no studies yet" in capsys.readouterr().err


def test_accuracy_is_measured_on_all_images_and_not_twice(tmp_path, capsys):
    made = runpy.run_path(str(BENCHMARKS / "accuracy.py"))
    asked = [str(SPACES / "quickstart.yaml"), "ours_c", "--set", "training.epochs=1", "--set", "dataset.images=120"]
    asked += ["--seeds", "2", "--home", str(tmp_path), "--results", str(tmp_path / "kept.jsonl")]
    made["main"](asked)
    first = capsys.readouterr().out
    assert "ours_c seed 1 1/1" in first and "digits, 120 images, all of them measured" in first
    made["main"](asked)
    again = capsys.readouterr().out
    assert "seed 1" not in again and again.strip() == first[first.index("digits, 120") :].strip()
    rows = [line.split(" | ")[:2] for line in again.splitlines()[4:]]
    assert rows == [["| ours_c", "2"], ["| K-means on pixels", "2"]]
    kept = [json.loads(line)["result"] for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    made["main"]([*asked[:-1], str(tmp_path / "together.jsonl"), "--together"])
    together = [json.loads(line)["result"] for line in (tmp_path / "together.jsonl").read_text().splitlines()]
    for alone, packed in zip(kept, together, strict=True):
        assert packed["val/reconstruction"] == pytest.approx(alone["val/reconstruction"], rel=1e-3)


def test_denormals_are_measured_as_training_keeps_them(tmp_path, capsys):
    made = runpy.run_path(str(BENCHMARKS / "denormals.py"))
    with made["kept"]():
        assert torch.set_flush_denormal(True) is False
    small = ["--set", "dataset.images=80", "--set", "transformations.strategy=all", "--rounds", "1", "--seeds", "2"]
    made["main"]([str(SPACES / "quickstart.yaml"), "ours_c", *small, "--at", "1", "3", "--home", str(tmp_path)])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["| 1", "| 3"]
    assert all(float(before) > 0 and float(now) > 0 for _, _, before, now, _ in rows)


def test_printed_letters_are_a_folder_with_classes_and_the_same_each_time(tmp_path):
    from trainers import datasets
    from trainers.settings import TrialConfig

    made = runpy.run_path(str(BENCHMARKS / "glyphs.py"))
    for name in ("one", "two"):
        made["main"]([str(tmp_path / name), "--images", "40"])
    flat = {"dataset.name": "folder", "dataset.side": 32, "dataset.labels": "subfolders"}
    one, two = (
        datasets.load(TrialConfig.from_flat({**flat, "dataset.path": str(tmp_path / n)})) for n in ("one", "two")
    )
    assert one.images.shape == (40, 1, 32, 32) and one.images.equal(two.images)
    assert one.labels.bincount().tolist() == [4] * 10
    dark = (one.images.float() < one.images.float().amax((1, 2, 3), keepdim=True) - 60).float().mean((1, 2, 3))
    assert ((dark > 0.01) & (dark < 0.5)).all()  # every image shows a letter on paper


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["nothing.yaml"], "nothing.yaml"),
        ([str(SPACES / "quickstart.yaml"), "nowhere"], "nowhere.yaml"),
        ([str(SPACES / "quickstart.yaml"), "--set", "sprites.cuont=3"], "sprites.cuont"),
        ([str(SPACES / "mnist.yaml"), "--set", "dataset.part=some"], "dataset.part"),
    ],
)
@pytest.mark.parametrize("benchmark", ["accuracy", "denormals"])
def test_mistakes_end_a_benchmark_of_trainings_with_a_sentence(tmp_path, capsys, benchmark, wrong, words):
    made = runpy.run_path(str(BENCHMARKS / f"{benchmark}.py"))
    with pytest.raises(SystemExit, match="2"):
        made["main"]([*wrong, "--home", str(tmp_path)])
    assert words in capsys.readouterr().err


def test_the_page_of_criteria_is_made_again_from_exported_tables(tmp_path, capsys):
    from test_studies import study

    from sprite_search.selection import save

    made = runpy.run_path(str(BENCHMARKS / "criteria.py"))
    for i, name in enumerate(("usps", "gtsrb8")):
        save(study(f"criteria-{name}", seed=i, dataset=name), tmp_path / "tables" / name)
    page = tmp_path / "page.md"
    page.write_text((BENCHMARKS.parent / "docs" / "selection.md").read_text())
    asked = ["--tables", str(tmp_path / "tables"), "--page", str(page), "--draws", "20"]
    made["main"](asked)
    first = page.read_text()
    assert "Studies: 2; families: digits, traffic signs." in first
    assert "| gtsrb8 (new) | traffic signs | 10 × 3 |" in first and "**description_length**" in first
    assert "| usps | 30 | 30 | trusted | 0.00 |" in first
    made["main"](asked)
    assert page.read_text() == first
    assert capsys.readouterr().out.count("page.md") == 2


@pytest.mark.parametrize(("text", "words"), [("no marks", "<!-- summary -->"), (None, "holds no study with labels")])
def test_a_page_without_marks_or_tables_is_told(tmp_path, capsys, text, words):
    from test_studies import study

    from sprite_search.selection import save

    made = runpy.run_path(str(BENCHMARKS / "criteria.py"))
    page = tmp_path / "page.md"
    page.write_text(text or "")
    if text:
        save(study(), tmp_path / "tables" / "one")
    with pytest.raises(SystemExit, match="2"):
        made["main"](["--tables", str(tmp_path / "tables"), "--page", str(page), "--draws", "5"])
    assert words in capsys.readouterr().err


def test_choices_on_synthetic_tables_are_good_where_criteria_agree_and_withheld_where_they_do_not():
    measured = runpy.run_path(str(BENCHMARKS / "abstention.py"))["measured"]
    valid, chance = measured((30, 3, 0.9, 0.0), 15), measured((30, 3, 0.0, 0.0), 15)
    assert valid["normalised regret"] < 0.1 and valid["reliable"] > 0.8 and valid["good when reliable"] > 0.9
    assert chance["reliable"] < 0.1 and chance["normalised regret"] > 0.5


TOY = """
study: toy
trial: {dataset.name: digits, training.epochs: 4}
search:
  optimizer.learning_rate: [1.0e-3, 1.0e-2]
  regularisers.frequency.weight: [0.0, 0.01, 1.0]
objective: {minimize: val/hard_reconstruction}
profiles:
  ranges:
    search:
      optimizer.learning_rate: {log: [1.0e-3, 1.0e-2]}
      regularisers.frequency.weight: {log: [1.0e-2, 1.0], or: 0}
"""
#: (learning rate, weight) -> error and accuracy at the end; the most accurate is not the one of least error
ENDS = {
    ("0.001", "0.0"): (0.5, 0.3), ("0.01", "0.0"): (0.4, 0.2), ("0.001", "0.01"): (0.3, 0.6),
    ("0.001", "1.0"): (0.2, 0.5), ("0.01", "0.01"): (0.6, 0.9), ("0.01", "1.0"): (0.1, 0.1),
}  # fmt: skip


def test_a_search_is_replayed_from_a_table(tmp_path):
    from sprite_search.space import load_space
    from sprite_search.space.model import Budget

    (tmp_path / "toy.yaml").write_text(TOY)
    lines = ["optimizer.learning_rate,regularisers.frequency.weight,seed,epoch,val/hard_reconstruction,labels/accuracy"]
    lines += [f"{r},{w},0,{e},{error + 4 - e},{a}" for (r, w), (error, a) in ENDS.items() for e in (2, 4)]
    (tmp_path / "toy.csv").write_text("\n".join(lines))
    made = runpy.run_path(str(BENCHMARKS / "efficiency.py"))
    table = made["Table"](load_space(tmp_path / "toy.yaml"), tmp_path / "toy.csv")
    assert table.nearest({"optimizer.learning_rate": 0.0032, "regularisers.frequency.weight": 0.09}) == (0.01, 0.01)
    assert table.nearest({"optimizer.learning_rate": 0.003, "regularisers.frequency.weight": 0.0}) == (0.0, 0.001)
    # by labels: of the three weights 0.01, then of the two rates 0.01; settings come in the order of the catalogue
    walked = list(made["one_after_the_other"](table))
    assert [key for key, *_ in walked] == [(0.0, 0.001), (0.01, 0.001), (1.0, 0.001), (0.01, 0.01)]
    assert max(walked, key=lambda w: w[2]) == ((0.01, 0.01), pytest.approx(0.6), 0.9)

    ranges = load_space(tmp_path / "toy.yaml", profile="ranges")
    ranges = dataclasses.replace(ranges, sampler={"name": "random", "seed": 0}, budget=Budget(trials=60))
    path = made["searched"](ranges, table, 160)
    assert [s.epochs for s in path] == list(range(0, 164, 4)) and path[-1].trials == 40, "nothing is pruned"
    assert (path[-1].error, path[-1].accuracy) == (pytest.approx(0.1), 0.1), "chosen by the error, without labels"
    assert made["reached"](path, 0.11).accuracy == 0.1 and made["reached"](path, 0.05) is None
    assert made["at"](path, 11).epochs == 8


def test_a_table_has_every_configuration_once_and_is_gone_on_with(tmp_path, capsys):
    made = runpy.run_path(str(BENCHMARKS / "efficiency_table.py"))
    small = TOY.replace("training.epochs: 4", "training.epochs: 2, dataset.images: 60, encoder.width: 4")
    (tmp_path / "toy.yaml").write_text(small)
    asked = [str(tmp_path / "toy.yaml"), str(tmp_path / "toy.csv")]
    made["main"](asked)
    first = (tmp_path / "toy.csv").read_text()
    rows = [line.split(",") for line in first.splitlines()[1:]]
    assert sorted(tuple(r[:4]) for r in rows) == sorted((w, r, "0", e) for r, w in ENDS for e in "12")
    assert "group 1 of 1: 6 members" in capsys.readouterr().out
    made["main"](asked)
    assert (tmp_path / "toy.csv").read_text() == first and capsys.readouterr().out == ""
