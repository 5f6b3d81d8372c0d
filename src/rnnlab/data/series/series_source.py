"""Read a user's own table of numbers in time before anything heavy is imported (see `rnnlab.data.early`)."""

from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.series.readings import read_numbers, refuse_folder
from rnnlab.data.sources.catalogue import SERIES
from rnnlab.data.sources.fetching import own_path
from rnnlab.data.tables import Writing

NAMED = tuple(SERIES)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    writing: Writing = checked({key: needed(values, key, "data") for key in ("decimal", "day_first")}, Writing, "data")
    target = checked(needed(values, "target_column", "data"), str | list[str], "data.target_column")
    time = checked(needed(values, "time_column", "data"), str, "data.time_column")
    series = checked(needed(values, "series_column", "data"), str | None, "data.series_column")
    covariates = checked(needed(values, "covariates", "data"), list[str] | None, "data.covariates")
    on_broken = checked(needed(section(values, "prepare"), "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    refuse_folder(source, raw)
    keep_read(read_numbers, raw, target, time, series, covariates, writing, on_broken)
