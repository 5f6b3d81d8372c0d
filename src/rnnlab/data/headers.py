"""Headers of two or three lines, as programs that download prices write them: fields, tickers, and the name of the column of dates.

yfinance, pandas-datareader and whatever else writes a pandas table whose columns have two levels:

    Price,Close,High        Ticker,AAPL,AAPL        ,Close,Close        Date,Close,High
    Ticker,AAPL,AAPL        Price,Close,High        ,AAPL,MSFT          ,AAPL,AAPL
    Date,,                  Date,,                  Date,,              2024-01-02,185.6,188.4
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

FIELDS = {"open", "high", "low", "close", "adjclose", "adjustedclose", "volume", "dividends", "stocksplits", "capitalgains", "repaired?"}
LEVELS = {"", "price", "prices", "ticker", "tickers", "symbol", "symbols", "attributes"}
INDEX_NAMES = {"date", "datetime", "time", "timestamp", "index"}
TICKER = "Ticker"
"""The column that the tickers go to."""

_NUMBER = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?")


class Unstacked(NamedTuple):
    """A table with a header of one line; row by row the number of the record that it comes from, counted from the header's first."""

    names: list[str]
    rows: list[list[str]]
    origins: list[int]
    num_lines: int


def unstack(records: Sequence[Sequence[str]]) -> Unstacked | None:
    """Return a table whose header has several lines as one row a day and ticker, with a column of tickers; None for any other table."""
    if len(records) < 3 or len({len(record) for record in records[:3]}) > 1:
        return None
    first, second, third = ([field.strip() for field in record] for record in records[:3])
    is_named = _word(third[0]) in INDEX_NAMES and not any(third[1:]) and _word(first[0]) in LEVELS
    index = [0] if is_named else [place for place, name in enumerate(second) if not name or place == 0]
    stacked = [place for place in range(len(first)) if place not in index]
    if len(stacked) < 1 + (not is_named) or _word(second[0]) not in LEVELS or not (is_named or any(map(_is_time, first[: max(index) + 1]))):
        return None
    levels = [[line[place] for place in stacked] for line in (first, second)]
    fields = next((level for level in levels if {_word(name) for name in level} <= FIELDS), None)
    if fields is None or len(set(zip(*levels, strict=True))) < len(stacked):
        return None
    tickers = levels[1] if fields is levels[0] else levels[0]
    if not all(tickers) or (not is_named and any(map(_NUMBER.fullmatch, tickers))):
        return None
    num_lines = 3 if is_named else 2
    index_names = [third[0]] if is_named else ["" if _word(first[place]) in LEVELS else first[place] for place in index]
    place_of = {pair: place for pair, place in zip(zip(fields, tickers, strict=True), stacked, strict=True)}
    distinct = list(dict.fromkeys(fields))
    rows, origins = [], []
    for number, record in enumerate(records[num_lines:], start=num_lines):
        for ticker in dict.fromkeys(tickers):
            values = [record[place_of[field, ticker]] if (field, ticker) in place_of else "" for field in distinct]
            if any(values) or len(set(tickers)) == 1:  # beside others, a ticker has no row where it was not traded
                rows.append([*(record[place] for place in index), *values, ticker])
                origins.append(number)
    return Unstacked([*index_names, *distinct, TICKER], rows, origins, num_lines)


def _word(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _is_time(name: str) -> bool:
    return _word(name) in INDEX_NAMES
