"""Logs of events: which event of which case came when, as tables of a known set or of a user, and what of them can be wrong.

A case is whatever a log follows: an order, a patient, a visit to a shop, a user, a game. Its events are in the order of their times; events
at the same time keep the order of the file. What is odd but usable is counted, see `EventLog`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.files import Broken, OnBroken, passed_over, select, visible_files
from rnnlab.data.hashing import digest
from rnnlab.data.numbers import as_numbers, share_of_numbers
from rnnlab.data.series.vector_tables import known_column, optional_column
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import TABLE_SUFFIXES, Table, read_table, refuse_rows
from rnnlab.data.times import as_times, find_times

PARQUET = ".parquet"
LOG_SUFFIXES = {*TABLE_SUFFIXES, PARQUET}
ID_NAMES = (
    *("case", "case_id", "case:concept:name", "trace", "trace_id", "session", "session_id", "sequence", "sequence_id"),
    *("user", "user_id", "customer", "customer_id", "visitor_id", "game", "game_id"),
)
EVENT_NAMES = (
    "activity",
    "activity_id",
    "concept:name",
    "action",
    "item",
    "item_id",
    "product",
    "product_id",
    "page",
    "move",
    "事件",
    "活动",
)
TIME_NAMES = ("timestamp", "time:timestamp", "complete_timestamp", "date", "datetime", "start", "start_time", "step", "时间")
GROUP_NAMES = ("group", "user", "user_id", "customer", "customer_id", "person", "patient")
CURE = "Mend or remove it"
OUT_OF_ORDER = "cases whose rows are not in the order of their times, put in that order"
SAME_TIME = "events at the time of another one of their case, kept in the order of the file"
REPEATED = "rows that repeat event and time of another row of their case"
SINGLE = "cases of one event"
COLUMNS = ["id", "group", "split", "start", "end", "events"]


@dataclass(frozen=True)
class EventColumns:
    """Say where a user's tables keep what.

    Args:
        id_column: names the case of each row; while it is `id`, other usual names are recognised.
        event_column: what happened; while it is `event`, other usual names are recognised.
        time_column: when, a number or a time; while it is `time`, other usual names are recognised, and there may be none: rows are in
            order then, as with None.
        group_column: names the unit that may leak where a case is not (the user of a session); None for a usual name where there is one.
        split_column: its name; None for a usual one where there is one.
    """

    id_column: str
    event_column: str
    time_column: str | None
    group_column: str | None
    split_column: str | None


class EventLog(NamedTuple):
    """What a source holds.

    Args:
        table: one row a case, in the order of the file: id, group, split ("" where not given), start and end (float64; microseconds since
            1970 of dates, NaN without times), events (list of text).
        are_dates: whether times are dates.
        odd: what was odd and how often, in words.
        remarks: what was passed over or left out, in words.
    """

    table: pd.DataFrame
    are_dates: bool
    odd: dict[str, int]
    remarks: list[str]


def find_events(
    source: str, raw: Path, columns: EventColumns, day_first: bool | None, drops_repeats: bool, on_broken: OnBroken = "raise"
) -> EventLog:
    """List a source's cases.

    Args:
        source: a named set, `sample`, or anything else.
        raw: the set's folder; else a table or a folder of tables, which are one log; those called train, val and test are parts.
        columns: of a user's tables.
        day_first: see `as_times`.
        drops_repeats: whether rows that repeat event and time of another row of their case are left out.
        on_broken: whether cases that cannot be used are refused or left out.

    Raises:
        ValueError: names the file, and the line or case, of what is wrong.
    """
    broken, remarks = Broken(on_broken), list[str]()
    is_named = source in THIRDS
    files = [(raw / f"{source}.csv", "")] if is_named else [(raw / "orders.csv", "")] if source == "sample" else _files(raw, remarks)
    parts = [_rows_of(table_of(file), split, columns, day_first) for file, split in files]
    if len({one.kind for one in parts}) > 1:
        odd = next(one for one in parts if one.kind != parts[0].kind)
        raise ValueError(f"{parts[0].file} has {parts[0].kind} and {odd.file} has {odd.kind}: give all tables of a log times of one kind")
    frame = pd.concat([one.frame for one in parts], ignore_index=True)
    table, counts = _cases(frame, broken, drops_repeats)
    remarks += broken.settle(len(table), CURE)
    if is_named:  # by case, in the order of the file: the last third is test, as Tax et al. (2017) divide
        table["split"] = np.where(np.arange(len(table)) < int(len(table) * 2 / 3), "train", "test")
    return EventLog(table, parts[0].kind == DATES, counts, remarks)


def hash_events(table: pd.DataFrame) -> str:
    """Hash all cases with their groups, splits, times and events."""
    times = [[None if math.isnan(value) else value for value in table[name].tolist()] for name in ("start", "end")]
    return digest([table[name].tolist() for name in ("id", "group", "split", "events")] + times)


def log_files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the file itself or all tables of a folder, and what is passed over, in words."""
    if path.is_file():
        return [path], []
    found, others = select(visible_files(path), LOG_SUFFIXES)
    return found, passed_over(others, path)


def read_unfinished(file: Path, columns: EventColumns, day_first: bool | None) -> list[tuple[str, list[str]]]:
    """Return the cases of a table, whose groups and splits don't matter, as (id, events)."""
    broken = Broken("raise")
    bare = EventColumns(columns.id_column, columns.event_column, columns.time_column, None, None)
    table, _ = _cases(_rows_of(table_of(file), "", bare, day_first, is_labelled=False).frame, broken, drops_repeats=False)
    broken.settle(len(table), CURE)
    return list(zip(table["id"], table["events"], strict=True))


THIRDS = ("helpdesk", "bpi_12_w")
"""Named sets whose last third of the cases is test."""
DATES, NUMBERS, NO_TIMES = "dates", "times that are numbers", "no times"


class _Rows(NamedTuple):
    """The rows of a table: case, event, time (float64), group, split, place; `kind` says what times are."""

    file: Path
    frame: pd.DataFrame
    kind: str


def _files(raw: Path, remarks: list[str]) -> list[tuple[Path, str]]:
    """Return the tables of a user and the split of each."""
    found, passed = log_files(raw)
    remarks += passed
    if not found:
        raise ValueError(f"no tables in {raw}: wanted {' '.join(sorted(LOG_SUFFIXES))} files with one row an event")
    splits = {file: SPLIT_WORDS.get(file.name.lower().partition(".")[0], "") for file in found}
    if raw.is_file() or not any(splits.values()):
        return [(file, "") for file in found]
    if others := [file for file in found if not splits[file]]:
        remarks += passed_over(others, raw)
    return [(file, split) for file, split in splits.items() if split]


def table_of(file: Path) -> Table:
    """Read a table, of text or of Parquet, every value a text.

    Raises:
        ValueError: where it cannot be read.
    """
    if file.suffix.lower() != PARQUET:
        return read_table(file)
    try:
        found = pd.read_parquet(file, dtype_backend="numpy_nullable")
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is no Parquet file that can be read ({str(error).partition(chr(10))[0]}): write it anew") from None
    if not len(found):
        raise ValueError(f"{file} has columns but no rows")
    texts = {str(name): found[name].astype("string").fillna("").astype("str") for name in found.columns}
    return Table(file, pd.DataFrame(texts).reset_index(drop=True), np.arange(1, len(found) + 1), "", {})


def _rows_of(table: Table, split: str, columns: EventColumns, day_first: bool | None, *, is_labelled: bool = True) -> _Rows:
    """Read a table's rows."""
    case = str(known_column(table, columns.id_column, "id", ID_NAMES, "id_column"))
    event = str(known_column(table, columns.event_column, "event", EVENT_NAMES, "event_column"))
    taken = {case, event}
    times, kind = _times(table, columns, day_first)
    group, given = "", ""
    if is_labelled:
        others = tuple(name for name in GROUP_NAMES if name not in taken)
        group = optional_column(table, columns.group_column, others, "group_column") or ""
        given = optional_column(table, columns.split_column, SPLIT_COLUMNS, "split_column") or ""
    blank = pd.Series("", index=table.frame.index, dtype="str")

    def column(name: str) -> "pd.Series[str]":
        return table.frame[name].str.strip() if name and name not in taken else blank

    ids = table.frame[case].str.strip()
    refuse_rows(table, case, ids.eq("").to_numpy(bool), "names no case", "fill it in, or remove the row")
    told = column(given).str.lower()
    frame = pd.DataFrame(
        {
            "case": ids,
            "event": table.frame[event].str.split().str.join(" "),
            "time": times,
            "group": column(group),
            "split": told.map(SPLIT_WORDS).fillna("?" + told).where(told.ne(""), split),
            "place": [f"{table.file}, line {line}" for line in table.lines],
        }
    )
    return _Rows(table.file, frame, kind)


def _times(table: Table, columns: EventColumns, day_first: bool | None) -> tuple[np.ndarray, str]:
    """Return the times of all rows, (N,) float64, and what they are."""
    none = np.full(len(table.frame), np.nan)
    if columns.time_column is None:
        return none, NO_TIMES
    is_usual = columns.time_column == "time"
    column = known_column(table, columns.time_column, "time", TIME_NAMES, "time_column", is_needed=not is_usual)
    if column is None:
        return none, NO_TIMES
    if share_of_numbers(table.frame[column]) == 1.0:
        numbers = as_numbers(table, column).to_numpy(float)
        refuse_rows(table, column, np.isnan(numbers), "is no time", "fill it in, or remove the row")
        return numbers, NUMBERS
    table, column, _ = find_times(table, column, (), "data.prepare.time_column")
    return as_times(table, column, day_first).to_numpy("datetime64[us]").astype(np.int64).astype(float), DATES


def _cases(frame: pd.DataFrame, broken: Broken, drops_repeats: bool) -> tuple[pd.DataFrame, dict[str, int]]:
    """Gather rows by case, in the order of times; note cases that contradict themselves; return what was odd, too."""
    codes, names = pd.factorize(frame["case"])
    times = frame["time"].to_numpy(float)
    has_times = not np.isnan(times).any()
    order = np.lexsort((times, codes)) if has_times else np.argsort(codes, kind="stable")
    rows = frame.iloc[order].reset_index(drop=True)
    number, time = codes[order], rows["time"].to_numpy(float)
    is_same = np.append(False, (number[1:] == number[:-1]) & (time[1:] == time[:-1]))
    is_repeat = rows.assign(number=number).duplicated(["number", "event", "time"]).to_numpy(bool) & has_times
    of_file = np.argsort(codes, kind="stable")
    falls = (codes[of_file][1:] == codes[of_file][:-1]) & (times[of_file][1:] < times[of_file][:-1])
    counts = {
        OUT_OF_ORDER: len(np.unique(codes[of_file][1:][falls])),
        SAME_TIME: int((is_same & ~is_repeat).sum()),
        f"{REPEATED}{', left out' if drops_repeats else ''}": int(is_repeat.sum()),
    }
    if drops_repeats:
        rows, number = rows[~is_repeat].reset_index(drop=True), number[~is_repeat]
    starts = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    ends = np.append(starts[1:], len(number))
    faults = _faults(rows, number)
    for case in sorted(faults):
        broken.add(faults[case], f"{rows['place'].iloc[starts[case]]}, case {names[case]!r}")
    events = rows["event"].tolist()
    kept = [case for case in range(len(names)) if case not in faults]
    first, last = (rows.iloc[places[kept]] for places in (starts, ends - 1))
    table = pd.DataFrame(
        {
            **{"id": names[kept].astype(str), "group": first["group"].to_numpy(), "split": first["split"].to_numpy()},
            **{"start": first["time"].to_numpy(float), "end": last["time"].to_numpy(float)},
            "events": pd.Series([events[starts[case] : ends[case]] for case in kept], dtype=object),
        },
        columns=COLUMNS,
    )
    counts[SINGLE] = sum(len(row) == 1 for row in table["events"])
    return table, {name: count for name, count in counts.items() if count}


def _faults(rows: pd.DataFrame, number: np.ndarray) -> dict[int, str]:
    """Return why cases cannot be used, by their numbers."""
    found: dict[int, str] = {}
    for case in np.unique(number[rows["event"].eq("").to_numpy(bool)]):
        found[int(case)] = "a row of it names no event"
    for column in ("group", "split"):
        values = rows[column].groupby(number)
        for case in values.nunique().loc[lambda count: count > 1].index:
            first, second = list(dict.fromkeys(values.get_group(case)))[:2]
            found[int(case)] = f"its rows have both {first.lstrip('?')!r} and {second.lstrip('?')!r} ({column} column, or file of a split)"
    unknown = rows["split"].str.startswith("?").to_numpy(bool)
    for case, told in zip(number[unknown], rows["split"][unknown], strict=True):
        found.setdefault(int(case), f"its split {told[1:]!r} is not one of train, val, test")
    return found


def shortest_names(ids: Iterable[str], most: int = 3) -> str:
    """Name the first few cases."""
    found = list(ids)
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")
