"""`data=series`: any table of numbers over time (weather, load, sensors): one column to forecast, the others as covariates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pandas as pd

from rnnlab.config import PositiveInt
from rnnlab.data import headers, numbers, tables, text_files, times
from rnnlab.data.early import read_once
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, warn
from rnnlab.data.prepared import Json, Prepared
from rnnlab.data.series import readings
from rnnlab.data.series.base import WindowedData
from rnnlab.data.series.readings import read_numbers, refuse_folder
from rnnlab.data.series.window_reader import WindowReader
from rnnlab.data.series.windows import Series
from rnnlab.data.sources.catalogue import SERIES

MAX_REPEATS = 24


@dataclass(frozen=True)
class SeriesReader(WindowReader):
    """Read tables of numbers as the run did that made this; for the arguments see `SeriesData`."""

    kind = "series"

    target_column: str | list[str]
    time_column: str
    series_column: str | None
    covariates: list[str] | None
    has_calendar: bool
    is_path: bool = False

    def read_tables(self, file: Path) -> dict[str, pd.DataFrame]:
        columns = (self.target_column, self.time_column, self.series_column, self.covariates)
        table, found = read_numbers(file, *columns, self.writing, self.on_broken)
        tell_unused(file.name, found)
        tell_left_out(file.name, found)
        return {str(name): part.drop(columns="series").reset_index(drop=True) for name, part in table.groupby("series")}

    def made_up_table(self, num_rows: int, values: np.ndarray) -> pd.DataFrame:
        step = pd.Timedelta(microseconds=self.step_microseconds) if self.step_microseconds else pd.Timedelta(hours=1)
        columns = [self.target_column] if isinstance(self.target_column, str) else self.target_column
        numbers = {name: (values * (1 + place)).round(3) for place, name in enumerate([*columns, *(self.covariates or [])])}
        names = {} if self.series_column is None else {self.series_column: "made up"}
        return pd.DataFrame({self.time_column: pd.date_range("2020-01-01", periods=num_rows, freq=step), **names, **numbers})

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, self.horizons, self.has_calendar, is_path=self.is_path)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class SeriesData(WindowedData):
    """Give batches of windows of a table of numbers.

    `source` is `ett`, `nyc_weather`, `beijing_pm25`, `sample`, or the path of a CSV, TSV or JSONL table.

    A forecast starts from the last value of the target; missing values repeat the last known one for at most 24 steps, and are the mean
    of what came before after that.
    """

    upstreams = SERIES
    sample = "series"
    sample_settings: ClassVar[Mapping[str, str | None]] = {
        **{"target_column": "load_mw", "time_column": "time", "series_column": None, "covariates": None, "split_dates": None}
    }

    target_column: str | list[str]
    """What to forecast; of several columns each is a series of its own, scaled by itself, forecast by the same model."""
    time_column: str
    """The column of times; `time` also finds date, datetime, timestamp, day."""
    series_column: str | None
    """The column that names several series in one table (None: it is one)."""
    covariates: list[str] | None
    """Columns that help (None: all other columns of numbers)."""
    is_relative: bool = field()
    """Whether the target's own values are told as differences from the window's last one."""
    has_calendar: bool
    """Whether time of day, weekday and day of the year help, as sines and cosines."""
    horizon_steps: list[PositiveInt]
    """Rows ahead, one forecast each."""
    forecast_steps: PositiveInt | None
    """All rows from the next to this one ahead, as one forecast; instead of `horizon_steps`."""
    season_steps: PositiveInt | None
    """Rows after which values repeat (None: a day, of daily rows a week, of monthly ones a year)."""
    split_dates: list[str | None] | None = field()
    """When validation and test begin and test ends (None: with the data); None: as the fractions say."""
    window_steps: PositiveInt
    """Rows in a window."""

    def __post_init__(self) -> None:
        if self.source == "sample" and self.name in self.upstreams:  # it stands in for a named table, whose columns it has not
            for key, value in self.sample_settings.items():
                setattr(self, key, value)
        self.is_path = self.forecast_steps is not None
        super().__post_init__()
        self.is_scaled_apart = True
        if self.split_dates is not None and self.num_folds > 1:
            raise ValueError(f"data.num_folds={self.num_folds} and data.split_dates exclude each other: leave one of them out")
        if not self.target_column:
            raise ValueError("data.target_column=[] names nothing to forecast: give a column, or several")

    @property
    def window(self) -> int:
        """Rows in a window."""
        return self.window_steps

    @property
    def horizons(self) -> list[int]:
        """Rows ahead."""
        return self.horizon_steps if self.forecast_steps is None else list(range(1, self.forecast_steps + 1))

    def read_raw(self, raw: Path) -> pd.DataFrame:
        if self.source == "sample":
            file = raw / "hourly_load.csv"
        elif self.source in self.upstreams:
            file = raw / next(iter(self.upstreams[self.source].keep))
        else:
            refuse_folder(self.source, raw)
            file = raw
        columns = (self.target_column, self.time_column, self.series_column, self.covariates)
        table, self.found = read_once(read_numbers, file, *columns, self.writing, self.prepare.on_broken)
        return table

    def setup_as_test(self, reader: InputReader) -> None:
        """Take the columns that the run took, by name, whatever their order and whatever else there is."""
        assert isinstance(reader, SeriesReader)
        self.covariates = reader.covariates
        super().setup_as_test(reader)
        tell_unused(Path(self.source).name, self.found)

    def prepared_key(self, source_hash: str) -> str:
        files = [Path(str(module.__file__)) for module in (headers, numbers, readings, tables, text_files, times)]
        columns = [self.target_column, self.time_column, self.series_column, self.covariates, self.prepare.on_broken]
        return digest([source_hash, columns, code_hash(*files, Path(__file__))])

    def frames(self, prepared: Prepared) -> dict[str, pd.DataFrame]:
        """Return each series as a table, and find the season by the usual step of all."""
        found = super().frames(prepared)
        self.step_microseconds = usual_step(list(found.values()))
        self.season = season_of(self.step_microseconds) if self.season_steps is None else self.season_steps
        if self.season >= (longest := max(len(frame) for frame in found.values())):
            if self.season_steps is not None:
                raise ValueError(
                    f"data.season_steps={self.season}: the longest series has {longest} rows, no two seasons: give fewer, or null"
                )
            self.season = 0
        return found

    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        return features_of(frame, self.has_calendar)

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, self.horizons, self.has_calendar, is_path=self.is_path)

    @property
    def target_names(self) -> tuple[str, ...]:
        return tuple(f"target_{steps}" for steps in self.horizons)

    @property
    def used_covariates(self) -> list[str]:
        """The columns that help, as the run's table names them."""
        own = {"target": "", "target_": "target", **dict.fromkeys(CALENDAR, "")}
        return [column for name in self.feature_names if (column := own.get(name, name))]

    def reader(self) -> SeriesReader:
        parts = (self.window, self.horizons, self.feature_names, self.scale_lists(), self.link)
        columns = (self.target_column, self.time_column, self.series_column, self.used_covariates)
        return SeriesReader(
            *parts,
            *columns,
            self.has_calendar,
            self.is_path,
            writing=self.writing,
            on_broken=self.prepare.on_broken,
            season=self.season,
            step_microseconds=self.step_microseconds,
            is_relative=self.is_relative,
        )


def tell_unused(file: str, found: Json) -> None:
    """Say on stderr which columns of numbers a table has that the run does not take."""
    if isinstance(unused := found.get("unused"), list) and unused:
        warn(f"{file}: left out the columns {', '.join(map(repr, unused))}, which the run was not trained on")


def tell_left_out(file: str, found: Json) -> None:
    """Say on stderr what of a table was left out because it cannot be read, as the run's own was."""
    if isinstance(lines := found.get("left_out"), list):
        for line in lines:
            warn(f"{file}: {line}")


def features_of(frame: pd.DataFrame, has_calendar: bool) -> pd.DataFrame:
    """Return (T, F): columns with gaps filled from the past for at most MAX_REPEATS steps, then by their mean so far; the calendar."""
    numbers = frame.drop(columns="date")
    filled = numbers.ffill(limit=MAX_REPEATS).fillna(numbers.expanding().mean())
    return filled.assign(**_calendar(frame["date"])) if has_calendar else filled


CALENDAR = tuple(f"{circle}_{kind}" for circle in ("time_of_day", "weekday", "yearday") for kind in ("sin", "cos"))


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


DAY = 86_400_000_000
"""Microseconds."""
SEASONS = ((1, 1, 7), (7, 7, 52), (28, 31, 12), (89, 92, 4))
"""Rows that are so many days apart, at least and at most: how many make a week (of daily ones) or a year."""


def usual_step(frames: list[pd.DataFrame]) -> int:
    """Return the most frequent step from one row to the next, in microseconds; 0 where there is none."""
    steps = pd.concat([frame["date"].diff().dropna() for frame in frames])
    return int(steps.mode().iloc[0] // pd.Timedelta(1, "us")) if len(steps) else 0


def season_of(step_microseconds: int) -> int:
    """Return how many rows make a day, of daily rows a week, of rarer ones a year; 0 where no whole number does."""
    if 0 < step_microseconds < DAY:
        return DAY // step_microseconds if DAY % step_microseconds == 0 else 0
    days = step_microseconds / DAY
    return next((season for least, most, season in SEASONS if least <= days <= most), 0)


def make_series(name: str, frame: pd.DataFrame, horizons: list[int], has_calendar: bool, *, is_path: bool = False) -> Series:
    """Take features, targets, and the last value, from which forecasts start and which persistence repeats."""
    values = frame["target"].to_numpy(float)
    last = np.tile(pd.Series(values).ffill().to_numpy()[:, None], (1, 1 if is_path else len(horizons)))
    return Series(
        name=name,
        times=frame["date"].to_numpy(),
        features=features_of(frame, has_calendar),
        targets=_next_values(values, len(horizons)) if is_path else _later_values(values, horizons),
        persistence=last,
        base=last,
        size=np.ones_like(last),
        levels=values,
        is_path=is_path,
    )


def _later_values(values: np.ndarray, horizons: list[int]) -> np.ndarray:
    """Return what lies so many steps ahead of each, (T, D), NaN beyond the end."""
    return np.column_stack([np.concatenate([values[steps:], np.full(min(steps, len(values)), np.nan)]) for steps in horizons])


def _next_values(values: np.ndarray, num_steps: int) -> np.ndarray:
    """Return the next values of each, (T, D), NaN beyond the end: a view, which takes no room."""
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([values[1:], np.full(num_steps, np.nan)]), num_steps)
