"""Claims about price tables: how they are found, what is mended and counted, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnlab.data.series.prices import COUNTS, clean, find_prices, price_tables

HEADER = "Date,Open,High,Low,Close,Volume"
MONDAY = f"{HEADER}\n2020-01-06,10,12,9,11,100\n"


def write(folder: Path, text: str, name: str = "AAPL.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def cleaned(file: Path) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """Clean a table of one ticker; the counts that aren't zero."""
    frames, counts, warnings = clean(find_prices(file, None))
    (frame,) = frames.values()
    return frame, {name: count for name, count in counts.items() if count}, warnings


def days(frame: pd.DataFrame) -> list[str]:
    return frame["date"].dt.strftime("%m-%d").tolist()


# Finding


@pytest.mark.parametrize(
    ("name", "ticker"),
    [
        ("AAPL.csv", "AAPL"),
        ("AAPL_2006-01-01_to_2018-01-01.csv", "AAPL"),
        ("vix-daily.csv", "vix-daily"),
        ("BRK.B.csv", "BRK.B"),
        ("_x.csv", "_x"),
    ],
)
def test_a_table_of_one_ticker_is_named_by_its_file(tmp_path: Path, name: str, ticker: str) -> None:
    (prices,) = find_prices(write(tmp_path, MONDAY, name), None)
    assert (prices.ticker, prices.file.name) == (ticker, name)


def test_a_packed_table_is_named_without_its_suffixes(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv.gz").write_bytes(gzip.compress(MONDAY.encode()))
    assert [prices.ticker for prices in find_prices(tmp_path, None)] == ["AAPL"]


def test_columns_are_found_in_any_case_by_their_usual_names(tmp_path: Path) -> None:
    file = write(tmp_path, "LOW,TimeStamp,Last,opening_price,HIGH,Vol.\n9,2020-01-06,11,10,12,100\n")
    frame, counts, _ = cleaned(file)
    assert list(frame) == ["date", "open", "high", "low", "close", "volume"]
    assert frame.iloc[0].tolist() == [pd.Timestamp("2020-01-06"), 10, 12, 9, 11, 100]
    assert counts == {"num_rows": 1}
    assert [str(frame[name].dtype) for name in frame][1:] == ["float64"] * 5


def test_date_and_close_suffice_and_absent_columns_stay_absent(tmp_path: Path) -> None:
    frame, counts, warnings = cleaned(write(tmp_path, "day,price,colour\n2020-01-06,11,red\n2020-01-07,12,red\n"))
    assert list(frame) == ["date", "close"]
    assert (counts, warnings) == ({"num_rows": 2}, [])


def test_a_column_that_is_empty_throughout_is_as_good_as_absent(tmp_path: Path) -> None:
    frame, counts, _ = cleaned(write(tmp_path, f"{HEADER}\n2020-01-06,10,12,9,11,\n2020-01-07,10,12,9,11,\n"))
    assert list(frame) == ["date", "open", "high", "low", "close"]
    assert counts == {"num_rows": 2}


def test_a_missing_column_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"AAPL.csv lacks a column 'close'.* it has: .*Date.*Open"):
        find_prices(write(tmp_path, "Date,Open\n2020-01-06,10\n"), None)
    with pytest.raises(ValueError, match=r"AAPL.csv lacks a column 'date'"):
        find_prices(write(tmp_path, "When,Close\n2020-01-06,10\n"), None)


def test_a_long_table_holds_many_tickers(tmp_path: Path) -> None:
    text = "date,symbol,name,close,volume\n2020-01-06,B,Bee Inc,1,\n2020-01-06,A,Ay Inc,2,5\n2020-01-07,B,Bee Inc,3,\n"
    found = find_prices(write(tmp_path, text, "all.csv"), None)
    assert [prices.ticker for prices in found] == ["A", "B"]
    frames, _, _ = clean(found)
    assert {ticker: frame["close"].tolist() for ticker, frame in frames.items()} == {"A": [2], "B": [1, 3]}
    assert list(frames["A"]) == ["date", "close", "volume"]
    assert list(frames["B"]) == ["date", "close"]


def test_a_folder_holds_one_table_a_ticker_and_what_is_no_table_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, MONDAY, "MSFT_2020.csv")
    write(tmp_path, MONDAY.replace(",", "\t"), "AAPL.tsv")
    write(tmp_path, "Date,Close,Name\n2020-01-06,1,IBM\n", "x.csv")
    for name in ("README.csv", "readme.upstream.md", "datapackage.json", ".hidden.csv", "notes.txt"):
        write(tmp_path, "not prices", name)
    (tmp_path / "old").mkdir()
    assert [prices.ticker for prices in find_prices(tmp_path, None)] == ["AAPL", "IBM", "MSFT"]


def test_tickers_are_chosen_in_the_order_asked_for(tmp_path: Path) -> None:
    for name in ("A.csv", "B.csv", "C.csv"):
        write(tmp_path, MONDAY, name)
    assert [prices.ticker for prices in find_prices(tmp_path, ["C", "A"])] == ["C", "A"]


def test_a_ticker_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    for name in ("AAPL.csv", "MSFT.csv"):
        write(tmp_path, MONDAY, name)
    with pytest.raises(ValueError, match=r"has no prices of 'aapl'; it has: AAPL, MSFT. Did you mean AAPL\?"):
        find_prices(tmp_path, ["aapl"])
    with pytest.raises(ValueError, match=r"no ticker is named"):
        find_prices(tmp_path, [])


def test_a_ticker_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("A_2019.csv", "A_2020.csv"):
        write(tmp_path, MONDAY, name)
    with pytest.raises(ValueError, match=r"A_2019.csv and .*A_2020.csv both hold prices of 'A': join them"):
        find_prices(tmp_path, None)


def test_a_row_without_its_ticker_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"all.csv, line 3: the ticker is empty"):
        find_prices(write(tmp_path, "date,ticker,close\n2020-01-06,A,1\n2020-01-07,,2\n", "all.csv"), None)


def test_a_place_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no price tables in .*: wanted one file per ticker"):
        find_prices(tmp_path, None)
    with pytest.raises(ValueError, match=r"no such file or folder: .*gone"):
        find_prices(tmp_path / "gone", None)


def test_a_price_that_is_no_number_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"AAPL.csv, line 3: .*12 x"):
        find_prices(write(tmp_path, "date,close\n2020-01-06,11\n2020-01-07,12 x\n"), None)


def test_a_day_is_the_exchange_s_own_whatever_its_offset_from_utc(tmp_path: Path) -> None:
    text = "Date,Close\n2020-03-06 00:00:00+09:00,1\n2020-03-09 00:00:00+09:00,2\n2020-03-10 00:00:00-0400,3\n"
    assert days(cleaned(write(tmp_path, text))[0]) == ["03-06", "03-09", "03-10"]


# Order and duplicates


def test_rows_are_sorted_and_those_out_of_order_counted(tmp_path: Path) -> None:
    text = "date,close\n2020-01-06,11\n2020-01-08,13\n2020-01-07,12\n2020-01-09,14\n"
    frame, counts, _ = cleaned(write(tmp_path, text))
    assert frame["close"].tolist() == [11, 12, 13, 14]
    assert counts == {"num_rows": 4, "num_unsorted": 1}
    assert frame.index.tolist() == [0, 1, 2, 3]


def test_a_table_that_begins_with_the_newest_day_is_the_same_table(tmp_path: Path) -> None:
    rows = [f"2020-01-{day:02},{day}" for day in range(11, 20)]
    old_first = write(tmp_path, "\n".join(["date,close", *rows]), "a.csv")
    new_first = write(tmp_path, "\n".join(["date,close", *rows[::-1]]), "b.csv")
    pd.testing.assert_frame_equal(cleaned(old_first)[0], cleaned(new_first)[0])
    assert cleaned(new_first)[1] == {"num_rows": 9, "num_unsorted": 8}


def test_rows_that_repeat_another_are_dropped_and_conflicting_ones_give_way_to_the_last(tmp_path: Path) -> None:
    text = "date,close,volume\n2020-01-06,11,\n2020-01-06,11,\n2020-01-07,12,5\n2020-01-07,13,5\n2020-01-08,14,5\n"
    frame, counts, warnings = cleaned(write(tmp_path, text))
    assert frame["close"].tolist() == [11, 13, 14]
    assert counts == {"num_rows": 5, "num_duplicates": 1, "num_conflicts": 1, "num_incomplete": 1}
    assert warnings == [
        "AAPL: 1 row(s) come again with other values; the last row of each date is kept (first 2020-01-07, AAPL.csv, line 4)"
    ]


def test_the_last_row_of_a_date_is_kept_also_where_it_repeats_an_earlier_one(tmp_path: Path) -> None:
    text = "date,close\n2020-01-06,11\n2020-01-07,13\n2020-01-07,12\n2020-01-07,13\n2020-01-08,14\n"
    frame, counts, _ = cleaned(write(tmp_path, text))
    assert frame["close"].tolist() == [11, 13, 14]
    assert counts == {"num_rows": 5, "num_duplicates": 1, "num_conflicts": 1}


def test_several_tickers_without_a_column_that_names_them_are_refused(tmp_path: Path) -> None:
    text = "date,share,close\n2020-01-06,A,1\n2020-01-06,B,9\n2020-01-07,A,2\n2020-01-07,B,8\n"
    with pytest.raises(ValueError, match=r"line 2: most dates come several times .* name their column ticker, symbol, code or name"):
        clean(find_prices(write(tmp_path, text), None))


def test_prices_within_a_day_are_refused(tmp_path: Path) -> None:
    text = "datetime,close\n2020-01-06 09:30,1\n2020-01-06 09:31,2\n"
    with pytest.raises(ValueError, match=r"line 2: AAPL has prices of several times of the day 2020-01-06; wanted one row a day"):
        clean(find_prices(write(tmp_path, text), None))


def test_a_time_of_day_is_left_off(tmp_path: Path) -> None:
    frame, _, _ = cleaned(write(tmp_path, "datetime,close\n2020-01-06 16:00,1\n2020-01-07 13:00,2\n"))
    assert frame["date"].tolist() == [pd.Timestamp("2020-01-06"), pd.Timestamp("2020-01-07")]


# What is missing or impossible


def test_rows_without_a_close_are_dropped_and_counted(tmp_path: Path) -> None:
    frame, counts, warnings = cleaned(write(tmp_path, "date,close\n2020-01-06,11\n2020-01-07,\n2020-01-08,NA\n2020-01-09,12\n"))
    assert days(frame) == ["01-06", "01-09"]
    assert counts == {"num_rows": 4, "num_without_close": 2}
    assert warnings == ["AAPL: 2 row(s) without a close were dropped (first 2020-01-07)"]


def test_a_missing_open_high_or_low_stays_unknown(tmp_path: Path) -> None:
    text = f"{HEADER}\n2020-01-06,10,12,9,11,100\n2020-01-07,,12,,11,100\n2020-01-08,10,12,9,11,\n"
    frame, counts, _ = cleaned(write(tmp_path, text))
    np.testing.assert_array_equal(frame.iloc[1, 1:].to_numpy(float), [np.nan, 12, np.nan, 11, 100])
    assert np.isnan(frame["volume"][2])
    assert counts == {"num_rows": 3, "num_incomplete": 2}


def test_prices_and_volumes_that_cannot_be_are_unknown(tmp_path: Path) -> None:
    frame, counts, _ = cleaned(
        write(tmp_path, f"{HEADER}\n2020-01-06,10,12,0.0,11,100\n2020-01-07,-1,12,9,11,-5\n2020-01-08,10,12,9,11,0\n")
    )
    assert frame.isna().sum().to_dict() == {"date": 0, "open": 1, "high": 0, "low": 1, "close": 0, "volume": 1}
    assert counts == {"num_rows": 3, "num_impossible": 3, "num_zero_volume": 1}


@pytest.mark.parametrize("close", ["0.0", "-3.5"])
def test_a_close_without_returns_is_refused(tmp_path: Path, close: str) -> None:
    text = f"date,close\n2009-04-16,5\n2009-04-17,{close}\n2009-04-20,5\n"
    told = rf"HD.csv, line 3: the close of HD is {close}; returns of a price of {close} on 2009-04-17 do not exist: mend or remove that row"
    told += r" \(1 such row\(s\)\), or .* python src/train.py data=stock data.source=.*HD.csv data.target=change, or .*"
    told += r" python src/train.py data=series data.source=.*HD.csv data.target_column=close data.time_column=date$"
    with pytest.raises(ValueError, match=told):
        clean(find_prices(write(tmp_path, text, "HD.csv"), None))


def test_a_ticker_without_any_close_is_refused(tmp_path: Path) -> None:
    text = "date,ticker,close\n2020-01-06,A,1\n2020-01-06,B,\n"
    with pytest.raises(ValueError, match=r"all.csv: no row of B has a close"):
        clean(find_prices(write(tmp_path, text, "all.csv"), None))


# High, low and adjusted closes


@pytest.mark.parametrize(
    ("row", "high", "low"),
    [
        ("10,10.5,9,11,1", 11, 9),
        ("8,12,9,11,1", 12, 8),
        ("8,10,9,11,1", 11, 8),
        ("10,9,11,10,1", 11, 9),  # high and low exchanged
        (",10,,11,1", 11, np.nan),
        (",,12,11,1", np.nan, 11),
    ],
)
def test_high_and_low_are_widened_until_they_enclose(tmp_path: Path, row: str, high: float, low: float) -> None:
    frame, counts, _ = cleaned(write(tmp_path, f"{MONDAY}2020-01-07,{row}\n"))
    np.testing.assert_array_equal(frame.loc[1, ["high", "low"]].to_numpy(float), [high, low])
    assert counts["num_not_enclosing"] == 1


@pytest.mark.parametrize("opened", ["2.58", "41.60"])
def test_an_open_that_the_rest_of_its_day_contradicts_is_unknown(tmp_path: Path, opened: str) -> None:
    frame, counts, warnings = cleaned(write(tmp_path, f"{HEADER}\n2004-11-08,{opened},14.48,13.68,13.8,1\n2004-11-09,6,14.48,6,13.8,1\n"))
    np.testing.assert_array_equal(frame[["open", "high", "low"]], [[np.nan, 14.48, 13.68], [6, 14.48, 6]])
    assert counts == {"num_rows": 2, "num_not_enclosing": 1, "num_misprints": 1, "num_large_ranges": 1}
    told = f"AAPL: 1 open(s) taken for misprints and left unknown, first {float(opened):g} on 2004-11-08, which closed at 13.8"
    assert warnings[0] == told


@pytest.mark.parametrize(("row", "unknown"), [("10,12,0.01,11,1", "low"), ("10,1200,9,11,1", "high"), ("100,110,9,10,1", "open high")])
def test_a_price_tenfold_off_its_day_s_close_is_unknown(tmp_path: Path, row: str, unknown: str) -> None:
    frame, counts, _ = cleaned(write(tmp_path, f"{MONDAY}2020-01-07,{row}\n"))
    assert [name for name in frame if frame[name].isna()[1]] == unknown.split()
    assert counts == {"num_rows": 2, "num_misprints": len(unknown.split())}


def test_a_range_of_the_size_of_a_misprint_is_kept_and_flagged(tmp_path: Path) -> None:
    frame, counts, warnings = cleaned(write(tmp_path, f"{MONDAY}2020-01-07,10,30,10,11,100\n2020-01-08,10,17.9,9,11,100\n"))
    assert frame["high"].tolist() == [12, 30, 17.9]
    assert counts == {"num_rows": 3, "num_large_ranges": 1}
    assert warnings == ["AAPL: the high of 2020-01-07 is 3 times the low: if one of them is a misprint, mend it"]


def test_high_and_low_that_touch_open_and_close_enclose_them(tmp_path: Path) -> None:
    frame, counts, _ = cleaned(write(tmp_path, f"{HEADER}\n2020-01-06,9,12,9,12,100\n2020-01-07,11,11,11,11,100\n"))
    assert counts == {"num_rows": 2, "num_flat": 1}
    assert frame["high"].tolist() == [12, 11]


def test_adjusted_closes_scale_the_whole_day(tmp_path: Path) -> None:
    text = f"{HEADER},Adj Close\n2020-01-06,10,12,9,11,100,5.5\n2020-01-07,10,12,9,11,100,11\n"
    frame, counts, warnings = cleaned(write(tmp_path, text))
    assert frame.iloc[0, 1:].tolist() == pytest.approx([5, 6, 4.5, 5.5, 100])
    assert frame.iloc[1, 1:].tolist() == pytest.approx([10, 12, 9, 11, 100])
    assert "adj_close" not in frame
    assert counts == {"num_rows": 2, "num_adjusted": 1, "num_large_moves": 1}
    assert warnings[-1] == "open, high, low and close of 1 ticker(s) were scaled to the adjusted close"


def test_rounding_in_the_adjustment_never_breaks_the_range(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    prices, adjusted = generator.uniform(1, 100, (2, 500)).tolist()
    dates = pd.bdate_range("2000-01-03", periods=500).strftime("%Y-%m-%d")
    rows = [",".join([date, *[repr(price)] * 4, repr(close)]) for date, price, close in zip(dates, prices, adjusted, strict=True)]
    frame, counts, _ = cleaned(write(tmp_path, "\n".join(["date,open,high,low,close,adjclose", *rows])))
    assert "num_not_enclosing" not in counts
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()


def test_a_row_without_its_adjusted_close_is_dropped_for_it_would_be_on_another_scale(tmp_path: Path) -> None:
    frame, counts, _ = cleaned(write(tmp_path, "date,close,adj_close\n2020-01-06,10,5\n2020-01-07,10,\n2020-01-08,10,5\n"))
    assert frame["close"].tolist() == [5, 5]
    assert counts == {"num_rows": 3, "num_without_close": 1, "num_adjusted": 1}


def test_an_adjusted_close_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 2: the adj_close of AAPL is 0.0"):
        clean(find_prices(write(tmp_path, "date,close,adj_close\n2020-01-06,10,0\n"), None))


# What is only counted


def test_moves_of_the_size_of_a_split_are_flagged_with_their_days(tmp_path: Path) -> None:
    text = "date,close\n2020-01-06,100\n2020-01-07,50.1\n2020-01-08,25.05\n2020-01-09,50\n2020-01-10,100\n2020-01-13,50\n2020-01-14,100\n"
    frame, counts, warnings = cleaned(write(tmp_path, text))
    assert len(frame) == 7
    assert counts == {"num_rows": 7, "num_large_moves": 4}  # a fall to 50.1 % and a rise to 199.6 % are not
    assert warnings[0].startswith("AAPL: the close of 2020-01-08 is 0.5 times the one before: if that is a split")
    assert warnings[1].startswith("AAPL: the close of 2020-01-10 is 2 times the one before")
    assert warnings[3:] == ["AAPL: 1 more such day(s)"]


def test_a_day_absent_in_one_ticker_but_present_in_most_others_is_counted_inside_its_own_span(tmp_path: Path) -> None:
    all_days = [f"2020-01-{day:02}" for day in range(6, 11)]
    listed = {"A": all_days, "B": all_days, "C": [*all_days[:2], *all_days[3:]], "D": all_days[3:]}  # D is younger
    for ticker, own in listed.items():
        write(tmp_path, "\n".join(["date,close", *(f"{day},1" for day in own)]), f"{ticker}.csv")
    frames, counts, warnings = clean(find_prices(tmp_path, None))
    assert counts["num_absent"] == 1
    assert warnings == ["1 day(s) are absent in a ticker but present in most others, in 1 ticker(s), first C 2020-01-08"]
    assert len(frames["C"]) == 4


def test_a_day_that_few_tickers_have_is_absent_in_none(tmp_path: Path) -> None:
    for ticker, own in {"A": (6, 7, 8), "B": (6, 8), "C": (6, 8)}.items():
        write(tmp_path, "\n".join(["date,close", *(f"2020-01-{day:02},1" for day in own)]), f"{ticker}.csv")
    assert clean(find_prices(tmp_path, None))[1]["num_absent"] == 0


def test_counts_are_over_all_tickers_and_each_is_explained(tmp_path: Path) -> None:
    for name in ("A.csv", "B.csv"):
        write(tmp_path, MONDAY, name)
    frames, counts, warnings = clean(find_prices(tmp_path, None))
    assert list(counts) == list(COUNTS)
    assert counts["num_rows"] == 2
    assert sum(counts.values()) == 2
    assert (list(frames), warnings) == (["A", "B"], [])


def test_cleaning_leaves_what_was_read_as_it_is(tmp_path: Path) -> None:
    found = find_prices(write(tmp_path, f"{HEADER}\n2020-01-07,0,10,9,11,-1\n2020-01-06,10,12,9,11,100\n"), None)
    before = found[0].frame.copy()
    clean(found)
    pd.testing.assert_frame_equal(found[0].frame, before)


def test_tables_lie_at_any_depth_and_what_else_there_is_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "us").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    for name in ("us/AAPL.csv", "IBM.csv", "__MACOSX/._IBM.csv", "readme.csv", "notes.xlsx"):
        write(tmp_path, MONDAY, name)
    files, remarks = price_tables(tmp_path)
    assert [prices.ticker for prices in find_prices(tmp_path, None)] == ["AAPL", "IBM"] and len(files) == 2
    assert remarks == ["files passed over: 1 of .xlsx (first notes.xlsx), 1 of .csv (first readme.csv)"]
