"""Columns of numbers as people and programs write them: 1,234.50, $5, 68.18K, 0.30%, `?` where unknown.

Whether a comma is decimal or stands between thousands is for the table as a whole to say, or for the user: never for one field.
"""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from rnnlab.data.tables import Decimal, Table, refuse_rows, set_aside

NA_WORDS = ["", "?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "n.a.", "nan", "null", "none", "nil", "missing", "unknown", "\\n"]
NA_WORDS += ["\u2013", "\u2014"]  # dashes
"""What stands for an unknown number, in any case."""
UNITS = {"k": 3, "K": 3, "M": 6, "B": 9, "T": 12, "万": 4, "亿": 8}
"""What stands behind a number, and the power of ten that it means."""

_PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_CURRENCY = r"(?:US\$|HK\$|[$€£¥￥₹₩₽₺₫₪฿₴]|元|kr|zł|USD|EUR|GBP|CHF|CNY|RMB|JPY|INR)"
_CURLY, _BLANKS = "\u2019", " \u00a0\u2009\u202f"
_DRESSED = re.compile(
    rf"(?P<sign>[+-]?) ?(?P<before>{_CURRENCY})? ?(?P<inner>[+-]?)(?P<core>[0-9.,'{_CURLY}{_BLANKS}]*[0-9][.,]?)"
    r"(?P<exponent>[eE][+-]?[0-9]+)?"
    rf" ?(?P<unit>[{''.join(UNITS)}])?(?P<percent> ?[%\uff05])? ?(?P<after>{_CURRENCY})?"
)
_GROUPED = {mark: re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+") for mark in [*",.'", _CURLY, *_BLANKS]}
_BY_LAKHS = re.compile(r"[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")  # as in India
# With all but digits, points and commas taken out: what can only mean that the point is decimal, and with both exchanged the comma.
_POINT_IS_DECIMAL = (
    r"0?\.[0-9]+|[0-9]+\.(?:[0-9]{1,2}|[0-9]{4,})|[0-9]{4,}\.[0-9]+"
    r"|[0-9]{1,3}(?:,[0-9]{2,3})+\.[0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{2,3})+,[0-9]{3}"
)
_EXCHANGED = str.maketrans(".,", ",.")
_OPEN = r"[1-9][0-9]{0,2},[0-9]{3}"
_MOST_LOOKED_AT = 10_000  # values of a column without commas that are asked whether their points are decimal


def find_decimal(table: Table, columns: Iterable[str], given: Decimal | None = None) -> Decimal | None:
    """Find out from all values of some columns whether the point or the comma is decimal; None where it does not matter.

    Raises:
        ValueError: where decimal commas are written and `given` is None, both are, or 1,608 may mean either; names the line of the first.
    """
    if given is not None:
        return given
    is_point, is_open = False, []
    of_comma: list[tuple[str, np.ndarray]] = []
    for column in columns:
        texts = table.frame[column].str.strip()
        if not texts.str.contains(",", regex=False).any():
            texts = texts.head(_MOST_LOOKED_AT)
        bare = texts.where(texts.map(_may_be_number), "").str.replace(r"[^0-9.,]", "", regex=True)
        is_point |= bool(bare.str.fullmatch(_POINT_IS_DECIMAL).any())
        of_comma.append((column, bare.str.translate(_EXCHANGED).str.fullmatch(_POINT_IS_DECIMAL).to_numpy(bool)))
        is_open.append((column, bare.str.fullmatch(_OPEN).to_numpy(bool)))
    for column, is_comma in of_comma:
        if is_point:
            refuse_rows(table, column, is_comma, "has a decimal comma, unlike others, which have points", "write all in one way")
        refuse_rows(table, column, is_comma, "has a decimal comma", "set data.decimal=comma, or write 1234.5 for 1234,5")
    for column, is_unclear in is_open:
        if not is_point:
            first = table.frame[column].iloc[is_unclear.argmax()].strip() if is_unclear.any() else ""
            readings = f"{first.replace(',', '')} (thousands) or {first.replace(',', '.')} (decimal comma)"
            advice = "set data.decimal=point for the first, data.decimal=comma for the second, or write it without a comma"
            refuse_rows(table, column, is_unclear, f"may be {readings}, and no other field decides", advice)
    return "point" if is_point else None


def as_numbers(table: Table, column: str, decimal: Decimal | None = None) -> pd.Series:
    """Read a column as (N,) float64, NaN where the field is empty or one of NA_WORDS in any case.

    Separators of thousands, signs of currencies, percent signs (12% is 12) and K, M, B, T behind a number are read, and counted in
    `table.notes`, as are words for what is unknown.

    Args:
        table: what was read.
        column: its name.
        decimal: what `find_decimal` says of all columns; None to ask it of this one.

    Raises:
        ValueError: for anything else that is not a finite number; names the line of the first. Where `table.broken` takes such fields,
            they are NaN, and noted there.
    """
    decimal = decimal or find_decimal(table, [column])
    texts = table.frame[column].str.strip()
    lower = texts.str.lower()
    is_missing = lower.isin(NA_WORDS).to_numpy(bool)
    is_odd = ~is_missing if decimal == "comma" else ~is_missing & ~texts.str.fullmatch(_PLAIN).to_numpy(bool)
    plain = texts.mask(is_missing, "nan").to_numpy(object, copy=True)
    found = [_undressed(text, decimal) for text in plain[is_odd]]
    is_wrong = np.zeros(len(texts), dtype=bool)
    is_wrong[is_odd] = [one is None for one in found]
    advice = "write a finite number alone, with a decimal point, and leave the field empty where it is unknown"
    if decimal == "comma":
        advice = "with data.decimal=comma points only stand between thousands, as in 1.234,5; and leave the field empty where it is unknown"
    set_aside(table, column, is_wrong, "is no number", advice)
    plain[is_odd] = [one[0] if one else "nan" for one in found]
    is_odd &= ~is_wrong
    numbers = np.fromiter(map(float, plain.tolist()), np.float64, len(texts))
    set_aside(table, column, np.isinf(numbers), "is too large for a number", "leave the field empty where it is unknown")
    numbers[np.isinf(numbers)] = np.nan
    _refuse_mixture(table, column, numbers, is_odd, [marks for _, marks in filter(None, found)])
    _note(table, texts[is_missing & (lower != "")], [marks for _, marks in filter(None, found)])
    return pd.Series(numbers, name=column)


def share_of_numbers(texts: "pd.Series[str]") -> float:
    """Return how many of the known values are numbers in some way of writing them."""
    known = texts.str.strip()
    known = known[~known.str.lower().isin(NA_WORDS)]
    is_plain = known.str.fullmatch(_PLAIN).to_numpy(bool)
    num_dressed = sum(any(_undressed(text, decimal) for decimal in ("point", "comma")) for text in known[~is_plain])
    return float((is_plain.sum() + num_dressed) / len(known)) if len(known) else 0.0


def _may_be_number(text: str) -> bool:
    return _DRESSED.fullmatch(text.strip("()").replace("\u2212", "-")) is not None


def _undressed(text: str, decimal: str | None) -> tuple[str, dict[str, str]] | None:
    """Return a number as Python writes it, and what stood around it; None if it is none."""
    whole = text.replace("\u2212", "-")
    inside = whole[1:-1] if whole.startswith("(") and whole.endswith(")") else whole  # as bookkeepers write what is owed
    match = _DRESSED.fullmatch(inside)
    if match is None:
        return None
    parts = {name: (value or "").strip() for name, value in match.groupdict().items()}
    digits, is_grouped = _ungrouped(parts["core"], "," if decimal == "comma" else ".")
    signs = parts["sign"] + parts["inner"] + ("-" if inside != whole else "")
    if not digits or len(signs) > 1 or (parts["before"] and parts["after"]) or (parts["unit"] and parts["exponent"]):
        return None
    exponent = f"e{UNITS[parts['unit']]}" if parts["unit"] else parts["exponent"]
    marks = {
        "thousands": "," if is_grouped else "",
        "currency": parts["before"] + parts["after"],
        "unit": parts["unit"],
        "percent": parts["percent"],
        "bracket": "(" if inside != whole else "",
    }
    return f"{signs}{digits}{exponent}", {name: mark for name, mark in marks.items() if mark}


def _ungrouped(core: str, mark: str) -> tuple[str, bool]:
    """Return digits with a decimal point, and whether thousands were apart; nothing where they are not by three."""
    whole, _, fraction = core.partition(mark)
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        return "", False
    if whole.isdigit() or (not whole and fraction):
        return f"{whole}.{fraction}" if fraction else whole, False
    marks = {character for character in whole if not character.isdigit()}
    is_grouped = len(marks) == 1 and mark not in marks and _GROUPED[min(marks)].fullmatch(whole) is not None
    if is_grouped or _BY_LAKHS.fullmatch(whole):
        digits = re.sub("[^0-9]", "", whole)
        return f"{digits}.{fraction}" if fraction else digits, True
    return "", False


def _refuse_mixture(table: Table, column: str, numbers: np.ndarray, is_odd: np.ndarray, marks: list[dict[str, str]]) -> None:
    """Refuse several currencies in a column, and percent beside plain numbers."""
    currencies = Counter(one["currency"] for one in marks if "currency" in one)
    percents = [bool(one.get("percent")) for one in marks]
    if len(currencies) > 1:
        usual = currencies.most_common(1)[0][0]
        is_other = np.zeros(len(numbers), dtype=bool)
        is_other[is_odd] = [one.get("currency", usual) != usual for one in marks]
        refuse_rows(table, column, is_other, f"is in another currency than others ({usual})", "convert them, or remove the rows")
    if any(percents):
        is_plain = np.isfinite(numbers) & (numbers != 0)
        is_plain[is_odd] &= ~np.array(percents)
        refuse_rows(table, column, is_plain, "has no percent sign, unlike others", "write all in percent, or none")


def _note(table: Table, words: "pd.Series[str]", marks: list[dict[str, str]]) -> None:
    """Count in the table's notes what was not read as it stands."""
    told = {
        "thousands": "numbers whose thousands were apart",
        "currency": "numbers whose sign of a currency was taken off",
        "unit": "numbers in K, M, B and the like that were multiplied out",
        "percent": "numbers in percent (12% is 12)",
        "bracket": "numbers in brackets, read as negative",
    }
    counts = Counter(told[name] for one in marks for name in one)
    counts.update(f"fields {word!r} read as missing" for word in words)
    for name, count in counts.items():
        table.notes[name] = table.notes.get(name, 0) + count
