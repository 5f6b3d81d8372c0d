"""Baselines of a series' own past, against forecasts worked out by hand."""

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.contracts import Batch, DataSpec, Past, Reference
from rnnlab.models.baseline import Baseline

HOUR = 3_600_000_000
SPEC = DataSpec("toy", "features", 1, "real", 5, tuple("abcde"), horizons=(1, 2, 3, 4, 5), is_path=True, is_scaled_apart=True, season=3)


def batch_of(past: list[list[float]], targets: list[list[float]], hours: list[int], series: list[int], step: int = 8) -> Batch:
    """Return windows that end so many hours after 1970, rows `step` hours apart; forecasts start from the last value, in units of 2."""
    values_BT, targets_BD = torch.tensor(past, dtype=torch.double), torch.tensor(targets, dtype=torch.double)
    ones_B = torch.ones(len(past), dtype=torch.int64)
    last_BD = values_BT[:, -1:].expand(targets_BD.shape)
    reference = Reference(last_BD, torch.full_like(targets_BD, 2.0), last_BD)
    known = Past(values_BT, torch.tensor(hours) * HOUR, ones_B * step * HOUR, torch.tensor(series), ones_B.double())
    lengths_B = ones_B * values_BT.shape[1]
    return Batch(values_BT[..., None].float(), lengths_B, targets_BD, ones_B, torch.arange(len(past)), reference, past=known)


def forecasts(kind: str, train: Batch, asked: Batch, spec: DataSpec = SPEC) -> list[list[float]]:
    """Fit on one batch, which is validation, too, and return what is forecast of another, in the target's unit."""
    model = Baseline(spec, BaselineSettings(kind, None, 1))
    model.fit([train], [train])
    outputs = model.predict(asked)
    assert isinstance(outputs, torch.Tensor)
    answers = model.task.answers(outputs, asked)[0]
    assert isinstance(answers, torch.Tensor)
    found: list[list[float]] = answers.tolist()
    return found


WINDOW = batch_of([[9.0, 1.0, 2.0, 4.0]], [[0.0] * 5], [0], [0])


def test_the_last_season_comes_again_and_again() -> None:
    assert forecasts("seasonal", WINDOW, WINDOW) == [[1, 2, 4, 1, 2]]


def test_chosen_horizons_take_their_own_place_in_the_season() -> None:
    spec = DataSpec("toy", "features", 1, "real", 2, ("a", "b"), horizons=(2, 6), season=3)
    window = batch_of([[9.0, 1.0, 2.0, 4.0]], [[0.0] * 2], [0], [0])
    assert forecasts("seasonal", window, window, spec) == [[2, 4]]


def test_a_line_goes_on() -> None:
    window = batch_of([[1.0, 7.0, 0.0, 4.0]], [[0.0] * 5], [0], [0])
    assert forecasts("drift", window, window) == [[5, 6, 7, 8, 9]]


def test_a_season_longer_than_the_window_says_what_to_give() -> None:
    window = batch_of([[1.0, 2.0]], [[0.0] * 5], [0], [0])
    with pytest.raises(ValueError, match=r"repeats the last 3 steps, but windows have 2: give data.window_steps=3 or more"):
        forecasts("seasonal", window, window)


def test_a_season_that_is_unknown_is_asked_for() -> None:
    spec = DataSpec("toy", "features", 1, "real", 1, ("a",), horizons=(1,), season=0)
    with pytest.raises(ValueError, match=r"baseline.kind=seasonal cannot answer data=toy: no season is known .* give data.season_steps$"):
        Baseline(spec, BaselineSettings("seasonal", None, 1))


def test_data_without_a_past_of_their_own_have_no_such_baselines() -> None:
    spec = DataSpec("toy", "features", 1, "real", 1, ("a",), feature_names=("x",))
    with pytest.raises(
        ValueError, match=r"baseline.kind=drift is not for data=toy. Allowed: auto, persistence, mean, ridge, har, summary, warping$"
    ):
        Baseline(spec, BaselineSettings("drift", None, 1))


def test_climatology_is_the_mean_of_the_month_and_the_time_of_day_each_target_counted_once() -> None:
    # Rows every 8 hours from 1970-01-01T00; windows end at hours 0 and 8, targets at 8, 16, 24, 32, 40 and 16, ..., 48.
    train = batch_of([[0.0] * 4] * 2, [[1.0, 2, 3, 4, 5], [2.0, 3, 4, 5, 12]], [0, 8], [0, 0])
    # At 8 o'clock 1 and 4, at 16 o'clock 2 and 5, at midnight 3 and 12.
    assert forecasts("climatology", train, train) == [[2.5, 3.5, 7.5, 2.5, 3.5], [3.5, 7.5, 2.5, 3.5, 7.5]]


def test_climatology_of_a_month_that_training_lacks_is_that_of_the_time_of_day_and_of_a_new_series_its_own_mean() -> None:
    train = batch_of([[0.0] * 4], [[1.0, 2, 3, 4, 5]], [0], [0])
    in_july = batch_of([[8.0, 0, 0, 4]] * 2, [[0.0] * 5] * 2, [24 * 200] * 2, [0, -1])
    assert forecasts("climatology", train, in_july) == [[2.5, 3.5, 3, 2.5, 3.5], [3] * 5]


def test_a_linear_model_finds_the_map_of_the_past_to_all_steps() -> None:
    generator = np.random.default_rng(0)
    past = generator.normal(size=(400, 3)).cumsum(1) * 3 + 50
    targets = past[:, -1:] + (past[:, :1] - past[:, -1:]) * np.array([0.5, -1.0, 2.0, 0.0, 1.0]) + 0.25
    batch = batch_of(past.tolist(), targets.tolist(), list(range(400)), [0] * 400)
    assert np.array(forecasts("linear", batch, batch)) == pytest.approx(targets, abs=1e-2)


def test_all_steps_of_a_path_are_forecast_by_the_linear_model_unless_told_otherwise() -> None:
    assert Baseline(SPEC, BaselineSettings("auto", None, 1)).kind == "linear"
