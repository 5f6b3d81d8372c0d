"""Daily price tables: find them, mend what can be mended without inventing a price, and count what was mended.

What has no honest repair stays unknown (NaN): `indicators` takes a day's squared return where its range is unknown, and repeats or
zeroes the features of that day. What makes returns meaningless, a close that isn't positive, is refused.
"""

import difflib
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rnnlab.data.files import SKIP, Broken, OnBroken, passed_over, select, visible_files
from rnnlab.data.numbers import as_numbers, find_decimal
from rnnlab.data.tables import AS_SHOWN, TABLE_SUFFIXES, Table, Writing, match_column, read_table
from rnnlab.data.times import find_times, read_times

TICKER_NAMES = ("ticker", "symbol", "code", "ts_code", "股票代码", "代码", "name")
# The first that is there: a table with tickers may also tell companies' names.
DATE_NAMES = ("time", "timestamp", "datetime", "day", "trade_date", "日期", "交易日期")
NUMBER_NAMES: dict[str, tuple[str, ...]] = {  # blanks, hyphens, underscores and case don't matter
    "open": ("opening price", "开盘", "开盘价"),
    "high": ("最高", "最高价"),
    "low": ("最低", "最低价"),
    "close": ("closing price", "last", "price", "close/last", "收盘", "收盘价"),
    "adj_close": ("adjusted close", "adj. close"),
    "volume": ("vol", "vol.", "成交量"),
}
COLUMNS = ("date", "open", "high", "low", "close", "volume")

FALL, RISE = 0.5, 2.0  # close over the close before it: what a missed 2:1 split, or a reverse one, looks like
MISPRINT = 10.0  # no day moves so far and back: a shifted decimal point, or an order at 0.01 that was cancelled
MOST_NAMED = 3  # such days named for each ticker

# What `clean` counts, over all tickers, and what it does about it.
COUNTS = {
    "num_rows": "rows read",
    "num_unsorted": "rows older than a row above them: sorted by date",
    "num_duplicates": "rows that repeat another of the same date in every field: dropped",
    "num_conflicts": "rows of a date that comes again with other values: the last row of the date is kept, these are dropped",
    "num_without_close": "rows without a (adjusted) close: dropped",
    "num_incomplete": "rows with a close but without an open, high, low or volume: these stay unknown",
    "num_impossible": "opens, highs and lows of zero or below, and volumes below zero: unknown from here on",
    "num_not_enclosing": "rows whose high and low don't enclose open and close: widened until they do",
    "num_misprints": "opens, highs and lows at a tenth or less, or ten times or more, of their day's close, and opens outside high and "
    "low at half or less, or double or more, of it: unknown from here on",
    "num_flat": "rows whose high equals their low: kept; one price says nothing about the day's range",
    "num_zero_volume": "rows with a volume of zero: kept",
    "num_large_moves": "closes at half or less, or double or more, of the close before: kept; perhaps an unadjusted split",
    "num_large_ranges": "highs of double the low or more: kept; perhaps a misprint",
    "num_absent": "days absent in a ticker, between its first and last, but present in most others: left absent",
    "num_adjusted": "tickers whose open, high, low and close were scaled to the adjusted close",
}


@dataclass(frozen=True)
class RawPrices:
    """One ticker's rows as found, in the file's order.

    Attributes:
        ticker: its name.
        file: where the rows come from.
        frame: date (datetime64), those found of open, high, low, close, adj_close, volume (float64, NaN where empty; close always),
            and line (int64), the line in the file.
        notes: what was odd in the file, counted.
        writing: how its numbers and dates were found to be written.
        names: what the columns are called in the file; that of tickers too, where there is one.
    """

    ticker: str
    file: Path
    frame: pd.DataFrame
    notes: dict[str, int]
    writing: Writing
    names: dict[str, str]


def find_prices(path: Path, tickers: Sequence[str] | None, writing: Writing = AS_SHOWN, broken: Broken | None = None) -> list[RawPrices]:
    """Read the price tables of a file or a folder.

    A table with a column ticker, symbol, code or name may hold many tickers; else its ticker is the file's name up to the first `_`.

    Args:
        path: one table (CSV, TSV or JSONL), or a folder of them; READMEs and files of other kinds in it are passed over.
        tickers: which to keep, in this order; None keeps all, by name.
        writing: how numbers and dates are written, where the tables do not show it.
        broken: takes fields, rows and, of a folder, whole tables that cannot be read, where they may be left out.

    Returns:
        One entry a ticker.

    Raises:
        ValueError: where there is no table, a date or close column is missing, a field can't be read, two files hold the same ticker, or
            a ticker that was asked for isn't there.
    """
    if tickers is not None and not tickers:
        raise ValueError("no ticker is named: name at least one, or leave the list out to keep all")
    found: dict[str, RawPrices] = {}
    for file in price_tables(path)[0]:
        for prices in _read_where_possible(file, path, writing, broken):
            if prices.ticker in found:
                raise ValueError(
                    f"{found[prices.ticker].file} and {file} both hold prices of {prices.ticker!r}: join them into one, or remove one"
                )
            found[prices.ticker] = prices
    if tickers is None:
        return [found[ticker] for ticker in sorted(found)]
    return [_wanted(found, ticker, path) for ticker in dict.fromkeys(tickers)]


def _read_where_possible(file: Path, path: Path, writing: Writing, broken: Broken | None) -> list[RawPrices]:
    """Return the tickers of a table; none of one of a folder that cannot be read, where it may be left out."""
    if broken is None or file == path:
        return _read(file, writing, broken)
    try:
        return _read(file, writing, broken)
    except ValueError as error:
        if broken.on_broken == "raise":
            hint = "" if SKIP in str(error) else f". Or leave out what cannot be read with {SKIP}"
            raise ValueError(f"{error}{hint}") from None
        broken.add("it cannot be read as a table of prices", str(error))
        return []


def price_tables(path: Path) -> tuple[list[Path], list[str]]:
    """Return the tables of prices of a path, the file itself or those of a folder, READMEs aside; and what is passed over, in words."""
    if path.is_file():
        return [path], []
    if not path.is_dir():
        raise ValueError(f"no such file or folder: {path}. Wanted: one table of prices, or a folder with one table per ticker")
    there = visible_files(path)
    files, _ = select((file for file in there if not file.name.lower().startswith("readme")), TABLE_SUFFIXES)
    used = set(files)
    others = passed_over((file for file in there if file not in used), path)
    if not files:
        wanted = f"one file per ticker, {' or '.join(sorted(TABLE_SUFFIXES))}, such as AAPL.csv"
        raise ValueError(f"no price tables in {path}: wanted {wanted}{''.join(f'; {line}' for line in others)}")
    return files, others


def _wanted(found: dict[str, RawPrices], ticker: str, path: Path) -> RawPrices:
    if ticker in found:
        return found[ticker]
    alike = difflib.get_close_matches(ticker.upper(), found, n=1, cutoff=0.5)
    hint = f" Did you mean {alike[0]}?" if alike else ""
    raise ValueError(f"{path} has no prices of {ticker!r}; it has: {', '.join(sorted(found))}.{hint}")


def _read(file: Path, writing: Writing, broken: Broken | None) -> list[RawPrices]:
    table, date, _ = find_times(replace(read_table(file), broken=broken), "date", DATE_NAMES)
    local, dates, day_first = read_times(_without_offsets(table, date), date, writing.day_first)
    table = table.without(~np.isin(table.lines, local.lines))
    column, tickers = _tickers(table)
    names = {name: match_column(table, name, others, is_needed=name == "close") for name, others in NUMBER_NAMES.items()}
    found = {name: names[name] for name in ("close", *names) if names[name] is not None}
    used = Writing(find_decimal(table, map(str, found.values()), writing.decimal), day_first)
    numbers = {name: as_numbers(table, str(column), used.decimal).to_numpy() for name, column in found.items()}
    frame = pd.DataFrame({"date": dates.to_numpy(), **numbers, "line": table.lines})
    parts = [(str(ticker), part) for ticker, part in frame.groupby(tickers, sort=True)]
    frames = {ticker: part.dropna(axis="columns", how="all").assign(close=part["close"]) for ticker, part in parts}
    called = {"date": date, "ticker": column or "", **{name: str(column) for name, column in found.items()}}
    return [RawPrices(ticker, file, part, table.notes, used, called) for ticker, part in frames.items()]


def _without_offsets(table: Table, column: str) -> Table:
    """Take offsets from UTC off: a trading day is the exchange's own, in UTC Tokyo's Monday begins on Sunday."""
    texts = table.frame[column].str.replace(r"(:[0-9]{2}(?:\.[0-9]+)?) ?(?:Z|[+-][0-9]{2}:?[0-9]{2})$", r"\1", regex=True)
    return replace(table, frame=table.frame.assign(**{column: texts}))


def _tickers(table: Table) -> tuple[str | None, np.ndarray]:
    """Return the column of tickers, if there is one, and the ticker of each row."""
    for name in TICKER_NAMES:
        column = match_column(table, name, (), is_needed=False)
        if column is None or table.frame[column].eq("").all():
            continue
        named = table.frame[column].str.strip().to_numpy(str)
        if (named == "").any():
            raise ValueError(f"{table.file}, line {table.lines[named == ''][0]}: the {column} is empty")
        return column, named
    stem = Path(table.file.name.removesuffix(".gz")).stem
    return None, np.full(len(table.frame), stem.split("_")[0] or stem)


def read_prices(
    raw: Path, tickers: list[str] | None, writing: Writing, on_broken: OnBroken = "raise", is_signed: bool = False
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Return one long, clean table of all tickers (series, date, close, ...), and what was odd or, by `on_broken`, left out.

    `is_signed` says whether prices may be zero or negative.
    """
    broken = Broken(on_broken)
    found = find_prices(raw, tickers, writing, broken)
    frames, counts, warnings = clean(found, broken, is_signed=is_signed)
    warnings = broken.settle(len(frames), "Mend it") + warnings
    table = pd.concat([frame.assign(series=ticker) for ticker, frame in frames.items()], ignore_index=True)
    odd = {name.removeprefix("num_").replace("_", " "): count for name, count in counts.items() if name != "num_rows"}
    notes = sum((Counter(notes) for notes in {prices.file: prices.notes for prices in found}.values()), Counter[str]())
    ways = [prices.writing for prices in found]
    used = Writing(*(next((value for value in values if value is not None), None) for values in zip(*map(astuple, ways), strict=True)))
    return table, {"odd": odd | dict(notes), "warnings": warnings, "writing": asdict(used)}


def clean(
    raw: Sequence[RawPrices], broken: Broken | None = None, *, is_signed: bool = False
) -> tuple[dict[str, pd.DataFrame], dict[str, int], list[str]]:
    """Mend the prices of all tickers.

    Args:
        raw: as found.
        broken: takes closes of zero or below, where they may be left out.
        is_signed: whether prices may be zero or negative; a ticker that has such is left as it is quoted, since a ratio says nothing
            of it: nothing is taken for a misprint, and nothing is adjusted.

    Returns:
        Per ticker its prices: date (datetime64, ascending, each once), close and, where the file has them, open, high, low and volume
        (float64, NaN where unknown; a column that is not in the file is not in the frame); what was found and mended, by the keys of
        COUNTS; and in words what a user should look at.

    Raises:
        ValueError: where a close is zero or negative, no row is left, or a day has several times of day.
    """
    counts, warnings = dict.fromkeys(COUNTS, 0), list[str]()
    frames = {prices.ticker: _clean_one(prices, counts, warnings, broken or Broken("raise"), is_signed) for prices in raw}
    if counts["num_adjusted"]:
        warnings.append(f"open, high, low and close of {counts['num_adjusted']} ticker(s) were scaled to the adjusted close")
    _count_absent(frames, counts, warnings)
    return frames, counts, warnings


def _clean_one(prices: RawPrices, counts: dict[str, int], warnings: list[str], broken: Broken, is_signed: bool) -> pd.DataFrame:
    counts["num_rows"] += len(prices.frame)
    frame = _order(prices, counts, warnings)
    is_quoted = is_signed and any((frame[name] <= 0).any() for name in ("close", "adj_close") if name in frame)
    frame = _keep_closes(prices, frame if is_quoted else _positive(prices, frame, broken), counts, warnings)
    _blank_impossible(frame, counts, ("volume",) if is_quoted else ("open", "high", "low", "volume"))
    if is_quoted and "adj_close" in frame:
        warnings.append(f"{prices.ticker}: prices of zero or below, so nothing was scaled to the adjusted close")
    if not is_quoted:
        _blank_misprints(prices, frame, counts, warnings)
    _enclose(frame, counts)
    if not is_quoted:
        _adjust(frame, counts)
        _flag_moves(prices, frame, counts, warnings)
    return frame[[name for name in COLUMNS if name in frame]]


def _order(prices: RawPrices, counts: dict[str, int], warnings: list[str]) -> pd.DataFrame:
    """Sort by date and keep one row a day."""
    frame, times = prices.frame, prices.frame["date"]
    frame = frame.assign(date=times.dt.normalize())
    counts["num_unsorted"] += int((times < times.cummax()).sum())
    is_intraday = frame["date"].duplicated(keep=False) & ~times.duplicated(keep=False)
    if is_intraday.any():
        raise ValueError(
            f"{prices.file}, line {frame['line'][is_intraday].iloc[0]}: {prices.ticker} has prices of several times of the day "
            f"{_day(frame[is_intraday])}; wanted one row a day: keep the last row of each day"
        )
    fields = [name for name in frame.columns if name != "line"]
    is_repeated = frame.duplicated(fields, keep="last")
    counts["num_duplicates"] += int(is_repeated.sum())
    frame = frame[~is_repeated]
    is_overruled = frame["date"].duplicated(keep="last")
    if 2 * frame["date"][is_overruled].nunique() > frame["date"].nunique():
        raise ValueError(
            f"{prices.file}, line {frame['line'][is_overruled].iloc[0]}: most dates come several times with other values, first "
            f"{_day(frame[is_overruled])}. Wanted one row a day and ticker: keep the last row of each day, or, if these are several "
            f"tickers, name their column {', '.join(TICKER_NAMES[:3])} or {TICKER_NAMES[-1]}"
        )
    counts["num_conflicts"] += int(is_overruled.sum())
    if is_overruled.any():
        warnings.append(
            f"{prices.ticker}: {is_overruled.sum()} row(s) come again with other values; the last row of each date is kept "
            f"(first {_day(frame[is_overruled])}, {prices.file.name}, line {frame['line'][is_overruled].iloc[0]})"
        )
    return frame[~is_overruled].sort_values("date", ignore_index=True)


def _positive(prices: RawPrices, frame: pd.DataFrame, broken: Broken) -> pd.DataFrame:
    """Return the rows whose closes returns can be computed from; leave the others out where they may be, else refuse them."""
    for name in ("close", "adj_close"):
        if name not in frame or not (is_wrong := frame[name] <= 0).any():
            continue
        row = frame[is_wrong].iloc[0]
        if broken.on_broken == "raise":
            raise ValueError(
                f"{prices.file}, line {row['line']}: the {name} of {prices.ticker} is {row[name]}; returns of a price of {row[name]} on "
                f"{_day(frame[is_wrong])} do not exist: mend or remove that row ({is_wrong.sum()} such row(s)), or leave such out with "
                f"{SKIP}; or, where prices may fall so low, forecast their changes: {_as_changes(prices)}, or those of the {name} alone, "
                f"as of any number over time: {_as_series(prices, name)}"
            )
        for line, value in zip(frame["line"][is_wrong], frame[name][is_wrong], strict=True):
            broken.add(f"the {name} of a price is zero or below", f"{prices.file.name}, line {line}: {value:g}")
        frame = frame[~is_wrong]
    return frame


def _keep_closes(prices: RawPrices, frame: pd.DataFrame, counts: dict[str, int], warnings: list[str]) -> pd.DataFrame:
    """Drop rows without a close."""
    names = [name for name in ("close", "adj_close") if name in frame]
    is_without = frame[names].isna().any(axis=1)
    counts["num_without_close"] += int(is_without.sum())
    if is_without.all():
        raise ValueError(f"{prices.file}: no row of {prices.ticker} has a {' and a '.join(names)}")
    if is_without.any():
        warnings.append(f"{prices.ticker}: {is_without.sum()} row(s) without a close were dropped (first {_day(frame[is_without])})")
    return frame[~is_without].reset_index(drop=True)


def _as_changes(prices: RawPrices) -> str:
    """Return the command that forecasts the changes of prices."""
    return shlex.join(["python", "src/train.py", "data=stock", f"data.source={prices.file}", "data.target=change"])


def _as_series(prices: RawPrices, name: str) -> str:
    """Return the command that forecasts a column of prices as any number over time, from its last value."""
    words = {"source": prices.file, "target_column": prices.names[name], "time_column": prices.names["date"]}
    words |= {"series_column": prices.names["ticker"]} if prices.names["ticker"] else {}
    return shlex.join(["python", "src/train.py", "data=series", *(f"data.{key}={value}" for key, value in words.items())])


def _blank_impossible(frame: pd.DataFrame, counts: dict[str, int], signless: Sequence[str]) -> None:
    """Forget prices and volumes that cannot be: of those that are `signless`, what is negative, and a price of zero."""
    names = [name for name in ("open", "high", "low", "volume") if name in frame]
    counts["num_incomplete"] += int(frame[names].isna().any(axis=1).sum())
    for name in (name for name in names if name in signless):
        is_wrong = (frame[name] < 0) | ((frame[name] == 0) & (name != "volume"))
        counts["num_impossible"] += int(is_wrong.sum())
        frame[name] = frame[name].mask(is_wrong)
    if "volume" in frame:
        counts["num_zero_volume"] += int((frame["volume"] == 0).sum())


def _blank_misprints(prices: RawPrices, frame: pd.DataFrame, counts: dict[str, int], warnings: list[str]) -> None:
    """Forget single prices that the rest of their day contradicts: one of them would outweigh years of true ranges."""
    is_outside = pd.Series(False, index=frame.index)
    if {"open", "high", "low"} <= set(frame):
        is_outside = (frame["open"] > frame["high"]) | (frame["open"] < frame["low"])
    for name in ("open", "high", "low"):
        if name not in frame:
            continue
        ratio = frame[name] / frame["close"]
        is_misprint = (ratio <= 1 / MISPRINT) | (ratio >= MISPRINT)
        if name == "open":
            is_contradicted = is_outside & ((ratio <= FALL) | (ratio >= RISE))
            counts["num_not_enclosing"] += int(is_contradicted.sum())
            is_misprint |= is_contradicted
        if is_misprint.any():
            first = frame[is_misprint].iloc[0]
            warnings.append(
                f"{prices.ticker}: {is_misprint.sum()} {name}(s) taken for misprints and left unknown, first {first[name]:g} on "
                f"{_day(frame[is_misprint])}, which closed at {first['close']:g}"
            )
        counts["num_misprints"] += int(is_misprint.sum())
        frame[name] = frame[name].mask(is_misprint)


def _enclose(frame: pd.DataFrame, counts: dict[str, int]) -> None:
    """Widen what is known of high and low to all prices of the day; an unknown high or low stays unknown."""
    day = frame[[name for name in ("open", "high", "low", "close") if name in frame]]
    is_wrong = np.zeros(len(frame), dtype=bool)
    for name, extreme in (("high", day.max(axis=1)), ("low", day.min(axis=1))):
        if name in day:
            is_wrong |= (day[name].notna() & (day[name] != extreme)).to_numpy()
            frame[name] = extreme.where(day[name].notna())
    counts["num_not_enclosing"] += int(is_wrong.sum())
    if {"high", "low"} <= set(frame):
        counts["num_flat"] += int((frame["high"] == frame["low"]).sum())


def _adjust(frame: pd.DataFrame, counts: dict[str, int]) -> None:
    """Scale all prices of a day, the close as well, by one factor: rounding then keeps their order."""
    if "adj_close" not in frame:
        return
    factor = frame["adj_close"] / frame["close"]
    for name in ("open", "high", "low", "close"):
        if name in frame:
            frame[name] = frame[name] * factor
    counts["num_adjusted"] += 1


def _flag_moves(prices: RawPrices, frame: pd.DataFrame, counts: dict[str, int], warnings: list[str]) -> None:
    ratios = {"num_large_moves": frame["close"] / frame["close"].shift()}
    words = {
        "num_large_moves": "the close of {day} is {ratio:.3g} times the one before: if that is a split, give prices adjusted for splits",
        "num_large_ranges": "the high of {day} is {ratio:.3g} times the low: if one of them is a misprint, mend it",
    }
    if {"high", "low"} <= set(frame):
        ratios["num_large_ranges"] = frame["high"] / frame["low"]
    for name, ratio in ratios.items():
        rows = np.flatnonzero((ratio <= FALL) | (ratio >= RISE))
        counts[name] += len(rows)
        told = [words[name].format(day=_day(frame[row:]), ratio=ratio[row]) for row in rows[:MOST_NAMED]]
        more = [f"{len(rows) - MOST_NAMED} more such day(s)"] if len(rows) > MOST_NAMED else []
        warnings += [f"{prices.ticker}: {line}" for line in told + more]


def _count_absent(frames: dict[str, pd.DataFrame], counts: dict[str, int], warnings: list[str]) -> None:
    days = {ticker: frame["date"].to_numpy() for ticker, frame in frames.items()}
    if len(days) < 2:
        return
    dates = np.unique(np.concatenate(list(days.values())))
    is_listed = {ticker: (dates >= own[0]) & (dates <= own[-1]) for ticker, own in days.items()}
    is_present = {ticker: np.isin(dates, own) for ticker, own in days.items()}
    num_listed, num_present = (np.sum(list(table.values()), axis=0) for table in (is_listed, is_present))
    is_usual = num_present > (num_listed - 1) / 2
    absent = {ticker: dates[is_listed[ticker] & ~is_present[ticker] & is_usual] for ticker in days}
    counts["num_absent"] += sum(map(len, absent.values()))
    if firsts := [f"{ticker} {np.datetime_as_string(missing[0], unit='D')}" for ticker, missing in absent.items() if len(missing)]:
        warnings.append(
            f"{counts['num_absent']} day(s) are absent in a ticker but present in most others, in {len(firsts)} ticker(s), first "
            f"{', '.join(firsts[:MOST_NAMED])}"
        )


def _day(frame: pd.DataFrame) -> str:
    """Name the first row's day."""
    return str(frame["date"].iloc[0].date())
