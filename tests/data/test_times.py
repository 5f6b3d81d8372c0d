"""Claims about columns of times: what is read as which time, and what is asked for."""

import numpy as np
import pandas as pd
import pytest
from tests.data.conftest import table_of

from rnnlab.data.times import as_times, find_day_first, find_times


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2020-01-31", " 2020-02-29 "], ["2020-01-31", "2020-02-29"]),
        (["2020-01-31", "2020-01-31 10:00:00", "2020-01-31T10:00", "2020-01-31 10:00:00.123456789"],
         ["2020-01-31", "2020-01-31T10", "2020-01-31T10", "2020-01-31T10:00:00.123456"]),
        (["2020-01-31T10:00:00Z", "2020-01-31 10:00:00+01:00", "2020-01-01 00:30-0130"],
         ["2020-01-31T10", "2020-01-31T09", "2020-01-01T02:00"]),
        (["2020-1-5", "2020-12-05", "2020-1-31 9:05"], ["2020-01-05", "2020-12-05", "2020-01-31T09:05"]),
        (["2020/01/31", "2020/2/1"], ["2020-01-31", "2020-02-01"]),
        (["1/2/2020", "01/31/2020 9:30"], ["2020-01-02", "2020-01-31T09:30"]),
        (["1/2/2020", "31/01/2020"], ["2020-02-01", "2020-01-31"]),
        (["01.02.2020", "31.01.2020"], ["2020-02-01", "2020-01-31"]),
        (["05/05/2020", "6/6/2020 12:00"], ["2020-05-05", "2020-06-06T12"]),
        (["20200131", "19590101"], ["2020-01-31", "1959-01-01"]),
        (["1580428800", "1580515200"], ["2020-01-31", "2020-02-01"]),
        (["1580428800123", "1580515200000"], ["2020-01-31T00:00:00.123", "2020-02-01"]),
        (["1580428800123456", "1580515200000000"], ["2020-01-31T00:00:00.123456", "2020-02-01"]),
        (["1580428800123456789"], ["2020-01-31T00:00:00.123456"]),
        (["946684800", "1580428800"], ["2000-01-01", "2020-01-31"]),
        (["1580428800.5", "1580428801.0"], ["2020-01-31T00:00:00.5", "2020-01-31T00:00:01"]),
        (["2020013123", "2020020100"], ["2020-01-31T23", "2020-02-01"]),
        (["202001312359", "202002010000"], ["2020-01-31T23:59", "2020-02-01"]),
        (["2020013123", "1580428800"], ["2034-01-04T18:45:23", "2020-01-31"]),
        (["20200131235958"], ["2020-01-31T23:59:58"]),
        (["Aug 12, 2022", "Jan 05, 2021"], ["2022-08-12", "2021-01-05"]),
        (["12-Aug-2022", "5 May 2021", "1. September 2020"], ["2022-08-12", "2021-05-05", "2020-09-01"]),
        (["Fri, 12 Aug 2022 09:30:00 GMT", "Sat, 13 Aug 2022 21:00:00 GMT"], ["2022-08-12T09:30", "2022-08-13T21"]),
        (["Aug 2022", "September 2021"], ["2022-08-01", "2021-09-01"]),
        (["1/31/2020 9:30 PM", "2/1/2020 12:05 AM"], ["2020-01-31T21:30", "2020-02-01T00:05"]),
        (["2021年1月4日", "2021年12月31日 15:00"], ["2021-01-04", "2021-12-31T15"]),
        (["2020-01-31 24:00", "2020-02-01 01:00"], ["2020-02-01", "2020-02-01T01"]),
        (["1959", "2020"], ["1959-01-01", "2020-01-01"]),
        (["1949-01", "1949-12"], ["1949-01-01", "1949-12-01"]),
    ],
)  # fmt: skip
def test_times_are_read_in_all_ways_of_writing_them(texts: list[str], expected: list[str]) -> None:
    times = as_times(table_of(date=texts), "date")
    assert times.to_numpy().tolist() == np.array(expected, dtype="datetime64[us]").tolist()
    assert (str(times.dtype), times.name) == ("datetime64[us]", "date")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2020-01-31", "2020-13-45", "2020-02-30"], r"line 3: 'date' holds '2020-13-45', which is no date \(2 such rows\): write it"),
        (["2020-01-31", "soon"], r"line 3: 'date' holds 'soon', which is no date: "),
        (["2020-01-31", " "], r"line 3: 'date' holds ' ', which is empty: give each row its date"),
        (["2020-01-31 25:00"], r"line 2: .* is no date"),
        (["01/31/20"], r"line 2: 'date' holds '01/31/20', which has a year of two digits: write years with four"),
        (["12-Aug-22"], r"line 2: 'date' holds '12-Aug-22', which has a year of two digits"),
        (["1/31/2020", "40/13/2020"], r"line 3: 'date' holds '40/13/2020', which is no date"),
        (["3/3/2020", "1/2/2020", "3/4/2020"],
         r"line 3: .*'1/2/2020', which may be 2020-01-02 \(month first\) or 2020-02-01 \(day first\), .* \(2 such rows\): "
         r"set data\.day_first=false for the first, data\.day_first=true for the second, or write ISO"),
        (["01/31/2020", "1/1/2020", "31/01/2020"], r"line 4: .*'31/01/2020', which has the day first, unlike '01/31/2020' in line 2"),
        (["2020-01-31"] * 2 + ["1580428800"], r"line 4: .*'1580428800', which is written otherwise than '2020-01-31' in line 2: write all"),
        (["2020-01-31T10:00Z", "2020-01-31T10:00"], r"line 3: .* has no offset from UTC, unlike others: give all"),
        (["99999999"], r"line 2: .* is no date"),
        (["0000-00-00"], r"line 2: .* is no date"),
    ],
)  # fmt: skip
def test_what_is_no_time_or_an_unclear_one_is_named_with_its_line(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^t\.csv, {message}"):
        as_times(table_of(date=texts), "date")


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"])
def test_times_that_pandas_writes_are_read_back(form: str) -> None:
    times = pd.Series(pd.date_range("1899-12-30 23:59:58", periods=400, freq="271h"))
    found = as_times(table_of(date=times.dt.strftime(form).tolist()), "date")
    assert (found == times).all()


def test_a_key_says_what_the_column_does_not() -> None:
    texts = ["03/04/2021", "05/04/2021"]
    for day_first, first in ((True, "2021-04-03"), (False, "2021-03-04")):
        assert str(as_times(table_of(date=texts), "date", day_first)[0].date()) == first
    with pytest.raises(ValueError, match=r"line 3: 'date' holds '31/01/2020', which does not have the month first: set data\.day"):
        as_times(table_of(date=["1/2/2020", "31/01/2020"]), "date", day_first=False)
    assert [find_day_first(table_of(date=[text]), "date") for text in ("31/01/2020", "01/31/2020", "2020-01-31", "05/05/2020")] == [
        True,
        False,
        None,
        None,
    ]


DAYS = ["16/12/2006", "16/12/2006", "17/12/2006"]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"Date": DAYS, "Time": ["17:20:00", "17:30:00", "00:00:00"]}, "time"),
        ({"Date": DAYS, "Time": ["17:20", "17:30", "0:00"]}, "Date"),
        ({"Uhrzeit": ["17:20", "17:30", "0:00"], "Datum": DAYS}, "Datum"),
        ({"Uhrzeit": ["17:20", "17:30", "0:00"], "Datum": DAYS}, "Uhrzeit"),
        ({"date": DAYS, "clock": ["5:20 PM", "5:30 PM", "12:00 AM"]}, "date"),
        ({"No": ["1", "2", "3"], "year": ["2006"] * 3, "month": ["12"] * 3, "day": ["16", "16", "17"], "hour": ["17", "17", "0"],
          "minute": ["20", "30", "0"]}, "time"),
    ],
)  # fmt: skip
def test_days_and_times_of_day_in_several_columns_are_joined(columns: dict[str, list[str]], wanted: str) -> None:
    table, column, parts = find_times(table_of(**columns, x=["1", "2", "3"]), wanted, ["date", "day"] if wanted == "time" else [])
    expected = ["2006-12-16T17:20", "2006-12-16T17:30", "2006-12-17T00:00"]
    assert as_times(table, column).to_numpy().tolist() == np.array(expected, dtype="datetime64[us]").tolist()
    assert parts == set(columns) - {"No"}
    assert any(name.startswith("times joined from the columns") for name in table.notes)


def test_hours_as_numbers_are_joined_and_hour_24_ends_the_day() -> None:
    table, column, _ = find_times(table_of(date=["2020-01-31"] * 3, hour=["1", "23", "24"]), "date", [])
    assert as_times(table, column).tolist() == [pd.Timestamp(text) for text in ("2020-01-31 01:00", "2020-01-31 23:00", "2020-02-01")]


def test_what_is_not_in_several_columns_is_left_alone() -> None:
    daily = table_of(date=["2020-01-30", "2020-01-31"], sunrise=["7:05", "7:04"])
    assert find_times(daily, "date", [])[1:] == ("date", {"date"})
    with pytest.raises(ValueError, match=r"line 2: 'time' holds '7:05', which is a time of day without its day, and no column holds days"):
        find_times(table_of(time=["7:05", "7:04"], x=["1", "2"]), "time", [], "data.time_column")
