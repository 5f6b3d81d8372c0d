"""Which day trains, which chooses, which tests: earlier days always before later ones, with a gap between.

Walk-forward: the last days are cut into `num_folds` test blocks, one after the other; fold k is tested on block k and may use what lies
before it. num_folds=1 is the plain split by date.

          expanding                            rolling
    fold 0  [train....][val] [test]            [train....][val] [test]
    fold 1  [train.........][val] [test]            [train....][val] [test]
    fold 2  [train..............][val] [test]            [train....][val] [test]
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rnnlab.data.splits import Rows

Walk = Literal["expanding", "rolling"]
Blocks = dict[Literal["train", "val", "test"], tuple[int, int]]


def date_splits(
    days: np.ndarray,
    test_fraction: float,
    val_fraction: float,
    num_folds: int,
    fold: int,
    walk: Walk,
    gap: int,
    *,
    last_days: np.ndarray | None = None,
) -> tuple[Rows, str]:
    """Assign every example to a part by its date; all series are cut on the same days.

    Args:
        days: (N,) datetime64, the day on which each example's forecast is made; in any order, several examples a day allowed.
        test_fraction: share of the different dates in ONE test block.
        val_fraction: share of the different dates in validation, which lies right before the test block, the gap aside.
        num_folds: how many test blocks the end is cut into.
        fold: which of them is tested, 0 the earliest.
        walk: train on all that lies before (expanding), or on as many dates as fold 0 has, the latest ones (rolling).
        gap: dates left out between training and validation and between validation and test: the longest horizon, so that no target
            reaches into the next part.
        last_days: (N,) datetime64, the last day that each example's targets look at, if known. A series that lacks a day looks further
            ahead than `gap` dates of all series together; its examples of training and validation that do are left out.

    Returns:
        Row numbers per part, sorted, without the examples in gaps; and in words what was done.

    Raises:
        ValueError: where the dates don't suffice; says how many would.
    """
    _check(days, test_fraction, val_fraction, num_folds, fold, walk, gap, last_days)
    dates, places = np.unique(days, return_inverse=True)
    num_test, num_val = round(test_fraction * len(dates)), round(val_fraction * len(dates))
    _check_num_dates(len(dates), test_fraction, val_fraction, num_folds, gap)
    test = len(dates) - (num_folds - fold) * num_test
    val = test - gap - num_val
    train = fold * num_test if walk == "rolling" else 0
    blocks: Blocks = {"train": (train, val - gap), "val": (val, test - gap), "test": (test, test + num_test)}
    rows: Rows = {name: np.flatnonzero((places >= start) & (places < end)) for name, (start, end) in blocks.items()}
    num_purged = 0 if last_days is None else _purge(rows, last_days, dates[val], dates[test], gap)
    return rows, _words(dates, blocks, num_folds, fold, walk, gap, num_purged)


def split_at(first_days: np.ndarray, last_days: np.ndarray, borders: Sequence[str | None]) -> tuple[Rows, str]:
    """Assign every example to the part that all its targets lie in; inputs may look back over a border.

    Args:
        first_days: (N,) datetime64, the first time that each example's targets look at.
        last_days: (N,) datetime64, the last.
        borders: when validation begins, when test begins, and when test ends, the time itself not included (None: with the data).

    Returns:
        Row numbers per part, sorted, without the examples whose targets cross a border; and in words what was done.

    Raises:
        ValueError: where borders are no rising times, or a part is empty.
    """
    if len(borders) != 3 or borders[0] is None or borders[1] is None:
        raise ValueError(
            f"data.split_dates={list(borders)}: give three times, when validation and test begin and when test ends (null: with the data), "
            "such as [2013-01-01,2014-01-01,null]"
        )
    try:
        val, test, end = (np.datetime64("9999-12-31" if border is None else border, "us") for border in borders)
    except ValueError:
        raise ValueError(f"data.split_dates={list(borders)}: write each as 2014-01-31 or 2014-01-31T10:00") from None
    if not val < test < end:
        raise ValueError(f"data.split_dates={list(borders)}: each must be later than the one before")
    spans = {"train": (None, val), "val": (val, test), "test": (test, end)}
    rows: Rows = {}
    for part, (start, stop) in spans.items():
        is_in = (last_days < stop) if start is None else (first_days >= start) & (last_days < stop)
        rows[part] = np.flatnonzero(is_in)  # type: ignore[index]  # the three names of parts
        if not is_in.any():
            between = f"{str(first_days.min())[:16]} and {str(last_days.max())[:16]}"
            raise ValueError(
                f"data.split_dates={list(borders)}: no forecast has all its targets in the {part} part; targets lie between {between}: "
                "give other times, or a shorter horizon"
            )
    words = f"by date: validation from {borders[0]}, test from {borders[1]}" + (f" to {borders[2]}" if borders[2] else "")
    return rows, f"{words}; targets of each part lie in it, windows may look back over its border"


def _purge(rows: Rows, last_days: np.ndarray, first_val: np.datetime64, first_test: np.datetime64, gap: int) -> int:
    """Leave out the examples of training and validation whose targets reach into the next part; return how many."""
    num_before = len(rows["train"]) + len(rows["val"])
    rows["train"] = rows["train"][last_days[rows["train"]] < first_val]
    rows["val"] = rows["val"][last_days[rows["val"]] < first_test]
    if empty := [part for part, left in rows.items() if not len(left)]:
        raise ValueError(f"every target of the {empty[-1]} part reaches into the next part: raise gap ({gap}) to the longest horizon")
    return num_before - len(rows["train"]) - len(rows["val"])


def _words(dates: np.ndarray, blocks: Blocks, num_folds: int, fold: int, walk: Walk, gap: int, num_purged: int) -> str:
    day = np.datetime_as_string(dates, unit="D")
    spans = {name: f"{day[start]}..{day[end - 1]}" for name, (start, end) in blocks.items()}
    how = "by date" if num_folds == 1 else f"walk-forward fold {fold} of {num_folds} ({walk})"
    purged = f", {num_purged} example(s) left out whose targets reach further" if num_purged else ""
    return f"{how}: train {spans['train']}, validation {spans['val']}, test {spans['test']}, gap {gap} dates{purged}"


def _check(
    days: np.ndarray,
    test_fraction: float,
    val_fraction: float,
    num_folds: int,
    fold: int,
    walk: Walk,
    gap: int,
    last_days: np.ndarray | None,
) -> None:
    for name, fraction in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
        if not 0 < fraction < 1:
            raise ValueError(f"data.{name}={fraction}: wanted a share of the dates between 0 and 1, such as 0.1")
    if num_folds < 1:
        raise ValueError(f"data.num_folds={num_folds}: wanted at least 1")
    if not 0 <= fold < num_folds:
        raise ValueError(f"data.fold={fold}: data.num_folds={num_folds}, so folds are 0 to {num_folds - 1}")
    if walk not in ("expanding", "rolling"):
        raise ValueError(f"data.walk={walk!r} is not one of expanding, rolling")
    if gap < 0:
        raise ValueError(f"gap={gap}: wanted 0 or more dates, at least the longest horizon")
    for name, values in (("days", days), ("last_days", days if last_days is None else last_days)):
        if values.dtype.kind != "M" or values.shape != (len(days),) or np.isnat(values).any():
            raise ValueError(f"{name}: wanted one datetime64 per example and none of them missing, got {values.dtype} {values.shape}")


def _check_num_dates(num_dates: int, test_fraction: float, val_fraction: float, num_folds: int, gap: int) -> None:
    share = num_folds * test_fraction + val_fraction
    if share >= 1:
        raise ValueError(
            f"nothing is left to train on: {num_folds} test block(s) of {test_fraction:g} and validation of {val_fraction:g} take "
            f"{share:g} of the dates. Lower test_fraction, val_fraction or num_folds"
        )

    num_test, num_val = round(test_fraction * num_dates), round(val_fraction * num_dates)
    if num_test > 0 and num_val > 0 and num_dates > num_folds * num_test + num_val + 2 * gap:
        return
    # However the blocks' sizes are rounded, by at most one half each, and with one date at least in either.
    enough = 1 + int(max(((num_folds + 1) / 2 + 2 * gap) / (1 - share), 0.5 / test_fraction, 0.5 / val_fraction))
    raise ValueError(
        f"{num_dates} date(s) are too few for {num_folds} test block(s) of {test_fraction:g} and validation of {val_fraction:g} of the "
        f"dates, two gaps of {gap} and at least one date to train on: {enough} are enough. Give more, or lower num_folds or gap"
    )
