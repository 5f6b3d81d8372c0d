"""The parent run of a study: made once before any job, found again when the study is run again, summarised at the end.

Its artifact `study.json` lists every job by identity, so that a comparison finds all of them, also those that another study has run.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rnnlab.paths import as_here
from rnnlab.settings import Study, TrainSettings
from rnnlab.tracking.store import Client, Run, TrackingError, find_runs, read_artifact
from rnnlab.tracking.tracker import Tracker
from rnnlab.tracking.views import NOTE, code

FILE = "study.json"
REPEATED = ("seed", "data.fold", "data.split_seed")
"""Keys in which runs of one group may differ."""


@dataclass(frozen=True)
class Plan:
    """Hold what a study asks: axes (key to values), the words that hold for all jobs, its settings, and the command as it was typed."""

    name: str
    axes: dict[str, list[str]]
    words: list[str]
    study: Study
    command: str

    @property
    def key(self) -> str:
        """Return the same text whenever the same study is run again."""
        search = {name: getattr(self.study.search, name) for name in ("tuning_trials", "space", "search_seeds", "with_default", "metric")}
        text = json.dumps([self.name, self.axes, sorted(self.words), search if self.study.search.tuning_trials else None], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Parent:
    """Keep one parent run."""

    def __init__(self, client: Client, tracker: Tracker, plan: Plan, experiment: str, data: list[str]) -> None:
        self.client, self.tracker, self.plan, self.experiment, self.data = client, tracker, plan, experiment, data
        self.jobs: list[dict[str, Any]] = []
        self.searches: dict[str, str] = {}

    @classmethod
    def open(cls, client: Client, plan: Plan, jobs: list[TrainSettings], experiments: Collection[str]) -> "Parent":
        """Find the parent of a study, or make it (by one process at a time); it is in the jobs' experiment, where all have one."""
        paths = jobs[0].paths
        data = list(dict.fromkeys(settings.choices.data for settings in jobs))
        experiment = next(iter(experiments)) if len(experiments) == 1 else plan.name
        found = find_runs(client, f"tags.study_key = '{plan.key}'")
        if found:
            tracker = Tracker.resume(client, found[0].info.run_id, paths)
        else:
            tags = {"kind": "study", "study": plan.name, "study_key": plan.key, "data": ",".join(data), "command": plan.command}
            tags |= {NOTE: describe(plan, data, [])}
            name = f"{plan.name}-{'-'.join(data)}" if len(data) < 4 else plan.name
            tracker = Tracker.start(client, experiment, name, paths, tags)
            tracker.log_params({f"axis/{_safe(key)}": ",".join(values) for key, values in plan.axes.items()})
        return cls(client, tracker, plan, experiment, data)

    @property
    def run_id(self) -> str:
        """The parent's run id."""
        return self.tracker.run_id

    def plan_jobs(self, jobs: list[tuple[str, list[str], TrainSettings]]) -> None:
        """Record all jobs: identity, words, and what the configuration says of what varies."""
        self.jobs = [
            {"identity": name, "words": words, "model": settings.choices.model, "seed": settings.seed,
             "group": group_of(words, self.plan.axes), "data": settings.choices.data}
            for name, words, settings in jobs
        ]  # fmt: skip
        self._write()

    def note_search(self, group: str, name: str) -> None:
        """Record a search by the group whose setting it finds."""
        self.searches[group] = name
        self._write()

    def _write(self) -> None:
        file = self.tracker.folder / FILE
        content = {
            "study": self.plan.name, "axes": self.plan.axes, "words": self.plan.words, "data": self.data, "jobs": self.jobs,
            "searches": self.searches, "metric": self.plan.study.search.metric,
        }  # fmt: skip
        aside = file.with_name(f".{file.name}.writing")
        aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(aside, file)  # tracking may share the one of before
        self.tracker.log_files(file)

    def close(self, status: str, reason: str = "") -> bool:
        """Log the groups' means and the best, of each data set on its own, and end the run; say whether tracking took all of it."""
        parts = self._means()
        if parts:
            numbers: dict[str, float] = {"num_jobs_finished": sum(int(part.means["num"].sum()) for part in parts)}
            for part in parts:
                where = "" if len(parts) == 1 else f"/{_safe(part.data)}"
                for row in part.means.to_dict("records"):
                    numbers |= {f"{kind}/{part.metric}/{_safe(row['group'])}": row[kind] for kind in ("best", "test")}
                numbers |= {f"{kind}/{part.metric}{where}": float(part.best[kind]) for kind in ("best", "test")}
            self.tracker.log_metrics({key: value for key, value in numbers.items() if value == value}, 0)
            best = ", ".join(f"{part.best['group']}{f' on {part.data}' if len(parts) > 1 else ''}" for part in parts)
            metric = ", ".join(dict.fromkeys(part.metric for part in parts))
            self.tracker.set_tags({"best_group": best, "metric": metric, NOTE: describe(self.plan, self.data, parts)})
            for part in parts:
                self.tracker.show(part.metric, "max" if part.is_max else "min")
        return self.tracker.finish(status, reason)

    def _means(self) -> list["Part"]:
        """Return the groups' means; none where tracking does not answer."""
        try:
            return means_of(self.table())
        except TrackingError as error:
            print(f"warning: the study's means are left out: {error}")
            return []

    def table(self) -> pd.DataFrame:
        """Return the finished jobs: data, group, metric, values."""
        rows = []
        for job, runs in with_runs(self.client, self.jobs):
            run = finished_run(runs)
            if run is None:
                continue
            metric, metrics = run.data.tags.get("metric", "loss"), run.data.metrics
            rows.append(
                {"data": job["data"], "group": job["group"], "metric": metric, "is_max": run.data.tags.get("metric_direction") == "max",
                 "best": metrics.get(f"best/{metric}"), "test": metrics.get(f"test/{metric}")}
            )  # fmt: skip
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class Part:
    """Hold what a study found on one data set; `means` has of each group `group`, `best`, `test`, and the number of its jobs, `num`."""

    data: str
    metric: str
    is_max: bool
    means: pd.DataFrame

    @property
    def best(self) -> "pd.Series[Any]":
        """The best group on validation, the first of equals."""
        return self.means.sort_values("best", ascending=not self.is_max, kind="stable").iloc[0]


def means_of(table: pd.DataFrame) -> list[Part]:
    """Take jobs apart by data set and metric, which cannot be averaged or ranked together, and average each group's."""
    if not len(table):
        return []
    parts = []
    for (data, metric, is_max), rows in table.groupby(["data", "metric", "is_max"], sort=False):
        groups = rows.groupby("group", sort=False)
        means = groups[["best", "test"]].mean().assign(num=groups.size()).reset_index()
        parts.append(Part(str(data), str(metric), bool(is_max), means))
    return parts


def describe(plan: Plan, data: list[str], parts: list[Part]) -> str:
    """Describe a study in Markdown, as the MLflow UI shows it."""
    lines = [f"Study **{plan.name}** on {', '.join(data)}{': means over seeds and folds' if parts else ', not finished yet'}."]
    for part in parts:
        lines += ["", f"| {part.data} | validation {part.metric} | test {part.metric} | jobs |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(row['group'])} | {row['best']:.4g} | {row['test']:.4g} | {row['num']} |" for row in part.means.to_dict("records")
        ]
    compare = code(as_here(f"python src/compare.py study={plan.name} data={','.join(data)}"))
    return "\n".join([*lines, "", f"Again: {code(plan.command)}  ", f"Compare: {compare}"])


def _cell(text: str) -> str:
    """Write a group's name so that it is one cell of a Markdown table and nothing else."""
    return re.sub(r"[|\\<>\[\]`*\n]", " ", text)


def finished_run(runs: list[Run]) -> Run | None:
    """Return the first of these runs that finished."""
    return next((run for run in reversed(runs) if run.info.status == "FINISHED"), None)


def read_plan(client: Client, run_id: str, into: Path) -> dict[str, Any]:
    """Read what a parent run says of its study."""
    content: dict[str, Any] = json.loads(read_artifact(client, run_id, FILE, into).read_text(encoding="utf-8"))
    return content


def with_runs(client: Client, jobs: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[Run]]]:
    """Yield each job that a parent run lists, and its runs, the latest first."""
    for job in jobs:
        yield job, find_runs(client, f"tags.identity = '{job['identity']}'")


def group_of(words: list[str], axes: Mapping[str, list[str]]) -> str:
    """Name the group of a job by what varies, seeds and folds aside."""
    varying = [word for word in words if word.partition("=")[0] in axes and word.partition("=")[0] not in REPEATED]
    setting = [word.partition("=")[2] for word in words if word.startswith("study.setting=")]
    names = [word.removeprefix("model=") for word in varying]
    return " ".join([*names, *setting]) or "all"


def _safe(name: str) -> str:
    """Write a group's name as MLflow's metric names allow."""
    return re.sub(r"[^\w./ -]+", "_", name)
