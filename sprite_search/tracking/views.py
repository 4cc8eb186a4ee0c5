"""The table of trials as people find it in the UI of MLflow 3: a saved view of the experiment of a study."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

_NAME = "trials"
_NOTE = "mlflow.note.content"
#: Without it, a browser that is new to MLflow lands on its pages for language models.
_KIND = "workflowType=machine_learning"
_TAG = f"mlflow.sharedViewState.{_NAME}"  #: where the UI keeps a saved view of an experiment


def save(client: Any, experiment: str, objectives: Sequence[tuple[str, bool]], searched: Sequence[str]) -> None:
    """Saves the view, once: people may change it. Without it the table shows no metric and no setting.

    Args:
        client: of MLflow.
        experiment: its id.
        objectives: metrics to show, sorted by the first, and whether less of each is better.
        searched: names of the settings to show.
    """
    if _TAG in client.get_experiment(experiment).tags:
        return
    metric, ascending = objectives[0]
    shown = dict.fromkeys((metric, f"{metric}_se", *(n for n, _ in objectives), "val/effective_sprites"))
    columns = [f"metrics.`{n}`" for n in shown]
    columns += ["tags.`sprite.pareto`"] if len(objectives) > 1 else []
    columns += ["tags.`sprite.state`", *(f"params.`{n}`" for n in searched)]
    state = {"selectedColumns": columns, "orderByKey": columns[0], "orderByAsc": ascending}
    now = int(time.time() * 1000)
    view = {"name": _NAME, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    client.set_experiment_tag(experiment, _TAG, json.dumps(view))


def link(client: Any, experiment: str, run: str, *, about: str) -> None:
    """Puts a link to the report before what the experiment's description says; people's own words stay."""
    address = f"#/experiments/{experiment}/runs/{run}/artifacts/report.html?{_KIND}"
    note = f"**[Report: which trial to trust, and why]({address})**\n\n{about}"
    there = client.get_experiment(experiment).tags.get(_NOTE, "")
    if there != note and there.endswith(about):
        client.set_experiment_tag(experiment, _NOTE, note)


def addresses(client: Any) -> dict[str, str]:
    """Where a server shows the trials of each study, as paths behind its address."""
    found = client.search_experiments(filter_string="tags.`sprite.ledger` != ''", order_by=["name ASC"])
    query = f"{_KIND}&viewStateShareKey={_NAME}"
    return {e.name: f"/#/experiments/{e.experiment_id}/runs?{query}" for e in found}
