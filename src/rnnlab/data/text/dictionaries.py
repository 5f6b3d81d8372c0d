"""Pronouncing dictionaries: what is in one of CMUdict's format or in a table, checked line by line. Nothing heavy is imported here."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rnnlab.data.files import Broken, OnBroken, ending, read_whole
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import TABLE_SUFFIXES, match_column, read_table

WORD_NAMES = ("grapheme", "graphemes", "spelling")
PHONE_NAMES = ("pronunciations", "phones", "phonemes", "arpabet")

_PHONE = re.compile(r"[^\W\d_]+[0-9]?")
_MARKED = re.compile(r"(.*)\(\d+\)", re.DOTALL)


class Spelled(NamedTuple):
    """One pronunciation as it stands in a file; `place` is for messages."""

    word: str
    phones: list[str]
    split: str
    place: str


def find_pronunciations(raw: Path, on_broken: OnBroken = "raise") -> tuple[pd.DataFrame, list[str]]:
    """List the pronunciations of a dictionary or table.

    Args:
        raw: a file in CMUdict's format, a table (by its suffix), or a folder with `cmudict.dict` or `words.csv`.
        on_broken: whether lines that are no word with phones are refused or left out.

    Returns:
        One row a pronunciation, in the file's order: word (see `clean_word`), target (phones, a blank between), split ("" if not given);
        and what was left out, in words.

    Raises:
        ValueError: for what cannot be read; says where.
    """
    file = file_of(raw)
    rows, left_out = [], Broken(on_broken)
    for found in _from_table(file) if ending(file) in TABLE_SUFFIXES else from_dictionary(file):
        word = clean_word(found.word)
        if fault := _fault(found, word):
            left_out.add(fault[0] if on_broken == "raise" else "it is no word with phones", found.place)
            if on_broken == "raise":
                left_out.settle(1, fault[1])
        else:
            rows.append((word, " ".join(found.phones), found.split))
    remarks = left_out.settle(len(rows), "Mend the lines")
    if not rows:
        raise ValueError(f"{file} holds no pronunciations: wanted lines such as `abacus AE B AH K AH S`")
    table = pd.DataFrame(rows, columns=["word", "target", "split"], dtype="str")
    _refuse_words_in_two_splits(table, file)
    return table, remarks


def file_of(raw: Path) -> Path:
    """Return the file of a source: itself, or that of a folder."""
    file = next((raw / name for name in ("cmudict.dict", "words.csv") if (raw / name).is_file()), raw)
    if file.is_dir():
        raise ValueError(f"{file} is a folder: name a file in it, in CMUdict's format or a table (.csv, .tsv or .jsonl)")
    return file


def clean_word(word: str) -> str:
    """Return a word in Unicode's NFC and lower case, runs of blanks as one, the mark of a further pronunciation taken off."""
    whole = " ".join(unicodedata.normalize("NFC", word).lower().split())
    marked = _MARKED.fullmatch(whole)
    return whole if marked is None else marked[1].rstrip()


def _fault(raw: Spelled, word: str) -> tuple[str, str] | None:
    """Say what is no word or has no pronunciation, and what to do."""
    if not word:
        return "the word is empty", "Fill it in or remove the line"
    if not word.isprintable():
        return f"the word {word!r} holds a control character", "Remove it"
    if not raw.phones:
        return f"the word {word!r} has no phones", "Write them after it, a blank between, or remove the line"
    if wrong := [phone for phone in raw.phones if not _PHONE.fullmatch(phone)]:
        return f"{wrong[0]!r} is no phone", "Wanted letters and perhaps one digit of stress, such as `AE1 B AH0`"
    return None


def from_dictionary(file: Path) -> Iterator[Spelled]:
    """Read `word PH PH ... # comment`; lines that begin with `;;;` (as in older releases) or `#` and a blank are comments."""
    try:
        data = read_whole(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read as a pronouncing dictionary ({error.strerror or error})") from error
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        place = f"{file}, line {number}"
        try:
            fields = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}: byte {error.start + 1} is not UTF-8. Save it as UTF-8 (`iconv -f latin1 -t utf-8`)") from error
        if fields and fields[0] != "#" and not fields[0].startswith(";;;"):
            end = next((at for at, field in enumerate(fields) if at and field.startswith("#")), len(fields))
            yield Spelled(fields[0], fields[1:end], "", place)


def _from_table(file: Path) -> Iterator[Spelled]:
    """Read the columns word, pronunciation and, where there is one, split."""
    table = read_table(file)
    word = str(match_column(table, "word", WORD_NAMES))
    pronunciation = str(match_column(table, "pronunciation", PHONE_NAMES))
    split = match_column(table, SPLIT_COLUMNS[0], SPLIT_COLUMNS[1:], is_needed=False)
    splits = [""] * len(table.frame) if split is None else table.frame[split].str.strip().str.lower().tolist()
    for line, spelled, phones, part in zip(table.lines, table.frame[word], table.frame[pronunciation], splits, strict=True):
        place = f"{file}, line {line}"
        if part and part not in SPLIT_WORDS:
            raise ValueError(
                f"{place}: the split {part!r} is not one of {', '.join(SPLIT_WORDS)}. Rename it, or leave it empty for training"
            )
        yield Spelled(spelled, phones.split(), SPLIT_WORDS[part] if part else "", place)


def _refuse_words_in_two_splits(table: pd.DataFrame, file: Path) -> None:
    several = table.groupby("word", sort=False)["split"].nunique()
    if len(wrong := several[several > 1]):
        raise ValueError(f"{file}: the word {wrong.index[0]!r} is in several splits ({len(wrong)} such words). Put all its rows in one")
