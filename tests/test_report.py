"""The pages about a study: whole, safe, in need of nothing else, readable without labels, and drawn by a browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache

import numpy as np
import plotly.graph_objects as go
import pytest
from click.testing import CliRunner
from PIL import Image

from sprite_search import overview, report, selection
from sprite_search.cli import main
from sprite_search.report import best_of_n, card, consensus, equivalence, explorer, html, leaderboard, regrets, search
from sprite_search.report import several as over_several
from sprite_search.report.configurations import Configurations
from sprite_search.report.sprites import Drawn, by_usage, matched, sheets
from sprite_search.space import Space
from sprite_search.study.records import TrialRecord
from sprite_search.study.table import rows
from sprite_search.tracking import connect

SPACE = Space(name="toy", about="<b>5 > 4 & 3</b></script>", fixed={"sprites.count": 10, "dataset.name": "digits"})
TRIALS, IMAGES = 12, 60


def record(n, error, *, state="complete", labels=True, **more):
    metrics = {"val/reconstruction": error, "val/hard_reconstruction": error, "val/used_sprites": 1.0}
    metrics["val/effective_sprites"] = 5.0 + n % 3
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


def material(records, *, labels=True, models=None, pictures=(), **more):
    table = rows(records, labels=labels)
    study = selection.Study.of("toy", table, space=SPACE.to_dict(), **more)
    return report.Material(SPACE, records, table, study, models or {}, pictures)


@cache
def searched(labels=True):
    """A study with everything: criteria, agreements of all pairs, sprites and, where asked for, labels and a curve."""
    chance = np.random.default_rng(0)
    records = [record(n, 0.1 + 0.05 * n, labels=labels) for n in range(TRIALS)]
    plain = rows(records, labels=labels)
    for row in plain:
        good = -row["val/reconstruction"]
        own = {n: good + 0.1 * chance.normal() for n in ("centrality", "seed_agreement", "invariant_silhouette")}
        own |= {"referee_purity": good + 0.1 * chance.normal(), "redundancy": float(chance.normal())}
        row.update({f"criteria/{n}": v for n, v in own.items()})
    keys = tuple((r["trial"], r["seed"]) for r in plain)
    at = chance.normal(size=(len(keys), 2))
    near = np.exp(-((at[:, None] - at) ** 2).sum(-1))
    errors = np.array([r["val/reconstruction"] for r in plain])
    curve = [{"labels": n, "regret": 0.5 / n, "normalised_regret": 2 / n, "shortlisted": 1 / n} for n in (5, 10, 50)]
    study = selection.Study.of(
        "toy",
        plain,
        space=SPACE.to_dict(),
        pairs=selection.redraws.Pairs(keys, errors, near),
        label_curve=curve if labels else (),
    )
    models = {key: Drawn.of(arrays(chance)) for key in keys}
    return report.Material(SPACE, records, plain, study, models)


@cache
def several(labels=True):
    """Two studies of two families of data; the accuracies of the second are dealt out anew."""
    first = searched(labels).study
    dealt = dict(zip(first.labels, reversed(first.labels.values()), strict=True))
    shared = {n: v for n, v in first.space.items() if n != "name"}
    other = {**shared, "fixed": {"dataset.name": "fashion_mnist"}}
    return [replace(first, name="one", space=shared), replace(first, name="<b>two", space=other, labels=dealt)]


def arrays(chance, sprites=4):
    return {
        "sprites": chance.integers(0, 255, (sprites, 1, 6, 6), np.uint8),
        "A": chance.integers(0, sprites, (IMAGES, 1)).astype(np.int16),
    }


def outside_scripts(page):
    return re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)


def figures(page):
    """Every figure of a page by its name."""
    return {n: json.loads(f) for n, f in re.findall(r"data-plot='([\w-]+)'>(.*?)</script>", page)}


def test_it_needs_nothing_else_and_escapes_what_users_wrote(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "sprites.png")
    records = [record(0, 0.3), record(1, 0.1), record(2, 0.2, state="failed", reason="<script>alert(1)</script>")]
    page = report.page(material(records, pictures=[tmp_path / "sprites.png"]))
    assert "&lt;b&gt;5 &gt; 4 &amp; 3&lt;/b&gt;&lt;/script&gt;" in page and "<b>5" not in page
    assert page.count("<script") == page.count("</script>") and "alert(1)</script>" not in page
    assert not re.findall(r"(?:src|href)=['\"](?!data:|#)", outside_scripts(page))
    assert outside_scripts(page).count("data:image/png;base64,") == 1


def test_what_users_wrote_ends_no_script():
    written = html.data("name", {"</script><b>": ["<!--", float("nan"), 1.23456789]})
    assert written.count("<") == 2
    assert json.loads(written[written.index(">") + 1 : written.rindex("<")]) == {
        "</script><b>": ["<!--", None, 1.23457]
    }


def test_the_card_says_which_trial_and_why_apart_from_what_labels_say():
    page = report.card_page(material([record(0, 0.3), record(1, 0.1), record(2, 0.2)]))
    trust, _, rest = page.partition("<h3>By labels, which the choice did not see</h3>")
    assert "Trial 1, seed 0." in trust and "accuracy" not in trust
    assert "best by labels: trial 1" in rest and "regret 0" in rest
    assert "at least 1.5 effective sprites</td><td>✓ 6</td>" in trust
    assert len(page) < 20_000  # it goes without the library


def test_the_card_shows_rivals_gates_and_what_the_choice_is_worth():
    found = replace(searched(), checkpoint={"epoch": 3, "last": 4, "says": "…"})
    page = report.card_page(found)
    assert "<td>after epoch 3 of 4</td>" in page
    assert page.count("data:image/png;base64,") == 1 + card.RIVALS
    share = selection.agreement(found.rows, found.choice)["normalised_regret"]
    assert f"worth about {selection.worth(found.study.label_curve, share):.0f} labels" in page
    assert all(c["question"].replace("'", "&#x27;") in page for c in selection.checklist(found.study.space))


def test_an_abstention_is_no_choice():
    assert "not to be trusted" in report.card_page(material([record(0, 0.3)]))
    assert card.verdict(material([]).choice) == "No trial can be trusted."


@pytest.mark.parametrize(
    "records", [[], [record(0, 0.3)], [record(0, 0.3, labels=False), record(1, 0.2, labels=False)]]
)
def test_there_is_a_page_for_every_state_of_a_study(records):
    assert report.page(material(records)).endswith("</html>\n")


@pytest.mark.parametrize("labels", [True, False])
def test_every_figure_is_one_that_plotly_knows(labels):
    found = figures(report.page(searched(labels)))
    always = {"explorer", "consensus-map", "criteria-tree", "incumbents", "course"}
    labelled = {"leaderboard-plot", "equivalence-plot", "incumbents-labels"}
    assert set(found) == always | (labelled if labels else set())
    for figure in found.values():
        assert go.Figure({n: figure[n] for n in ("data", "layout")}).data  # raises for what it does not know


def test_without_labels_no_page_speaks_of_accuracy():
    page = outside_scripts(report.page(searched(labels=False)))
    assert "accuracy" not in page.replace("does the meaning of accuracy depend on the number of sprites?", "")
    assert "labels-shown" not in page and "reconstruction, less is better" in page


def test_labels_change_nothing_but_what_says_so():
    """Cards without the part that is by labels are the same bytes, whatever the labels are."""
    found = searched()
    dealt = [{**r, "labels/accuracy": 1 - r["labels/accuracy"]} for r in found.rows]
    study = selection.Study.of("toy", dealt, space=SPACE.to_dict(), pairs=found.study.pairs)
    other = report.card_page(replace(found, rows=dealt, study=study))
    parts = [re.sub(r"<div class='labels'>.*?</div>", "", p, flags=re.DOTALL) for p in (report.card_page(found), other)]
    assert parts[0] == parts[1] and report.card_page(found) != other


def test_configurations_are_means_over_seeds():
    found = searched()
    table = Configurations.of(found.study, found.choice)
    assert table.trials == tuple(range(TRIALS))
    # seeds 0 and 1 differ by 1e-4
    assert table.columns["reconstruction"].values[3] == pytest.approx(0.25 + 0.5e-4)
    assert table.columns["labels/accuracy"].values[3] == pytest.approx(0.75 + 0.5e-4)
    assert table.correlation("reconstruction", "labels/accuracy") == pytest.approx(-1)
    assert next(iter(table.columns)) == found.choice.by == "catalogue"


def test_the_explorer_shows_sprites_of_what_is_pointed_at_and_marks_the_choice():
    found = searched()
    figure = explorer.figure(
        Configurations.of(found.study, found.choice), found.choice, "catalogue", "labels/accuracy", "reconstruction"
    )
    (trace,) = figure["data"]
    assert trace["customdata"] == list(range(TRIALS))
    assert trace["marker"]["symbol"].index("star") == found.choice.trial == figure["shown"]


def test_the_leaderboard_has_intervals_and_paints_harm_red():
    found = searched()
    points = leaderboard.figure(found.judged)["data"][0]
    judged = {r["criterion"]: r for r in found.judged["rows"]}
    row = judged["centrality"]
    at = points["y"].index("<b>centrality</b>")
    low, high = row["normalised_regret_interval"]
    assert points["x"][at] == row["normalised_regret"]
    assert points["error_x"]["array"][at] == pytest.approx(high - points["x"][at])
    assert points["error_x"]["arrayminus"][at] == pytest.approx(max(0, points["x"][at] - low))
    assert (points["marker"]["color"][at] == html.HARM) == row["harm"]


def test_a_criterion_stands_where_the_curve_of_labels_comes_down_to_it():
    judged = {
        "rows": [{"criterion": "borda", "primary": True, "normalised_regret": 0.2, "labels": 10.0}],
        "baselines": [],
        "label_curve": [{"labels": n, "normalised_regret": 2 / n} for n in (5, 10, 50)],
    }
    curve, level, mark = equivalence.figure(judged)["data"]
    assert curve["y"] == [0.4, 0.2, 0.04] and level["y"] == [0.2, 0.2] and (mark["x"], mark["y"]) == ([10.0], [0.2])


def test_the_map_keeps_distances_that_two_dimensions_hold():
    # three models on a line: 0, 3 and 4 away from the first
    at, kept = consensus.embedded(np.array([[0.0, 3, 4], [3, 0, 1], [4, 1, 0]]))
    assert np.linalg.norm(at[0] - at[1]) == pytest.approx(3) and np.linalg.norm(at[0] - at[2]) == pytest.approx(4)
    assert kept == pytest.approx(1)


def test_criteria_that_rank_alike_are_neighbours_in_the_tree():
    found = searched()
    table = Configurations.of(found.study, found.choice)
    twin = {**table.columns, "ssim": table.columns["redundancy"]}
    words = consensus.dendrogram(replace(table, columns=twin))["layout"]["yaxis"]["ticktext"]
    places = [next(i for i, w in enumerate(words) if w.startswith(n)) for n in ("ssim", "redundancy")]
    assert abs(places[0] - places[1]) == 1


@pytest.mark.parametrize("labels", [True, False])
def test_a_page_over_studies_has_figures_that_plotly_knows_and_escapes_names(labels):
    page = over_several.page(several(labels), draws=50)
    assert set(figures(page)) == {"opinions-map"} | ({"losses-map", "learned-plot"} if labels else set())
    for figure in figures(page).values():
        assert go.Figure(figure).data
    plain = outside_scripts(page)
    assert "&lt;b&gt;two" in plain and "<b>two" not in page
    assert ("accuracy" in plain) == labels == ("labels-shown" in plain)


def test_over_studies_a_choice_and_what_speaks_against_it_need_no_label():
    """The first section is the same whatever the labels; the one criterion that is random speaks against the choice."""
    with_labels, without = (
        over_several.choices([over_several.Chosen.of(s, 50) for s in several(own)]) for own in (True, False)
    )
    assert with_labels == without
    one = over_several.Chosen.of(several(False)[0])
    place = one.columns.places["redundancy"][one.choice.trial]
    assert (f"redundancy ({place}. of {TRIALS})" in without) == (2 * place > TRIALS + 1)
    figure = over_several.figure([one])
    (trace,) = figure["data"]
    at = trace["y"].index("redundancy (redundancy)")
    assert trace["z"][at][0] == pytest.approx((place - 1) / (TRIALS - 1))


def test_the_map_of_losses_has_every_criterion_in_every_study_and_the_mean():
    chosen = [over_several.Chosen.of(s, 50) for s in several()]
    over = selection.over_studies([c.judged for c in chosen], draws=50)
    (trace,) = regrets.figure(chosen, over)["data"]
    assert trace["x"] == ["one", "<b>two", "<b>mean</b>"] and trace["zmax"] == 2  # 1, a random choice, is the middle
    cells = dict(zip(trace["y"], trace["z"], strict=True))
    for place, one in enumerate(chosen):
        own = {r["criterion"]: r["normalised_regret"] for r in one.judged["rows"]}
        assert cells["<b>centrality</b>"][place] == own["centrality"]
    assert cells["<b>centrality</b>"][2] == pytest.approx(np.mean(cells["<b>centrality</b>"][:2]))


def test_report_of_several_studies_writes_one_page_and_the_tables_of_each(tmp_path, monkeypatch):
    studies = {"one": several(False)[0], "two": replace(several(False)[1], name="two")}
    monkeypatch.setattr(overview, "tables", lambda home, name: studies[name])
    asked = ["report", "one", "two", "one", "--home", "h", "-o", "page.html", "--tables", "tables"]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "the report of one two" in done.output and "<h1>2 studies</h1>" in (tmp_path / "page.html").read_text()
    assert [s.name for s in selection.studies_in(tmp_path / "tables")] == ["one", "two"]


def test_alarms_of_the_audit_are_marked():
    asked = {
        "questions": [{"question": "q", "alarm": True, "says": "x"}, {"question": "r", "alarm": None, "says": "y"}]
    }
    assert "<tr class='alarm'><td>q</td><td>ALARM</td>" in best_of_n.questions(asked)


def test_the_course_of_the_search_shows_the_best_so_far():
    done = [record(n, e) for n, e in enumerate((0.3, 0.4, 0.2))]
    course = search.figure(done, SPACE, 2)["data"][0]
    assert course["y"] == [0.3, 0.3, 0.2]


def test_sprites_are_matched_by_the_images_that_show_them():
    first = Drawn.of({"sprites": np.zeros((3, 1, 4, 4), np.uint8), "A": np.array([[0], [1], [1], [1], [2], [2]])})
    other = Drawn.of({"sprites": np.zeros((4, 1, 4, 4), np.uint8), "A": np.array([[2], [0], [0], [3], [1], [1]])})
    assert by_usage(first).tolist() == [1, 2, 0]
    assert matched(other, first).tolist() == [0, 1, 2, 3]  # 1 -> 0, 2 -> 1, 0 -> 2; the fourth has no partner
    assert matched(first, first).tolist() == by_usage(first).tolist()


def test_a_sheet_is_of_the_seed_that_is_named():
    chance = np.random.default_rng(0)
    models = {(0, 0): Drawn.of(arrays(chance)), (0, 1): Drawn.of(arrays(chance)), (1, 4): Drawn.of(arrays(chance))}
    found = sheets(models, {0: 1})
    assert "Trial 0, seed 1: 4 of 4 sprites" in found[0]["caption"] and "seed 4" in found[1]["caption"]


def test_mlflow_keeps_pages_and_tables_once_where_its_description_links_them(mlflow_home, monkeypatch):
    found, client = material([record(0, 0.3), record(1, 0.1)]), connect(mlflow_home)
    assert report.record(mlflow_home, found) == "in MLflow it is an artifact of the run `report` of toy"
    experiment = client.get_experiment_by_name("toy")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("report", "FINISHED")
    assert "Trial 1, seed 0." in run.data.tags["mlflow.note.content"]
    there = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert there == {"report.html", "decision_card.html", "tables"}
    folder = client.download_artifacts(run.info.run_id, "tables")
    (study,) = selection.studies_in(folder)
    assert study.rows[0]["val/reconstruction"] == pytest.approx(0.3) and len(study.labels) == 4
    address = f"#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}/artifacts/report.html"
    assert address in experiment.tags["mlflow.note.content"]

    with monkeypatch.context() as patch:  # the same again writes no artifact
        patch.setattr("mlflow.MlflowClient.log_artifacts", None)
        assert "in MLflow it is" in report.record(mlflow_home, found)
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "my own words")
    report.record(mlflow_home, material([record(0, 0.3), record(1, 0.1), record(2, 0.2)]))
    (again,) = client.search_runs([experiment.experiment_id])
    assert again.info.run_id == run.info.run_id and again.data.tags["sprite.report"] != run.data.tags["sprite.report"]
    assert client.get_experiment(experiment.experiment_id).tags["mlflow.note.content"] == "my own words"


def test_without_mlflow_the_report_says_so(mlflow_home):
    (mlflow_home.root / "mlflow.db").write_bytes(b"no database" * 100)
    assert "the report is not in MLflow: " in report.record(mlflow_home, material([record(0, 0.3)]))


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def browse(folder, *options):
    """What Chromium prints of `page.html` in a folder, without any network."""
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", *options, (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


@browser
@pytest.mark.parametrize("labels", [True, False])
def test_a_browser_without_network_draws_every_figure(tmp_path, labels):
    page = report.page(searched(labels))
    # what people do, then what the page became
    act = """<script>
      const said = [];
      window.addEventListener("error", (e) => said.push(e.message));
      const point = document.getElementById("consensus-map");
      point.emit("plotly_hover", {points: [{customdata: 7}]});
      for (const [id, value] of [["explorer-x", "centrality"], ["explorer-colour", "redundancy"]]) {
        const list = document.getElementById(id);
        list.value = value;
        list.dispatchEvent(new Event("change"));
      }
      const box = document.getElementById("labels-shown");
      if (box) { box.checked = false; box.dispatchEvent(new Event("change")); }
      document.title = JSON.stringify({
        said,
        drawn: [...document.querySelectorAll(".plot")].filter((p) => p.querySelector(".main-svg")).map((p) => p.id),
        x: document.getElementById("explorer").layout.xaxis.title.text,
        y: document.getElementById("explorer").layout.yaxis.title.text,
        sheet: point.parentElement.querySelector(".sheet").textContent,
        hidden: [...document.querySelectorAll("section.labels")].every((s) => s.offsetParent === null),
      });
    </script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", act), encoding="utf-8")
    said = browse(tmp_path, "--virtual-time-budget=30000", "--dump-dom")
    found = json.loads(re.search(r"<title>(\{.*?\})</title>", said, re.DOTALL)[1].replace("&amp;", "&"))
    assert found["said"] == [] and set(found["drawn"]) == set(figures(page))
    assert found["x"] == "centrality, more is better" and found["y"] == "reconstruction, less is better"
    assert found["sheet"].startswith("Trial 7, seed") and found["hidden"]


@browser
def test_a_browser_draws_the_page_over_studies_and_hides_what_labels_say(tmp_path):
    page = over_several.page(several(), draws=50)
    act = """<script>
      const said = [];
      window.addEventListener("error", (e) => said.push(e.message));
      const box = document.getElementById("labels-shown");
      box.checked = false;
      box.dispatchEvent(new Event("change"));
      document.title = JSON.stringify({
        said,
        drawn: [...document.querySelectorAll(".plot")].filter((p) => p.querySelector(".main-svg")).map((p) => p.id),
        left: [...document.querySelectorAll("section")].filter((s) => s.offsetParent !== null).map((s) => s.id),
      });
    </script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", act), encoding="utf-8")
    said = browse(tmp_path, "--virtual-time-budget=30000", "--dump-dom")
    found = json.loads(re.search(r"<title>(\{.*?\})</title>", said, re.DOTALL)[1].replace("&amp;", "&"))
    assert found["said"] == [] and set(found["drawn"]) == set(figures(page))
    assert found["left"] == ["choices", "opinions"]


@browser
def test_the_decision_card_prints_on_one_page(tmp_path):
    (tmp_path / "page.html").write_text(report.card_page(searched()), encoding="utf-8")
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'card.pdf'}")
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "card.pdf").read_bytes())) == 1
