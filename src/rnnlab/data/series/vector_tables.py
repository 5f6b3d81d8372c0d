"""Tables of numeric vectors: a long table of many sequences (one row a step: id, time, numbers, label), or one sequence a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.numbers import as_numbers, share_of_numbers
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import Table, match_column, read_table, refuse_rows
from rnnlab.data.times import as_times

ID_NAMES = ("sequence", "sequence_id", "series", "series_id", "sample", "sample_id", "case", "unit", "trial", "recording")
TIME_NAMES = ("step", "t", "timestamp", "date", "datetime", "frame")
LABEL_NAMES = ("class", "category", "target", "activity", "标签", "类别")
GROUP_NAMES = ("group", "subject", "person", "participant", "patient", "user", "writer", "speaker", "machine")
LEAST_NUMBERS = 0.9
"""Share of a column's values that are numbers, from which on it counts as a column of numbers, and others in it as errors."""


@dataclass(frozen=True)
class SequenceColumns:
    """Say where a user's tables keep what.

    Args:
        id_column: names the sequence of each row; while it is `id`, other usual names are recognised.
        time_column: the order of its steps, numbers or times; while it is `time`, other usual names are recognised, and there may be
            none: rows are in order then, as with None.
        label_column: what is to be told, the same in all rows of a sequence; while it is `label`, other usual names are recognised.
        group_column: names the unit that may leak; None for a usual name (subject, writer, ...) where there is one.
        split_column: its name; None for a usual one where there is one.
        features: the columns of numbers; None for all other columns of numbers.
    """

    id_column: str
    time_column: str | None
    label_column: str
    group_column: str | None
    split_column: str | None
    features: list[str] | None


@dataclass(frozen=True)
class SequenceTables(SequenceColumns):
    """Say where a user's tables keep what, and how they write dates.

    Args:
        day_first: whether 03/04/2021 is in April; None for as the table shows.
    """

    day_first: bool | None


class RawSequence(NamedTuple):
    """One sequence as it lies in its source; `place` is for messages, `fault` why it cannot be used."""

    id: str
    place: str
    values: np.ndarray
    names: tuple[str, ...]
    label: str = ""
    group: str = ""
    split: str = ""
    fault: str = ""


def of_table(file: Path, columns: SequenceTables, split: str, remarks: list[str], *, is_labelled: bool = True) -> Iterator[RawSequence]:
    """Read a long table, one row a step; each sequence's rows in the order of its times."""
    table = read_table(file)
    ids = str(known_column(table, columns.id_column, "id", ID_NAMES, "id_column"))
    time = time_column_of(table, columns)
    label = known_column(table, columns.label_column, "label", LABEL_NAMES, "label_column", is_needed=is_labelled)
    group = optional_column(table, columns.group_column, GROUP_NAMES, "group_column")
    given = optional_column(table, columns.split_column, SPLIT_COLUMNS, "split_column")
    features = features_of(table, columns, {name for name in (ids, time, label, group, given) if name}, remarks)
    numbers = np.column_stack([as_numbers(table, feature) for feature in features])
    names = table.frame[ids].str.strip()
    refuse_rows(table, ids, names.eq("").to_numpy(bool), "names no sequence", "fill it in, or remove the row")
    if time is None:
        _refuse_scattered(table, ids, names)
    times = None if time is None else times_of(table, time, columns.day_first)
    for name, found in names.groupby(names, sort=False).indices.items():
        places = np.asarray(found)
        part = table.frame.iloc[places]
        known = {key: _single(part, column) for key, column in (("label", label), ("group", group), ("split", given))}
        order, fault = order_of(table, places, times) if times is not None else (places, "")
        fault = next((f"its rows have {words} ({key} column)" for key, (_, words) in known.items() if words), fault)
        told = known["split"][0].lower()
        if told and told not in SPLIT_WORDS:
            fault = f"its split {told!r} is not one of train, val, test"
        place = f"{file}, sequence {name!r} (line {table.lines[places[0]]})"
        yield RawSequence(
            str(name), place, numbers[order], tuple(features), known["label"][0], known["group"][0], SPLIT_WORDS.get(told, split), fault
        )


def known_column(table: Table, wanted: str, usual: str, aliases: tuple[str, ...], key: str, *, is_needed: bool = True) -> str | None:
    """Return a column by its name; while that is the `usual` one, by other usual names, too."""
    return match_column(table, wanted, aliases if wanted == usual else (), is_needed=is_needed, key=f"data.prepare.{key}")


def optional_column(table: Table, wanted: str | None, names: tuple[str, ...], key: str) -> str | None:
    """Return the column of this name, of None that of a usual name where there is one."""
    return match_column(table, wanted or names[0], () if wanted else names[1:], is_needed=wanted is not None, key=f"data.prepare.{key}")


def time_column_of(table: Table, columns: SequenceColumns) -> str | None:
    """Return the column of times; None where there is none of a usual name, and no other was given."""
    if columns.time_column is None:
        return None
    return known_column(table, columns.time_column, "time", TIME_NAMES, "time_column", is_needed=columns.time_column != "time")


def features_of(table: Table, columns: SequenceColumns, others: set[str], remarks: list[str]) -> list[str]:
    """Return the columns of numbers: those that are given, else all but `others`; say in `remarks` which are no numbers."""
    if columns.features is not None:
        return [str(match_column(table, name, key="data.prepare.features")) for name in columns.features]
    rest = [name for name in table.frame.columns if name and name not in others]
    found = [name for name in rest if share_of_numbers(table.frame[name]) >= LEAST_NUMBERS]
    if not found:
        raise ValueError(f"{table.file} has no column of numbers beside {', '.join(sorted(others)) or 'nothing'}: add one, or set features")
    if left := [name for name in rest if name not in found]:
        remarks.append(f"columns that are no numbers passed over: {', '.join(left)}")
    return found


def times_of(table: Table, column: str, day_first: bool | None) -> np.ndarray:
    """Return times that can be ordered: numbers where all are, else dates."""
    if share_of_numbers(table.frame[column]) == 1.0:
        return as_numbers(table, column).to_numpy()
    return as_times(table, column, day_first).to_numpy()


def order_of(table: Table, places: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a sequence's rows in the order of its times, and what is wrong with these."""
    order = places[np.argsort(times[places], kind="stable")]
    if pd.isna(times[places]).any():
        return order, "a row of it has no time"
    is_again = times[order[1:]] == times[order[:-1]]
    if is_again.any():
        lines = table.lines[order[is_again.argmax() : is_again.argmax() + 2]]
        return order, f"two of its rows have the same time (such as lines {lines[0]} and {lines[1]})"
    return order, ""


def _single(part: pd.DataFrame, column: str | None) -> tuple[str, str]:
    """Return what all rows of a sequence say; and in words that they don't all say the same."""
    if column is None:
        return "", ""
    found = list(dict.fromkeys(part[column].str.strip()))
    return found[0], "" if len(found) == 1 else f"both {found[0]!r} and {found[1]!r}"


def _refuse_scattered(table: Table, column: str, names: "pd.Series[str]") -> None:
    """Without times rows are in order, so a sequence whose rows stand apart is two, or lacks times."""
    begins = (names != names.shift()).to_numpy(bool)
    is_again = begins & names.where(begins).duplicated().to_numpy(bool)
    refuse_rows(table, column, is_again, "stood further above, with others between", "give a column of times, or each sequence its own id")
