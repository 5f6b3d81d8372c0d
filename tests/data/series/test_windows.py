"""Claims about windows over series: where they end, what they hold, what is fitted, how they are changed."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Link
from rnnlab.data.batches import ExampleRandom
from rnnlab.data.series.windows import (
    ALL_SERIES,
    Scales,
    ScalesByName,
    Series,
    WindowAugment,
    at_ends,
    augment,
    cut,
    ends_of,
    fit_scales,
    list_windows,
)

NAN = np.nan


def days(num: int, start: str = "2020-01-01") -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(num) * np.timedelta64(1, "D")


def series(
    features: list[float], targets: list[float] | None = None, name: str = "A", size: float = 1.0, start: str = "2020-01-01"
) -> Series:
    """One feature a step and one target: by default the next step's feature."""
    values = np.array(features, dtype=float)
    later = np.append(values[1:], NAN) if targets is None else np.array(targets, dtype=float)
    return Series(
        name=name,
        times=days(len(values), start),
        features=pd.DataFrame({"x": values}),
        targets=later[:, None],
        persistence=values[:, None],
        base=np.zeros((len(values), 1)),
        size=np.full((len(values), 1), size),
    )


# Where windows end


@pytest.mark.parametrize(
    ("features", "length", "ends"),
    [
        ([1, 2, 3, 4, 5], 1, [0, 1, 2, 3]),  # the last step's target is unknown
        ([1, 2, 3, 4, 5], 3, [2, 3]),
        ([NAN, NAN, 3, 4, 5, 6], 2, [3, 4]),  # warm-up
        ([1, 2, NAN, 4, 5, 6, 7], 2, [4, 5]),  # a gap is in no window, and the target of step 1 is unknown
        ([1, 2], 2, []),
        ([NAN, NAN, NAN], 1, []),
        ([1, 2, 3], 9, []),
    ],
)
def test_windows_end_where_all_of_their_steps_and_every_target_are_known(features: list[float], length: int, ends: list[int]) -> None:
    assert ends_of(series(features), length).tolist() == ends


def test_targets_and_persistence_that_are_unknown_make_no_window() -> None:
    one = series([1, 2, 3, 4, 5], targets=[1, 2, NAN, 4, np.inf])
    assert ends_of(one, 1).tolist() == [0, 1, 3]
    one.persistence[1] = NAN
    assert ends_of(one, 1).tolist() == [0, 3]


def test_windows_are_listed_with_their_series_date_and_last_date_looked_at() -> None:
    index = list_windows([series([1, 2, 3, 4], name="A"), series([5, 6, 7], name="B")], 2, 1, 10)
    assert index["id"].tolist() == ["A 2020-01-02", "A 2020-01-03", "B 2020-01-02"]
    assert index["series"].tolist() == ["A", "A", "B"] and index["number"].tolist() == [0, 0, 1] and index["end"].tolist() == [1, 2, 1]
    assert (index["last_date"] - index["date"]).dt.days.tolist() == [1, 1, 1]


def test_the_last_date_is_that_of_the_series_own_step_not_of_the_calendar() -> None:
    one = series([1, 2, 3, 4])
    one.times[3] = np.datetime64("2020-02-20", "us")
    assert list_windows([one], 1, 2, 10)["last_date"].dt.day.tolist() == [3, 20, 20]


def test_ids_of_times_within_a_day_name_the_minute() -> None:
    one = series([1, 2, 3])
    one.times[:] = np.datetime64("2020-01-01T10:00", "us") + np.arange(3) * np.timedelta64(15, "m")
    assert list_windows([one], 1, 1, 16)["id"].tolist() == ["A 2020-01-01T10:00", "A 2020-01-01T10:15"]


# What windows hold


def one_for_all(scales: Scales) -> ScalesByName:
    return ScalesByName({ALL_SERIES: scales})


def scales_of_one() -> ScalesByName:
    return one_for_all(Scales(np.zeros(1), np.ones(1), np.zeros(1), np.ones(1), *np.zeros((2, 1), dtype=bool)))


def fitted(all_series: list[Series], train: pd.DataFrame, link: Link = "identity") -> Scales:
    """Fit one scale for all series."""
    return fit_scales(all_series, train, link, is_apart=False).of("any")


def test_a_window_ends_at_its_forecast_and_holds_nothing_of_another_series() -> None:
    both = [series([1, 2, 3, 4], name="A"), series([5, 6, 7], name="B")]
    index = list_windows(both, 2, 1, 10)
    windows = cut(both, index, scales_of_one())
    assert windows.inputs(np.array([0, 1, 2]), 2)[..., 0].tolist() == [[1, 2], [2, 3], [5, 6]]
    assert windows.targets[:, 0].tolist() == [3, 4, 7] and windows.persistence[:, 0].tolist() == [2, 3, 6]
    assert windows.values.dtype == np.float32
    assert {part.dtype for part in (windows.targets, windows.offset, windows.scale, windows.persistence)} == {np.dtype(np.float64)}


def test_values_at_ends_are_taken_from_each_series_in_turn() -> None:
    both = [series([1, 2, 3], name="A"), series([5, 6, 7, 8], name="B")]
    index = list_windows(both, 1, 1, 10)
    assert at_ends(both, index, lambda one: one.persistence)[:, 0].tolist() == [1, 2, 5, 6, 7]


# Scales


def test_scales_are_mean_and_spread_of_training_by_hand() -> None:
    one = series([2, 4, 6, 8, 100, 1000])
    index = list_windows([one], 1, 1, 10)
    scales = fitted([one], index.iloc[:3])
    assert scales.feature_mean == pytest.approx([4]) and scales.feature_std == pytest.approx([np.sqrt(8 / 3)])
    assert scales.target_mean == pytest.approx([6]) and scales.target_std == pytest.approx([np.sqrt(8 / 3)])


def test_later_values_change_no_scale() -> None:
    one, other = series([2, 4, 6, 8, 100, 1000]), series([2, 4, 6, 8, -7, 0.1])
    index = list_windows([one], 1, 1, 10)
    ours, theirs = (fitted([each], index.iloc[:3]) for each in (one, other))
    for name, value in vars(ours).items():
        assert np.array_equal(value, vars(theirs)[name])


def test_a_feature_that_never_moves_is_not_divided_by_zero() -> None:
    one = series([3, 3, 3, 3, 3])
    scales = fitted([one], list_windows([one], 1, 1, 10))
    assert scales.features(np.array([[3.0], [1e6]])).tolist() == [[0], [0]]  # nor does it drown the others when it moves at last
    assert scales.is_still.tolist() == [True] and scales.target_std.tolist() == [0.01]


@pytest.mark.parametrize(("level", "unit"), [(5e8, 0.01), (0.25, 0.0025), (0.0, 0.01), (-1e-6, 1e-8)])
def test_a_target_that_stands_still_is_measured_in_a_hundredth_of_its_level(level: float, unit: float) -> None:
    one = series([level] * 6)
    scales = fitted([one], list_windows([one], 1, 1, 10))
    assert (
        scales.is_still.tolist() == [True] and scales.target_std == pytest.approx([unit]) and scales.target_mean == pytest.approx([level])
    )


def test_what_moves_by_a_trillionth_of_its_level_moves() -> None:
    scales = fitted([one := series([1e8, 1e8 + 1e-3, 1e8, 1e8 + 1e-3, 1e8])], list_windows([one], 1, 1, 10))
    assert scales.is_still.tolist() == [False] and scales.target_std == pytest.approx([5e-4], rel=1e-3)


def test_series_scaled_apart_do_not_see_each_other() -> None:
    narrow, wide = series([1, 2, 4, 3, 5], name="narrow"), series([1000, 5000, 2000, 9000, 1000], name="wide")
    wider = series([1024 * value for value in (1000, 5000, 2000, 9000, 1000)], name="wide")
    index = list_windows([narrow, wide], 1, 1, 10)
    apart, again = (cut([narrow, each], index, fit_scales([narrow, each], index, "identity", is_apart=True)) for each in (wide, wider))
    alone = cut([narrow], index.iloc[:4], fit_scales([narrow], index.iloc[:4], "identity", is_apart=True))
    assert np.array_equal(apart.values, again.values) and np.array_equal(apart.values[:5], alone.values)
    assert np.array_equal(apart.scale[4:] * 1024, again.scale[4:]) and np.array_equal(apart.scale[:4], alone.scale)


def test_scales_of_a_series_that_training_never_saw_are_not_made_up() -> None:
    scales = ScalesByName({name: scales_of_one().of("") for name in ("A", "B")})
    with pytest.raises(ValueError, match=r"scales each series by its own training part and has not seen 'C'; it knows: A, B"):
        scales.of("C")


@pytest.mark.parametrize(("link", "read"), [("identity", lambda x: x), ("exp", np.exp)])
def test_offset_and_scale_turn_standardised_targets_into_targets(link: Link, read: object) -> None:
    values = np.random.default_rng(0).uniform(1, 9, 30)
    one = series(values.tolist(), size=2.0)
    index = list_windows([one], 3, 1, 10)
    windows = cut([one], index, fit_scales([one], index, link, is_apart=False))
    outputs = (np.log(windows.targets) if link == "exp" else windows.targets) - windows.offset
    standard = outputs / windows.scale
    assert standard.mean() == pytest.approx(0, abs=1e-5) and standard.std() == pytest.approx(1, abs=1e-4)
    assert callable(read) and read(windows.offset + windows.scale * standard) == pytest.approx(windows.targets, rel=1e-5)


def test_what_forecasts_start_from_and_are_measured_in_is_each_windows_own() -> None:
    scales = Scales(np.zeros(1), np.ones(1), np.array([0.5]), np.array([3.0]), *np.zeros((2, 1), dtype=bool))
    base, size = np.array([[10.0], [20.0]]), np.array([[1.0], [2.0]])
    assert scales.offset(base, size)[:, 0].tolist() == [10.5, 21] and scales.scale(size)[:, 0].tolist() == [3, 6]


# Augmentation


def changed(
    values_BTF: Tensor, ids: list[int], epoch: int = 0, jitter: float = 0, scaling: float = 0, shift: int = 0
) -> tuple[Tensor, Tensor]:
    return augment(values_BTF, WindowAugment(jitter, scaling, shift), ExampleRandom(3, epoch, np.array(ids)))


VALUES_BTF = torch.arange(1.0, 41.0).reshape(4, 5, 2)


def test_zeros_leave_windows_as_they_are() -> None:
    found_BTF, lengths_B = changed(VALUES_BTF, [0, 1, 2, 3])
    assert torch.equal(found_BTF, VALUES_BTF) and lengths_B.tolist() == [5, 5, 5, 5]


def test_jitter_is_standard_normal_noise_times_its_size() -> None:
    found_BTF, _ = changed(torch.zeros(200, 20, 5), list(range(200)), jitter=0.3)
    assert found_BTF.mean().item() == pytest.approx(0, abs=4 * 0.3 / np.sqrt(20000))
    assert found_BTF.std().item() == pytest.approx(0.3, rel=0.03)
    assert (found_BTF.abs() < 0.3).float().mean().item() == pytest.approx(0.6827, abs=0.015)


def test_scaling_is_one_factor_a_window_within_its_range() -> None:
    found_BTF, _ = changed(torch.ones(300, 4, 3), list(range(300)), scaling=0.2)
    factors_B = found_BTF[:, 0, 0]
    assert torch.equal(found_BTF, factors_B[:, None, None].expand_as(found_BTF))
    assert 0.8 <= factors_B.min() < 0.82 and 1.18 < factors_B.max() <= 1.2


def test_a_shift_begins_later_and_ends_at_the_forecast() -> None:
    found_BTF, lengths_B = changed(VALUES_BTF.repeat(25, 1, 1), list(range(100)), shift=2)
    assert set(lengths_B.tolist()) == {3, 4, 5}
    for values_TF, whole_TF, length in zip(found_BTF, VALUES_BTF.repeat(25, 1, 1), lengths_B.tolist(), strict=True):
        assert torch.equal(values_TF[:length], whole_TF[5 - length :]) and not values_TF[length:].any()


def test_changes_follow_from_seed_epoch_and_example_alone() -> None:
    together, lengths_B = changed(VALUES_BTF, [5, 6, 7, 8], jitter=0.1, scaling=0.2, shift=2)
    alone, length = changed(VALUES_BTF[2:3], [7], jitter=0.1, scaling=0.2, shift=2)
    assert torch.equal(together[2:3], alone) and lengths_B[2] == length[0]
    assert not torch.equal(together, changed(VALUES_BTF, [5, 6, 7, 8], epoch=1, jitter=0.1, scaling=0.2, shift=2)[0])
