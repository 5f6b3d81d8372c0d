"""What one ticker's past says (features), what its future will have been (targets), and the proof that the one doesn't see the other.

Every function takes one ticker's cleaned prices: a `date` column and float columns close and, where known, open, high, low, volume;
one row a trading day, oldest first. A value of row t is computed from rows up to t alone, targets excepted.

Unknown prices (NaN) make the features of that day unknown; these repeat the last known value for at most MAX_REPEATS days and are 0
after that, so that no row after the warm-up is without a value. An unknown range makes `daily_variance` use the day's squared return.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

Estimator = Literal["auto", "parkinson", "squared_return", "garman_klass"]
TargetKind = Literal["return", "change", "close", "direction", "volatility"]
Formula = Callable[[pd.DataFrame], dict[str, np.ndarray]]

MAX_REPEATS = 5
VARIANCE_FLOOR = 1e-4  # percent squared: a day's move of 0.01 %, below what a price's last digit can show
NEEDS: dict[Estimator, tuple[str, ...]] = {
    "parkinson": ("high", "low", "close"),
    "squared_return": ("close",),
    "garman_klass": ("open", "high", "low", "close"),
}


# Features


@dataclass(frozen=True)
class Feature:
    """One or more columns computed from the past.

    Attributes:
        needs: the columns of the prices that must be there.
        num_warmup: rows at the start for which the past is too short; they are NaN.
        formula: prices to columns of one value a row, NaN where unknown.
    """

    needs: tuple[str, ...]
    num_warmup: int
    formula: Formula

    def compute(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Compute the columns, float64, NaN in the warm-up and nowhere else."""
        return pd.DataFrame({name: self._settled(values) for name, values in self.formula(frame).items()}, index=frame.index)

    def _settled(self, values: np.ndarray) -> np.ndarray:
        settled = pd.Series(values, dtype=np.float64).ffill(limit=MAX_REPEATS).fillna(0.0).to_numpy(copy=True)
        settled[: self.num_warmup] = np.nan
        return settled


# Sums run over lags, not through `rolling`, whose running sums make a value depend on how long ago the series began.
FEATURES: dict[str, Feature] = {
    "return": Feature(("close",), 1, lambda frame: {"return": _log_return(frame, 1)}),
    "range": Feature(("high", "low"), 0, lambda frame: {"range": _log_ratio(frame, "high", "low")}),
    "gap": Feature(("open", "close"), 1, lambda frame: {"gap": np.log(_values(frame, "open") / _lagged(_values(frame, "close"), 1))}),
    "body": Feature(("open", "close"), 0, lambda frame: {"body": _log_ratio(frame, "close", "open")}),
    "relative_volume": Feature(("volume",), 20, lambda frame: {"relative_volume": _relative_volume(frame, 20)}),
    "log_volatility": Feature(("close",), 1, lambda frame: {"log_volatility": _log_volatility(frame, 1)}),
    "log_volatility_5": Feature(("close",), 5, lambda frame: {"log_volatility_5": _log_volatility(frame, 5)}),
    "log_volatility_22": Feature(("close",), 22, lambda frame: {"log_volatility_22": _log_volatility(frame, 22)}),
    "momentum_5": Feature(("close",), 5, lambda frame: {"momentum_5": _log_return(frame, 5)}),
    "momentum_22": Feature(("close",), 22, lambda frame: {"momentum_22": _log_return(frame, 22)}),
    "calendar": Feature(("date",), 0, lambda frame: _calendar(frame)),
}
# Differences instead of logarithms: prices may be zero or negative (spreads, power, interest rates).
DIFFERENCES: dict[str, Feature] = {
    "change": Feature(("close",), 1, lambda frame: {"change": _change(frame, 1)}),
    "change_5": Feature(("close",), 5, lambda frame: {"change_5": _change(frame, 5)}),
    "change_22": Feature(("close",), 22, lambda frame: {"change_22": _change(frame, 22)}),
    "span": Feature(("high", "low"), 0, lambda frame: {"span": _values(frame, "high") - _values(frame, "low")}),
    "relative_volume": FEATURES["relative_volume"],
    "calendar": FEATURES["calendar"],
}
ALL_FEATURES = ChainMap(DIFFERENCES, FEATURES)


def features_for(kind: TargetKind) -> dict[str, Feature]:
    """Return the features that exist for the prices of a target: for `change`, whose prices may be negative, those without logarithms."""
    return DIFFERENCES if kind == "change" else FEATURES


def compute_features(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Compute features side by side.

    Args:
        frame: one ticker's cleaned prices, T rows.
        names: keys of ALL_FEATURES.

    Returns:
        (T, columns) float64, in the order of the names; all NaN before row `num_warmup_rows(names)`, no NaN from there on.

    Raises:
        ValueError: where a name is unknown or repeated, or a column that it needs is not there.
    """
    num_warmup = num_warmup_rows(names)
    for name in names:
        _require(frame, ALL_FEATURES[name].needs, f"the feature {name!r}")
    columns = pd.concat([ALL_FEATURES[name].compute(frame) for name in names], axis=1)
    columns.iloc[:num_warmup] = np.nan
    return columns


def num_warmup_rows(names: Sequence[str]) -> int:
    """Return how many rows at the start have no value of at least one of these features."""
    if not names:
        raise ValueError(f"no feature is named; choose from {', '.join(ALL_FEATURES)}")
    if unknown := [name for name in names if name not in ALL_FEATURES]:
        raise ValueError(f"there is no feature {unknown[0]!r}; there are: {', '.join(ALL_FEATURES)}")
    if repeated := [name for name in names if list(names).count(name) > 1]:
        raise ValueError(f"the feature {repeated[0]!r} is named twice: name each feature once")
    return max(ALL_FEATURES[name].num_warmup for name in names)


def _log_return(frame: pd.DataFrame, num_days: int) -> np.ndarray:
    close = _values(frame, "close")
    return np.log(close / _lagged(close, num_days))


def _change(frame: pd.DataFrame, num_days: int) -> np.ndarray:
    close = _values(frame, "close")
    return close - _lagged(close, num_days)


def _log_ratio(frame: pd.DataFrame, top: str, bottom: str) -> np.ndarray:
    return np.log(_values(frame, top) / _values(frame, bottom))


def _relative_volume(frame: pd.DataFrame, window: int) -> np.ndarray:
    """Compare a day's volume with the mean of the known ones among the `window` days before it."""
    volume = _values(frame, "volume")
    is_known = ~np.isnan(volume)
    total, num_known = np.zeros(len(volume)), np.zeros(len(volume))
    for lag in range(1, window + 1):
        total += np.nan_to_num(_lagged(np.where(is_known, volume, 0.0), lag))
        num_known += np.nan_to_num(_lagged(is_known.astype(np.float64), lag))
    usual = np.where(num_known > 0, total / np.maximum(num_known, 1), np.nan)
    return np.log((volume + 1) / (usual + 1))


def _log_volatility(frame: pd.DataFrame, window: int) -> np.ndarray:
    variance, _, _ = daily_variance(frame, "auto")
    return _past_mean(np.log(variance.to_numpy()), window)


def _calendar(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Place the day on two circles; a weekend lies midway between Friday and Monday, so that the week has five days."""
    days = frame["date"].dt
    weekday = days.day_of_week.to_numpy(np.float64)
    week = 2 * np.pi * np.where(weekday > 4, 4.5, weekday) / 5
    year = 2 * np.pi * (days.day_of_year.to_numpy(np.float64) - 1) / np.where(days.is_leap_year.to_numpy(), 366, 365)
    return {"weekday_sin": np.sin(week), "weekday_cos": np.cos(week), "yearday_sin": np.sin(year), "yearday_cos": np.cos(year)}


# Variance of a day


def daily_variance(frame: pd.DataFrame, estimator: Estimator) -> tuple[pd.Series, str, dict[str, int]]:
    """Estimate the variance of each day's log return, in percent squared (log returns times 100).

    squared_return  (ln close_t / close_{t-1})^2: night included, unbiased, very noisy
    parkinson       (ln high/low)^2 / (4 ln 2): about five times as precise; trading hours only, the night is left out
                    (Parkinson 1980, The Extreme Value Method for Estimating the Variance of the Rate of Return, J. Business 53(1))
    garman_klass    (ln high/low)^2 / 2 - (2 ln 2 - 1) (ln close/open)^2: more precise still; leaves out the night as well. Positive
                    where high and low enclose open and close, zero or negative where they don't
                    (Garman & Klass 1980, On the Estimation of Security Price Volatilities from Historical Data, J. Business 53(1))
    auto            parkinson where the prices have high and low, else squared_return

    A day whose range is unknown, or of which only one price was recorded (high = low), takes its squared return.

    Args:
        frame: one ticker's cleaned prices, T rows.
        estimator: see above.

    Returns:
        (T,) variances, at least VARIANCE_FLOOR so that their logarithms exist, NaN on a first day without a range; the estimator that
        was used; num_floored and num_without_range, days.

    Raises:
        ValueError: where the prices lack a column that the estimator needs.
    """
    used = _chosen(frame, estimator)
    variance = (100 * _log_return(frame, 1)) ** 2
    num_without_range = 0
    if used != "squared_return":
        log_range = _log_ratio(frame, "high", "low")
        estimate = 1e4 * _of_range(frame, log_range, used)
        has_range = ~np.isnan(estimate) & (log_range != 0)
        num_without_range = int((~has_range).sum())
        variance = np.where(has_range, estimate, variance)
    is_floored = variance < VARIANCE_FLOOR
    floored = pd.Series(np.where(is_floored, VARIANCE_FLOOR, variance), index=frame.index, name="variance")
    return floored, used, {"num_floored": int(is_floored.sum()), "num_without_range": num_without_range}


def _chosen(frame: pd.DataFrame, estimator: Estimator) -> Estimator:
    """Decide by which columns are there, never by their values: these would tell of the future."""
    if estimator == "auto":
        return "parkinson" if {"high", "low"} <= set(frame.columns) else "squared_return"
    if estimator not in NEEDS:
        raise ValueError(f"the estimator {estimator!r} is not one of {', '.join(get_args(Estimator))}")
    _require(frame, NEEDS[estimator], f"the estimator {estimator!r}")
    return estimator


def _of_range(frame: pd.DataFrame, log_range: np.ndarray, used: Estimator) -> np.ndarray:
    if used == "parkinson":
        return log_range**2 / (4 * np.log(2))
    if used == "garman_klass":
        return log_range**2 / 2 - (2 * np.log(2) - 1) * _log_ratio(frame, "close", "open") ** 2
    raise ValueError(f"the estimator {used!r} does not use ranges")


# Targets


def targets(frame: pd.DataFrame, kind: TargetKind, horizons: list[int], estimator: Estimator) -> pd.DataFrame:
    """Compute what a forecast made after the close of day t is held against.

    return      ln(close_{t+h} / close_t) x 100, percent
    change      close_{t+h} - close_t, in the prices' own unit; prices may be zero or negative
    close       close_{t+h}
    direction   1 if close_{t+h} > close_t, else 0
    volatility  mean daily variance of days t+1 .. t+h, percent squared

    Args:
        frame: one ticker's cleaned prices, T rows.
        kind: see above.
        horizons: h of each column, in trading days.
        estimator: of the daily variance.

    Returns:
        (T, horizons) float64, columns like `return_5d`; NaN where the future isn't known yet.

    Raises:
        ValueError: where kind or horizons don't exist, or the estimator lacks a column.
    """
    close = _values(frame, "close")
    columns = {}
    for name, horizon in _named(kind, horizons):
        later = _led(close, horizon)
        if kind == "return":
            columns[name] = 100 * np.log(later / close)
        elif kind == "change":
            columns[name] = later - close
        elif kind == "close":
            columns[name] = later
        elif kind == "direction":
            columns[name] = np.where(np.isnan(later), np.nan, later > close)
        elif kind == "volatility":
            columns[name] = _led(_past_mean(daily_variance(frame, estimator)[0].to_numpy(), horizon), horizon)
        else:
            raise _unknown_kind(kind)
    return pd.DataFrame(columns, index=frame.index)


def persistence(frame: pd.DataFrame, kind: TargetKind, horizons: list[int], estimator: Estimator) -> pd.DataFrame:
    """Forecast that things stay as they are: what a model has to beat.

    return      0
    change      0
    close       close_t
    direction   1 if close_t > close_{t-h}, else 0
    volatility  mean daily variance of days t-h+1 .. t, percent squared

    Arguments, columns and errors are those of `targets`; NaN where the past is too short.
    """
    close = _values(frame, "close")
    columns = {}
    for name, horizon in _named(kind, horizons):
        if kind in ("return", "change"):
            columns[name] = np.zeros(len(close))
        elif kind == "close":
            columns[name] = close
        elif kind == "direction":
            earlier = _lagged(close, horizon)
            columns[name] = np.where(np.isnan(earlier), np.nan, close > earlier)
        elif kind == "volatility":
            columns[name] = _past_mean(daily_variance(frame, estimator)[0].to_numpy(), horizon)
        else:
            raise _unknown_kind(kind)
    return pd.DataFrame(columns, index=frame.index)


def _named(kind: TargetKind, horizons: list[int]) -> list[tuple[str, int]]:
    if not horizons or min(horizons) < 1 or len(set(horizons)) < len(horizons):
        raise ValueError(f"horizons={horizons}: wanted one or more different numbers of trading days, each at least 1, such as [1, 5]")
    return [(f"{kind}_{horizon}d", horizon) for horizon in horizons]


def _unknown_kind(kind: str) -> ValueError:
    return ValueError(f"the target {kind!r} is not one of {', '.join(get_args(TargetKind))}")


# Leakage audit


class LeakageError(ValueError):
    """A feature knows the future."""


def audit_features(compute: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame, cuts: Sequence[int]) -> None:
    """Prove by trial that features of row t use rows up to t alone.

    For each cut row t the rows after t are removed, replaced by other values (prices, volumes and dates) and shuffled; no feature of a
    row up to t may change by a single bit. All of it is repeated with the open, high, low and volume of row t blanked, so that filling
    gaps from the future shows as well. What is filled into the warm-up shows only for a cut inside it.

    Args:
        compute: prices, T rows, to features, T rows.
        frame: one ticker's cleaned prices, T rows.
        cuts: rows t to try, each with at least one row after it.

    Raises:
        LeakageError: names the feature, the day of the forecast and the first row that changed.
        ValueError: where a cut leaves nothing to change, or `compute` doesn't return the same, one row per row, when asked again.
    """
    frame = frame.reset_index(drop=True).astype({name: np.float64 for name in frame.columns if name != "date"})
    if not cuts:
        raise ValueError("no cut is named: name at least one row after which the future is changed")
    again = [_computed(compute, frame) for _ in range(2)]
    if list(again[0].columns) != list(again[1].columns) or _first_difference(again[0], again[1], len(frame)) is not None:
        raise ValueError("the features differ when computed twice from the same prices: remove what is random from them")
    for cut in cuts:
        if not 0 <= cut < len(frame) - 1:
            raise ValueError(
                f"cut {cut}: there are {len(frame)} rows, so cuts are 0 to {len(frame) - 2}: a later one leaves no future to change"
            )
        for prices in (frame, _blanked(frame, cut)):
            _audit_cut(compute, prices, cut)


def _audit_cut(compute: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame, cut: int) -> None:
    expected = _computed(compute, frame)
    for change, prices in _other_futures(frame, cut):
        found = _computed(compute, prices)
        if list(found.columns) != list(expected.columns):
            raise LeakageError(
                f"which features there are depends on the future: {', '.join(map(str, expected.columns))} became "
                f"{', '.join(map(str, found.columns))} when the prices after {_day(frame, cut)} were {change}"
            )
        if (difference := _first_difference(expected, found, cut + 1)) is not None:
            row, column = difference
            raise LeakageError(
                f"the feature {column!r} sees the future: a forecast made on {_day(frame, cut)} (row {cut}) may use prices up to that day, "
                f"but the feature's value of {_day(frame, row)} (row {row}, the first) changed when only prices after {_day(frame, cut)} "
                f"were {change}. Look for shift(-n), windows that are centred or filled backwards, and means, scales or ranks of the "
                "whole series"
            )


def _computed(compute: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> pd.DataFrame:
    features = compute(frame.copy())  # a copy: what `compute` writes into its argument must not reach the next trial
    if len(features) != len(frame):
        raise ValueError(f"the features have {len(features)} rows for {len(frame)} rows of prices: return one for each, NaN where unknown")
    return features


def _first_difference(expected: pd.DataFrame, found: pd.DataFrame, num_rows: int) -> tuple[int, str] | None:
    """Return row and column of the earliest value that isn't the same; NaN is the same as NaN."""
    old, new = (table.iloc[:num_rows].to_numpy(np.float64) for table in (expected, found))
    differs = (old != new) & ~(np.isnan(old) & np.isnan(new))
    if not differs.any():
        return None
    row = int(differs.any(axis=1).argmax())
    return row, str(expected.columns[int(differs[row].argmax())])


def _other_futures(frame: pd.DataFrame, cut: int) -> Iterator[tuple[str, pd.DataFrame]]:
    past, later = frame.iloc[: cut + 1], frame.iloc[cut + 1 :]
    names = [name for name in frame.columns if name != "date"]
    values = later[names].to_numpy(np.float64)
    generator = np.random.default_rng(cut)
    factors = np.exp(generator.normal(size=values.shape))
    replaced = np.where(np.isnan(values) | (values == 0), factors, values * factors)  # a zero times anything would stay
    days = later["date"] + pd.to_timedelta(30 + np.arange(len(later)), unit="D")
    yield "removed", past
    yield "replaced by others", pd.concat([past, later.assign(**dict(zip(names, replaced.T, strict=True)), date=days)])
    shuffled = generator.permutation(values)
    yield "shuffled", pd.concat([past, later.assign(**dict(zip(names, shuffled.T, strict=True)))])


def _blanked(frame: pd.DataFrame, row: int) -> pd.DataFrame:
    blanked = frame.copy()
    blanked.loc[row, [name for name in ("open", "high", "low", "volume") if name in frame.columns]] = np.nan
    return blanked


def _day(frame: pd.DataFrame, row: int) -> str:
    return str(frame["date"].iloc[row].date())


# Columns and lags


def _require(frame: pd.DataFrame, needs: Sequence[str], who: str) -> None:
    if missing := [name for name in needs if name not in frame.columns]:
        raise ValueError(f"{who} needs the column {missing[0]!r}; the prices have: {', '.join(frame.columns)}. Choose another, or add it")


def _values(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(np.float64)


def _lagged(values: np.ndarray, lag: int) -> np.ndarray:
    """Move values `lag` rows later."""
    return np.concatenate([np.full(min(lag, len(values)), np.nan), values[: max(len(values) - lag, 0)]])


def _led(values: np.ndarray, lead: int) -> np.ndarray:
    """Move values `lead` rows earlier: row t gets what is known only at t + lead."""
    return np.concatenate([values[lead:], np.full(min(lead, len(values)), np.nan)])


def _past_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Average the last `window` values, the row's own included."""
    total = values.astype(np.float64)
    for lag in range(1, window):
        total = total + _lagged(values, lag)
    return total / window


def other_future(frame: pd.DataFrame, date: np.datetime64) -> pd.DataFrame:
    """Replace every value after a date."""
    is_later = (frame["date"] > date).to_numpy()
    names = [name for name in frame.columns if name != "date"]
    values = frame[names].to_numpy(np.float64, copy=True)
    values[is_later] *= np.exp(np.random.default_rng(0).normal(size=values[is_later].shape) / 10)
    return pd.DataFrame(values, columns=names).assign(date=frame["date"].to_numpy())[list(frame.columns)]
