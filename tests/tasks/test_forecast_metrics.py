"""Metrics of forecasts of a series' own values, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec, Past, Reference
from rnnlab.report.per_unit import function_of, separable, unit_sums
from rnnlab.tasks import Regularisation, Task, make_task
from rnnlab.tasks.table_metrics import errors_by_step, of_paths

NONE = Regularisation(0.0, "none", 0.0)
PATH = DataSpec("toy", "features", 1, "real", 2, ("step_1", "step_2"), horizons=(1, 2), is_path=True, is_scaled_apart=True, season=2)
LEVELS = (0.1, 0.5, 0.9)
TARGETS = [[2.0, 4.0], [0.0, -6.0]]


def batch_of(season_error: list[float]) -> Batch:
    """Return two examples: forecasts start from 1 and 2, in units of 2 and 4."""
    targets_BD = torch.tensor(TARGETS, dtype=torch.double)
    ones_B = torch.ones(2, dtype=torch.int64)
    start_BD, scale_BD = (torch.tensor([[a, a], [b, b]], dtype=torch.double) for a, b in ((1, 2), (2, 4)))
    past = Past(torch.zeros(2, 3).double(), ones_B, ones_B, ones_B * 0, torch.tensor(season_error).double())
    return Batch(torch.zeros(2, 3, 1), ones_B * 3, targets_BD, ones_B, torch.arange(2), Reference(start_BD, scale_BD, start_BD), past=past)


def measured(task: Task[Tensor], outputs: list[list[float]], batch: Batch) -> dict[str, float]:
    metrics = task.metrics()
    task.update(metrics, torch.tensor(outputs), batch)
    return task.flatten(metrics.compute())


def table_of(task: Task[Tensor], outputs: list[list[float]], batch: Batch) -> pd.DataFrame:
    return pd.DataFrame({"example_id": ["a", "b"]} | task.target_columns(batch) | task.columns(torch.tensor(outputs), batch))


# Outputs 1 and 0.5 of the first are the forecasts 3 and 2, with errors 1 and 2; 0 and -1 of the second are 2 and -2, with errors 2 and 4.
OUTPUTS = [[1.0, 0.5], [0.0, -1.0]]


def test_errors_are_measured_in_the_series_own_scale_and_in_those_of_a_season() -> None:
    numbers = measured(make_task(PATH, NONE), OUTPUTS, batch_of([0.5, 4.0]))
    assert numbers["mae"] == pytest.approx((1 + 2 + 2 + 4) / 4)
    assert numbers["mse"] == pytest.approx((1 + 4 + 4 + 16) / 4)
    assert numbers["scaled_mae"] == pytest.approx((0.5 + 1 + 0.5 + 1) / 4)
    assert numbers["scaled_mse"] == pytest.approx((0.25 + 1 + 0.25 + 1) / 4)
    assert numbers["mase"] == pytest.approx((2 + 4 + 0.5 + 1) / 4)
    assert numbers["smape"] == pytest.approx((2 * 1 / 5 + 2 * 2 / 6 + 2 * 2 / 2 + 2 * 4 / 8) / 4)
    assert numbers["crps"] == pytest.approx(numbers["mae"])


def test_a_series_whose_season_makes_no_error_does_not_count_and_none_leaves_no_number() -> None:
    assert measured(make_task(PATH, NONE), OUTPUTS, batch_of([0.5, 0.0]))["mase"] == pytest.approx(3)
    assert "mase" not in measured(make_task(PATH, NONE), OUTPUTS, batch_of([0.0, 0.0]))
    assert "mase" not in measured(make_task(replace(PATH, season=0), NONE), OUTPUTS, batch_of([1.0, 1.0]))


def test_a_forecast_of_zero_of_what_is_zero_has_no_percentage_error() -> None:
    found = measured(make_task(PATH, NONE), [[0.5, 1.5], [-0.5, -2.0]], batch_of([1.0, 1.0]))
    assert found["smape"] == 0 == found["mae"]


def test_crps_is_twice_the_mean_pinball_loss_of_the_quantiles() -> None:
    task = make_task(PATH, NONE, LEVELS)
    # Of each step three quantiles: the first example's are 2, 3, 4 and 1, 3, 5 of the truths 2 and 4.
    outputs = [[0.5, 1.0, 1.5, 0.0, 1.0, 2.0], [-0.5, -0.5, -0.5, -2.0, -2.0, -2.0]]
    numbers = measured(task, outputs, batch_of([1.0, 1.0]))
    first = (0 + 0.5 * 1 + 0.1 * 2) / 3  # above the truth by 0, 1, 2, at weights 1 - q
    second = (0.1 * 3 + 0.5 * 1 + 0.1 * 1) / 3
    assert numbers["crps"] == pytest.approx(2 * (first + second + 0 + 0) / 4)
    assert numbers["pinball"] == pytest.approx(numbers["crps"] / 2)
    table = table_of(task, outputs, batch_of([1.0, 1.0]))
    found = of_paths(table, PATH.label_names, LEVELS)
    assert found["coverage/80"] == 1 and found["width/80"] == pytest.approx((2 + 4 + 0 + 0) / 4)
    assert errors_by_step(table, PATH.label_names, LEVELS)["coverage"].tolist() == [1, 1]


def test_each_step_of_a_path_has_its_errors_and_those_of_the_last_value() -> None:
    task = make_task(PATH, NONE)
    found = errors_by_step(table_of(task, OUTPUTS, batch_of([1.0, 1.0])), PATH.label_names)
    assert found["step"].tolist() == [1, 2]
    assert found["scaled_mse"].tolist() == pytest.approx([0.25, 1]) and found["scaled_mae"].tolist() == pytest.approx([0.5, 1])
    # From 1 and 2: errors 1 and 3, then 2 and 8, in units of 2 and 4.
    assert found["persistence_scaled_mae"].tolist() == pytest.approx([(0.5 + 0.5) / 2, (1.5 + 2) / 2])
    assert task.table_metrics(table_of(task, OUTPUTS, batch_of([1.0, 1.0]))) == pytest.approx({"first_step": 0.25, "last_step": 1})


@pytest.mark.parametrize("metric", ["mse", "mae", "scaled_mse", "scaled_mae", "skill"])
def test_metrics_of_paths_are_taken_apart_by_example(metric: str) -> None:
    task, batch = make_task(PATH, NONE), batch_of([1.0, 1.0])
    table = table_of(task, OUTPUTS, batch)
    assert metric in separable(table)
    sums = unit_sums(table, metric).sums_UK
    assert function_of(metric)(sums.sum(0)) == pytest.approx(measured(task, OUTPUTS, batch)[metric])
    assert np.isfinite(sums).all()
