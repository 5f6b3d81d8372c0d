"""Forecasts that need no input, against numbers worked out by hand."""

from math import log

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.constant import Mean, Memoryless, Persistence
from rnnlab.contracts import Batch, DataSpec, Link, Reference
from rnnlab.models.baseline import Baseline

SETTINGS = BaselineSettings("mean", None, 2)


def spec_of(link: Link, size: int = 2) -> DataSpec:
    return DataSpec("toy", "features", 1, "real", size, tuple(f"x{i}" for i in range(size)), link=link)


def batch_of(targets: list[list[float]], reference: Reference | None = None) -> Batch:
    ones = torch.ones(len(targets), dtype=torch.int64)
    return Batch(torch.zeros(len(targets), 1, 1), ones, torch.tensor(targets), ones, torch.arange(len(targets)), reference)


def reference_of(count: int, offset: list[float], scale: list[float], persistence: list[list[float]] | None = None) -> Reference:
    persisted = torch.tensor(persistence) if persistence else torch.ones(count, len(offset))
    return Reference(torch.tensor([offset] * count), torch.tensor([scale] * count), persisted)


def forecasts_of(kind: str, spec: DataSpec, train: list[Batch], test: Batch) -> np.ndarray:
    """Return forecasts in the target's unit."""
    model = Baseline(spec, BaselineSettings(kind, None, 2))
    model.fit(train, train)
    columns = model.task.columns(model.predict(test), test)
    return np.stack([columns[f"prediction/{name}"] for name in spec.label_names], 1)


@pytest.mark.parametrize("link", ["identity", "exp"])
def test_persistence_forecasts_what_the_data_say_goes_on(link: Link) -> None:
    persisted = [[1.5, 2.0], [0.3, 0.4], [5.0, 7.0]]
    batch = batch_of([[1.0, 1.0]] * 3, reference_of(3, [0.5, -1.0], [2.0, 0.25], persisted))
    assert forecasts_of("persistence", spec_of(link), [batch], batch) == pytest.approx(np.array(persisted), rel=1e-6)


def test_persistence_without_a_past_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data=toy says nothing of persistence: choose another baseline.kind"):
        Persistence(spec_of("identity"), SETTINGS).predict({}, batch_of([[1.0, 1.0]]))


@pytest.mark.parametrize("link", ["identity", "exp"])
@pytest.mark.parametrize("has_reference", [False, True])
def test_the_mean_is_that_of_the_training_targets_themselves(link: Link, has_reference: bool) -> None:
    targets = np.random.default_rng(0).lognormal(0, 1, (40, 2))
    reference = reference_of(20, [0.5, -1.0], [2.0, 0.25]) if has_reference else None
    train = [batch_of(part.tolist(), reference) for part in np.split(targets, 2)]
    test = batch_of([[1.0, 1.0]] * 20, reference)
    assert forecasts_of("mean", spec_of(link), train, test) == pytest.approx(np.tile(targets.mean(0), (20, 1)), rel=1e-5)


def test_of_classes_the_mean_is_their_share_with_one_example_more_each() -> None:
    spec = DataSpec("toy", "features", 1, "class", 3, ("a", "b", "c"), (3, 1, 0))
    ones = torch.ones(4, dtype=torch.int64)
    batch = Batch(torch.zeros(4, 1, 1), ones, torch.tensor([0, 0, 1, 0]), ones, torch.arange(4))
    method = Mean(spec, SETTINGS)
    outputs = method.predict(method.fit([batch], [batch]), batch)
    assert outputs == pytest.approx(np.tile([log(4 / 7), log(2 / 7), log(1 / 7)], (4, 1)))


ADDING = DataSpec("adding", "features", 1, "real", 1, ("sum",), memoryless=((1, (1.0,)),))
PARITY = DataSpec("parity", "features", 1, "class", 2, ("even", "odd"), (3, 3), memoryless=((1, (0.5, 0.5)),))
LATE = DataSpec("copying", "features", 1, "class_per_step", 3, ("-", "a", "b"), (4, 1, 1), memoryless=((4, (1, 0, 0)), (2, (0, 0.5, 0.5))))


def memoryless(spec: DataSpec, batch: Batch) -> torch.Tensor:
    method = Memoryless(spec, SETTINGS)
    return torch.from_numpy(method.predict(method.fit([], []), batch))


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (0.25, 3.0)])
def test_without_memory_the_known_number_is_forecast_in_the_targets_unit(offset: float, scale: float) -> None:
    batch = batch_of([[0.2], [1.7], [1.1]], reference_of(3, [offset], [scale]))
    assert (offset + scale * memoryless(ADDING, batch)).tolist() == pytest.approx(np.ones((3, 1)))
    assert forecasts_of("memoryless", ADDING, [batch], batch) == pytest.approx(np.ones((3, 1)), rel=1e-6)


def test_without_memory_probabilities_of_classes_are_those_known_to_be_best() -> None:
    ones = torch.ones(2, dtype=torch.int64)
    batch = Batch(torch.zeros(2, 5, 1), 5 * ones, torch.tensor([0, 1]), ones, torch.arange(2))
    assert memoryless(PARITY, batch).softmax(-1).tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize("num_steps", [6, 8])
def test_without_memory_each_step_has_its_answer_and_the_last_goes_on(num_steps: int) -> None:
    lengths = torch.full((2,), num_steps)
    targets = torch.tensor([[0, 0, 0, 0, 1, 2, 2, 1]] * 2)[:, :num_steps]
    batch = Batch(torch.zeros(2, num_steps, 1), lengths, targets, lengths, torch.arange(2))
    outputs = memoryless(LATE, batch)
    wanted = [[1, 0, 0]] * 4 + [[0, 0.5, 0.5]] * (num_steps - 4)
    assert outputs.float().softmax(-1).tolist() == [wanted, wanted]
    assert outputs.isfinite().all()
    # Two of six steps (four of eight) ask for one of two symbols, ln 2 each, and nothing else costs anything.
    losses = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    assert losses.item() == pytest.approx((num_steps - 4) * log(2) / num_steps)
