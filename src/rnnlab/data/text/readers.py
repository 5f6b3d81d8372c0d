"""Lists of labelled texts: what is in a known set or in a user's own files, cleaned, and what of it was odd.

Every text is cleaned on the way in (`clean_text`); nothing is left out unasked, but for the names, which are told once a language.
"""

import csv
import hashlib
import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rnnlab.data.files import Broken, Labelled, OnBroken, ending, natural_order, read_whole, refuse_lost_labels, select, visible_files
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import JSON_SUFFIXES, TABLE_SUFFIXES, Quoting, Table, look_for_delimiter, match_column, read_table
from rnnlab.data.text.folders import content_of, name_of, texts_in
from rnnlab.data.text_files import read_text

TEXT_NAMES = (
    *("text", "sentence", "review", "content", "title", "body", "question", "tweet", "message", "headline", "text_a"),
    *("文本", "内容", "评论", "句子", "正文", "标题"),
)
LABEL_NAMES = ("label", "class", "category", "sentiment", "topic", "target", "y", "标签", "类别", "情感", "分类")
NEWS = ("World", "Sports", "Business", "Sci/Tech")
FASTTEXT = "__label__"
MOST_FIRST_WORDS = 0.1  # different first words for each line, in files whose lines begin with their label
SENTIMENTS = ("negative", "positive")


@dataclass(frozen=True)
class TextColumns:
    """Say where a user's tables keep what.

    Args:
        text_column: its name; while it is `text`, the other names in TEXT_NAMES are recognised too.
        label_column: its name; while it is `label`, the other names in LABEL_NAMES are recognised too.
        split_column: its name; None for one of SPLIT_COLUMNS where there is one.
        delimiter: between fields; a blank where each line is a label, a blank and a text; None to find out.
        has_header: whether the first line names the columns.
        quoting: `none` where quotes are text, `csv` where they enclose fields; None to find out.
    """

    text_column: str = "text"
    label_column: str = "label"
    split_column: str | None = None
    delimiter: str | None = None
    has_header: bool = True
    quoting: Quoting | None = None


class _Raw(NamedTuple):
    """One text as it lies in its source; `place` is for messages."""

    id: str
    text: str
    label: str
    split: str
    place: str


def find_texts(
    source: str, folder: Path, columns: TextColumns, on_broken: OnBroken = "raise"
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """List a source's texts.

    Args:
        source: a named set (`imdb`, `sst2`, `trec`, `trec_fine`, `ag_news`, `thucnews`, `names`, `dna`, `sample`), or anything else.
        folder: the set's folder; else a table, a folder of tables named `train.*`, `val.*`, `test.*`, or a folder with one subfolder
            of .txt files per label (also below `train/`, `val/`, `test/`), however deep.
        columns: of a user's tables.
        on_broken: whether empty texts and labels are refused or left out.

    Returns:
        One row a text: id, text (cleaned), label, split ("train", "val", "test" or "" where not given), in the order of ids, numbers
        counted as numbers; how often each oddity was met; and what was passed over or left out, in words.

    Raises:
        ValueError: for what cannot be read, empty texts and labels, unknown splits and labels that are no classes.
    """
    counts: Counter[str] = Counter()
    remarks: list[str] = []
    broken = Broken(on_broken)
    if source in _NAMED:
        raws = _NAMED[source](folder, counts)
    elif source == "sample":
        raws = _from_table(folder / "headlines.csv", TextColumns(split_column="split"), counts)
    else:
        raws, remarks = _from_user(folder, columns, counts)
    table = _cleaned(raws, counts, broken)
    remarks += broken.settle(len(table), "Fill it in or remove the row")
    if source not in ("sample", *_NAMED):
        _check_labels(folder, table["label"])
    return table, dict(counts), remarks


def hash_texts(table: pd.DataFrame) -> str:
    """Hash all texts with their ids, labels and splits, in the order of rows; 16 hex digits."""
    found = hashlib.sha256()
    for row in zip(*(table[name] for name in ("id", "text", "label", "split")), strict=True):
        for field in row:
            content = str(field).encode()
            found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()[:16]


# Cleaning

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAK = re.compile(r"<br\s*/?\s*>", re.IGNORECASE)
_ODD = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Mend what the way of a text through web pages and encodings left in it.

    HTML entities (also those encoded twice) become their characters, `<br />` a blank; C1 controls become the Windows-1252 characters
    that they were (as in HTML: U+0096 a dash, U+0085 three dots); other control characters, the replacement character, byte order
    and direction marks, soft hyphens and zero-width spaces go (the zero-width joiners stay: scripts and emoji need them). Then NFC,
    and every run of blanks is one blank, none at the ends. An entity counts only with its semicolon: `R&Don` has none.
    """
    return _clean(text, Counter())


def _clean(text: str, counts: Counter[str]) -> str:
    whole = _BREAK.sub(" ", _unescaped(text)) if "&" in text or "<" in text else text
    counts["num_html"] += whole != text
    mended = _ODD.sub(_from_windows, whole)
    counts["num_odd_characters"] += mended != whole
    return " ".join(unicodedata.normalize("NFC", mended).split())


def _unescaped(text: str) -> str:
    while (once := _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)) != text:
        text = once
    return text


def _from_windows(odd: re.Match[str]) -> str:
    return odd[0].encode("latin-1").decode("cp1252", "ignore") if "\x80" <= odd[0] <= "\x9f" else ""


def _cleaned(raws: Iterable[_Raw], counts: Counter[str], broken: Broken) -> pd.DataFrame:
    """Clean and order what was read, without what is empty."""
    counts.update(num_html=0, num_odd_characters=0)
    rows, labels = [], set()
    for raw in raws:
        text, label = _clean(raw.text, counts), clean_text(raw.label)
        labels |= {label} - {""}
        if text and label:
            rows.append((raw.id, text, label, raw.split))
        else:
            broken.add(f"the {'label' if text else 'text'} is empty", raw.place)
    if broken.on_broken == "skip" and rows:
        refuse_lost_labels(labels, (row[2] for row in rows), "data.source")
    counts.update(_repeats(rows))
    rows.sort(key=lambda row: (natural_order(row[0]), row[0]))
    return pd.DataFrame(rows, columns=["id", "text", "label", "split"], dtype="str")


def _repeats(rows: list[tuple[str, str, str, str]]) -> dict[str, int]:
    """Count texts that come again in their split, texts of several splits, and texts of several labels."""
    of_split = {(text, split) for _, text, _, split in rows}
    of_label = {(text, label) for _, text, label, _ in rows}
    in_several = [sum(count > 1 for count in Counter(text for text, _ in pairs).values()) for pairs in (of_split, of_label)]
    return {
        "num_repeated": len(rows) - len(of_split),
        "num_in_several_splits": in_several[0],
        "num_of_several_labels": in_several[1],
    }


# Known sets


def _imdb(folder: Path, counts: Counter[str]) -> Iterator[_Raw]:
    for split in ("train", "test"):
        for short, label in (("neg", "negative"), ("pos", "positive")):
            files = _txt_files(folder / split / short)
            if not files:
                raise ValueError(f"{folder} holds no {split}/{short}/*.txt: it is not the whole of imdb. Remove the folder and run again")
            yield from (_Raw(f"{split}/{short}/{file.stem}", _content(file), label, split, str(file)) for file in files)


def _sst2(folder: Path, counts: Counter[str]) -> Iterator[_Raw]:
    for name in ("train", "dev", "test"):
        file = folder / f"stsa.binary.{name}"
        for number, line in _lines(file):
            digit, _, text = line.partition(" ")
            label = _named(SENTIMENTS, digit, 0, file, number)
            yield _Raw(f"{file.name}:{number}", text, label, SPLIT_WORDS[name], _place(file, number))


def _trec(folder: Path, counts: Counter[str], is_fine: bool = False) -> Iterator[_Raw]:
    for split in ("train", "test"):
        file = folder / f"TREC.{split}"
        for number, line in _lines(file, "latin-1"):  # upstream's encoding: one line of training is no UTF-8
            counts["num_not_ascii"] += not line.isascii()
            fine, _, text = line.partition(" ")
            coarse, colon, _ = fine.partition(":")
            if not colon:
                raise ValueError(f"{_place(file, number)}: {fine!r} is not COARSE:fine. Remove the folder {folder} and run again")
            yield _Raw(f"{file.name}:{number}", text, fine if is_fine else coarse, split, _place(file, number))


def _ag_news(folder: Path, counts: Counter[str]) -> Iterator[_Raw]:
    """Read two files of different order: text, label 0-3; and class 1-4, title, description."""
    for name, split, num_fields in (("train_sample5000.csv", "train", 2), ("test.csv", "test", 3)):
        file = folder / name
        reader = csv.reader(line + "\n" for _, line in _lines(file))
        for fields in reader:
            number = reader.line_num
            if len(fields) != num_fields:
                raise ValueError(f"{_place(file, number)}: {len(fields)} fields where {num_fields} were due. Remove {folder} and run again")
            digit, text = (fields[1], fields[0]) if split == "train" else (fields[0], f"{fields[1]} {fields[2]}")
            label = _named(NEWS, digit, 0 if split == "train" else 1, file, number)
            yield _Raw(f"{name}:{number}", mended_news(text, counts), label, split, _place(file, number))


_BARE = re.compile(r" ?(?<![&\w])(?<!amp;)(?:quot|amp|lt|gt|apos|hellip|nbsp|#\d{2,5});")
_TAG = re.compile(r"&lt;/?(?:a|b|br|cite|em|font|i|img|nobr|p|strong|u)\b.*?&gt;", re.IGNORECASE)


def mended_news(text: str, counts: Counter[str] | None = None) -> str:
    r"""Undo what upstream's scraping did to AG News.

    An entity's `&` became a blank (`Haiti #39;s` was `Haiti&#39;s`); a line break became a backslash, and a dollar was escaped by one
    (`\$5`); known tags (not `<TXN.N>`, a ticker) were left in, escaped: those become blanks.
    """
    whole = _TAG.sub(" ", _BARE.sub(lambda bare: "&" + bare[0].lstrip(), text))
    if counts is not None:
        counts["num_remnants"] += whole != text or "&lt;" in text or "&gt;" in text
        counts["num_backslashes"] += "\\" in text
    return whole.replace("\\$", "$").replace("\\", " ")


def _thucnews(folder: Path, counts: Counter[str]) -> Iterator[_Raw]:
    classes = [name.strip() for _, name in _lines(folder / "class.txt")]
    for name, split in (("dev.txt", "train"), ("test.txt", "test")):
        file = folder / name
        for number, line in _lines(file):
            text, _, digit = line.rpartition("\t")
            counts["num_tabs_in_text"] += "\t" in text
            label = _named(classes, digit, 0, file, number)
            yield _Raw(f"{name}:{number}", text, label, split, _place(file, number))


def _dna(folder: Path, counts: Counter[str]) -> Iterator[_Raw]:
    """Read `class, name, sequence`: 60 bases round a splice junction, EI or IE, or none, N; a few letters mean one of several."""
    for number, line in _lines(folder / "splice.data"):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3 or fields[0] not in ("EI", "IE", "N"):
            raise ValueError(f"{_place(folder / 'splice.data', number)}: wanted class, name, sequence. Remove {folder} and run again")
        counts["num_ambiguous"] += bool(set(fields[2]) - set("ACGT"))
        yield _Raw(f"splice:{number}", fields[2], fields[0], "", _place(folder / "splice.data", number))


def _names(folder: Path, counts: Counter[str]) -> Iterator[_Raw]:
    files = _txt_files(folder)
    if not files:
        raise ValueError(f"{folder} holds no *.txt, one a language: it is not the set `names`. Remove the folder and run again")
    for file in files:
        known: set[str] = set()
        for number, line in _lines(file):
            name = clean_text(line)
            counts["num_blanks_at_ends"] += line != line.strip()
            counts["num_repeats_dropped"] += name in known
            if name not in known:
                known.add(name)
                yield _Raw(f"{file.name}:{number}", name, file.stem, "", _place(file, number))


_NAMED: dict[str, Callable[[Path, Counter[str]], Iterator[_Raw]]] = {
    "imdb": _imdb,
    "sst2": _sst2,
    "trec": _trec,
    "trec_fine": partial(_trec, is_fine=True),
    "ag_news": _ag_news,
    "thucnews": _thucnews,
    "names": _names,
    "dna": _dna,
}


def _named(classes: Iterable[str], digit: str, first: int, file: Path, number: int) -> str:
    names = {str(place): name for place, name in enumerate(classes, first)}
    if digit not in names:
        raise ValueError(f"{_place(file, number)}: class {digit!r} is not one of {', '.join(names)}. Remove {file.parent} and run again")
    return names[digit]


# The user's own


def _from_user(source: Path, columns: TextColumns, counts: Counter[str]) -> tuple[Iterator[_Raw], list[str]]:
    if source.is_file():
        return _from_table(source, columns, counts), []
    if not source.is_dir():
        raise ValueError(f"there is no file or folder {source}: set data.source to a table of texts or a folder of them")
    found = texts_in(source)
    if found.faults:
        raise ValueError(found.faults[0])
    if found.tables:
        return chain.from_iterable(_from_table(file, columns, counts, split) for file, split in found.tables), found.remarks
    return _from_files(found.files, counts), found.remarks


def _from_table(file: Path, columns: TextColumns, counts: Counter[str], split: str = "") -> Iterator[_Raw]:
    """Read one table; the split that its file's name says goes before a column."""
    if lines := labelled_lines(file, columns.delimiter):
        counts["num_lines of a label, a blank and a text"] += len(lines)
        yield from (_Raw(f"{file.name}:{number}", text, label, split, _place(file, number)) for number, label, text in lines)
        return
    table = read_table(file, delimiter=columns.delimiter, has_header=columns.has_header, quoting=columns.quoting)
    counts.update(table.notes)
    text_name, label_name, split_name = _match(table, columns, is_split_known=bool(split))
    num_rows = len(table.frame)
    splits = [split] * num_rows if split_name is None else table.frame[split_name].tolist()
    rows = zip(table.lines.tolist(), table.frame[text_name].tolist(), table.frame[label_name].tolist(), splits, strict=True)
    for line, text, label, given in rows:
        known = given.strip().lower()
        if known and known not in SPLIT_WORDS:
            raise ValueError(
                f"{_place(file, line)}: {split_name} {given!r} is not one of {', '.join(SPLIT_WORDS)}. Write it as one of these, rename "
                "the column if it says something else, or set data.prepare.split_column to the one that says the split"
            )
        yield _Raw(f"{file.name}:{line}", text, label, SPLIT_WORDS[known] if known else "", _place(file, line))


def labelled_lines(file: Path, delimiter: str | None) -> list[tuple[int, str, str]]:
    """Return number, label and text of lines such as `spam Buy now` or fastText's `__label__spam Buy now`; none for any other file.

    They are so where `delimiter` is a blank, where all begin with fastText's mark, and in a file that is no table by its suffix or its
    delimiters where all first words are few and come again.
    """
    is_table = ending(file) in TABLE_SUFFIXES | JSON_SUFFIXES
    if delimiter not in (None, " ") or (is_table and delimiter is None):
        return []
    text, name, _ = read_text(file)
    lines = [(number, *line.strip().partition(" ")) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    firsts = Counter(first for _, first, _, _ in lines)
    if delimiter is None and not all(first.startswith(FASTTEXT) for first in firsts):
        is_table = ending(Path(name)) in TABLE_SUFFIXES | JSON_SUFFIXES or bool(look_for_delimiter(text))
        are_few = 1 < len(firsts) <= MOST_FIRST_WORDS * len(lines) and min(firsts.values()) > 1
        if is_table or not are_few:
            return []
    if several := [number for number, _, _, rest in lines if rest.startswith(FASTTEXT)]:
        raise ValueError(f"{_place(file, several[0])} has several labels: leave one on each line")
    return [(number, first.removeprefix(FASTTEXT), rest) for number, first, _, rest in lines]


def _match(table: Table, columns: TextColumns, is_split_known: bool) -> tuple[str | None, str | None, str | None]:
    """Find the columns of text, label and split; other names go only for what the user has not named."""
    text_names = TEXT_NAMES[1:] if columns.text_column == TEXT_NAMES[0] else ()
    label_names = LABEL_NAMES[1:] if columns.label_column == LABEL_NAMES[0] else ()
    text = match_column(table, columns.text_column, text_names, key="data.prepare.text_column")
    label = match_column(table, columns.label_column, label_names, key="data.prepare.label_column")
    if text == label:
        raise ValueError(
            f"{table.file}: {text!r} is the column of the texts and of the labels: set "
            "data.prepare.text_column and data.prepare.label_column"
        )
    if is_split_known:
        return text, label, None
    if columns.split_column is None:
        return text, label, match_column(table, SPLIT_COLUMNS[0], SPLIT_COLUMNS, is_needed=False, key="data.prepare.split_column")
    return text, label, match_column(table, columns.split_column, key="data.prepare.split_column")


def _from_files(files: Iterable[Labelled], counts: Counter[str]) -> Iterator[_Raw]:
    for one in files:
        found = content_of(one)
        counts.update({name: count for name, count in found.notes.items() if name.startswith("lines")})
        yield _Raw(name_of(one), found.text, one.label, one.split, str(one.file))


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def _check_labels(folder: Path, labels: "pd.Series[str]") -> None:
    """Refuse labels that are no classes."""
    distinct = sorted(set(labels), key=natural_order)
    if len(distinct) < 2:
        raise ValueError(
            f"{folder}: all {len(labels)} labels are {distinct[0]!r}; a classifier needs two classes or more. "
            "Set data.prepare.label_column to the column that tells them apart"
        )
    are_amounts = all(_NUMBER.fullmatch(label) for label in distinct) and not all(float(label).is_integer() for label in distinct)
    if len(distinct) > 20 and (len(distinct) > 0.5 * len(labels) or are_amounts):
        raise ValueError(
            f"{folder}: {len(distinct)} different labels in {len(labels)} rows ({', '.join(distinct[:3])}, ...) are no classes. "
            "Set data.prepare.label_column to the column that holds classes; for numbers to predict use data=series"
        )


# Files


def _txt_files(folder: Path) -> list[Path]:
    return select(visible_files(folder), {".txt"})[0] if folder.is_dir() else []


def _content(file: Path, encoding: str = "utf-8-sig") -> str:
    try:
        return read_whole(file).decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{_place(file, line)}: not UTF-8 ({error.reason}): save the file as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error


def _lines(file: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """Number a file's lines; only a line feed ends one (text may hold U+0085 and the like)."""
    lines = _content(file, encoding).removesuffix("\n").split("\n")
    return ((number, line.removesuffix("\r")) for number, line in enumerate(lines, start=1))


def _place(file: Path, line: int) -> str:
    return f"{file}, line {line}"
