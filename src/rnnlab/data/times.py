"""Columns of times, however they are written, as long as the column as a whole says which way; nothing is guessed from one row."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rnnlab.data.files import SKIP
from rnnlab.data.tables import Table, WrongRows, loosely, match_column, refuse_rows, set_aside

DAY_NAMES = ("date", "day", "datum", "fecha", "data", "日期", "交易日期", "日付", "날짜")
"""What a column of days may be called."""
HOUR_NAMES = ("hour", "hr", "hourofday", "stunde", "heure", "hora", "小时", "时")
PARTS = ("year", "month", "day", "hour", "minute", "second")
"""What columns are called that make up a time together; those after the day may be missing."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>(?:jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec)\.?"
    r"|january|february|march|april|may|june|july|august|september|october|november|december)"
)
_NAMED = (
    re.compile(rf"^{_MONTH} (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?,? (?P<year>[0-9]{{4}})\b,?", re.IGNORECASE),  # Aug 12, 2022
    re.compile(rf"^(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th|\.)?[ -/]{_MONTH},?[ -/](?P<year>[0-9]{{4}})\b,?", re.IGNORECASE),  # 12-Aug-2022
    re.compile(rf"^(?P<year>[0-9]{{4}})[ -/]{_MONTH}[ -/](?P<day>[0-9]{{1,2}})\b", re.IGNORECASE),  # 2022-Aug-12
    re.compile(rf"^(?P<day>){_MONTH}[ -/](?P<year>[0-9]{{4}})$", re.IGNORECASE),  # Aug 2022
)
_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? (?=[0-9a-z])", re.IGNORECASE)
_HALF_DAY = re.compile(r"\b([0-9]{1,2})(:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?) ?([ap])\.?m\.?", re.IGNORECASE)
_OFFSET = r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))"
_BARE_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_CLOCK = rf"(?:[T ]{_BARE_CLOCK}{_OFFSET}?)?"
_EPOCHS = {"seconds": (9, 10), "milliseconds": (12, 13), "microseconds": (15, 16), "nanoseconds": (18, 19)}  # digits, from 1973 to 2286
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_TIMES = {
    "year first": rf"(?:[0-9]{{4}}-[0-9]{{2}}|[0-9]{{4}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,2}}{_CLOCK})",
    "year last": rf"(?:[0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.][0-9]{{4}}{_CLOCK})",
    "year": "[0-9]{4}",
    **{f"compact {size}": rf"(?:19|20)[0-9]{{{size - 2}}}" for size in _COMPACT},
    "compact 8": rf"[0-9]{{8}}{_CLOCK}",
    **{kind: rf"[0-9]{{{few},{many}}}(?:\.[0-9]+)?" for kind, (few, many) in _EPOCHS.items()},
}
_TO_ISO = (
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})", r"\1-\2-\3"),
    (r"^([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})", r"\1-\2-\3"),
    (r"^([0-9]{4})-([0-9])-", r"\1-0\2-"),
    (r"^([0-9]{4}-[0-9]{2})-([0-9])([T ]|$)", r"\1-0\2\3"),
    (r"[T ]([0-9]):", r"T0\1:"),
    (r" ?(?:UTC|GMT)$", "Z"),
    (r"([.,][0-9]{6})[0-9]+", r"\1"),  # microseconds are kept, what is finer is cut
)
_NO_DATE = ("is no date", "write it as 2020-01-31 or 2020-01-31 10:00:00")
_EMPTY = ("is empty", "give each row its date, or remove the row")


def find_times(table: Table, wanted: str, aliases: Iterable[str], key: str = "") -> tuple[Table, str, set[str]]:
    """Find the column of times by its name, and join those of the day and the time of day, or of year, month, day, hour, where apart.

    Returns:
        The table with whole times in one column, its name, and the names of all columns that make it up.

    Raises:
        ValueError: where there is no such column, or the times of day have no column of days beside them.
    """
    found = match_column(table, wanted, aliases, key=key, is_needed=False)
    if (found is None or loosely(found) in PARTS) and (parts := _parts(table)):
        return _joined_parts(table, parts)
    column = str(found or match_column(table, wanted, aliases, key=key))
    texts = table.frame[column].str.strip()
    if _are_clocks(texts):
        return _joined(table, _day_beside(table, column, key or "the column of times"), column)
    if (clock := _clock_beside(table, column, texts, key)) is not None:
        return _joined(table, column, clock)
    return table, column, {column}


def as_times(table: Table, column: str, day_first: bool | None = None) -> pd.Series:
    """Read a column as (N,) datetime64[us] without time zone (UTC where offsets are given), all values written in one way.

    ISO dates with or without a time of day, months (1949-01), years (1959), 20200131 and 202001311030, seconds, milli-, micro- and
    nanoseconds since 1970 by their number of digits, months by their English names, and dates with the year last, where the column as a
    whole, or `day_first`, says whether the day or the month comes first.

    Raises:
        ValueError: for what is empty, no date, written in another way than the rest, or ambiguous; names the line of the first.
    """
    texts = _tidied(table.frame[column])
    refuse_rows(table, column, texts.eq("").to_numpy(bool), *_EMPTY)
    kind = _kind_of_times(table, column, texts)
    if kind in _EPOCHS:
        _say(table, f"times read as {kind} since 1970 (UTC)", len(texts))
        return _since_1970(texts, kind).rename(column)
    if kind.startswith("compact ") and kind != "compact 8":
        times = pd.to_datetime(texts, format=_COMPACT[int(kind.removeprefix("compact "))], errors="coerce")
        _say(table, "times read as year, month, day and time of day without signs between", len(texts))
    else:
        iso = _to_iso(texts) if kind != "year last" else _with_year_first(table, column, texts, find_day_first(table, column, day_first))
        has_offset = iso.str.contains(r":[0-9.,]+ ?(?:Z|[+-][0-9:]+)$").to_numpy(bool)
        is_bare = ~has_offset & has_offset.any()
        refuse_rows(table, column, is_bare, "has no offset from UTC, unlike others", "give all times one such as +01:00, or none")
        is_next_day = iso.str.contains(r"[T ]24:00(?::00(?:[.,]0+)?)?(?![0-9:])").to_numpy(bool)  # ISO's name for the end of a day
        iso = iso.str.replace(r"[T ]24:00", "T00:00", regex=True) if is_next_day.any() else iso
        times = pd.to_datetime(iso, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None) + pd.to_timedelta(
            is_next_day.astype(int), "D"
        )
    refuse_rows(table, column, times.isna().to_numpy(bool), *_NO_DATE)
    return times.astype("datetime64[us]").rename(column)


def read_times(table: Table, column: str, day_first: bool | None = None) -> tuple[Table, pd.Series, bool | None]:
    """Return a table's rows that have a time, their times, and whether the day comes first; rows without one go to `table.broken`.

    Raises:
        ValueError: where a row has no time and `table.broken` does not take it, and as `as_times` and `find_day_first` do.
    """
    while True:
        try:
            found = find_day_first(table, column, day_first)
            return table, as_times(table, column, found), found
        except WrongRows as error:
            if table.broken is None or error.why not in (_NO_DATE[0], _EMPTY[0]):
                raise
            if table.broken.on_broken == "raise" or error.is_wrong.all():
                raise ValueError(f"{error}, or leave such rows out with {SKIP}") from None
            set_aside(table, column, error.is_wrong, error.why, "")
            table = table.without(error.is_wrong)


def find_day_first(table: Table, column: str, given: bool | None = None) -> bool | None:
    """Say whether the day comes before the month in 03/04/2021, as all values of the column allow; None where that does not matter.

    Raises:
        ValueError: where some have the day first and others the month, or no value decides and `given` is None.
    """
    texts = _tidied(table.frame[column])
    if not texts.str.fullmatch(_TIMES["year last"]).any():
        return given
    by_month, by_day = (_dates(texts, is_day) for is_day in (False, True))
    is_month, is_day = by_month.notna().to_numpy(bool), by_day.notna().to_numpy(bool)
    refuse_rows(table, column, ~(is_month | is_day), *_NO_DATE)
    if given is not None:
        first, key = ("day", "data.day_first=false") if given else ("month", "data.day_first=true")
        refuse_rows(table, column, ~(is_day if given else is_month), f"does not have the {first} first", f"set {key}")
        return given
    if is_month.all() and is_day.all():
        is_open = (by_month != by_day).to_numpy(bool)
        readings = " (month first) or ".join(f"{dates[is_open.argmax()]:%Y-%m-%d}" for dates in (by_month, by_day))
        advice = "set data.day_first=false for the first, data.day_first=true for the second, or write ISO dates such as 2020-01-31"
        refuse_rows(table, column, is_open, f"may be {readings} (day first), and no other row decides", advice)
    elif not is_month.all() and not is_day.all():
        other = int(is_day.argmin())
        why = f"has the day first, unlike {table.frame[column].iloc[other].strip()!r} in line {table.lines[other]}"
        refuse_rows(table, column, ~is_month, why, "write ISO dates such as 2020-01-31")
    return None if is_month.all() and is_day.all() else not is_month.all()


# Writing


def _tidied(column: "pd.Series[str]") -> "pd.Series[str]":
    """Rewrite English months, weekdays, halves of the day and Chinese dates by numbers."""
    texts = column.str.strip()
    if texts.str.contains("[年月日]").any():
        texts = texts.str.replace("[年月]", "-", regex=True).str.replace("日 ?", " ", regex=True).str.strip().str.removesuffix("-")
        texts = texts.str.replace(r"^([0-9]{4})-([0-9])$", r"\1-0\2", regex=True)
    if texts.str.contains("[A-SU-Ya-su-y]").any():  # other letters than T and Z
        texts = texts.str.replace(_WEEKDAY, "", regex=True).str.replace(r"\s+", " ", regex=True)
        for pattern in _NAMED:
            texts = texts.str.replace(pattern, _numbered, regex=True)
        texts = texts.str.replace(_HALF_DAY, _of_24_hours, regex=True)
    return texts


def _numbered(date: re.Match[str]) -> str:
    month = 1 + _MONTHS.index(date["month"][:3].lower())
    return f"{date['year']}-{month:02d}" + (f"-{int(date['day']):02d}" if date["day"] else "")


def _of_24_hours(clock: re.Match[str]) -> str:
    hour = int(clock[1])
    return f"{hour % 12 + 12 * (clock[3].lower() == 'p'):02d}{clock[2]}" if 1 <= hour <= 12 else clock[0]


def _kind_of_times(table: Table, column: str, texts: pd.Series) -> str:
    """Return the key of _TIMES that most values follow; refuse those that don't."""
    fits = {}
    for kind, pattern in _TIMES.items():
        fits[kind] = texts.str.fullmatch(pattern).to_numpy(bool)
        if kind in (
            "compact 10",
            "compact 12",
        ):  # 2020013110 is a date, 1580428800 a number of seconds: if all values can be dates, they are
            are_dates = fits[kind].all() and pd.to_datetime(texts, format=_COMPACT[int(kind[-2:])], errors="coerce").notna().all()
            fits[kind] = fits[kind] & bool(are_dates)
        if fits[kind].all():
            return kind
    kind = max(fits, key=lambda kind: int(fits[kind].sum()))
    is_wrong = ~fits[kind]
    is_short = texts.str.fullmatch(rf"[0-9]{{1,2}}[-/. ](?:[0-9]{{1,2}}|[A-Za-z]{{3}})[-/. ][0-9]{{2}}{_CLOCK}").to_numpy(bool)
    refuse_rows(table, column, is_short, "has a year of two digits", "write years with four, such as 2020-01-31")
    if any(fit[is_wrong.argmax()] for fit in fits.values()):
        other = int(fits[kind].argmax())
        why = f"is written otherwise than {table.frame[column].iloc[other].strip()!r} in line {table.lines[other]}"
        refuse_rows(table, column, is_wrong, why, "write all in one way")
    refuse_rows(table, column, is_wrong & ~np.any(list(fits.values()), axis=0), *_NO_DATE)
    return kind


def _since_1970(texts: pd.Series, kind: str) -> pd.Series:
    """Read numbers of seconds and the like, exactly, to the microsecond."""
    places = {"seconds": 6, "milliseconds": 3, "microseconds": 0, "nanoseconds": -3}[kind]
    whole = texts.str.replace(r"\..*", "", regex=True).astype("int64")
    if places <= 0:
        return pd.to_datetime(whole // 10**-places, unit="us").astype("datetime64[us]")
    fraction = texts.str.extract(r"\.([0-9]+)$")[0].fillna("").str.slice(0, places).str.pad(places, "right", "0").astype("int64")
    return pd.to_datetime(whole * 10**places + fraction, unit="us").astype("datetime64[us]")


def _to_iso(texts: pd.Series) -> pd.Series:
    for pattern, replacement in _TO_ISO:
        texts = texts.str.replace(pattern, replacement, regex=True)
    return texts


def _dates(texts: pd.Series, is_day_first: bool) -> pd.Series:
    """Return the days of 01/31/2020 in one of the two orders, NaT where there is none."""
    return pd.to_datetime(_turned(texts, is_day_first).str.slice(0, 10), format="%Y-%m-%d", errors="coerce")


def _turned(texts: pd.Series, is_day_first: bool) -> pd.Series:
    date, order = r"^([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})", r"\3-\2-\1" if is_day_first else r"\3-\1-\2"
    return _to_iso(texts.str.replace(date, order, regex=True))


def _with_year_first(table: Table, column: str, texts: pd.Series, day_first: bool | None) -> pd.Series:
    if day_first is not None:
        _say(table, f"dates read with the {'day' if day_first else 'month'} first", len(texts))
    return _turned(texts, bool(day_first))


def _say(table: Table, what: str, count: int) -> None:
    table.notes[what] = table.notes.get(what, 0) + count


# Several columns


def _are_clocks(texts: "pd.Series[str]") -> bool:
    """Tell whether all values are times of day alone."""
    clock = re.compile(rf"{_BARE_CLOCK}{_OFFSET}?")
    return all(bool(_tidied(part).str.fullmatch(clock).all()) for part in (texts.head(1), texts))


def _are_days(texts: "pd.Series[str]") -> bool:
    """Tell whether all values are days alone."""
    tidied = _tidied(texts)
    return any(tidied.str.fullmatch(pattern.replace(_CLOCK, "")).all() for kind, pattern in _TIMES.items() if kind in _WITH_DAYS)


_WITH_DAYS = ("year first", "year last", "compact 8")


def _day_beside(table: Table, clock: str, key: str) -> str:
    """Return the column of days that goes with one of times of day."""
    others = [name for name in table.frame.columns if name != clock and _are_days(table.frame[name])]
    named = [name for name in others if loosely(name) in DAY_NAMES]
    if len(found := named or others) == 1:
        return found[0]
    what = f"these may: {', '.join(found)}" if found else "no column holds days"
    is_clock = np.ones(len(table.frame), dtype=bool)
    refuse_rows(table, clock, is_clock, f"is a time of day without its day, and {what}", f"set {key} to the column of days or whole times")
    return clock


def _clock_beside(table: Table, day: str, texts: "pd.Series[str]", key: str) -> str | None:
    """Return the column of times of day that goes with days that come again, if there is one."""
    if not texts.duplicated().any() or not _are_days(texts):
        return None
    others = [name for name in table.frame.columns if name != day]
    found = [name for name in others if _are_clocks(table.frame[name])]
    found = found or [name for name in others if loosely(name) in HOUR_NAMES and _are_hours(table.frame[name])]
    if len(found) > 1:
        named = [name for name in found if loosely(name) in ("time", "timeofday", "clock", "uhrzeit", "zeit", "heure", "hora", "时间")]
        found = named if len(named) == 1 else []
    return found[0] if found else None


def _are_hours(texts: "pd.Series[str]") -> bool:
    return bool(texts.str.strip().str.fullmatch(r"(?:[01]?[0-9]|2[0-4])(?:\.0)?").all())


def _joined(table: Table, day: str, clock: str) -> tuple[Table, str, set[str]]:
    clocks = _tidied(table.frame[clock])
    if not clocks.str.contains(":").all():
        clocks = clocks.str.replace(r"\.0$", "", regex=True).str.zfill(2) + ":00"
    whole = _tidied(table.frame[day]) + " " + clocks
    _say(table, f"times joined from the columns {day!r} and {clock!r}", len(whole))
    return replace(table, frame=table.frame.assign(**{day: whole})), day, {day, clock}


def _parts(table: Table) -> list[str]:
    """Return the columns of year, month, day, and whichever of hour, minute, second go on, where there are the first three."""
    of_name = {loosely(name): name for name in reversed(table.frame.columns) if loosely(name) in PARTS}
    there = [of_name[part] for part in PARTS if part in of_name]
    is_whole = list(of_name) and [loosely(name) for name in there] == list(PARTS[: len(there)]) and len(there) >= 3
    return there if is_whole else []


def _joined_parts(table: Table, parts: Sequence[str]) -> tuple[Table, str, set[str]]:
    texts = [table.frame[name].str.strip().str.removesuffix(".0").str.zfill(2) for name in parts]
    whole = texts[0] + "-" + texts[1] + "-" + texts[2]
    if len(texts) > 3:
        whole = whole + " " + texts[3] + ":" + (texts[4] if len(texts) > 4 else "00")
    if len(texts) > 5:
        whole = whole + ":" + texts[5]
    _say(table, f"times joined from the columns {', '.join(map(repr, parts))}", len(whole))
    return replace(table, frame=table.frame.assign(**{parts[0]: whole})), parts[0], set(parts)
