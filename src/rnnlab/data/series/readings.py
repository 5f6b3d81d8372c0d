"""Tables of numbers in time: which columns are taken, sorted by series and time, and what was odd. Nothing heavy is imported here."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rnnlab.data.files import Broken, OnBroken
from rnnlab.data.numbers import as_numbers, find_decimal, share_of_numbers
from rnnlab.data.tables import Table, Writing, match_column, read_table
from rnnlab.data.times import find_times, read_times

TIME_NAMES = ("time", "date", "datetime", "timestamp", "day", "时间", "日期", "交易日期")
MOST_COVARIATES = 1000
"""So many columns may help without being named."""
SHARE_OF_NUMBERS = 0.5
SHARE_REPEATED = 0.3


def refuse_folder(source: str, raw: Path) -> None:
    """Raise ValueError where a table was wanted and a folder is given."""
    if raw.is_dir():
        raise ValueError(f"data.source={source} is a folder: data=series takes one table (data=stock takes a folder of prices)")


def read_numbers(
    file: Path,
    target_column: str | list[str],
    time_column: str,
    series_column: str | None,
    covariates: list[str] | None,
    writing: Writing,
    on_broken: OnBroken = "raise",
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Return one long table (series, date, target, covariates), sorted, each time once; and what was odd.

    Of several target columns each gives a series of its own, which has its name; the others are no covariates.

    Where `on_broken` is `skip`, a field that is no number is unknown, as an empty one is: its row keeps its place in time. A row without
    a time has no place, and is left out.

    Raises:
        ValueError: where a column is missing (lists those found), or a field is no number or time.
    """
    broken = Broken(on_broken)
    table = replace(read_table(file), broken=broken)
    wanted = [target_column] if isinstance(target_column, str) else target_column
    targets = list(dict.fromkeys(str(match_column(table, name, key="data.target_column")) for name in wanted))
    table, time, joined = find_times(table, time_column, TIME_NAMES if time_column == TIME_NAMES[0] else (), "data.time_column")
    series = None if series_column is None else match_column(table, series_column, key="data.series_column")
    names, passed = _covariates(table, covariates, {*targets, series, *joined})
    table, dates, day_first = read_times(table, time, writing.day_first)
    decimal = find_decimal(table, [*targets, *names], writing.decimal)
    others = pd.DataFrame({name if name != "target" else "target_": as_numbers(table, name, decimal) for name in names})
    parts = []
    for target in targets:
        frame = pd.DataFrame({"date": dates, "target": as_numbers(table, target, decimal)}).join(others)
        if np.isinf(frame["target"]).any() or frame["target"].notna().sum() < 2:
            raise ValueError(f"{file}: the column {target!r} holds fewer than two finite numbers")
        own = file.stem if series is None else table.frame[series].str.strip()
        frame.insert(0, "series", own if len(targets) == 1 else target if series is None else own + f" {target}")
        parts.append(frame)
    counts, frame = _ordered(pd.concat(parts, ignore_index=True))
    warnings = [f"columns without numbers were passed over: {', '.join(passed)}"] if passed else []
    left_out = broken.settle(len(frame), "Mend it")
    unused = _unused(table, names, {*targets, series, *joined}) if covariates is not None else []
    odd = {**counts, **table.notes}
    used = asdict(Writing(decimal, day_first))
    return frame, {"odd": odd, "warnings": left_out + warnings, "writing": used, "unused": unused, "left_out": left_out}


def _unused(table: Table, names: list[str], taken: set[str | None]) -> list[str]:
    """Return the columns of numbers that are not used, where a person may want to know them."""
    has_few = len(table.frame.columns) <= MOST_COVARIATES
    return [name for name in _covariates(table, None, taken)[0] if name not in names] if has_few else []


def _covariates(table: Table, wanted: list[str] | None, taken: set[str | None]) -> tuple[list[str], list[str]]:
    """Return the columns to use, and those passed over because they hold words."""
    if wanted is not None:
        return [str(match_column(table, name, key="data.covariates")) for name in wanted], []
    if len(table.frame.columns) > MOST_COVARIATES:
        raise ValueError(
            f"{table.file} has {len(table.frame.columns):,} columns, more than the {MOST_COVARIATES:,} that may help without being named: "
            "name those that do with data.covariates=[...], or none with data.covariates=[]"
        )
    used: list[str] = []
    passed: list[str] = []
    for name in table.frame.columns:
        if name in taken or name == "":
            continue
        (used if share_of_numbers(table.frame[name]) > SHARE_OF_NUMBERS else passed).append(name)
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
