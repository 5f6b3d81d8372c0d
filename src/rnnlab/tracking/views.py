"""How an experiment looks in the MLflow UI: the views in its "Views" menu, and its description.

A view is what that menu's "Save as new view" writes (MLflow 3.17): an experiment tag `mlflow.sharedViewState.KEY`, JSON of a name, a time,
and the state of the page, itself JSON: columns, filter, order, charts. `...?viewStateShareKey=KEY` opens it.

    runs      every training on its own, the best on validation first
    groups    the means of a study's runs of one model, and their learning curves
    studies   one line a study, its runs below it
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from rnnlab.paths import as_here

UI = "http://127.0.0.1:5000"
"""Where `make ui` shows runs."""
VIEWS = {"studies": "Studies", "groups": "Groups", "runs": "Runs"}
"""Keys of links to the names in the menu, which shows the latest first."""
NOTE = "mlflow.note.content"
KNOWN = "views"
"""The tag that says which views an experiment was given: their format, and `metric:direction` for all that they show."""
FORMAT = "1"
TRAININGS = "params.model LIKE '%'"  # a study's parent has no such parameter
SECTIONS = {"results": "Results", "curves": "Learning curves"}
FIRST_COLUMNS = ("attributes.`Run Name`", "runDateAndNestInfo")
FOLDED = ("best", "test", "val", "train", "time", "speed", "memory", "model")
"""Sections that the UI makes of all other metrics' names."""

MOST_METRICS = 8  # a tag holds 20,000 characters

State = dict[str, Any]
Directions = dict[str, str]
"""Metric to `max` or `min`; the one by which runs are ordered comes first."""


def missing_tags(name: str, tags: Mapping[str, str], metric: str, direction: str, now_ms: int) -> dict[str, str]:
    """Return the tags that an experiment lacks to show a metric; none where it was shown before, even if a user has removed the views."""
    version, *words = tags.get(KNOWN, "none").split()
    metrics = dict(word.rsplit(":", 1) for word in words) if version == FORMAT else {}
    if metrics.get(metric) == direction:
        return {}
    metrics = dict(list(({metric: direction} | metrics).items())[:MOST_METRICS])
    given = {KNOWN: " ".join([FORMAT, *(f"{key}:{value}" for key, value in metrics.items())])}
    for place, (key, title) in enumerate(VIEWS.items()):
        view = {"name": title, "createdAt": now_ms + place, "updatedAt": now_ms + place, "state": json.dumps(state_of(key, metrics))}
        given[f"mlflow.sharedViewState.{key}"] = json.dumps(view)
    return given | ({} if NOTE in tags else {NOTE: describe(name)})


def describe(name: str) -> str:
    """Describe an experiment in Markdown."""
    return (
        f"Runs on **{re.sub(r'[^a-zA-Z0-9_ -]', '_', name)}**. The menu *Views* has *Runs* (the best on validation first), *Groups* (means "
        "by study and model) and *Studies*.\n\n"
        f"What may be said of differences: `{as_here('python src/compare.py')} study=NAME`, or `filter=...`."
    )


def code(text: str) -> str:
    """Write a text that a user chose (a path, a command) as Markdown that is nothing else."""
    return f"`{' '.join(text.split()).replace('`', chr(39))[:500]}`"


def link(address: str, experiment_id: str, view: str = "runs") -> str:
    """Return where the UI shows an experiment by one of its views."""
    return f"{address}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def state_of(view: str, metrics: Directions) -> State:
    """Return the state of the UI's page for a view; what it does not say stays as the UI has it."""
    first, direction = next(iter(metrics.items()))
    shown = columns(view, metrics)
    state: State = {
        "selectedColumns": shown,
        "columnOrder": [*FIRST_COLUMNS, *shown],
        "columnWidths": {"attributes.`Dataset`": 150},
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": charts(metrics),
        "compareRunSections": [_section(key, title, True) for key, title in SECTIONS.items()] + [_section(n, n, False) for n in FOLDED],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }
    if view != "studies":  # ordered by time, the UI would put runs below their parents, which it folds
        state |= {"searchFilter": TRAININGS, "orderByKey": f"metrics.`best/{first}`", "orderByAsc": direction == "min"}
    if view == "groups":
        keys = [{"mode": "tag", "groupByData": "study"}, {"mode": "param", "groupByData": "model"}]
        state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": keys}
    return state


def columns(view: str, metrics: Directions) -> list[str]:
    """Return the columns of a view beside name and time, in order: results, settings, data."""
    results = [f"metrics.`{kind}/{name}`" for name in metrics for kind in ("best", "test")]
    if view == "studies":
        return [*results, "metrics.`num_jobs_finished`", "tags.`best_group`", "tags.`data`", "params.`model`", "params.`seed`"]
    numbers = ["metrics.`model/num_parameters`", "metrics.`time/fit_seconds`"]
    settings = [f"params.`{name}`" for name in ("model", "cell", "model.recurrence.hidden_size", "optimizer.lr", "seed", "data")]
    return [*results, *numbers, *settings, "tags.`study`", "attributes.`Dataset`"]


def charts(metrics: Directions) -> list[State]:
    """Return bars of the results, results against time, settings beside results, and learning curves."""
    found: list[State] = []
    settings: State = {"selectedParams": ["model", "model.recurrence.hidden_size", "optimizer.lr"], "showAllRuns": True}
    for name in metrics:
        bars: list[State] = [{"type": "BAR", "metricKey": f"{kind}/{name}", "runsCountToCompare": 20} for kind in ("test", "best")]
        against: State = {"type": "SCATTER", "xaxis": _axis("time/fit_seconds"), "yaxis": _axis(f"test/{name}")}
        beside: State = {"type": "PARALLEL", "selectedMetrics": ["time/fit_seconds", f"best/{name}"], **settings}
        found += [{"metricSectionId": "results", **chart} for chart in (*bars, against, beside)]
    for name in [*(f"val/{name}" for name in metrics), "val/loss", "train/loss"]:
        found.append({"metricSectionId": "curves", "type": "LINE", "metricKey": name, "selectedMetricKeys": [name], "displayName": name})
    return [{"uuid": f"chart-{number}", "isGenerated": False, **chart} for number, chart in enumerate(found)]


def _axis(metric: str) -> State:
    return {"key": metric, "type": "METRIC"}


def _section(key: str, title: str, is_open: bool) -> State:
    return {"uuid": key, "name": title, "display": is_open, "isReordered": True}
