"""Which cases of a log train, choose and test; see `rnnlab.data.splits` for what other kinds of data share.

time   cases in the order of their starts: the first ones train, later ones are validation, the last ones test
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.series.event_logs import shortest_names
from rnnlab.data.splits import Folding, Rows, assign_splits

EventSplit = Literal["auto", "official", "time", "grouped", "random", "kfold"]
FEWEST_GROUPS = 3


class Assigned(NamedTuple):
    """The cases of each split, what was done in words, and what a person should know of it."""

    rows: Rows
    words: str
    remarks: list[str]


def assign_cases(
    examples: pd.DataFrame, kind: EventSplit, folding: Folding, val_fraction: float, *, are_dates: bool, drops_overlaps: bool
) -> Assigned:
    """Assign every case to a split.

    Args:
        examples: id, group ("" where unknown), split ("" where not given), start, end.
        kind: `time` as above; `grouped` whole groups at random; `random` cases at random; `kfold` and `official` as in `data.splits`;
            `auto`: official where the source says, else by time where times are known, else grouped where groups are, else random.
        folding: of `kfold` and of random choices.
        val_fraction: fraction for validation, and as much for test where the source does not say.
        are_dates: whether times are dates.
        drops_overlaps: whether cases of training that go on after validation begins, and cases of validation that go on after test begins,
            are left out of a split by time.

    Raises:
        ValueError: where the cases don't allow it; says what would.
    """
    has_times = bool(examples["start"].notna().all())
    given = set(examples["split"])
    if kind == "auto" and not given & {"val", "test"}:
        groups = set(examples["group"])
        kind = "time" if has_times else "grouped" if "" not in groups and len(groups) >= FEWEST_GROUPS else "random"
    if kind == "time":
        if not has_times:
            raise ValueError(
                "data.split=time needs the times of all events: name their column with data.prepare.time_column, or choose "
                "data.split=random"
            )
        return _by_time(examples, val_fraction, are_dates=are_dates, drops_overlaps=drops_overlaps)
    if drops_overlaps:
        raise ValueError(f"data.drops_overlaps=true is for data.split=time, not {kind}: leave it out")
    rows, words = assign_splits(examples.assign(label=""), kind, folding, val_fraction, "group")
    if kind == "random":
        words = f"cases at random (split_seed {folding.split_seed})"
    words = words.replace("within each label", "at random")  # cases have no labels
    return Assigned(rows, words, _later(examples, rows) if has_times else [])


def shown_time(time: float, are_dates: bool) -> str:
    """Write a time as people read it."""
    return f"{pd.Timestamp(int(time), unit='us'):%Y-%m-%d %H:%M}" if are_dates else f"{time:g}"


def _by_time(examples: pd.DataFrame, val_fraction: float, *, are_dates: bool, drops_overlaps: bool) -> Assigned:
    start, end = (examples[name].to_numpy(float) for name in ("start", "end"))
    order, num = np.argsort(start, kind="stable"), len(examples)
    num_each = max(1, round(val_fraction * num))
    if num < 3 or num_each * 2 >= num:
        raise ValueError(
            f"{num} case(s) are too few for data.split=time: at least 3 are needed, one each for training, validation and test"
        )
    train, val, test = np.split(order, [num - 2 * num_each, num - num_each])
    borders = [start[part].min() for part in (val, test)]
    late_train, late_val = end[train] >= borders[0], end[val] >= borders[1]
    words = f"by time of start: validation from {shown_time(borders[0], are_dates)}, test from {shown_time(borders[1], are_dates)}"
    remarks = []
    ids = examples["id"].to_numpy(str)
    for part, is_late, (name, later) in ((train, late_train, ("training", "validation")), (val, late_val, ("validation", "test"))):
        if is_late.any():
            remarks.append(
                f"{is_late.sum():,} of {len(part):,} {name} cases go on after {later} begins ({shortest_names(ids[part[is_late]])})"
                + (
                    " and are left out"
                    if drops_overlaps
                    else ": their later events were not known then (data.drops_overlaps=true leaves them out)"
                )
            )
    if drops_overlaps:
        train, val = train[~late_train], val[~late_val]
        if not len(train) or not len(val):
            name = "validation" if len(train) else "training"
            raise ValueError(f"data.drops_overlaps=true leaves no {name} case, since all go on after the border: set it to false")
    return Assigned({"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)}, words, remarks)


def _later(examples: pd.DataFrame, rows: Rows) -> list[str]:
    """Say how many training cases are later than tested ones."""
    start = examples["start"].to_numpy(float)
    num = int((start[rows["train"]] > np.median(start[rows["test"]])).sum())
    what = f"{num:,} of {len(rows['train']):,} training cases start later than half of the test cases: to predict what is to come, choose"
    return [f"{what} data.split=time"] if num else []
