"""Claims about headers of several lines, as pandas writes tables whose columns have two levels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnlab.data.tables import read_table

DAYS = pd.date_range("2024-01-02", periods=4, name="Date")
FIELDS = ["Close", "High", "Low", "Open", "Volume"]


def downloaded(tickers: list[str], names: list[str | None], order: int = 1) -> pd.DataFrame:
    """Make what yfinance.download and pandas-datareader return; `order` -1 groups by ticker."""
    levels = [FIELDS, tickers][::order]
    columns = pd.MultiIndex.from_product(levels, names=names[::order])
    values = np.random.default_rng(0).integers(1, 99, (len(DAYS), len(columns)))
    return pd.DataFrame(values, index=DAYS, columns=columns)


@pytest.mark.parametrize("tickers", [["AAPL"], ["AAPL", "000001.SZ", "7203"]])
@pytest.mark.parametrize("names", [["Price", "Ticker"], ["Attributes", "Symbols"], [None, None]])
@pytest.mark.parametrize("order", [1, -1])
def test_prices_of_a_downloader_have_one_row_a_day_and_ticker(
    tmp_path: Path, tickers: list[str], names: list[str | None], order: int
) -> None:
    frame = downloaded(tickers, names, order)
    frame.to_csv(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv")
    level = 1 if order == 1 else 0
    long = frame.stack(level=level).rename_axis(["Date", "Ticker"]).reset_index()
    found = table.frame.set_index(["Date", "Ticker"]).sort_index().astype(int)
    expected = long.assign(Date=long["Date"].dt.strftime("%Y-%m-%d")).set_index(["Date", "Ticker"]).sort_index()[FIELDS].astype(int)
    np.testing.assert_array_equal(found[FIELDS], expected)
    assert [list(key) for key in found.index] == [list(key) for key in expected.index]
    assert table.lines.tolist() == np.repeat(np.arange(4, 8), len(tickers)).tolist()
    assert table.notes == {"header of 3 lines, as programs that download prices write it": 1}


@pytest.mark.parametrize("has_numbers", [True, False])
def test_a_header_of_two_lines_where_the_date_is_a_column(tmp_path: Path, has_numbers: bool) -> None:
    downloaded(["AAPL"], ["Price", "Ticker"]).reset_index().to_csv(tmp_path / "t.csv", index=has_numbers)
    table = read_table(tmp_path / "t.csv")
    assert table.frame["Date"].tolist() == DAYS.strftime("%Y-%m-%d").tolist()
    assert table.frame["Ticker"].unique().tolist() == ["AAPL"]
    assert table.frame["Close"].tolist() == downloaded(["AAPL"], ["Price", "Ticker"])["Close"]["AAPL"].astype(str).tolist()


def test_a_ticker_has_no_row_on_a_day_without_any_of_its_prices(tmp_path: Path) -> None:
    frame = downloaded(["A", "B"], ["Price", "Ticker"]).astype(float)
    frame.loc[DAYS[1], (slice(None), "B")] = np.nan
    frame.to_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").frame["Ticker"].tolist() == ["A", "B", "A", "A", "B", "A", "B"]


@pytest.mark.parametrize(
    "text",
    [
        "Date,Close,High\n2024-01-02,1,2\n2024-01-03,,\n",  # a day without prices
        "text,label\n,pos\ngood,neg\nbad,pos\n",
        "Price,Close,High\n,1,2\nDate,3,4\n",
        "Date,Open,Close\n,Frankfurt,Xetra\n",
    ],
)
def test_other_tables_keep_their_first_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert len(read_table(tmp_path / "t.csv").frame) == text.count("\n") - 1


@pytest.mark.parametrize("line", ["2020-01-09,1", "2020-01-09,1,2,3,4,5,6"])
def test_below_a_header_of_three_lines_a_record_of_another_length_is_named(tmp_path: Path, line: str) -> None:
    header = "Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\nDate,,,,,\n"
    (tmp_path / "t.csv").write_text(f"{header}2020-01-08,1,2,3,4,5\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"t\.csv, line 5: found \d of 6 fields"):
        read_table(tmp_path / "t.csv")
