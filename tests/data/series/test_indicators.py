"""Claims about features, targets and the audit: what they are worth in numbers, and that nothing sees the future."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest

from rnnlab.data.series.indicators import (
    FEATURES,
    VARIANCE_FLOOR,
    Estimator,
    LeakageError,
    TargetKind,
    audit_features,
    compute_features,
    daily_variance,
    num_warmup_rows,
    persistence,
    targets,
)

ALL = list(FEATURES)
KINDS: list[TargetKind] = ["return", "close", "direction", "volatility"]


def walk(num_rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Prices that wander, with high and low around open and close; business days from a Monday."""
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(generator.normal(0, 0.02, num_rows).cumsum())
    opened = close * np.exp(generator.normal(0, 0.01, num_rows))
    high = np.maximum(opened, close) * np.exp(generator.uniform(0.001, 0.02, num_rows))
    low = np.minimum(opened, close) * np.exp(-generator.uniform(0.001, 0.02, num_rows))
    dates = pd.bdate_range("2020-01-06", periods=num_rows)
    volume = generator.integers(0, 10_000, num_rows).astype(float)
    return pd.DataFrame({"date": dates, "open": opened, "high": high, "low": low, "close": close, "volume": volume})


def closes(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"date": pd.bdate_range("2020-01-06", periods=len(values)), "close": np.array(values, dtype=float)})


# Features


def test_features_of_a_day_are_as_worked_by_hand() -> None:
    frame = closes(100, 110).assign(open=[100.0, 104.0], high=[100.0, 112.0], low=[100.0, 102.0])
    row = compute_features(frame, ["return", "range", "gap", "body"]).iloc[1]
    assert row.to_dict() == pytest.approx({"return": 0.0953102, "range": 0.0935261, "gap": 0.0392207, "body": 0.0560895}, abs=1e-7)


def test_momentum_is_the_return_of_that_many_days() -> None:
    frame = walk()
    found = compute_features(frame, ["momentum_5", "momentum_22"])
    for days in (5, 22):
        pd.testing.assert_series_equal(found[f"momentum_{days}"][22:], np.log(frame["close"]).diff(days)[22:], check_names=False)


def test_relative_volume_compares_with_the_twenty_days_before() -> None:
    frame = walk()
    usual = frame["volume"].rolling(20).mean().shift(1)
    found = compute_features(frame, ["relative_volume"])["relative_volume"]
    expected = ((frame["volume"] + 1) / (usual + 1)).apply(np.log)
    pd.testing.assert_series_equal(found, expected, check_names=False)


def test_unknown_volumes_are_left_out_of_what_is_usual() -> None:
    frame = closes(*range(1, 23)).assign(volume=[np.nan] * 10 + [99.0] * 11 + [199.0])
    assert compute_features(frame, ["relative_volume"])["relative_volume"].iloc[21] == pytest.approx(np.log(2))


def test_log_volatilities_are_means_of_the_log_of_the_daily_variance() -> None:
    frame = walk()
    log_variance = np.log(daily_variance(frame, "auto")[0])
    found = compute_features(frame, ["log_volatility", "log_volatility_5", "log_volatility_22"])[22:]
    for name, window in (("log_volatility", 1), ("log_volatility_5", 5), ("log_volatility_22", 22)):
        pd.testing.assert_series_equal(found[name], log_variance.rolling(window).mean()[22:], check_names=False)


def test_the_calendar_is_two_circles() -> None:
    frame = closes(*[1.0] * 300)
    found = compute_features(frame, ["calendar"])
    assert list(found) == ["weekday_sin", "weekday_cos", "yearday_sin", "yearday_cos"]
    assert found.iloc[0, :2].tolist() == pytest.approx([0, 1])  # a Monday
    np.testing.assert_allclose(found.iloc[:-5, :2], found.iloc[5:, :2], atol=1e-12)
    np.testing.assert_allclose(found["yearday_sin"] ** 2 + found["yearday_cos"] ** 2, 1)
    first_of_july = found[frame["date"] == "2020-07-01"]  # day 183 of 366: half of the year is over
    assert first_of_july["yearday_cos"].item() == pytest.approx(np.cos(2 * np.pi * 182 / 366))


def test_a_weekend_lies_between_friday_and_monday() -> None:
    frame = pd.DataFrame({"date": pd.to_datetime(["2020-01-10", "2020-01-11", "2020-01-12", "2020-01-13"]), "close": 1.0})
    friday, saturday, sunday, monday = compute_features(frame, ["calendar"])[["weekday_sin", "weekday_cos"]].to_numpy()
    assert saturday.tolist() == sunday.tolist()
    assert np.linalg.norm(saturday - friday) == pytest.approx(np.linalg.norm(monday - saturday))


@pytest.mark.parametrize("name", ALL)
def test_a_feature_is_unknown_in_its_warm_up_and_nowhere_else(name: str) -> None:
    frame = walk()
    frame.loc[[0, 3, 30, 31], ["open", "high", "low", "volume"]] = np.nan
    found = compute_features(frame, [name])
    assert found.iloc[: num_warmup_rows([name])].isna().all(axis=None)
    assert np.isfinite(found.iloc[num_warmup_rows([name]) :]).all(axis=None)
    pd.testing.assert_frame_equal(FEATURES[name].compute(frame), found)


def test_the_warm_up_of_several_features_is_the_longest() -> None:
    assert num_warmup_rows(["range"]) == 0
    assert num_warmup_rows(["return", "relative_volume", "momentum_5"]) == 20
    assert compute_features(walk(), ["range", "momentum_5"]).iloc[:5].isna().all(axis=None)


def test_an_unknown_value_repeats_the_last_known_one_five_times_and_is_zero_after() -> None:
    frame = walk(12)
    frame.loc[2:8, "high"] = np.nan
    found = compute_features(frame, ["range"])["range"]
    assert (found[2:7] == found[1]).all()
    assert (found[7:9] == 0).all()
    assert found[9] == np.log(frame["high"][9] / frame["low"][9])


def test_a_value_does_not_depend_on_how_long_ago_the_series_began() -> None:
    frame = walk(80)
    late = frame.iloc[30:].reset_index(drop=True)
    whole, recent = (compute_features(table, ALL).to_numpy() for table in (frame, late))
    np.testing.assert_array_equal(recent[23:], whole[53:])


def test_a_feature_that_is_not_there_or_twice_or_lacks_its_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no feature 'rsi'; there are: return, range"):
        compute_features(walk(), ["return", "rsi"])
    with pytest.raises(ValueError, match=r"the feature 'return' is named twice"):
        compute_features(walk(), ["return", "return"])
    with pytest.raises(ValueError, match=r"no feature is named"):
        num_warmup_rows([])
    with pytest.raises(ValueError, match=r"the feature 'relative_volume' needs the column 'volume'; the prices have: date, close"):
        compute_features(closes(1, 2), ["relative_volume"])


# Variance of a day


def test_variances_are_as_worked_by_hand() -> None:
    frame = closes(100, 101).assign(open=[100.0, 100.0], high=[100.0, 102.0], low=[100.0, 99.0])
    # (100 ln(101/100))^2 = 0.990091; (100 ln(102/99))^2 = 8.911994, / 2.772589 = 3.214322, / 2 - 0.386294 x 0.990091 = 4.073531
    expected: dict[Estimator, float] = {"squared_return": 0.990091, "parkinson": 3.214322, "garman_klass": 4.073531}
    for estimator, value in expected.items():
        variance, used, _ = daily_variance(frame, estimator)
        assert used == estimator
        assert variance[1] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("estimator", ["parkinson", "garman_klass", "squared_return"])
def test_every_estimator_finds_the_variance_of_a_random_walk(estimator: Estimator) -> None:
    steps = np.random.default_rng(0).normal(0, 0.02 / np.sqrt(500), (3000, 500))
    paths = 100 * np.exp(np.concatenate([np.zeros((3000, 1)), steps], axis=1).cumsum(axis=1))
    paths[1:] *= np.cumprod(paths[:-1, -1] / 100)[:, None]  # each day opens where the last one closed
    frame = pd.DataFrame({"open": paths[:, 0], "high": paths.max(axis=1), "low": paths.min(axis=1), "close": paths[:, -1]})
    assert daily_variance(frame, estimator)[0].mean() == pytest.approx(4.0, rel=0.12)  # (2 %)^2; 500 points a day miss extremes


def test_auto_goes_by_the_columns_that_are_there() -> None:
    assert daily_variance(walk(), "auto")[1] == "parkinson"
    assert daily_variance(walk().drop(columns="open"), "auto")[1] == "parkinson"
    assert daily_variance(walk().drop(columns="low"), "auto")[1] == "squared_return"
    pd.testing.assert_series_equal(daily_variance(walk(), "auto")[0], daily_variance(walk(), "parkinson")[0])


@pytest.mark.parametrize("estimator", ["parkinson", "garman_klass"])
def test_a_day_without_a_range_takes_its_squared_return(estimator: Estimator) -> None:
    frame = walk()
    frame.loc[5, "high"] = np.nan
    for name in ("open", "high", "low"):
        frame.loc[7, name] = frame["close"][7]  # one price was recorded
    variance, _, counts = daily_variance(frame, estimator)
    squared = daily_variance(frame, "squared_return")[0]
    assert variance[[5, 7]].tolist() == squared[[5, 7]].tolist()
    assert counts == {"num_floored": 0, "num_without_range": 2}


def test_variances_are_floored_and_counted() -> None:
    variance, _, counts = daily_variance(closes(100, 100, 101, 101.0001), "squared_return")
    assert np.isnan(variance[0])
    assert variance[[1, 3]].tolist() == [VARIANCE_FLOOR] * 2
    assert counts == {"num_floored": 2, "num_without_range": 0}


def test_garman_klass_is_positive_where_high_and_low_enclose_and_floored_where_they_do_not() -> None:
    frame = walk(500)
    assert daily_variance(frame, "garman_klass")[2]["num_floored"] == 0
    frame.loc[3, ["open", "high", "low", "close"]] = [100.0, 101.0, 100.5, 110.0]
    variance, _, counts = daily_variance(frame, "garman_klass")
    assert (variance[3], counts["num_floored"]) == (VARIANCE_FLOOR, 1)


def test_an_estimator_that_lacks_a_column_or_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the estimator 'garman_klass' needs the column 'open'; the prices have: date, close"):
        daily_variance(closes(1, 2), "garman_klass")
    with pytest.raises(ValueError, match=r"the estimator 'close' is not one of auto, parkinson, squared_return, garman_klass"):
        daily_variance(closes(1, 2), "close")  # type: ignore[arg-type]  # a wrong value, on purpose


# Targets


def test_targets_are_as_worked_by_hand() -> None:
    frame = closes(100, 110, 99, 99)
    nan = np.nan
    found = {kind: targets(frame, kind, [1, 2], "auto") for kind in KINDS}
    assert [list(table) for table in found.values()] == [[f"{kind}_1d", f"{kind}_2d"] for kind in KINDS]
    np.testing.assert_allclose(found["return"].T, [[9.531018, -10.536052, 0, nan], [-1.005034, -10.536052, nan, nan]], atol=1e-6)
    np.testing.assert_array_equal(found["close"].T, [[110, 99, 99, nan], [99, 99, nan, nan]])
    np.testing.assert_array_equal(found["direction"].T, [[1, 0, 0, nan], [0, 0, nan, nan]])
    squared = [90.8403037, 111.0083826, VARIANCE_FLOOR]  # (100 ln(110/100))^2, (100 ln(99/110))^2
    np.testing.assert_allclose(
        found["volatility"].T, [[*squared, nan], [(squared[0] + squared[1]) / 2, (squared[1] + squared[2]) / 2, nan, nan]], rtol=1e-6
    )


def test_persistence_is_as_worked_by_hand() -> None:
    frame = closes(100, 110, 99, 105)
    nan = np.nan
    found = {kind: persistence(frame, kind, [1, 2], "auto").T.to_numpy() for kind in KINDS}
    np.testing.assert_array_equal(found["return"], np.zeros((2, 4)))
    np.testing.assert_array_equal(found["close"], [[100, 110, 99, 105]] * 2)
    np.testing.assert_array_equal(found["direction"], [[nan, 1, 0, 1], [nan, nan, 0, 0]])
    np.testing.assert_array_equal(persistence(closes(5, 5), "direction", [1], "auto")["direction_1d"], [nan, 0])
    squared = [90.8403037, 111.0083826, 34.6220444]
    np.testing.assert_allclose(found["volatility"][0], [nan, *squared], rtol=1e-6)
    np.testing.assert_allclose(found["volatility"][1], [nan, nan, (squared[0] + squared[1]) / 2, (squared[1] + squared[2]) / 2], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_is_known_exactly_when_its_days_are_over(kind: TargetKind) -> None:
    frame = walk(30)
    whole = targets(frame, kind, [1, 5], "auto")
    for horizon in (1, 5):
        column = whole[f"{kind}_{horizon}d"]
        assert column.isna().tolist() == [False] * (30 - horizon) + [True] * horizon
        known = targets(frame.iloc[: 10 + horizon + 1], kind, [horizon], "auto").iloc[10, 0]
        assert known == column[10]
        assert targets(frame.iloc[: 10 + horizon], kind, [horizon], "auto").isna().iloc[10, 0]


def test_the_volatility_target_is_the_persistence_of_h_days_later() -> None:
    frame = walk(30)
    later = persistence(frame, "volatility", [5], "auto").shift(-5)
    pd.testing.assert_frame_equal(targets(frame, "volatility", [5], "auto"), later)


@pytest.mark.parametrize("kind", KINDS)
def test_persistence_does_not_see_the_future(kind: TargetKind) -> None:
    audit_features(lambda frame: persistence(frame, kind, [1, 5], "auto"), walk(), [0, 4, 30, 58])


@pytest.mark.parametrize("kind", KINDS)
def test_the_audit_catches_every_target_used_as_a_feature(kind: TargetKind) -> None:
    with pytest.raises(LeakageError, match=rf"the feature '{kind}_5d' sees the future"):
        audit_features(lambda frame: targets(frame, kind, [5], "auto"), walk(), [30])


@pytest.mark.parametrize("horizons", [[], [0], [1, 1], [-5]])
@pytest.mark.parametrize("compute", [targets, persistence])
def test_horizons_are_different_positive_numbers(compute: Callable[..., pd.DataFrame], horizons: list[int]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"horizons={horizons}: wanted one or more different numbers of trading days")):
        compute(walk(), "return", horizons, "auto")


@pytest.mark.parametrize("compute", [targets, persistence])
def test_a_target_that_does_not_exist_is_refused(compute: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(ValueError, match=r"the target 'price' is not one of return, change, close, direction, volatility"):
        compute(walk(), "price", [1], "auto")


# Leakage audit

LEAKS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "tomorrow's close": lambda frame: frame["close"].shift(-1),
    "a centred mean": lambda frame: frame["close"].rolling(5, center=True).mean(),
    "a z-score over the whole series": lambda frame: (frame["close"] - frame["close"].mean()) / frame["close"].std(),
    "a scale over the whole series": lambda frame: frame["close"] / frame["close"].max(),
    "a rank over the whole series": lambda frame: frame["close"].rank(),
    "filling backwards": lambda frame: frame["volume"].bfill(),
    "interpolating": lambda frame: frame["high"].interpolate(),
    "days to the next trading day": lambda frame: frame["date"].diff().shift(-1).dt.days.astype(float),
    "rows still to come": lambda frame: pd.Series(np.arange(len(frame), dtype=float)[::-1], index=frame.index),
    "smoothing from the end": lambda frame: frame["close"][::-1].ewm(alpha=0.5).mean()[::-1],
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_look_ahead_is_caught(name: str) -> None:
    def compute(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"honest": frame["close"], "planted": LEAKS[name](frame)})

    with pytest.raises(LeakageError, match=r"the feature 'planted' sees the future"):
        audit_features(compute, walk(), [30])


def test_a_look_ahead_that_shows_only_when_dates_or_zeros_change_is_caught() -> None:
    frame = walk().assign(volume=0.0)
    looks_ahead = {
        "a long break ahead": lambda prices: prices["date"].diff().shift(-1).dt.days > 3,
        "no volume tomorrow": lambda prices: ~(prices["volume"].shift(-1) > 0),
    }

    def of_one(name: str, planted: Callable[[pd.DataFrame], pd.Series], prices: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({name: planted(prices).astype(float)})

    for name, planted in looks_ahead.items():
        with pytest.raises(LeakageError, match=rf"the feature '{name}' .* were replaced by others"):
            audit_features(partial(of_one, name, planted), frame, [30])


def test_a_leak_is_told_with_its_days() -> None:
    def compute(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"centred": frame["close"].rolling(5, center=True).mean()})

    told = (  # row 9 is the first whose window, rows 7 to 11, holds a row after row 10
        r"the feature 'centred' sees the future: a forecast made on 2020-01-20 \(row 10\) may use prices up to that day, but the feature's "
        r"value of 2020-01-17 \(row 9, the first\) changed when only prices after 2020-01-20 were removed"
    )
    with pytest.raises(LeakageError, match=told):
        audit_features(compute, walk(), [10])


def test_warm_up_filled_from_the_future_is_caught_by_a_cut_inside_it() -> None:
    def compute(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[["close"]].rolling(20).mean().bfill()

    audit_features(compute, walk(), [25])
    with pytest.raises(LeakageError, match=r"value of 2020-01-06 \(row 0, the first\)"):
        audit_features(compute, walk(), [3])


@pytest.mark.parametrize("name", ALL)
def test_no_feature_of_the_registry_sees_the_future(name: str) -> None:
    frame = walk()
    frame.loc[[0, 20, 21, 30], ["open", "high", "low", "volume"]] = np.nan
    audit_features(FEATURES[name].compute, frame, [0, 1, 5, 19, 20, 21, 22, 29, 30, 58])


def test_features_together_do_not_see_the_future_with_few_columns_either() -> None:
    names = [name for name, feature in FEATURES.items() if set(feature.needs) <= {"date", "close"}]
    audit_features(lambda frame: compute_features(frame, names), walk()[["date", "close"]], [0, 21, 22, 40])


def test_features_that_vary_by_chance_are_not_called_a_leak() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"the features differ when computed twice from the same prices") as caught:
        audit_features(lambda frame: frame[["close"]] + generator.normal(), walk(), [30])
    assert not isinstance(caught.value, LeakageError)


def test_columns_that_come_and_go_with_the_future_are_a_leak() -> None:
    with pytest.raises(LeakageError, match=r"which features there are depends on the future: c60 became c31 when"):
        audit_features(lambda frame: frame[["close"]].set_axis([f"c{len(frame)}"], axis=1), walk(), [30])


def test_a_computation_that_drops_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the features have 59 rows for 60 rows of prices: return one for each"):
        audit_features(lambda frame: frame[["close"]].diff().dropna(), walk(), [30])


def test_a_computation_that_writes_into_its_prices_is_audited_like_any_other() -> None:
    def compute(frame: pd.DataFrame) -> pd.DataFrame:
        frame["close"] = frame["close"].shift(1)
        return frame[["close"]]

    prices = walk()
    audit_features(compute, prices, [30])
    pd.testing.assert_frame_equal(prices, walk())


@pytest.mark.parametrize("cut", [-1, 59, 60])
def test_a_cut_without_a_future_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=rf"cut {cut}: there are 60 rows, so cuts are 0 to 58"):
        audit_features(lambda frame: frame[["close"]], walk(), [cut])


def test_an_audit_without_cuts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no cut is named"):
        audit_features(lambda frame: frame[["close"]], walk(), [])
