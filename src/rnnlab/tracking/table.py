"""Tracked runs as a table: one row per finished run, from which a study's summary computes."""

from collections.abc import Mapping, Sequence

import pandas as pd

from rnnlab.tracking.address import public
from rnnlab.tracking.store import Client, Run, TrackingError, find_runs


def runs_table(client: Client, experiments: Sequence[str], columns: Mapping[str, str], command: str) -> pd.DataFrame:
    """Return the finished runs of some experiments.

    Args:
        client: of the tracking store.
        experiments: their names; each must have a finished run.
        columns: name of a column to what fills it: `params.NAME` (text), `metrics.NAME` (a number), `tags.NAME` (text), `run_id`,
            `experiment`, `model` (a baseline's kind, or else the network's name) or `git_commit` (ten digits, with a `+` if files
            differed from it). If a run has no such value, the cell is empty.
        command: what makes the runs, for the message where they are missing.

    Raises:
        TrackingError: if an experiment has no finished run.
    """
    rows, seen = [], set()
    for experiment in experiments:
        for run in find_runs(client, "attributes.status = 'FINISHED'", experiment):
            rows.append({name: _cell(run, source, experiment) for name, source in columns.items()})
            seen.add(experiment)
    if missing := [name for name in experiments if name not in seen]:
        raise TrackingError(f"no finished run in experiment {', '.join(missing)} of {public(client.tracking_uri)}: run {command} first")
    return pd.DataFrame(rows, columns=list(columns))


def in_order(table: pd.DataFrame, keys: Sequence[str], same_test: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table of runs sorted by what identifies a run of the study.

    Args:
        table: as `runs_table` returns it.
        keys: columns that identify a run.
        same_test: columns of which runs with equal values must share their test examples (column `test_hash`); none are checked by default.

    Raises:
        TrackingError: if two runs have the same keys, or runs that must share their test examples do not.
    """
    if (repeated := table.duplicated(list(keys))).any():
        raise TrackingError(
            f"{repeated.sum()} runs repeat another one's {', '.join(keys)}: delete the older ones in the UI, or start from a fresh "
            "tracking database"
        )
    if same_test and (counts := table.groupby(list(same_test))["test_hash"].nunique()).max() > 1:
        raise TrackingError(f"runs of one {', '.join(same_test)} differ in their test split: {counts[counts > 1].to_dict()}")
    return table.sort_values(list(keys), ignore_index=True)


def _cell(run: Run, source: str, experiment: str) -> str | float | None:
    """Return what a run says of one column."""
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    kind, _, name = source.partition(".")
    match kind:
        case "params" | "metrics" | "tags":
            value: str | float | None = {"params": params, "metrics": metrics, "tags": tags}[kind].get(name)
            return value
        case "run_id":
            return str(run.info.run_id)
        case "experiment":
            return experiment
        case "model":
            return str(tags.get("baseline") or params["model"])
        case "git_commit":
            return tags["git_commit"][:10] + ("+" if tags["git_dirty"] == "true" else "")
    raise ValueError(f"{source!r} is no column of a run: params.NAME, metrics.NAME, tags.NAME, run_id, experiment, model or git_commit")
