"""Pairs of sentences: what is in a known set or in a user's own files, checked line by line, what of it was odd, and how it is split.

Texts stay as published, but for blanks: every run of them (no-break spaces too) is one, none at the ends; and Unicode's NFC.
"""

import hashlib
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.files import Broken, OnBroken, passed_over, read_whole, visible_files
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS, Folding, in_folds
from rnnlab.data.tables import Quoting, match_column, read_table
from rnnlab.data.text_files import gunzipped

PairSplit = Literal["auto", "official", "random", "kfold"]
Rows = dict[Literal["train", "val", "test"], np.ndarray]
REPEATED = "training sources also in validation or test"
SOURCE_NAMES, TARGET_NAMES = ("source", "src", "input"), ("target", "tgt", "output")
ENDINGS = ("", ".txt", ".gz", ".txt.gz")
MULTI30K_LANGUAGES = ("en", "de", "fr")
MULTI30K_PARTS = {"train": "train", "val": "val", "test_2016_flickr": "test"}


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


class Languages(NamedTuple):
    """Name the two sides, as files and Moses do (en, de, zh, ...)."""

    source: str
    target: str


class _Side(NamedTuple):
    """One sentence as it lies in its file; `place` is for messages."""

    text: str
    place: str


class _Raw(NamedTuple):
    id: str
    source: _Side
    target: _Side
    split: str


def find_pairs(
    name: str, path: Path, languages: Languages, columns: PairColumns, on_broken: OnBroken = "raise"
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """List a source's pairs.

    Args:
        name: a named set (`multi30k`, `cmn_eng`, `sample`), or anything else.
        path: the set's folder; else a folder of `train.en`, `train.de`, ..., a prefix PATH of PATH.en and PATH.de, or a table.
        languages: which two of those that are there, and which way.
        columns: of a user's table.
        on_broken: whether pairs with an empty side are refused or left out.

    Returns:
        One row a pair: id, source, target, split ("train", "val", "test" or "" where not given), in the order of the files; how often
        each oddity was met; and what was passed over or left out, in words.

    Raises:
        ValueError: for what cannot be read, sides of different length, empty sentences and languages that are not there.
    """
    counts: Counter[str] = Counter(num_blanks_mended=0)
    if name == "multi30k":
        raws = _multi30k(path, languages)
    elif name == "cmn_eng":
        raws = _cmn_eng(path, languages)
    elif path.is_file():
        raws = _from_table(path, languages, columns, counts)
    elif path.is_dir():
        raws = _from_folder(path, languages)
    else:
        raws = _aligned(*_prefixed(path, languages), path.name, "")
    rows, broken = [], Broken(on_broken)
    for raw in raws:
        sides = [_cleaned(raw.source, counts), _cleaned(raw.target, counts)]
        if all(sides):
            rows.append((raw.id, *sides, raw.split))
        else:
            what, side = ("target", raw.target) if sides[0] else ("source", raw.source)
            broken.add(f"the {what} sentence is empty", side.place)
    remarks = broken.settle(len(rows), "Fill it in, or remove the pair from both sides")
    if path.is_dir() and name not in ("multi30k", "cmn_eng"):
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


def group_pairs(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Number pairs so that those with a sentence in common, on either side and whatever its case, have one number.

    Returns:
        (N,) int64, the row of the first pair of each one's group.
    """
    parents = list(range(len(sources)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for side in (sources, targets):
        first: dict[str, int] = {}
        for row, text in enumerate(side):
            one, other = root(row), root(first.setdefault(text.casefold(), row))
            parents[max(one, other)] = min(one, other)
    return np.array([root(row) for row in range(len(parents))], dtype=np.int64)


def with_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Name for each pair the first one that it shares a sentence with, directly or through others."""
    first = group_pairs(table["source"].tolist(), table["target"].tolist())
    return table.assign(group=table["id"].to_numpy(object)[first].astype(str))


def clean_sentence(text: str) -> str:
    """Return a sentence in NFC with single blanks, none at the ends; a no-break space is a blank."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _cleaned(side: _Side, counts: Counter[str]) -> str:
    text = clean_sentence(side.text)
    counts["num_blanks_mended"] += text != side.text
    return text


# Splits


def split_pairs(examples: pd.DataFrame, kind: PairSplit, folding: Folding, val_fraction: float) -> tuple[Rows, str]:
    """Assign every pair to a split.

    Where the split is random or in folds, pairs that share a sentence stay together, and validation and test hold each source sentence
    once: its further translations are references.
    """
    given = examples["split"].to_numpy(str)
    if kind == "kfold":
        return _in_folds(examples, folding)
    if kind == "random" or (kind == "auto" and not np.isin(given, ("val", "test")).any()):
        return _random(examples, folding.split_seed, val_fraction)
    rows: Rows = {"train": np.flatnonzero((given == "train") | (given == "")), "val": np.flatnonzero(given == "val"),
                  "test": np.flatnonzero(given == "test")}  # fmt: skip
    if not len(rows["test"]):
        raise ValueError(
            f"data.split={kind}, but the source names no test pairs: add them (test.*, or `test` in the column of splits), or use "
            "data.split=random"
        )
    if len(rows["val"]):
        return rows, "official (train, val and test as given)"
    train = rows["train"]
    is_val = _whole_groups(examples["group"].to_numpy(str)[train], val_fraction * len(train), folding.split_seed)
    return rows | {"train": train[~is_val], "val": train[is_val]}, "official test; validation carved from training, no sentence in both"


def _random(examples: pd.DataFrame, split_seed: int, val_fraction: float) -> tuple[Rows, str]:
    groups = examples["group"].to_numpy(str)
    num_wanted = val_fraction * len(groups)
    is_test = _whole_groups(groups, num_wanted, split_seed)
    rest = np.flatnonzero(~is_test)
    is_val = _whole_groups(groups[rest], num_wanted, split_seed + 1)
    is_first = _is_first(examples)
    val, test = (rows[is_first[rows]] for rows in (rest[is_val], np.flatnonzero(is_test)))
    words = f"at random (split_seed {split_seed}), no sentence in two splits; further translations in val and test are references"
    return {"train": rest[~is_val], "val": val, "test": test}, words


def _in_folds(examples: pd.DataFrame, folding: Folding) -> tuple[Rows, str]:
    rows, words = in_folds(examples[["group"]].assign(label="", group=examples["group"].astype(str)), folding, "group")
    is_first = _is_first(examples)
    words = words.replace("by whole groups", "with no sentence in two of them")
    return {split: found if split == "train" else found[is_first[found]] for split, found in rows.items()}, words


def _is_first(examples: pd.DataFrame) -> np.ndarray:
    """Mark the first pair of each source sentence."""
    return ~examples["source"].str.casefold().duplicated().to_numpy(bool)


def _whole_groups(groups: np.ndarray, num_wanted: float, seed: int) -> np.ndarray:
    """Mark whole groups at random until so many pairs are marked; one group at least, never all."""
    names, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(
            f"{len(groups)} pair(s) are too few to split at random: no sentence may be in two splits. Give more pairs, or say the "
            "splits (train.*, val.*, test.*, or a column `split`)"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    num_groups = int(np.searchsorted(np.cumsum(counts[order]), num_wanted)) + 1
    is_chosen = np.zeros(len(names), dtype=bool)
    is_chosen[order[: min(num_groups, len(names) - 1)]] = True
    return is_chosen[places]


def further_targets(examples: pd.DataFrame, rows: Rows) -> dict[int, list[str]]:
    """Find for rows of validation and test the targets of those pairs that are in no split and have the same source."""
    is_free = np.ones(len(examples), dtype=bool)
    is_free[np.concatenate(list(rows.values()))] = False
    sources = examples["source"].str.casefold().to_numpy(object)
    of_source: dict[str, list[str]] = {}
    for row in np.flatnonzero(is_free):
        of_source.setdefault(sources[row], []).append(examples["target"].iloc[row])
    later = np.concatenate([rows["val"], rows["test"]])
    return {int(row): of_source[sources[row]] for row in later if sources[row] in of_source}


def without_repeated(examples: pd.DataFrame, rows: Rows) -> tuple[np.ndarray, dict[str, int]]:
    """Return the training rows whose source is neither in validation nor in test, and count what is in two splits."""
    sources, targets = (examples[name].str.casefold().to_numpy(object) for name in ("source", "target"))
    later = np.concatenate([rows["val"], rows["test"]])
    seen, written, tested = set(sources[later]), set(targets[later]), set(sources[rows["test"]])
    is_repeated = np.array([source in seen for source in sources[rows["train"]]], dtype=bool)
    return rows["train"][~is_repeated], {
        REPEATED: int(is_repeated.sum()),
        "training targets also in validation or test": sum(target in written for target in targets[rows["train"]]),
        "validation sources also in test": sum(source in tested for source in sources[rows["val"]]),
    }


# Known sets


def _multi30k(folder: Path, languages: Languages) -> Iterator[_Raw]:
    _refuse_languages("multi30k", languages, MULTI30K_LANGUAGES)
    for part, split in MULTI30K_PARTS.items():
        source, target = (folder / f"{part}.{language}.gz" for language in languages)
        yield from _aligned(source, target, split, split)


def _cmn_eng(folder: Path, languages: Languages) -> Iterator[_Raw]:
    """Read lines of English, Chinese, attribution; the last line is empty."""
    _refuse_languages("cmn_eng", languages, ("en", "zh"))
    file = folder / "cmn.txt.gz"
    lines = _lines(file)
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        fields = line.split("\t")
        if len(fields) != 3:
            raise ValueError(f"{file}, line {number}: {len(fields)} fields where 3 were due. Remove {folder} and run again")
        english, chinese = (_Side(field, f"{file}, line {number}") for field in fields[:2])
        yield _Raw(f"cmn:{number}", *((english, chinese) if languages.source == "en" else (chinese, english)), "")


def _refuse_languages(name: str, languages: Languages, there: Sequence[str]) -> None:
    if missing := [language for language in languages if language not in there]:
        raise ValueError(
            f"{name} has no language {missing[0]!r}; it has: {', '.join(there)}. "
            "Set data.source_language and data.target_language to two of them"
        )
    if languages.source == languages.target:
        raise ValueError(
            f"data.source_language={languages.source} is data.target_language, too: set them to two of those that {name} has "
            f"({', '.join(there)})"
        )


# The user's own


def _from_folder(folder: Path, languages: Languages) -> Iterator[_Raw]:
    """Read `train.en`, `train.de`, and the like of validation and test where they are there."""
    found = _parts_of(folder)
    for prefix in found.values():
        _refuse_languages(f"{prefix}.*", languages, _languages_of(prefix))
    if not found:
        there = "; ".join(passed_over(visible_files(folder), folder)) or "no file"
        raise ValueError(
            f"{folder} holds no pairs of sentences: wanted train.{languages.source} and train.{languages.target}, line by line, and "
            f"likewise val and test if known; for one table set data.source to it. Found: {there}"
        )
    for split, prefix in found.items():
        yield from _aligned(*_prefixed(prefix, languages), split, split)


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
    return [line for file in files for line in _lines(file)], remarks


def _prefixed(prefix: Path, languages: Languages) -> tuple[Path, Path]:
    """Return the two files PREFIX.LANGUAGE."""
    there = _languages_of(prefix)
    if not there:
        wanted = " and ".join(f"{prefix}.{language}" for language in languages)
        raise ValueError(f"there are no files {wanted}: set data.source to a folder, a table, or what two aligned files begin with")
    _refuse_languages(f"{prefix}.*", languages, there)
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


def _aligned(source: Path, target: Path, name: str, split: str) -> Iterator[_Raw]:
    """Pair two files line by line."""
    sources, targets = _lines(source), _lines(target)
    if len(sources) != len(targets):
        raise ValueError(
            f"{source} has {len(sources):,} lines, {target} has {len(targets):,}: line by line they must be the same sentences in two "
            "languages. Find the line that is missing, or that was broken in two"
        )
    for number, (one, other) in enumerate(zip(sources, targets, strict=True), start=1):
        yield _Raw(f"{name}:{number}", _Side(one, f"{source}, line {number}"), _Side(other, f"{target}, line {number}"), split)


def _from_table(file: Path, languages: Languages, columns: PairColumns, counts: Counter[str]) -> Iterator[_Raw]:
    table = read_table(file, delimiter=columns.delimiter, has_header=columns.has_header, quoting=columns.quoting)
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
    for line, source, target, given in rows:
        place, known = f"{file}, line {line}", given.strip().lower()
        if known and known not in SPLIT_WORDS:
            raise ValueError(
                f"{place}: {split_name} {given!r} is not one of {', '.join(SPLIT_WORDS)}. Write it as one of these, or leave it empty"
            )
        yield _Raw(f"{file.name}:{line}", _Side(source, place), _Side(target, place), SPLIT_WORDS.get(known, ""))


# Files


def _lines(file: Path) -> list[str]:
    """Return a file's lines, packed by gzip or not; only a line feed ends one (text may hold U+2028 and the like)."""
    try:
        content = read_whole(file)
        if file.suffix.lower() == ".gz":
            content = gunzipped(file, content)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{file}, line {line}: not UTF-8 ({error.reason}): save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} cannot be read ({getattr(error, 'strerror', None) or error}): check the name, or get it anew") from error
    if not text.strip():
        raise ValueError(f"{file} holds no sentences")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
