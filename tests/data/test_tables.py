"""Claims about the user's tables: what is read as it stands, and what is refused, with its line."""

import csv
import gzip
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.data.conftest import Write, table_of

from rnnlab.data import text_files
from rnnlab.data.numbers import as_numbers
from rnnlab.data.tables import Table, match_column, read_table
from rnnlab.data.times import as_times


def rows(table: Table) -> list[list[str]]:
    return table.frame.to_numpy(object).tolist()


def test_values_are_texts_just_as_written_and_only_the_header_is_stripped(write: Write) -> None:
    table = read_table(write(" text , label \n a ,007\n,NA\n"))
    assert rows(table) == [[" a ", "007"], ["", "NA"]]
    assert table.frame.columns.tolist() == ["text", "label"]
    assert {str(kind) for kind in table.frame.dtypes} == {"str"}
    assert isinstance(table.frame.index, pd.RangeIndex)
    assert (table.lines.tolist(), table.lines.dtype, table.delimiter, table.notes) == ([2, 3], np.int64, ",", {})


def test_records_know_their_first_lines_past_blank_lines_and_fields_over_several(write: Write) -> None:
    table = read_table(write('\ntext,label\n"a\nb, ""c""\n\nd",x\n\n   \ne,y\n'))
    assert rows(table) == [['a\nb, "c"\n\nd', "x"], ["e", "y"]]
    assert table.lines.tolist() == [3, 9]
    assert table.notes == {"blank lines": 3, "records over several lines": 1}


def test_a_quote_inside_an_unquoted_field_is_text(write: Write) -> None:
    assert rows(read_table(write('text,label\n5" disk,a\nsay "x",b\n'))) == [['5" disk', "a"], ['say "x"', "b"]]


def test_characters_that_only_python_takes_for_line_ends_are_text(write: Write) -> None:
    table = read_table(write("text,label\na\u2028b\x0bc\x85d,1\n"))
    assert (rows(table), table.lines.tolist()) == ([["a\u2028b\x0bc\x85d", "1"]], [2])


@pytest.mark.parametrize(("end", "notes"), [("\n", {}), ("\r\n", {"CRLF line ends": 1}), ("\r", {"CR line ends": 1})])
def test_line_ends_of_all_systems_are_read(write: Write, end: str, notes: dict[str, int]) -> None:
    table = read_table(write(end.join(["a,b", "1,2", '"x","y"', ""])))
    assert (rows(table), table.lines.tolist(), table.notes) == ([["1", "2"], ["x", "y"]], [2, 3], notes)


def test_the_last_line_needs_no_end_and_a_long_text_is_no_error(write: Write) -> None:
    assert rows(read_table(write("a,b\n1," + "x" * 200_000))) == [["1", "x" * 200_000]]
    assert csv.field_size_limit() == 131_072


def test_without_a_header_columns_are_numbered(write: Write) -> None:
    table = read_table(write("a,1\nb,2\n"), has_header=False)
    assert (table.frame.columns.tolist(), rows(table), table.lines.tolist()) == (["0", "1"], [["a", "1"], ["b", "2"]], [1, 2])


def test_an_index_that_pandas_wrote_has_the_empty_name_and_answers_to_none(write: Write) -> None:
    table = read_table(write(pd.DataFrame({"a": [5, 6]}).to_csv()))
    assert (table.frame.columns.tolist(), rows(table)) == (["", "a"], [["0", "5"], ["1", "6"]])
    with pytest.raises(ValueError, match=r"it has: a\."):
        match_column(table, "_")


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.dat", "t", "t.CSV.GZ"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write: Write, name: str, delimiter: str) -> None:
    text = delimiter.join(["day", "close"]) + "\n" + "".join(f"d{i}{delimiter}{i}\n" for i in range(60))
    table = read_table(write(gzip.compress(text.encode()) if name.endswith("GZ") else text, name))
    assert (table.delimiter, rows(table)[59]) == (delimiter, ["d59", "59"])


def test_commas_in_texts_and_numbers_do_not_hide_another_delimiter(write: Write) -> None:
    assert rows(read_table(write("day;close\n1;3,5\n2;4,5\n"))) == [["1", "3,5"], ["2", "4,5"]]
    assert rows(read_table(write("a\tb\n1\t2\n", "t.dat"), delimiter="\\t")) == [["1", "2"]]  # as a shell gives it
    assert rows(read_table(write("text\tlabel\na, b\tx\nc, d\ty\n", "t.txt"))) == [["a, b", "x"], ["c, d", "y"]]


def test_one_column_is_a_table_too(write: Write) -> None:
    assert rows(read_table(write("value\n1\n2\n"))) == [["1"], ["2"]]
    assert rows(read_table(write('value\n""\n  \n'))) == [[""], ["  "]]


PIECES = ["", "a", '"', '""', ",", ";", "\t", "\n", "\r\n", " ", "é", "日本", "😀", "\u2028", "\x0b", "'", "\\", "NA", "0"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("sep", "name"), [(",", "t.csv"), ("\t", "t.tsv"), (";", "t.csv")])
def test_what_pandas_writes_is_read_back(tmp_path: Path, seed: int, end: str, sep: str, name: str) -> None:
    generator = np.random.default_rng(seed)
    texts = [["".join(generator.choice(PIECES, size=generator.integers(0, 8))) for _ in range(30)] for _ in range(2)]
    frame = pd.DataFrame({"text": texts[0], "other text": texts[1], "number": [str(i) for i in range(30)]}, dtype="str")
    frame.to_csv(tmp_path / name, sep=sep, lineterminator=end, index=False)
    table = read_table(tmp_path / name)
    pd.testing.assert_frame_equal(table.frame, frame)
    starts = (tmp_path / name).read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    plain = [row for row in range(30) if not set("".join(frame.iloc[row])) & set(f'"\r\n{sep}') and frame["text"][row]]
    assert all(starts[table.lines[row] - 1] == sep.join(frame.iloc[row]) for row in plain)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding_and_is_no_part_of_a_name(write: Write, encoding: str) -> None:
    table = read_table(write("été,b\n日本,2\n".encode(encoding)))
    assert (table.frame.columns.tolist(), rows(table), table.notes) == (["été", "b"], [["日本", "2"]], {"byte order mark": 1})


def test_a_given_encoding_is_used_and_a_wrong_one_named(write: Write) -> None:
    assert rows(read_table(write("a\nж\n".encode("koi8-r")), encoding="koi8-r")) == [["ж"]]
    assert rows(read_table(write("a\nж\n".encode("utf-16-le")), encoding="utf-16-le")) == [["ж"]]
    for wrong in ("ascii", "nonsense"):
        with pytest.raises(ValueError, match=rf"t\.csv cannot be read with encoding='{wrong}' \(.+\): leave it out, or give the right one"):
            read_table(write("a\né\n"), encoding=wrong)


def test_single_lines_that_are_not_utf8_are_read_as_windows_1252_and_counted(write: Write) -> None:
    good = "".join(f"é{i},x\n" for i in range(20)).encode()
    table = read_table(write(b"text,label\n" + good + b"caf\xe9 \x93q\x94,y\r\n"))
    assert rows(table)[19:] == [["é19", "x"], ["café “q”", "y"]]
    assert table.notes == {"lines not UTF-8 (read as windows-1252)": 1}


def test_a_file_with_many_such_lines_is_read_as_windows_1252_throughout(write: Write) -> None:
    table = read_table(write(b"a\n\xe9\n\x81\n\xc3\xa9\n"))
    assert rows(table) == [["é"], ["\x81"], ["Ã©"]]
    assert table.notes == {"lines not UTF-8 (whole file read as windows-1252)": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t\.csv is empty \(0 bytes\): write it anew, or give another file$"),
        (b"\xef\xbb\xbf", r"t\.csv holds nothing but blank lines"),
        (b"\n\r\n\n", r"t\.csv holds nothing but blank lines"),
        (b"a,b\n", r"t\.csv has a header but no rows$"),
        (b"a,b\n1,\x00\n", r"t\.csv is not a text table: line 2 holds a NUL byte"),
        ("a,b\n".encode("utf-16-le"), r"NUL byte.*give its encoding if it is UTF-16"),
        (b"PK\x03\x04rest", r"t\.csv cannot be read \(.*zip.*\): get it anew"),
        (b"\xd0\xcf\x11\xe0rest", r"t\.csv is an Excel workbook .* export the sheet as CSV"),
        (b"PAR1rest", r"t\.csv is a Parquet .* export it as CSV"),
        (b"\x89PNG\r\n\x1a\n", r"t\.csv is a picture"),
        (gzip.compress(b"a\n1\n", mtime=0), r"t\.csv is packed: unpack it"),
        (b"<!DOCTYPE html><html>", r"t\.csv is a web page, not a table"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"t\.csv is a pointer of Git LFS"),
    ],
)
def test_what_is_no_text_table_is_named(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(content))


def test_what_cannot_be_opened_is_named(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"none\.csv does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"is a folder: name a table in it"):
        read_table(tmp_path)
    for damaged in (b"a,b\n1,2\n", gzip.compress(b"a,b\n" * 99)[:-9]):
        with pytest.raises(ValueError, match=r"t\.csv\.gz cannot be read \(.+\): get it anew"):
            read_table(write(damaged, "t.csv.gz"))
    monkeypatch.setattr(text_files, "UNPACKED_FREELY", 10)
    with pytest.raises(ValueError, match=r"t\.csv\.gz of .* bytes unpacks to more than .* if it is one, unpack it"):
        read_table(write(gzip.compress(b"a\n" * 2**20), "t.csv.gz"))

    write(b"a\n1\n", "t.csv")

    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)  # a superuser may read everything
    with pytest.raises(ValueError, match=r"t\.csv may not be read by this user: change its permissions"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "text", "line", "what"),
    [
        ("t.csv", 'a,b\n1,2\n3,"x\n5,6\n', 3, r"\('\"x'\) is never closed"),
        ("t.csv", 'a,b\n"x\ny","z\n5,6\n', 3, r"\('\"z'\) is never closed"),
        ("t.csv", 'a,b\n1,"x\n2,"y"\n', 2, r"\('\"x'\) is closed in line 3 by a quote with neither ',' nor a line end after it"),
        ("t.csv", 'a,b\r\n"x\r\ny",""\r\n"p" q,""\r\n', 4, r"""\('"p" q'\) is closed in line 4 by"""),
    ],
)
def test_a_quote_left_open_is_named_with_the_line_where_it_opens(write: Write, name: str, text: str, line: int, what: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}, line {line}: the quote that opens here {what}.*; .*have those in it doubled") as caught:
        read_table(write(text, name))
    assert '"""Great"" film" for "Great" film' in str(caught.value)


def test_a_quoted_field_may_run_over_100_lines_and_no_more(write: Write) -> None:
    assert rows(read_table(write('a,b\n"' + "x\n" * 99 + '","' + "y\n" * 99 + '"\n')))[0][1] == "y\n" * 99
    with pytest.raises(
        ValueError, match=r"line 4: the quoted field that begins here .* runs over 101 lines, more than 100: its quote is not"
    ):
        read_table(write('a,b\n1,2\n"q\nr","' + "x\n" * 100 + '"\n'))


@pytest.mark.parametrize("turn", [1, -1])
def test_two_stray_quotes_do_not_swallow_the_rows_between_them(write: Write, turn: int) -> None:
    texts = ["text", "fine", '"Great film', "dull", 'and so on"', "fine too", "dull too"]
    fields = [[text, label][::turn] for text, label in zip(texts, ["label", *"101010"], strict=True)]
    with pytest.raises(ValueError, match=r"t\.csv, line 3: the quoted field that begins here .* runs over 3 lines, which look like"):
        read_table(write("\n".join(",".join(row) for row in fields) + "\n"))
    table = read_table(write("\n".join("\t".join(row) for row in fields) + "\n", "t.tsv"))
    assert rows(table) == fields[1:]
    assert table.notes == {"fields that begin with a quote, read as text": 1}
    assert rows(read_table(write("\n".join(",".join(row) for row in fields) + "\n"), quoting="none")) == fields[1:]


@pytest.mark.parametrize("name", ["t.tsv", "t.txt"])
def test_where_tabs_separate_quotes_are_text(write: Write, name: str) -> None:
    lines = ['"Go," he said.\tEin "Wort"', '"So." "So do I."\t"', '"closed"\t""', 'plain\t5"']
    table = read_table(write("\n".join(lines) + "\n", name), has_header=False)
    assert rows(table) == [line.split("\t") for line in lines]


def test_where_tabs_separate_quotes_enclose_fields_if_the_whole_file_shows_it(write: Write) -> None:
    doubled = 'a\tb\n"say ""x"""\t1\nplain\t2\n'
    all_enclosed = '"a"\t"b"\n"x"\t"1"\n"y"\t"2"\n'
    over_lines = 'a\tb\n"x\ny"\t1\nz\t2\n'
    found = [rows(read_table(write(text, "t.tsv"))) for text in (doubled, all_enclosed, over_lines)]
    assert found == [[['say "x"', "1"], ["plain", "2"]], [["x", "1"], ["y", "2"]], [["x\ny", "1"], ["z", "2"]]]
    assert rows(read_table(write(doubled, "t.tsv"), quoting="none"))[0] == ['"say ""x"""', "1"]
    assert rows(read_table(write('a\tb\n"x"\t1\n', "t.tsv"), quoting="csv")) == [["x", "1"]]


def test_a_poem_with_a_comma_in_each_line_is_one_text(write: Write) -> None:
    poem = "Roses are red, dear\nviolets are blue, dear\nsugar is sweet"
    assert rows(read_table(write(f'text,label\nplain,prose\n"{poem}",love\nagain,love\n')))[1] == [poem, "love"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n3,4,5\n",
            r"line 3: found 3 of 2 fields \(a, b\) in 1 record\(s\), first here: is there a ',' in a text that is not in quotes",
        ),
        ("a,b\n1,2\n\n3\n4\n", r"line 4: found 1 of 2 fields \(a, b\) in 2 record\(s\), first here: is a field missing"),
        ('a,b\n1,2\n3, "x, y"\n', r"line 3: .*a quote counts only right after the ',': remove the blank"),
        ("a,b\nr1,1,2\nr2,3,4\n", r"line 2: .*all rows have one more: name every column in the header"),
        ('a,b\n1,2\n"x\ny,z"\n', r"line 3: found 1 of 2 .*a quoted field runs on to line 4"),
        ("day;close, eur\n1;3,5,1\n2;4,5,1\n", r"line 2: .* also looks separated by ';': if it is, give delimiter=';'"),
        ("a,,b\n1,2,3\n", r"line 1: column 2 of 3 has no name"),
        ("a,b,\n1,2,\n", r"line 1: column 3 of 3 has no name: name it, or remove it from every line"),
        ("\na,b, a\n1,2,3\n", r"line 2: columns 1 and 3 are both named 'a': rename one"),
    ],
)
def test_uneven_records_and_bad_headers_are_named(write: Write, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"t\.csv, {message}"):
        read_table(write(text))


@pytest.mark.parametrize(("name", "given", "split"), [("t.csv", ",", ","), ("t.tsv", None, r"\\t"), ("t.tab", None, r"\\t")])
def test_a_wrong_delimiter_is_named_with_the_right_one(write: Write, name: str, given: str | None, split: str) -> None:
    message = rf"{name} has one column when split at '{split}'; it looks separated by ';': give delimiter=';'$"
    with pytest.raises(ValueError, match=message):
        read_table(write("a;b\n1;2\n3;4\n", name), delimiter=given)


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n"])
def test_a_delimiter_that_cannot_be_one_is_refused(write: Write, delimiter: str) -> None:
    with pytest.raises(ValueError, match=r"is not a single character that can separate fields"):
        read_table(write("a,b\n1,2\n"), delimiter=delimiter)


def test_json_lines_give_texts_with_numbers_as_written(write: Write) -> None:
    lines = ['{"a": "x\\n\\u00e9", "b": 3, "c": null}', "", '{"c": true, "b": 1.50, "a": "\\ud83d\\ude00"}', '{"a":"","b":NaN,"c":false}']
    table = read_table(write("\n".join(lines), "t.jsonl"))
    assert rows(table) == [["x\né", "3", ""], ["😀", "1.50", "True"], ["", "NaN", "False"]]
    assert (table.lines.tolist(), table.delimiter, table.notes) == ([1, 3, 4], "", {"blank lines": 1})
    assert {str(kind) for kind in table.frame.dtypes} == {"str"}


def test_json_lines_that_pandas_writes_are_read_back(write: Write) -> None:
    frame = pd.DataFrame({"text": ['"', "a\nb", "é,😀", "\u2028"], "n": ["1", "", "x", "\\"]}, dtype="str")
    pd.testing.assert_frame_equal(read_table(write(frame.to_json(orient="records", lines=True), "t.ndjson")).frame, frame)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1}', r" lacks the key 'b', unlike line 1: give every line the same keys"),
        ('{"a": 1, "b": 2, "c": 3}', r" has the key 'c', unlike line 1"),
        ('{"a": 1, "b": [2]}', r": 'b' holds a list or an object"),
        ('{"a": {}, "b": 2}', r": 'a' holds a list or an object"),
        ('{"a": 1, "a": 2, "b": 3}', r" has the key 'a' twice"),
        ('{"a": 1, "b": ', r" is no JSON \(.+\): wanted one object on each line"),
        ("[1, 2]", r" is '\[1, 2\]', not an object with keys"),
        ("{}", r" is '\{\}', not an object with keys"),
        ('{"a": 1, "b": "\\ud83d"}', r" holds half a character"),
        ("[" * 100_000, r" is no JSON"),
    ],
)
def test_what_is_wrong_in_json_lines_is_named_with_its_line(write: Write, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"t\.json, line 3{message}"):
        read_table(write(f'{{"a": 1, "b": 2}}\n\n{line}\n', "t.json"))


def test_json_lines_take_neither_delimiter_nor_header(write: Write) -> None:
    file = write(json.dumps({"a": 1}), "t.jsonl")
    for settings in ({"delimiter": ","}, {"has_header": False}):
        with pytest.raises(ValueError, match=r"has neither delimiter nor header: leave these settings out"):
            read_table(file, **settings)


@pytest.mark.parametrize(
    ("columns", "wanted", "aliases", "found"),
    [
        (["Date", "date"], "date", [], "date"),
        (["Close", "Adj Close"], "close", ["adj_close"], "Close"),
        (["Close", "Adj-Close"], "adjclose", [], "Adj-Close"),
        (["Timestamp", "open"], "date", ["time", "time_stamp"], "Timestamp"),
        (["a"], "date", ["time"], ""),
    ],
)
def test_names_are_matched_as_spelled_then_loosely_then_by_alias(columns: list[str], wanted: str, aliases: list[str], found: str) -> None:
    assert match_column(table_of(**{name: ["x"] for name in columns}), wanted, iter(aliases), is_needed=False) == (found or None)


def test_two_columns_that_may_be_meant_are_both_named() -> None:
    with pytest.raises(ValueError, match=r"several columns that may be meant by 'date': Date, DATE; set data\.time_column to one of them"):
        match_column(table_of(Date=["x"], DATE=["x"]), "date", key="data.time_column")
    with pytest.raises(ValueError, match=r"several columns that may be meant by 'date': time, timestamp; rename all but one"):
        match_column(table_of(time=["x"], timestamp=["x"]), "date", ["timestamp", "time"], is_needed=False)


def test_a_missing_column_is_named_with_those_there_are_and_a_guess() -> None:
    message = (
        r"^t\.csv lacks a column 'label' \(or class, y\); it has: text, lable\. Did you mean 'lable'\? Rename one, or set data\.label=NAME$"
    )
    with pytest.raises(ValueError, match=message):
        match_column(table_of(text=["x"], lable=["x"]), "label", ["class", "y"], key="data.label")
    with pytest.raises(ValueError, match=r"^t\.csv lacks a column 'label'; it has: q\. Rename one$"):
        match_column(table_of(q=["x"]), "label")


def test_reading_takes_seconds_not_minutes(write: Write) -> None:
    num = 20_000
    frame = pd.DataFrame(
        {"date": pd.date_range("2000-01-01", periods=num, freq="min").strftime("%m/%d/%Y %H:%M"), "close": np.arange(num) / 7}
    )
    file = write(frame.to_csv(index=False))
    began = time.process_time()
    table = read_table(file)
    assert (as_times(table, "date").diff()[1:] == pd.Timedelta("1min")).all()
    assert as_numbers(table, "close").iloc[-1] == frame["close"].iloc[-1]
    assert time.process_time() - began < 4  # takes about 0.2 s
