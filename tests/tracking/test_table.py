"""Tracked runs as a table: every value comes from the run it belongs to, and what is missing is said."""

import pandas as pd
import pytest

from rnnlab.settings import Paths
from rnnlab.tracking.store import Client, TrackingError, connect
from rnnlab.tracking.table import in_order, runs_table
from rnnlab.tracking.tracker import Tracker

COLUMNS = {"id": "run_id", "where": "experiment", "model": "model", "seed": "params.seed", "test": "metrics.test/mse", "code": "git_commit"}
CODE = {"git_commit": "0123456789abcdef"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Return a store with a network and a baseline in one experiment, a failed run beside them, and a run in another experiment."""
    root = tmp_path_factory.mktemp("store")
    client = connect(None, root)
    for experiment, model, seed, status in (
        ("a", "gru", 3, "FINISHED"),
        ("a", "baseline", 0, "FINISHED"),
        ("a", "gru", 4, "FAILED"),
        ("b", "lstm", 5, "FINISHED"),
    ):
        is_dirty = {"git_dirty": "true" if seed == 3 else "false"}
        tracker = Tracker.start(client, experiment, "run", Paths.below(root), {})
        tracker.set_tags({**CODE, **is_dirty, **({"baseline": "ridge"} if model == "baseline" else {})})
        tracker.log_params({"model": model, "seed": seed})
        if model != "baseline":
            tracker.log_metrics({"test/mse": seed / 8}, 1)
        tracker.finish(status)
    return client


def test_finished_runs_of_the_named_experiments_are_rows(client: Client) -> None:
    table = runs_table(client, ["a"], COLUMNS, "x").sort_values("seed", ignore_index=True)
    assert list(table.columns) == list(COLUMNS)
    assert table[["where", "model", "seed", "code"]].to_numpy().tolist() == [
        ["a", "ridge", "0", "0123456789"],
        ["a", "gru", "3", "0123456789+"],
    ]
    assert pd.isna(table["test"][0]) and table["test"][1] == 0.375
    assert sorted(runs_table(client, ["b", "a"], COLUMNS, "x")["where"]) == ["a", "a", "b"]


def test_an_experiment_without_finished_runs_is_named_with_what_makes_them(client: Client) -> None:
    with pytest.raises(TrackingError, match=r"experiment nothing of sqlite:.*run python run\.py first"):
        runs_table(client, ["a", "nothing"], COLUMNS, "python run.py")


def test_a_source_that_is_none_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match=r"'param\.seed' is no column of a run: params\.NAME"):
        runs_table(client, ["a"], {"seed": "param.seed"}, "x")


ROWS = pd.DataFrame({"model": ["lstm", "gru", "gru"], "seed": [1, 2, 1], "fold": [0, 1, 0], "test_hash": ["x", "y", "x"]})


def test_rows_are_sorted_by_what_identifies_them() -> None:
    assert in_order(ROWS, ["model", "seed"], same_test=["fold"])["seed"].tolist() == [1, 2, 1]


def test_a_repeated_run_is_refused() -> None:
    with pytest.raises(TrackingError, match=r"1 runs repeat another one's model: delete the older ones in the UI"):
        in_order(ROWS, ["model"])


def test_runs_on_other_test_examples_are_refused() -> None:
    with pytest.raises(TrackingError, match=r"runs of one model differ in their test split: \{'gru': 2\}"):
        in_order(ROWS, ["model", "seed"], same_test=["model"])
