"""Forecasts that need no input, against numbers worked out by hand."""

from math import log

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.constant import Mean, Persistence
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
    columns = model.task.columns(model.respond(test), test)
    return np.stack([columns[f"prediction/{name}"] for name in spec.label_names], 1)


@pytest.mark.parametrize("link", ["identity", "exp"])
def test_persistence_forecasts_what_the_data_say_goes_on(link: Link) -> None:
    persisted = [[1.5, 2.0], [0.3, 0.4], [5.0, 7.0]]
    batch = batch_of([[1.0, 1.0]] * 3, reference_of(3, [0.5, -1.0], [2.0, 0.25], persisted))
    assert forecasts_of("persistence", spec_of(link), [batch], batch) == pytest.approx(np.array(persisted), rel=1e-6)


def test_persistence_without_a_past_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data=toy says nothing of persistence: choose another baseline.kind"):
        Persistence(spec_of("identity"), SETTINGS).respond({}, batch_of([[1.0, 1.0]]))


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
    outputs = method.respond(method.fit([batch], [batch]), batch)
    assert outputs == pytest.approx(np.tile([log(4 / 7), log(2 / 7), log(1 / 7)], (4, 1)))
