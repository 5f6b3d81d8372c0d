"""Folders of texts: tables named by splits, or files below folders named by labels; the same for training and for prediction."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rnnlab.data.files import Labelled, is_side, labelled_files, natural_order, passed_over, select, visible_files
from rnnlab.data.splits import SPLIT_WORDS
from rnnlab.data.tables import TABLE_SUFFIXES
from rnnlab.data.text_files import TextFile, read_text


class TextSource(NamedTuple):
    """What of a user's folder holds texts: tables, each with the split that its name says, or else files of one text each.

    `remarks` say what is passed over, `faults` why one may predict from it but not train.
    """

    tables: list[tuple[Path, str]]
    files: list[Labelled]
    remarks: list[str]
    faults: list[str]


def texts_in(folder: Path) -> TextSource:
    """Find the texts of a folder, for training and for prediction."""
    tables, _ = select(sorted(file for file in folder.iterdir() if not is_side(file.name)), TABLE_SUFFIXES)
    layout = labelled_files(folder, {".txt"})
    has_labels = any(one.label for one in layout.files)
    of_split, faults = _by_split(folder, [file for file in tables if _table_name(file)[0] in SPLIT_WORDS])
    if of_split or tables:
        used = [(file, split) for split, file in of_split.items()] or [(file, "") for file in tables]
        if not of_split and (len(tables) > 1 or has_labels):
            names = ", ".join(file.name for file in tables[:5])
            faults.append(f"{folder} holds {names} and more: set data.source to one of them, or name the tables train.*, val.* and test.*")
        others = [file for file in visible_files(folder) if file not in {file for file, _ in used}]
        return TextSource(used, [], passed_over(others, folder), faults)
    if not has_labels:
        there = "; ".join(layout.remarks) or "no .txt file in a folder of a label"
        faults.append(
            f"no texts in {folder}: wanted train.csv (or .tsv, .jsonl) and, if known, val.* and test.*; or one subfolder per label with "
            f".txt files in it, also below train/, val/ and test/; or set data.source to one table. Found: {there}"
        )
    return TextSource([], layout.files, layout.remarks, faults + layout.faults)


def read_texts(folder: Path, read_table_of: Callable[[Path], list[str]]) -> tuple[list[str], list[str]]:
    """Return the texts of a folder as they lie there, those that training on it would read and in its order, and remarks.

    `read_table_of` reads those of a table.
    """
    found = texts_in(folder)
    if found.tables:
        files = sorted((file for file, _ in found.tables), key=lambda file: (natural_order(file.name), file.name))
        return [text for file in files for text in read_table_of(file)], found.remarks
    ordered = sorted(found.files, key=lambda one: (natural_order(name_of(one)), name_of(one)))
    return [content_of(one).text for one in ordered], found.remarks


def name_of(one: Labelled) -> str:
    """Return the id of a file's text."""
    return one.id.removesuffix(".txt")


def content_of(one: Labelled) -> TextFile:
    """Read a file's text, which may be empty."""
    return read_text(one.file) if one.file.stat().st_size else TextFile("", "", {})


def _table_name(file: Path) -> tuple[str, str]:
    """Return stem and suffix in lower case, the suffix of a packed file that of what is in it."""
    inner = Path(file.name.lower().removesuffix(".gz"))
    return inner.stem, inner.suffix


def _by_split(folder: Path, tables: list[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the table of each split, and what is wrong with them, in words."""
    of_split: dict[str, Path] = {}
    faults = []
    for file in tables:
        split = SPLIT_WORDS[_table_name(file)[0]]
        if split in of_split:
            raise ValueError(f"{of_split[split]} and {file.name} are both the {split} split: keep one of them")
        of_split[split] = file
    if of_split and "train" not in of_split:
        names = ", ".join(file.name for file in tables)
        faults.append(f"{folder} holds {names} but no training texts: add train.csv (or .tsv, .jsonl)")
    return of_split, faults
