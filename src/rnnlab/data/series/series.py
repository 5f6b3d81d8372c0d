"""`data=series`: any table of numbers over time (weather, load, sensors): one column to forecast, the others as covariates."""

from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from rnnlab.contracts import Batch, Fraction, NonNegativeInt, PositiveInt
from rnnlab.data import tables
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.prepared import Json
from rnnlab.data.series.base import DateSplit, WindowedData, WindowLoader, forecast_inputs
from rnnlab.data.series.calendar_splits import Walk
from rnnlab.data.series.windows import Series
from rnnlab.data.tables import Table, as_numbers, as_times, match_column, read_table

TIME_NAMES = ("time", "date", "datetime", "timestamp", "day")
MAX_REPEATS = 24
SHARE_OF_NUMBERS = 0.5
SHARE_REPEATED = 0.3


@final
class SeriesData(WindowedData):
    """Give batches of windows of a table of numbers.

    A forecast starts from the last value of the target; missing values repeat the last known one for at most 24 steps, and are the mean
    of what came before after that.

    Args:
        paths, seed, name, mirror, offline: see `rnnlab.data.base.SequenceDataModule`.
        source: `sample`, or the path of a CSV, TSV or JSONL table.
        target_column: what to forecast.
        time_column: when; `time` also finds date, datetime, timestamp, day.
        series_column: names several series in one table (None: it is one).
        covariates: columns that help (None: all other columns of numbers).
        has_calendar: whether time of day, weekday and day of the year help, as sines and cosines.
        horizon_steps: rows ahead, one forecast each.
        window_steps: rows in a window.
        test_fraction, val_fraction, num_folds, fold, walk: see `rnnlab.data.series.calendar_splits`.
        loader: see `WindowLoader`.
    """

    kind = "series"
    sample = "series"

    def __init__(
        self,
        paths: dict[str, str],
        seed: int,
        name: str,
        source: str,
        mirror: str | None,
        offline: bool,
        target_column: str,
        time_column: str,
        series_column: str | None,
        covariates: list[str] | None,
        has_calendar: bool,
        horizon_steps: list[PositiveInt],
        window_steps: PositiveInt,
        test_fraction: Fraction,
        val_fraction: Fraction,
        num_folds: PositiveInt,
        fold: NonNegativeInt,
        walk: Walk,
        loader: WindowLoader,
    ) -> None:
        split = DateSplit(test_fraction, val_fraction, num_folds, fold, walk)
        super().__init__(paths, seed, name, source, mirror, offline, window_steps, horizon_steps, split, loader)
        self.columns = {
            "target_column": target_column,
            "time_column": time_column,
            "series_column": series_column,
            "covariates": covariates,
        }
        self.has_calendar = has_calendar

    def read_raw(self, raw: Path) -> pd.DataFrame:
        """Read the table."""
        if raw.is_dir() and self.source != "sample":
            raise ValueError(f"data.source={self.source} is a folder: data=series takes one table (data=stock takes a folder of prices)")
        file = raw / "hourly_load.csv" if self.source == "sample" else raw
        table, self.found = read_numbers(file, **self.columns)  # type: ignore[arg-type]
        return table

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, columns, code."""
        return digest([source_hash, self.columns, code_hash(Path(str(tables.__file__)), Path(__file__))])

    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Take the table's columns, gaps filled from the past, and the calendar."""
        return features_of(frame, self.has_calendar)

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        """Take features, targets and the last value, from which forecasts start."""
        return make_series(name, frame, self.horizons, self.has_calendar)

    @property
    def target_names(self) -> tuple[str, ...]:
        """One name for each horizon."""
        return tuple(f"target_{steps}" for steps in self.horizons)

    def settings(self) -> Json:
        """Return what reading new tables needs."""
        return {"columns": self.columns, "horizons": self.horizons, "has_calendar": self.has_calendar}


def read_numbers(
    file: Path, target_column: str, time_column: str, series_column: str | None, covariates: list[str] | None
) -> tuple[pd.DataFrame, Json]:
    """Return one long table (series, date, target, covariates), sorted, each time once; and what was odd.

    Raises:
        ValueError: where a column is missing (lists those found), or a field is no number or time.
    """
    table = read_table(file)
    target = str(match_column(table, target_column, key="data.target_column"))
    time = str(match_column(table, time_column, TIME_NAMES if time_column == TIME_NAMES[0] else (), key="data.time_column"))
    series = None if series_column is None else match_column(table, series_column, key="data.series_column")
    frame = pd.DataFrame({"date": as_times(table, time), "target": as_numbers(table, target)})
    names, passed = _covariates(table, covariates, {target, time, series})
    for name in names:
        frame[name if name != "target" else "target_"] = as_numbers(table, name)
    frame.insert(0, "series", file.stem if series is None else table.frame[series].str.strip())
    if np.isinf(frame["target"]).any() or frame["target"].notna().sum() < 2:
        raise ValueError(f"{file}: the column {target!r} holds fewer than two finite numbers")
    counts, frame = _ordered(frame)
    warnings = [f"columns without numbers were passed over: {', '.join(passed)}"] if passed else []
    return frame, {"odd": {**counts, **table.notes}, "warnings": warnings}


def _covariates(table: Table, wanted: list[str] | None, taken: set[str | None]) -> tuple[list[str], list[str]]:
    """Return the columns to use, and those passed over because they hold words."""
    if wanted is not None:
        return [str(match_column(table, name, key="data.covariates")) for name in wanted], []
    used: list[str] = []
    passed: list[str] = []
    for name in table.frame.columns:
        if name in taken or name == "":
            continue
        is_number = pd.to_numeric(table.frame[name].str.strip(), errors="coerce").notna()
        is_empty = table.frame[name].str.strip() == ""
        (used if is_number.sum() > SHARE_OF_NUMBERS * (~is_empty).sum() else passed).append(name)
    return used, passed


def _ordered(frame: pd.DataFrame) -> tuple[dict[str, int], pd.DataFrame]:
    """Sort each series by time, keep the last row of a time, and count what was odd."""
    by_series = frame.groupby("series", sort=False)["date"]
    num_unsorted = int((frame["date"] < by_series.cummax()).sum())
    is_repeated = frame.duplicated(["series", "date"], keep="last")
    if is_repeated.mean() > SHARE_REPEATED:
        raise ValueError(
            f"{is_repeated.mean():.0%} of the rows have a time that comes again: if the table holds several series, name the column that "
            "tells them apart with data.series_column=..."
        )
    frame = frame[~is_repeated].sort_values(["series", "date"], ignore_index=True)
    numbers = frame.drop(columns=["series", "date"])
    gaps = frame.groupby("series")["date"].diff().dropna()
    usual = gaps.mode().iloc[0] if len(gaps) else pd.Timedelta(0)
    counts = {
        "unsorted rows": num_unsorted,
        "rows of a time that comes again (the last is kept)": int(is_repeated.sum()),
        "missing values": int(numbers.isna().sum().sum()),
        f"steps that are not of {usual}": int((gaps != usual).sum()),
    }
    return counts, frame


def features_of(frame: pd.DataFrame, has_calendar: bool) -> pd.DataFrame:
    """Return (T, F): columns with gaps filled from the past for at most MAX_REPEATS steps, then by their mean so far; the calendar."""
    numbers = frame.drop(columns="date")
    filled = numbers.ffill(limit=MAX_REPEATS).fillna(numbers.expanding().mean())
    return filled.assign(**_calendar(frame["date"])) if has_calendar else filled


def _calendar(times: pd.Series) -> dict[str, np.ndarray]:
    """Place a time on the circles of day, week and year; a circle on which nothing moves is left out by its constant name."""
    when = times.dt
    hours = (when.hour + when.minute / 60 + when.second / 3600).to_numpy(float)
    circles = {
        "time_of_day": hours / 24,
        "weekday": (when.day_of_week.to_numpy(float) + hours / 24) / 7,
        "yearday": (when.day_of_year.to_numpy(float) - 1) / 366,
    }
    return {f"{name}_{kind}": f(2 * np.pi * part) for name, part in circles.items() for kind, f in (("sin", np.sin), ("cos", np.cos))}


def make_series(name: str, frame: pd.DataFrame, horizons: list[int], has_calendar: bool) -> Series:
    """Take features, targets, and the last value, from which forecasts start and which persistence repeats."""
    values = frame["target"].to_numpy(float)
    last = np.tile(pd.Series(values).ffill().to_numpy()[:, None], (1, len(horizons)))
    later = [np.concatenate([values[steps:], np.full(min(steps, len(values)), np.nan)]) for steps in horizons]
    return Series(
        name=name,
        times=frame["date"].to_numpy(),
        features=features_of(frame, has_calendar),
        targets=np.column_stack(later),
        persistence=last,
        base=last,
        size=np.ones_like(last),
    )


def read_inputs(bundle: Json, inputs: list[str]) -> tuple[list[str], Batch]:
    """Turn tables into a batch: of each series the last window."""
    settings: dict[str, Any] = bundle["settings"]  # type: ignore[assignment]

    def read(file: Path) -> dict[str, pd.DataFrame]:
        table, _ = read_numbers(file, **settings["columns"])
        return {str(name): part.drop(columns="series").reset_index(drop=True) for name, part in table.groupby("series")}

    def take(name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, settings["horizons"], settings["has_calendar"])

    return forecast_inputs(bundle, inputs, read, take)
