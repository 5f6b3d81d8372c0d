"""Forecasts: losses, metrics and tables against numbers worked out by hand."""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec, Link, Reference
from rnnlab.tasks import Forecast, Regularisation, Task, make_task

NONE = Regularisation(0.0, "none", 0.0)
REAL = DataSpec("toy", "features", 4, "real", 2, ("open", "close"), unit="EUR")
POSITIVE = DataSpec("toy", "features", 4, "real", 1, ("variance",), link="exp")
LEVELS = (0.1, 0.5, 0.9)


def batch_of(targets: list[list[float]], reference: Reference | None = None) -> Batch:
    """Wrap targets; what else a batch holds does not matter to a task."""
    ones_B = torch.ones(len(targets), dtype=torch.int64)
    return Batch(torch.zeros(len(targets), 1, 4), ones_B, torch.tensor(targets), ones_B, torch.arange(len(targets)), reference)


def reference_of(offset: list[list[float]], scale: list[list[float]], persistence: list[list[float]]) -> Reference:
    return Reference(torch.tensor(offset), torch.tensor(scale), torch.tensor(persistence))


def measured(task: Task, *batches: tuple[Tensor, Batch]) -> dict[str, float]:
    """Compute all metrics over some batches."""
    metrics = task.metrics()
    for outputs, batch in batches:
        task.update(metrics, outputs, batch)
    return task.flatten(metrics.compute())


def rows_of(batch: Batch, rows: slice) -> Batch:
    """Cut a batch."""
    parts = {name: value[rows] for name, value in vars(batch).items() if isinstance(value, Tensor)}
    reference = None if batch.reference is None else Reference(*(value[rows] for value in vars(batch.reference).values()))
    return replace(batch, reference=reference, **parts)  # type: ignore[arg-type]  # names of fields that hold tensors


def test_real_targets_ask_for_a_forecast() -> None:
    task = make_task(REAL, NONE)
    assert type(task) is Forecast
    assert task.output_size == 2


@pytest.mark.parametrize(
    ("link", "quantiles", "chosen", "compared"),
    [
        ("identity", (), "mse", "mse"),
        ("exp", (), "qlike", "qlike"),
        ("identity", LEVELS, "pinball", "mse"),
        ("exp", LEVELS, "pinball", "qlike"),
    ],
)
def test_quantiles_choose_checkpoints_by_their_own_loss_but_are_compared_as_points(
    link: Link, quantiles: tuple[float, ...], chosen: str, compared: str
) -> None:
    spec = DataSpec("toy", "features", 4, "real", 2, ("x", "y"), link=link)
    task = make_task(spec, NONE, quantiles)
    assert (task.metric.name, task.metric.direction) == (chosen, "min")
    assert (task.compared.name, task.compared.direction) == (compared, "min")
    assert task.output_size == 2 * max(1, len(quantiles))
    assert {chosen, compared} <= set(measured(task, (torch.zeros(1, task.output_size), batch_of([[1.0, 2.0]]))))


@pytest.mark.parametrize("regularisation", [Regularisation(0.1, "none", 0.0), Regularisation(0.0, "balanced", 0.0)])
def test_what_is_for_classes_alone_is_refused_for_numbers(regularisation: Regularisation) -> None:
    with pytest.raises(ValueError, match=r"data=toy has real targets, for which model.regularisation.label_smoothing and class_weights"):
        make_task(REAL, regularisation)


@pytest.mark.parametrize(
    ("quantiles", "message"),
    [
        ((0.1, 0.9), r"quantiles=\[0.1, 0.9\] is not allowed: rising numbers between 0 and 1, an odd count of them, the median in the mid"),
        ((0.9, 0.5, 0.1), r"is not allowed: rising numbers"),
        ((0.5, 0.5, 0.5), r"is not allowed: rising numbers"),
        ((0.0, 0.5, 1.0), r"is not allowed: rising numbers between 0 and 1"),
        ((float("nan"),), r"is not allowed: rising numbers between 0 and 1"),
        ((0.1, 0.4, 0.9), r"quantiles=\[0.1, 0.4, 0.9\]: the middle one is the point forecast and must be 0.5"),
    ],
)
def test_quantiles_that_are_none_or_have_no_median_are_refused(quantiles: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(REAL, NONE, quantiles)


# Points


def test_errors_of_forecasts_equal_those_worked_out_by_hand_however_they_are_batched() -> None:
    task = make_task(REAL, NONE)
    outputs, batch = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), batch_of([[0.0, 4.0], [0.5, -1.0]])
    squares, sizes = 1 + 4 + 0.25 + 0, 1 + 2 + 0.5 + 0
    expected = {"mse": squares / 4, "rmse": sqrt(squares / 4), "mae": sizes / 4, "skill": 1 - squares / (0 + 16 + 0.25 + 1)}
    assert task.loss(outputs, batch).item() == pytest.approx(squares / 4)
    assert measured(task, (outputs, batch)) == pytest.approx(expected)
    parts = [(outputs[i : i + 1], rows_of(batch, slice(i, i + 1))) for i in (0, 1)]
    assert measured(task, *parts) == pytest.approx(expected)


PRICES = batch_of(
    [[110.0, 52.0], [95.0, 40.0]], reference_of([[100.0, 50.0], [100.0, 44.0]], [[5.0, 2.0], [10.0, 4.0]], [[101.0, 50.0]] * 2)
)


def test_the_loss_is_the_squared_error_of_standardised_targets() -> None:
    outputs = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    # wanted: (110 - 100) / 5 = 2, (52 - 50) / 2 = 1, (95 - 100) / 10 = -0.5, (40 - 44) / 4 = -1
    assert make_task(REAL, NONE).loss(outputs, PRICES).item() == pytest.approx((1 + 0 + 0.25 + 1) / 4)


def test_forecasts_and_their_errors_are_in_the_targets_own_unit() -> None:
    task = make_task(REAL, NONE)
    outputs = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    columns = task.columns(outputs, PRICES)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "prediction/open": [105, 100],
        "prediction/close": [52, 44],
        "persistence/open": [101, 101],
        "persistence/close": [50, 50],
    }
    assert {name: values.tolist() for name, values in task.target_columns(PRICES).items()} == {
        "target/open": [110, 95],
        "target/close": [52, 40],
    }
    squares, of_persistence = 25 + 0 + 25 + 16, 81 + 4 + 36 + 100
    assert measured(task, (outputs, PRICES)) == pytest.approx(
        {"mse": squares / 4, "rmse": sqrt(squares / 4), "mae": (5 + 0 + 5 + 4) / 4, "skill": 1 - squares / of_persistence}
    )


@pytest.mark.parametrize("link", ["identity", "exp"])
@pytest.mark.parametrize("num_horizons", [1, 3])
def test_an_output_that_is_the_standardised_target_is_a_perfect_forecast(link: Link, num_horizons: int) -> None:
    names = tuple(f"x_{days}d" for days in range(num_horizons))
    task = make_task(DataSpec("toy", "features", 4, "real", num_horizons, names, link=link), NONE)
    torch.manual_seed(0)
    offset, scale, persistence = torch.randn(5, num_horizons), torch.rand(5, num_horizons) + 0.5, torch.rand(5, num_horizons) + 1
    targets = torch.rand(5, num_horizons) + 0.5
    batch = batch_of(targets.tolist(), Reference(offset, scale, persistence))
    outputs = ((targets.log() if link == "exp" else targets) - offset) / scale
    assert task.loss(outputs, batch).item() == pytest.approx(0, abs=1e-6)
    numbers = measured(task, (outputs, batch))
    assert numbers["skill"] == pytest.approx(1, abs=1e-6)
    assert numbers["mse"] == pytest.approx(0, abs=1e-6)
    columns = task.columns(outputs, batch)
    for index, name in enumerate(names):
        assert columns[f"prediction/{name}"] == pytest.approx(targets[:, index].numpy(), rel=1e-5)


@pytest.mark.parametrize("link", ["identity", "exp"])
def test_persistence_has_no_skill(link: Link) -> None:
    task = make_task(DataSpec("toy", "features", 4, "real", 1, ("x",), link=link), NONE)
    reference = reference_of([[0.5], [0.1], [2.0]], [[0.5], [2.0], [3.0]], [[2.0], [0.7], [1.0]])
    batch = batch_of([[1.0], [2.0], [0.3]], reference)
    values = reference.persistence.log() if link == "exp" else reference.persistence
    assert measured(task, ((values - reference.offset) / reference.scale, batch))["skill"] == pytest.approx(0, abs=1e-6)


# Positive targets


def test_qlike_equals_numbers_worked_out_by_hand() -> None:
    task = make_task(POSITIVE, NONE)
    batch = batch_of([[2.0], [1.0]], reference_of([[0.0], [1.0]], [[1.0], [0.5]], [[1.0], [1.0]]))
    outputs = torch.tensor([[log(4.0)], [0.0]])  # forecasts 4 and e
    expected = ((2 / 4 - log(2 / 4) - 1) + (1 / exp(1) + 1 - 1)) / 2
    assert task.columns(outputs, batch)["prediction/variance"].tolist() == pytest.approx([4, exp(1)])
    assert task.loss(outputs, batch).item() == pytest.approx(expected)
    numbers = measured(task, (outputs, batch))
    assert numbers["qlike"] == pytest.approx(expected)
    assert numbers["mse"] == pytest.approx((4 + (exp(1) - 1) ** 2) / 2)
    parts = [(outputs[i : i + 1], rows_of(batch, slice(i, i + 1))) for i in (0, 1)]
    assert measured(task, *parts) == pytest.approx(numbers)


def test_the_constant_forecast_of_least_qlike_is_the_mean_and_not_the_median() -> None:
    task = make_task(POSITIVE, NONE)
    targets = np.random.default_rng(0).lognormal(0, 1, 200)
    batch = batch_of(targets[:, None].tolist())
    best = minimize_scalar(lambda value: task.loss(torch.full((200, 1), value), batch).item(), bounds=(-3, 3), method="bounded")
    assert exp(best.x) == pytest.approx(targets.mean(), rel=0.01)
    assert targets.mean() > 1.3 * np.median(targets)


@pytest.mark.parametrize("output", [-60.0, 60.0])
def test_a_forecast_far_off_costs_much_but_stays_a_number(output: float) -> None:
    loss = make_task(POSITIVE, NONE).loss(torch.tensor([[output]], requires_grad=True), batch_of([[1.0]]))
    assert loss.item() > 50 and loss.isfinite()
    loss.backward()


# Quantiles


def pinball(level: float, target: float, forecast: float) -> float:
    return level * (target - forecast) if target > forecast else (1 - level) * (forecast - target)


def test_the_pinball_loss_equals_one_worked_out_by_hand() -> None:
    spec = DataSpec("toy", "features", 4, "real", 2, ("x", "y"))
    task = make_task(spec, NONE, LEVELS)
    outputs, targets = [[-1.0, 0.5, 2.0, 0.0, 1.0, 4.0]], [1.0, 5.0]
    expected = sum(pinball(level, target, outputs[0][3 * d + q]) for d, target in enumerate(targets) for q, level in enumerate(LEVELS)) / 6
    # by hand: x: .1*2 + .5*.5 + .1*1 = .55; y: .1*5 + .5*4 + .9*1 = 3.4
    assert expected == pytest.approx((0.55 + 3.4) / 6)
    batch = batch_of([targets])
    assert task.loss(torch.tensor(outputs), batch).item() == pytest.approx(expected)
    assert measured(task, (torch.tensor(outputs), batch))["pinball"] == pytest.approx(expected)
    scaled = batch_of([[10 + 4 * 1.0, 20 + 2 * 5.0]], reference_of([[10.0, 20.0]], [[4.0, 2.0]], [[0.0, 0.0]]))
    assert task.loss(torch.tensor(outputs), scaled).item() == pytest.approx(expected)  # what is learned has no unit
    assert measured(task, (torch.tensor(outputs), scaled))["pinball"] == pytest.approx((4 * 0.55 + 2 * 3.4) / 6)  # what is measured has


def test_the_constant_of_least_pinball_loss_is_the_quantile() -> None:
    task = make_task(DataSpec("toy", "features", 4, "real", 1, ("x",)), NONE, LEVELS)
    values = np.random.default_rng(1).normal(size=501)
    wanted = np.quantile(values, LEVELS)
    batch = batch_of(values[:, None].tolist())

    def loss(moved: np.ndarray) -> float:
        return task.loss(torch.tensor(moved, dtype=torch.float).tile(501, 1), batch).item()

    for q in range(3):
        for step in (-0.1, 0.1):
            assert loss(wanted + step * np.eye(3)[q]) > loss(wanted)


@pytest.mark.parametrize("link", ["identity", "exp"])
def test_quantiles_come_out_in_order_and_the_median_is_the_point_forecast(link: Link) -> None:
    spec = DataSpec("toy", "features", 4, "real", 2, ("x", "y"), link=link)
    task = make_task(spec, NONE, LEVELS)
    reference = reference_of([[1.0, 2.0]], [[0.5, 3.0]], [[1.0, 1.0]])
    batch = batch_of([[1.0, 1.0]], reference)
    columns = task.columns(torch.tensor([[0.3, -0.2, 0.1, 1.0, 3.0, 2.0]]), batch)  # crossed
    sorted_up: dict[str, list[float]] = {"x": [1 + 0.5 * z for z in (-0.2, 0.1, 0.3)], "y": [2 + 3 * z for z in (1, 2, 3)]}
    for name, values in sorted_up.items():
        wanted = [exp(value) for value in values] if link == "exp" else values
        found = [columns[f"quantile/{name}/{level:g}"].item() for level in LEVELS]
        assert found == pytest.approx(wanted)
        assert columns[f"prediction/{name}"].item() == pytest.approx(wanted[1])
    point, targets = task.answers(torch.tensor([[0.3, -0.2, 0.1, 1.0, 3.0, 2.0]]), batch)
    assert isinstance(point, Tensor) and isinstance(targets, Tensor)
    assert point.shape == targets.shape == (1, 2)


def test_quantiles_of_positive_targets_are_learned_in_logarithms_and_measured_as_they_are() -> None:
    task = make_task(POSITIVE, NONE, LEVELS)
    outputs, batch = torch.tensor([[-1.0, 0.0, 1.0]]), batch_of([[exp(0.5)]])
    assert task.loss(outputs, batch).item() == pytest.approx((0.1 * 1.5 + 0.5 * 0.5 + 0.1 * 0.5) / 3)
    forecasts = [exp(-1), 1.0, exp(1)]
    expected = sum(pinball(level, exp(0.5), forecast) for level, forecast in zip(LEVELS, forecasts, strict=True)) / 3
    assert measured(task, (outputs, batch))["pinball"] == pytest.approx(expected)


def test_unknown_targets_have_columns_of_forecasts_all_the_same() -> None:
    task = make_task(REAL, NONE)
    batch = batch_of([[float("nan")] * 2], reference_of([[100.0, 50.0]], [[5.0, 2.0]], [[101.0, 50.0]]))
    assert task.columns(torch.zeros(1, 2), batch)["prediction/open"].tolist() == [100]


# What a batch is


def test_a_batch_moves_to_a_device_whole_and_leaves_the_first_as_it_was() -> None:
    batch = rows_of(PRICES, slice(None))
    moved = batch.to(torch.device("meta"))
    assert moved.reference is not None and batch.reference is not None
    assert {value.device.type for value in [*vars(moved).values(), *vars(moved.reference).values()] if isinstance(value, Tensor)} == {
        "meta"
    }
    assert moved.targets.shape == batch.targets.shape
    assert batch.reference.scale.device.type == batch.inputs.device.type == "cpu"
    assert batch_of([[1.0]]).to(torch.device("meta")).reference is None
