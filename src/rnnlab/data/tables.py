"""The user's own tables (CSV, TSV, JSON lines), read strictly: each record knows its line; nothing is dropped or merged in silence.

As in RFC 4180, a field that begins with a quote ends with one and has those inside it doubled; any other quote is text. Where tabs
separate, all quotes are text, unless the file as a whole shows that they enclose fields.
"""

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.files import SKIP, Broken
from rnnlab.data.headers import Unstacked, unstack
from rnnlab.data.text_files import LINE_END, read_text

Quoting = Literal["none", "csv"]
Decimal = Literal["point", "comma"]

TABLE_SUFFIXES = {".csv", ".tsv", ".tab", ".jsonl", ".ndjson"}  # in a folder; a table named by itself may be called anything
TAB_SUFFIXES, JSON_SUFFIXES = {".tsv", ".tab"}, {".jsonl", ".ndjson", ".json"}
DELIMITERS = "\t,;|"  # where two fit equally well, the one that is rarer in texts
MOST_FIELD_LINES = 100  # a quoted field over more lines is a quote that was never closed
SAMPLE, LEAST_ALIKE = 50, 0.9  # records that a delimiter is looked for in, and how many must agree

_QUOTED = r'"[^"]*+(?:""[^"]*+)*+"'
_QUOTE_ADVICE = (
    'a field that begins with a quote must end with one and have those in it doubled, like """Great"" film" for "Great" film; where quotes '
    "are part of texts, set data.prepare.quoting=none"
)


@dataclass(frozen=True)
class Table:
    """A table as it stands in its file, every value a text; `lines` are of the file, counted from 1."""

    file: Path
    frame: pd.DataFrame  # one row a record, in order; every column of dtype str, "" where empty
    lines: np.ndarray  # (N,) int64, where each record begins
    delimiter: str  # "" for JSON lines
    notes: dict[str, int]  # what was odd and was mended, counted
    broken: Broken | None = None  # takes fields that cannot be read, where these may be left out

    def without(self, is_left_out: np.ndarray) -> "Table":
        """Return the table without these rows."""
        return replace(self, frame=self.frame[~is_left_out].reset_index(drop=True), lines=self.lines[~is_left_out])


@dataclass(frozen=True)
class Writing:
    """How a table writes what may be written in two ways; None where its own columns say it, or where it does not matter.

    Attributes:
        decimal: whether 1,608 is a little more than one (`comma`) or than a thousand (`point`).
        day_first: whether 03/04/2021 is in April.
    """

    decimal: Decimal | None = None
    day_first: bool | None = None


AS_SHOWN = Writing()


class _Records(NamedTuple):
    rows: list[list[str]]
    begins: list[int]
    ends: list[int]
    num_blank: int


def read_table(
    file: Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    has_header: bool = True,
    quoting: Quoting | None = None,
    takes_lists: bool = False,
) -> Table:
    """Read a table, or say what is wrong with it and where.

    Args:
        file: by suffix .tsv and .tab (tabs), .jsonl, .ndjson and .json (one object a line), .csv (commas, or what else separates a header
            that has none); any other is looked at. All of them may be packed (.gz, or alone in a .zip).
        delimiter: a single character, where the suffix does not tell.
        encoding: None for UTF-8, UTF-16 with a byte order mark, and single lines of windows-1252.
        has_header: whether the first record names the columns (a first one without a name is ""); else they are "0", "1", ...
        quoting: "none" where quotes are text, "csv" where they enclose fields; None for text only where tabs separate, see above.
        takes_lists: whether one key of a JSON object may hold a list of texts: as many records follow, alike in all else, of one line.

    Raises:
        ValueError: for whatever is not a table of equally long records; says in which line.
    """
    text, name, notes = read_text(file, encoding)
    suffix = Path(name.lower()).suffix
    if not text.strip("\r\n"):
        raise ValueError(f"{file} holds nothing but blank lines: wanted a header and rows")
    if suffix in JSON_SUFFIXES:
        if delimiter is not None or not has_header:
            raise ValueError(f"{file} is read as one JSON object a line, which has neither delimiter nor header: leave these settings out")
        separator, names, records = "", *_read_objects(file, text, takes_lists)
    else:
        separator = _choose_delimiter(file, suffix, text, delimiter)
        names, records, odd = _split_records(file, text, separator, has_header, quoting)
        notes |= odd
    if not records.rows:
        raise ValueError(f"{file} has a header but no rows")
    num_long = sum(begin != end for begin, end in zip(records.begins, records.ends, strict=True))
    notes |= {"blank lines": records.num_blank, "records over several lines": num_long}
    frame = pd.DataFrame(np.array(records.rows, dtype=object).reshape(len(records.rows), len(names)), columns=names, dtype="str")
    return Table(file, frame, np.array(records.begins, dtype=np.int64), separator, {name: num for name, num in notes.items() if num})


def match_column(table: Table, wanted: str, aliases: Iterable[str] = (), *, is_needed: bool = True, key: str = "") -> str | None:
    """Find a column by its name: as spelled; else whatever its case, blanks, hyphens and underscores; else by an alias, likewise.

    Returns:
        The name in `table.frame`, or None if there is none and none is needed. `key` is the setting that names it, for the message.

    Raises:
        ValueError: if it is needed and missing, or if several columns answer to the name.
    """
    names = [name for name in table.frame.columns if name]
    aliases = list(aliases)
    if wanted in names:
        return wanted
    for group in ([wanted], aliases):
        found = [name for name in names if loosely(name) in map(loosely, group)]
        if len(found) == 1:
            return found[0]
        if found:
            how = f"set {key} to one of them" if key else "rename all but one"
            raise ValueError(f"{table.file} has several columns that may be meant by {wanted!r}: {_short(', '.join(found), 400)}; {how}")
    if not is_needed:
        return None
    others = f" (or {', '.join(aliases)})" if aliases else ""
    close = difflib.get_close_matches(loosely(wanted), [loosely(name) for name in names], n=1)
    guess = "".join(f" Did you mean {name!r}?" for name in names if loosely(name) in close)
    advice = f", or set {key}=NAME" if key else ""
    raise ValueError(f"{table.file} lacks a column {wanted!r}{others}; it has: {_short(', '.join(names), 400)}.{guess} Rename one{advice}")


def _choose_delimiter(file: Path, suffix: str, text: str, given: str | None) -> str:
    given = "\t" if given == "\\t" else given  # as typed in a shell
    if given is not None and (len(given) != 1 or given in '"\r\n'):
        raise ValueError(f"delimiter={given!r} is not a single character that can separate fields, such as , ; | or a tab (\\t)")
    if given is not None or suffix in TAB_SUFFIXES:
        delimiter = given or "\t"
        if set(_num_fields(text, delimiter)[:1]) == {1} and (other := look_for_delimiter(text)):
            advice = f"it looks separated by {other!r}: give delimiter={other!r}"
            raise ValueError(f"{file} has one column when split at {delimiter!r}; {advice}")
        return delimiter
    is_split_by_commas = suffix == ".csv" and _num_fields(text, ",")[:1] != [1]
    return "," if is_split_by_commas else look_for_delimiter(text) or ","


def look_for_delimiter(text: str) -> str:
    """Return the delimiter at which the first records fall into equally many fields, more than one; "" if there is none."""
    counts = {delimiter: _num_fields(text, delimiter) for delimiter in DELIMITERS}
    counts["\t"] = _num_fields(text, "\t", csv.QUOTE_NONE) if len(set(counts["\t"])) != 1 else counts["\t"]
    shares = {delimiter: num.count(num[0]) / len(num) for delimiter, num in counts.items() if num and num[0] > 1}
    best = max(shares, key=lambda delimiter: shares[delimiter], default="")
    return best if shares.get(best, 0.0) > LEAST_ALIKE else ""


def _num_fields(text: str, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> list[int]:
    try:
        records = csv.reader(_lines_of(text), delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
        return [len(row) for row in islice(filter(None, records), SAMPLE + 1)]
    except csv.Error:  # a quote that is never closed, which the strict reading says more about
        return []


def _lines_of(text: str) -> Iterator[str]:
    """Walk the lines with their ends: `str.splitlines` would break at more, and `io.StringIO` take 4 bytes a character."""
    return iter(io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline=""))


def _split_records(
    file: Path, text: str, delimiter: str, has_header: bool, quoting: Quoting | None
) -> tuple[list[str], _Records, dict[str, int]]:
    """Return names, records of that many fields, and what was odd about them."""
    is_text, num_quotes = quoting == "none", 0
    if delimiter == "\t" and quoting is None and (num_quotes := len(re.findall(r'(?:^|[\t\r\n])"', text))):
        is_text = _are_quotes_text(file, text)
    records = _records(file, text, delimiter, csv.QUOTE_NONE if is_text else csv.QUOTE_MINIMAL)
    odd = {"fields that begin with a quote, read as text": num_quotes} if is_text else {}
    if not has_header:
        names = [str(number) for number in range(len(records.rows[0]))]
    elif (table := _unstacked(file, text, records, delimiter)) is not None:
        odd[f"header of {table.num_lines} lines, as programs that download prices write it"] = 1
        names = _check_names(file, table.names, records.begins[0])
        begins, ends = ([lines[origin] for origin in table.origins] for lines in (records.begins, records.ends))
        return names, _Records(table.rows, begins, ends, records.num_blank), odd
    else:
        names = _check_names(file, [name.strip() for name in records.rows[0]], records.begins[0])
        records = _Records(records.rows[1:], records.begins[1:], records.ends[1:], records.num_blank)
    if not is_text:
        _refuse_unclosed_quotes(file, text, records, len(names), delimiter)
    _check_widths(file, text, records, names, delimiter)
    return names, records, odd


def _unstacked(file: Path, text: str, records: _Records, delimiter: str) -> Unstacked | None:
    """Take a header of several lines apart, below which all records must be equally long; None for any other table."""
    if unstack(records.rows[:3]) is not None:
        _check_widths(file, text, records, records.rows[0], delimiter)
    return unstack(records.rows)


def _records(file: Path, text: str, delimiter: str, quoting: int) -> _Records:
    rows: list[list[str]] = []
    begins, ends, begin = [], [], 1
    limit = csv.field_size_limit(len(text))  # long texts are no error
    try:
        for row in (reader := csv.reader(_lines_of(text), delimiter=delimiter, strict=True, quoting=quoting)):  # type: ignore[arg-type]
            if row and not (len(row) == 1 and row[0].isspace() and rows and len(rows[0]) > 1):
                rows.append(row)
                begins.append(begin)
                ends.append(reader.line_num)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(_quote_trouble(file, text, begin, delimiter)) from error
    finally:
        csv.field_size_limit(limit)
    return _Records(rows, begins, ends, reader.line_num - (sum(ends) - sum(begins) + len(rows)))


def _are_quotes_text(file: Path, text: str) -> bool:
    """Tell from all of a tabbed file whether its quotes are text, as in lists of sentences, or enclose fields, as spreadsheets write them.

    They enclose fields where all that begin with one are closed and have others doubled within, where all fields are so enclosed, or where
    only then the records are equally long.
    """
    as_text = _records(file, text, "\t", csv.QUOTE_NONE)
    if len({len(row) for row in as_text.rows}) == 1:
        fields = [field for row in as_text.rows for field in row]
        quoted = [field for field in fields if field.startswith('"')]
        is_closed = all(re.fullmatch(_QUOTED, field) for field in quoted)
        return not (is_closed and (len(quoted) == len(fields) or all('""' in field[1:-1] for field in quoted)))
    try:
        enclosed = _records(file, text, "\t", csv.QUOTE_MINIMAL)
        _refuse_unclosed_quotes(file, text, enclosed, len(enclosed.rows[0]), "\t")
    except ValueError:
        return True
    return len({len(row) for row in enclosed.rows}) > 1


def _quote_trouble(file: Path, text: str, begin: int, delimiter: str) -> str:
    """Say where the quote opens at which the record that begins in line `begin` cannot be read on."""
    rest = "".join(islice(_lines_of(text), begin - 1, None))
    field = re.compile(rf'(?:{_QUOTED}|(?!")[^{re.escape(delimiter)}\r\n]*+)(?:{re.escape(delimiter)}|\r\n?|\n)')
    place = 0
    while match := field.match(rest, place):
        place = match.end()
    line = begin + len(LINE_END.findall(rest[:place]))
    first = re.split(rf"[{re.escape(delimiter)}\r\n]", rest[place:], maxsplit=1)[0]
    closed = re.match(_QUOTED, rest[place:])
    last = line + len(LINE_END.findall(closed.group() if closed else ""))
    what = f"is closed in line {last} by a quote with neither {delimiter!r} nor a line end after it" if closed else "is never closed"
    return f"{file}, line {line}: the quote that opens here ({_short(first)!r}) {what}; {_QUOTE_ADVICE}"


def _check_names(file: Path, names: list[str], line: int) -> list[str]:
    """Refuse columns without a name, the first of several aside, and names given twice."""
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name and (number > 1 or len(names) == 1):
            raise ValueError(f"{file}, line {line}: column {number} of {len(names)} has no name: name it, or remove it from every line")
        if first.setdefault(name, number) < number:
            raise ValueError(f"{file}, line {line}: columns {first[name]} and {number} are both named {name!r}: rename one")
    return names


def _check_widths(file: Path, text: str, records: _Records, names: list[str], delimiter: str) -> None:
    wrong = [row for row, fields in enumerate(records.rows) if len(fields) != len(names)]
    if not wrong:
        return
    fields = records.rows[wrong[0]]
    begin, end = records.begins[wrong[0]], records.ends[wrong[0]]
    causes = {
        f"a quoted field runs on to line {end}: is its quote closed where it should be?": end > begin,
        "is a field missing, or does a text that is not in quotes break the line?": len(fields) < len(names),
        f"a quote counts only right after the {delimiter!r}: remove the blank between them": any(re.match(' +"', f) for f in fields[1:]),
        "all rows have one more: name every column in the header, that of row names too": len(wrong) == len(records.rows) > 1
        and {len(row) for row in records.rows} == {len(names) + 1},
        f"is there a {delimiter!r} in a text that is not in quotes?": True,
    }
    cause = next(words for words, is_so in causes.items() if is_so)
    other = look_for_delimiter(text)
    hint = f" The table also looks separated by {other!r}: if it is, give delimiter={other!r}" if other not in ("", delimiter) else ""
    found = f"found {len(fields)} of {len(names)} fields ({_short(', '.join(names), 400)}) in {len(wrong)} record(s), first here"
    raise ValueError(f"{file}, line {begin}: {found}: {cause}{hint}")


def _refuse_unclosed_quotes(file: Path, text: str, records: _Records, width: int, delimiter: str) -> None:
    """Refuse fields over too many lines, or over lines that look like records, each with a value that other records have (a label)."""
    long = [row for row, begin in enumerate(records.begins) if records.ends[row] != begin]
    if not long:
        return
    lines = list(_lines_of(text))
    short = [row for row, begin, end in zip(records.rows, records.begins, records.ends, strict=True) if begin == end and len(row) == width]
    known = [set(column) - {""} for column in zip(*short, strict=True)]
    for row in long:
        line = records.begins[row]
        parts = [part.rstrip("\r\n").split(delimiter) for part in lines[line - 1 : records.ends[row]]]
        is_even = {len(part) for part in parts} == {width}
        is_like_records = is_even and any({part[place] for part in parts} <= values for place, values in enumerate(known))
        for field in records.rows[row]:
            num_lines = 1 + len(LINE_END.findall(field))
            if num_lines > MOST_FIELD_LINES or (num_lines > 1 and is_like_records):
                why = "which look like records" if is_like_records else f"more than {MOST_FIELD_LINES}"
                what = f"the quoted field that begins here ({_short(field)!r}) runs over {num_lines} lines, {why}"
                raise ValueError(f"{file}, line {line}: {what}: its quote is not closed, or part of the text; {_QUOTE_ADVICE}")
            line += num_lines - 1


def _read_objects(file: Path, text: str, takes_lists: bool) -> tuple[list[str], _Records]:
    """Read one JSON object a line; all must have the first one's keys."""
    names: list[str] = []
    rows, begins, number, first = [], [], 0, 0
    for number, line in enumerate(_lines_of(text), start=1):
        if line.strip():
            fields, several = _read_object(f"{file}, line {number}", line, takes_lists)
            first = first or number
            names = names or _check_names(file, list(fields), number)
            if odd := [name for name in [*names, *fields] if name not in fields or name not in names]:
                what = f"{'lacks' if odd[0] in names else 'has'} the key {odd[0]!r}, unlike line {first}"
                raise ValueError(f"{file}, line {number} {what}: give every line the same keys, null where there is nothing to say")
            records = [fields | {name: value} for name, values in several.items() for value in values] or [fields]
            rows += [[record[name] for name in names] for record in records]
            begins += [number] * len(records)
    return names, _Records(rows, begins, begins, number - len(set(begins)))


def _read_object(place: str, line: str, takes_lists: bool) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the fields of an object, and those that hold a list of texts (one at most; the field is then the first)."""
    wanted = 'wanted one object on each line, such as {"text": "...", "label": "..."}'
    also = ", or a list of texts with one at least" if takes_lists else ""
    try:
        pairs = json.loads(line, object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str)  # numbers as written
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON ({error}): {wanted}") from error
    if not isinstance(pairs, tuple) or not pairs:
        raise ValueError(f"{place} is {_short(line.strip())!r}, not an object with keys: {wanted}")
    fields: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for name, value in pairs:
        if takes_lists and isinstance(value, list) and value and all(isinstance(text, str) for text in value):
            if several:
                raise ValueError(f"{place}: {next(iter(several))!r} and {name!r} both hold lists: one key of an object may")
            several[name], value = value, value[0]
        if isinstance(value, list | tuple):
            raise ValueError(f"{place}: {name!r} holds a list or an object: wanted a text, a number, true, false or null{also}")
        if name in fields:
            raise ValueError(f"{place} has the key {name!r} twice: remove one")
        fields[name] = "" if value is None else str(value)
    if "\\u" in line and re.search("[\ud800-\udfff]", "".join([*fields, *fields.values(), *chain(*several.values())])):
        raise ValueError(f"{place} holds half a character (a lone surrogate such as \\ud83d): write the character itself")
    return fields, several


class WrongRows(ValueError):
    """Rows whose field cannot be read, and why; the message names the first."""

    def __init__(self, message: str, is_wrong: np.ndarray, why: str) -> None:
        super().__init__(message)
        self.is_wrong, self.why = is_wrong, why


def refuse_rows(table: Table, column: str, is_wrong: np.ndarray, why: str, advice: str) -> None:
    """Raise WrongRows, naming the first row that is wrong, if any is."""
    if is_wrong.any():
        value, line = _short(table.frame[column].iloc[is_wrong.argmax()]), table.lines[is_wrong.argmax()]
        count = f" ({is_wrong.sum()} such rows)" if is_wrong.sum() > 1 else ""
        raise WrongRows(f"{table.file}, line {line}: {column!r} holds {value!r}, which {why}{count}: {advice}", is_wrong, why)


def set_aside(table: Table, column: str, is_wrong: np.ndarray, why: str, advice: str) -> None:
    """Note the rows whose field cannot be read, where `table.broken` takes them; else refuse them.

    Raises:
        WrongRows: names the first.
    """
    if table.broken is None or table.broken.on_broken == "raise":
        refuse_rows(table, column, is_wrong, why, advice if table.broken is None else f"{advice}, or leave such out with {SKIP}")
        return
    for row in np.flatnonzero(is_wrong):
        place = f"{table.file.name}, line {table.lines[row]}: {_short(table.frame[column].iloc[row])!r}"
        table.broken.add(f"{column!r} {why}", place)


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def loosely(name: str) -> str:
    """Return a name without case, blanks, hyphens, underscores and the brackets of MetaTrader's <CLOSE>."""
    return re.sub(r"[\s_<>-]", "", name).casefold()
