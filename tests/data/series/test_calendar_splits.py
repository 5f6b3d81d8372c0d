"""Claims about splits by date: what is earlier never learns from what is later, and gaps keep targets apart."""

from typing import Any

import numpy as np
import pytest

from rnnlab.data.series.calendar_splits import Walk, date_splits
from rnnlab.data.splits import Rows

PARTS = ("train", "val", "test")


def days_from(first: str, num_days: int) -> np.ndarray:
    return np.datetime64(first, "D") + np.arange(num_days)


def all_folds(days: np.ndarray, num_folds: int, walk: Walk, gap: int) -> list[Rows]:
    return [date_splits(days, 0.1, 0.2, num_folds, fold, walk, gap)[0] for fold in range(num_folds)]


# Where the cuts are


def test_one_fold_cuts_twenty_days_as_worked_by_hand() -> None:
    rows, words = date_splits(days_from("2020-01-01", 20), 0.2, 0.1, 1, 0, "expanding", 2)
    assert rows["test"].tolist() == [16, 17, 18, 19]
    assert rows["val"].tolist() == [12, 13]  # 14 and 15 are the gap
    assert rows["train"].tolist() == list(range(10))  # 10 and 11 are the gap
    assert words == "by date: train 2020-01-01..2020-01-10, validation 2020-01-13..2020-01-14, test 2020-01-17..2020-01-20, gap 2 dates"


def test_a_fold_is_told_in_words() -> None:
    _, words = date_splits(days_from("2020-01-01", 20), 0.2, 0.1, 3, 1, "rolling", 0)
    assert words == (
        "walk-forward fold 1 of 3 (rolling): train 2020-01-05..2020-01-10, validation 2020-01-11..2020-01-12, "
        "test 2020-01-13..2020-01-16, gap 0 dates"
    )


def test_all_series_are_cut_on_the_same_days_in_whatever_order_they_come() -> None:
    dates = days_from("2020-01-01", 40)
    days = np.random.default_rng(0).permutation(np.concatenate([dates, dates[5:], dates[::2]]))
    rows, _ = date_splits(days, 0.1, 0.1, 2, 1, "expanding", 3)
    alone, _ = date_splits(dates, 0.1, 0.1, 2, 1, "expanding", 3)
    for part in PARTS:
        assert set(days[rows[part]]) == set(dates[alone[part]])
        assert (np.diff(rows[part]) > 0).all()
        assert len(rows[part]) == np.isin(days, dates[alone[part]]).sum()


# What holds for every fold


@pytest.mark.parametrize("walk", ["expanding", "rolling"])
@pytest.mark.parametrize("gap", [0, 1, 7])
@pytest.mark.parametrize("num_days", [101, 250])
def test_parts_are_in_order_and_a_target_never_reaches_the_next_part(walk: Walk, gap: int, num_days: int) -> None:
    days = days_from("1999-12-01", num_days)
    for rows in all_folds(days, 4, walk, gap):
        train, val, test = (rows[part] for part in PARTS)
        assert train[-1] + gap < val[0]
        assert val[-1] + gap < test[0]
        assert val[0] - train[-1] == test[0] - val[-1] == gap + 1  # and no day is wasted
        for part in (train, val, test):
            assert (np.diff(part) == 1).all()


@pytest.mark.parametrize("walk", ["expanding", "rolling"])
@pytest.mark.parametrize("gap", [0, 5])
def test_test_blocks_follow_each_other_up_to_the_last_day(walk: Walk, gap: int) -> None:
    folds = all_folds(days_from("2020-01-01", 123), 3, walk, gap)
    assert [len(rows["test"]) for rows in folds] == [12, 12, 12]
    assert np.concatenate([rows["test"] for rows in folds]).tolist() == list(range(123 - 36, 123))
    assert {len(rows["val"]) for rows in folds} == {25}


def test_expanding_training_grows_by_a_test_block_and_keeps_its_first_day() -> None:
    folds = all_folds(days_from("2020-01-01", 100), 4, "expanding", 2)
    assert np.diff([len(rows["train"]) for rows in folds]).tolist() == [10, 10, 10]
    assert {rows["train"][0] for rows in folds} == {0}


def test_rolling_training_has_as_many_dates_in_every_fold() -> None:
    folds = all_folds(days_from("2020-01-01", 100), 4, "rolling", 2)
    assert {len(rows["train"]) for rows in folds} == {36}  # 100 - 4 x 10 - 20 - 2 x 2
    assert [rows["train"][0] for rows in folds] == [0, 10, 20, 30]


def test_both_walks_begin_alike() -> None:
    days = days_from("2020-01-01", 100)
    expanding, rolling = (all_folds(days, 4, walk, 2)[0] for walk in ("expanding", "rolling"))
    assert all((expanding[part] == rolling[part]).all() for part in PARTS)


def test_an_example_whose_targets_reach_into_the_next_part_is_left_out() -> None:
    dates = days_from("2020-01-01", 20)
    last_days = dates + 2
    last_days[[9, 13]] += 1  # a series that lacks a day looks one date further than the gap
    rows, words = date_splits(dates, 0.2, 0.1, 1, 0, "expanding", 2, last_days=last_days)
    assert rows["train"].tolist() == list(range(9))
    assert rows["val"].tolist() == [12]
    assert rows["test"].tolist() == [16, 17, 18, 19]
    assert words.endswith("gap 2 dates, 2 example(s) left out whose targets reach further")


def test_a_gap_shorter_than_every_target_is_refused() -> None:
    dates = days_from("2020-01-01", 20)
    with pytest.raises(ValueError, match=r"every target of the val part reaches into the next part: raise gap \(0\)"):
        date_splits(dates, 0.2, 0.1, 1, 0, "expanding", 0, last_days=dates + 5)


# What is refused


@pytest.mark.parametrize("fold", [-1, 3, 4])
def test_a_fold_that_is_not_there_is_refused(fold: int) -> None:
    with pytest.raises(ValueError, match=rf"data.fold={fold}: data.num_folds=3, so folds are 0 to 2"):
        date_splits(days_from("2020-01-01", 100), 0.1, 0.1, 3, fold, "expanding", 0)


def test_too_few_dates_are_told_with_how_many_are_enough() -> None:
    def split(num_days: int) -> Rows:
        return date_splits(days_from("2020-01-01", num_days), 0.1, 0.1, 2, 0, "expanding", 5)[0]

    for num_days in (12, 15, 16):  # 15: two test blocks of 2, validation 2, gaps 10: one short
        with pytest.raises(ValueError, match=rf"{num_days} date\(s\) are too few .* two gaps of 5 .*: 17 are enough"):
            split(num_days)
    for num_days in range(17, 60):
        assert all(len(rows) for rows in split(num_days).values())


def test_no_dates_are_too_few() -> None:
    with pytest.raises(ValueError, match=r"0 date\(s\) are too few .*: 6 are enough"):
        date_splits(np.array([], dtype="datetime64[D]"), 0.1, 0.1, 1, 0, "expanding", 0)


def test_fractions_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing is left to train on: 4 test block\(s\) of 0.2 and .* of 0.2 take 1 of the dates"):
        date_splits(days_from("2020-01-01", 1000), 0.2, 0.2, 4, 0, "expanding", 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"test_fraction": 0.0}, r"test_fraction=0.0: wanted a share"),
        ({"val_fraction": 1.0}, r"val_fraction=1.0: wanted a share"),
        ({"num_folds": 0}, r"num_folds=0: wanted at least 1"),
        ({"walk": "anchored"}, r"walk='anchored' is not one of expanding, rolling"),
        ({"gap": -1}, r"gap=-1: wanted 0 or more"),
        ({"days": np.arange(100)}, r"days: wanted one datetime64 per example .* got int64"),
        ({"days": np.full(100, np.datetime64("NaT", "D"))}, r"days: wanted .* none of them missing"),
        ({"last_days": days_from("2020-01-01", 99)}, r"last_days: wanted one datetime64 per example"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], match: str) -> None:
    asked: dict[str, Any] = {"days": days_from("2020-01-01", 100), "test_fraction": 0.1, "val_fraction": 0.1, "num_folds": 1, "fold": 0}
    with pytest.raises(ValueError, match=match):
        date_splits(**(asked | {"walk": "expanding", "gap": 0} | change))
