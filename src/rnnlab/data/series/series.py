"""`data=series`: any table of numbers over time (weather, load, sensors): one column to forecast, the others as covariates."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from rnnlab.config import PositiveInt
from rnnlab.data import headers, numbers, tables, text_files, times
from rnnlab.data.early import read_once
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, warn
from rnnlab.data.prepared import Json
from rnnlab.data.series import readings
from rnnlab.data.series.base import WindowedData, WindowReader
from rnnlab.data.series.readings import read_numbers, refuse_folder
from rnnlab.data.series.windows import Series

MAX_REPEATS = 24


@dataclass(frozen=True)
class SeriesReader(WindowReader):
    """Read tables of numbers as the run did that made this; for the arguments see `SeriesData`."""

    kind = "series"

    target_column: str
    time_column: str
    series_column: str | None
    covariates: list[str] | None
    has_calendar: bool

    def read_tables(self, file: Path) -> dict[str, pd.DataFrame]:
        columns = (self.target_column, self.time_column, self.series_column, self.covariates)
        table, found = read_numbers(file, *columns, self.writing, self.on_broken)
        tell_unused(file.name, found)
        tell_left_out(file.name, found)
        return {str(name): part.drop(columns="series").reset_index(drop=True) for name, part in table.groupby("series")}

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, self.horizons, self.has_calendar)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class SeriesData(WindowedData):
    """Give batches of windows of a table of numbers; `source` is `sample`, or the path of a CSV, TSV or JSONL table.

    A forecast starts from the last value of the target; missing values repeat the last known one for at most 24 steps, and are the mean
    of what came before after that.
    """

    sample = "series"

    target_column: str
    """What to forecast."""
    time_column: str
    """The column of times; `time` also finds date, datetime, timestamp, day."""
    series_column: str | None
    """The column that names several series in one table (None: it is one)."""
    covariates: list[str] | None
    """Columns that help (None: all other columns of numbers)."""
    has_calendar: bool
    """Whether time of day, weekday and day of the year help, as sines and cosines."""
    horizon_steps: list[PositiveInt]
    """Rows ahead, one forecast each."""
    window_steps: PositiveInt
    """Rows in a window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.is_scaled_apart = True

    @property
    def window(self) -> int:
        """Rows in a window."""
        return self.window_steps

    @property
    def horizons(self) -> list[int]:
        """Rows ahead."""
        return self.horizon_steps

    def read_raw(self, raw: Path) -> pd.DataFrame:
        if self.source != "sample":
            refuse_folder(self.source, raw)
        file = raw / "hourly_load.csv" if self.source == "sample" else raw
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

    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        return features_of(frame, self.has_calendar)

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, self.horizons, self.has_calendar)

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
        return SeriesReader(*parts, *columns, self.has_calendar, writing=self.writing, on_broken=self.prepare.on_broken)


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
