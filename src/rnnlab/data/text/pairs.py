"""Pairs of sentences: what is in a known set or in a user's own files, checked line by line, what of it was odd, and how it is split.

Texts stay as published, but for blanks: every run of them (no-break spaces too) is one, none at the ends; and Unicode's NFC.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rnnlab.data.files import Broken, OnBroken, passed_over, visible_files
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import Quoting, match_column, read_table
from rnnlab.data.text.known_pairs import KNOWN
from rnnlab.data.text.pair_files import FURTHER, Languages, PairSide, RawPair, aligned, lines_of, refuse_languages

SOURCE_NAMES, TARGET_NAMES = ("source", "src", "input"), ("target", "tgt", "output")
ENDINGS = ("", ".txt", ".gz", ".txt.gz")


@dataclass(frozen=True)
class PairColumns:
    """Say where a user's tables keep what.

    Args:
        source_column: its name; while it is `source`, `src`, `input` and the language's code are recognised too.
        target_column: its name; while it is `target`, `tgt`, `output` and the language's code are recognised too.
        split_column: its name; None for one of SPLIT_COLUMNS where there is one.
        delimiter: between fields; None to find out.
        has_header: whether the first line names the columns; else the first two are the pair.
        quoting: `none` where quotes are text, `csv` where they enclose fields; None to find out.
    """

    source_column: str = "source"
    target_column: str = "target"
    split_column: str | None = None
    delimiter: str | None = None
    has_header: bool = True
    quoting: Quoting | None = None

    def side(self, default: str, language: str) -> tuple[str, tuple[str, ...]]:
        """Return the name of a side's column, and its other names."""
        wanted = self.source_column if default == "source" else self.target_column
        if wanted != default:
            return wanted, ()
        if not self.has_header:
            return ("0" if default == "source" else "1"), ()
        return wanted, (*(SOURCE_NAMES if default == "source" else TARGET_NAMES)[1:], language)


def find_pairs(
    name: str, path: Path, languages: Languages, columns: PairColumns, on_broken: OnBroken = "raise"
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """List a source's pairs.

    Args:
        name: a named set of `known_pairs.KNOWN`, or anything else.
        path: the set's folder; else a folder of `train.en`, `train.de`, ..., a prefix PATH of PATH.en and PATH.de, or a table.
        languages: which two of those that are there, and which way.
        columns: of a user's table.
        on_broken: whether pairs with an empty side are refused or left out.

    Returns:
        One row a pair: id, source, target, split ("train", "val", "test", `FURTHER`, or "" where not given), in the order of the files; how
        often each oddity was met; and what was passed over or left out, in words.

    Raises:
        ValueError: for what cannot be read, sides of different length, empty sentences and languages that are not there.
    """
    counts: Counter[str] = Counter(num_blanks_mended=0)
    if name in KNOWN:
        raws = KNOWN[name](path, languages)
    elif path.is_file():
        raws = _from_table(path, languages, columns, counts)
    elif path.is_dir():
        raws = _from_folder(path, languages)
    else:
        raws = aligned(*_prefixed(path, languages), path.name, "")
    rows, broken = [], Broken(on_broken)
    for raw in raws:
        sides = [_cleaned(raw.source, counts), _cleaned(raw.target, counts)]
        if all(sides):
            rows.append((raw.id, *sides, raw.split))
        else:
            what, side = ("target", raw.target) if sides[0] else ("source", raw.source)
            broken.add(f"the {what} sentence is empty", side.place)
    remarks = broken.settle(len(rows), "Fill it in, or remove the pair from both sides")
    if path.is_dir() and name not in KNOWN:
        remarks += _unused(path, languages)
    counts["num_repeated_pairs"] = len(rows) - len({(source, target) for _, source, target, _ in rows})
    return pd.DataFrame(rows, columns=["id", "source", "target", "split"], dtype="str"), dict(counts), remarks


def has_prefix(path: Path) -> bool:
    """Tell whether there are files PATH.LANGUAGE."""
    return bool(_languages_of(path))


def hash_pairs(table: pd.DataFrame) -> str:
    """Hash all pairs with their ids and splits, in the order of rows; 16 hex digits."""
    found = hashlib.sha256()
    for row in zip(*(table[name] for name in ("id", "source", "target", "split")), strict=True):
        for field in row:
            content = str(field).encode()
            found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()[:16]


def clean_sentence(text: str) -> str:
    """Return a sentence in NFC with single blanks, none at the ends; a no-break space is a blank."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _cleaned(side: PairSide, counts: Counter[str]) -> str:
    text = clean_sentence(side.text)
    counts["num_blanks_mended"] += text != side.text
    return text


# The user's own


def _from_folder(folder: Path, languages: Languages) -> Iterator[RawPair]:
    """Read `train.en`, `train.de`, and the like of validation and test where they are there."""
    found = _parts_of(folder)
    for prefix in found.values():
        refuse_languages(f"{prefix}.*", languages, _languages_of(prefix))
    if not found:
        there = "; ".join(passed_over(visible_files(folder), folder)) or "no file"
        raise ValueError(
            f"{folder} holds no pairs of sentences: wanted train.{languages.source} and train.{languages.target}, line by line, and "
            f"likewise val and test if known; for one table set data.source to it. Found: {there}"
        )
    for split, prefix in found.items():
        yield from aligned(*_prefixed(prefix, languages), split, split)


def _parts_of(folder: Path) -> dict[str, Path]:
    """Return what the files of each split begin with."""
    found: dict[str, Path] = {}
    for name, split in SPLIT_WORDS.items():
        if _languages_of(folder / name):
            if split in found:
                raise ValueError(f"{folder} holds {found[split].name}.* and {name}.*, which are both the {split} split: keep one of them")
            found[split] = folder / name
    return found


def _unused(folder: Path, languages: Languages) -> list[str]:
    used = {_only(prefix, language) for prefix in _parts_of(folder).values() for language in languages}
    return passed_over((file for file in visible_files(folder) if file not in used), folder)


def source_sentences(path: Path, languages: Languages) -> tuple[list[str], list[str]]:
    """Return the source side of a folder of pairs, or of two aligned files, line by line as training reads it; and remarks.

    No line where there is no such side.
    """
    prefixes = list(_parts_of(path).values()) if path.is_dir() else [path]
    files = [_only(prefix, languages.source) for prefix in prefixes if languages.source in _languages_of(prefix)]
    remarks = passed_over((file for file in visible_files(path) if file not in files), path) if path.is_dir() and files else []
    return [line for file in files for line in lines_of(file)], remarks


def _prefixed(prefix: Path, languages: Languages) -> tuple[Path, Path]:
    """Return the two files PREFIX.LANGUAGE."""
    there = _languages_of(prefix)
    if not there:
        wanted = " and ".join(f"{prefix}.{language}" for language in languages)
        raise ValueError(f"there are no files {wanted}: set data.source to a folder, a table, or what two aligned files begin with")
    refuse_languages(f"{prefix}.*", languages, there)
    source, target = (_only(prefix, language) for language in languages)
    return source, target


def _languages_of(prefix: Path) -> list[str]:
    """Return what stands between a prefix and an ending in the names of files: `en` of `train.en.gz`."""
    if not prefix.parent.is_dir():
        return []
    names = [file.name for file in prefix.parent.iterdir() if file.is_file() and file.name.startswith(f"{prefix.name}.")]
    inner = {name.removesuffix(".gz").removesuffix(".txt").removeprefix(prefix.name).removeprefix(".") for name in names}
    return sorted(language for language in inner if language and "." not in language)


def _only(prefix: Path, language: str) -> Path:
    files = [file for ending in ENDINGS if (file := prefix.with_name(f"{prefix.name}.{language}{ending}")).is_file()]
    if len(files) > 1:
        raise ValueError(f"{files[0]} and {files[1].name} are both the {language} side: keep one of them")
    return files[0]


def _from_table(file: Path, languages: Languages, columns: PairColumns, counts: Counter[str]) -> Iterator[RawPair]:
    table = read_table(file, delimiter=columns.delimiter, has_header=columns.has_header, quoting=columns.quoting, takes_lists=True)
    counts.update(table.notes)
    names = []
    for default, language in (("source", languages.source), ("target", languages.target)):
        wanted, aliases = columns.side(default, language)
        names.append(match_column(table, wanted, aliases, key=f"data.prepare.{default}_column"))
    if names[0] == names[1]:
        raise ValueError(f"{file}: {names[0]!r} is the column of both sides: set data.prepare.source_column and data.prepare.target_column")
    split_name = match_column(
        table,
        columns.split_column or SPLIT_COLUMNS[0],
        () if columns.split_column else SPLIT_COLUMNS,
        is_needed=columns.split_column is not None,
        key="data.prepare.split_column",
    )
    splits = [""] * len(table.frame) if split_name is None else table.frame[split_name].tolist()
    rows = zip(table.lines.tolist(), table.frame[names[0]].tolist(), table.frame[names[1]].tolist(), splits, strict=True)
    count, last = 0, 0
    for line, source, target, given in rows:
        place, known = f"{file}, line {line}", given.strip().lower()
        count, last = (count + 1 if line == last else 1), line
        if known and known not in SPLIT_WORDS:
            raise ValueError(
                f"{place}: {split_name} {given!r} is not one of {', '.join(SPLIT_WORDS)}. Write it as one of these, or leave it empty"
            )
        split, name = SPLIT_WORDS.get(known, ""), f"{file.name}:{line}" + (f":{count}" if count > 1 else "")
        yield RawPair(name, PairSide(source, place), PairSide(target, place), FURTHER if count > 1 and split in ("val", "test") else split)
