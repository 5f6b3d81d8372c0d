"""Running text for language models: one long text, or many documents, as published or as a user's files hold them.

Characters are kept as they are, but line ends of a user's files, which become `\\n`. A single text is cut in its order into training,
validation and test part; many documents are divided by the hash of their text, so that repeats stay together.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.files import Broken, OnBroken, ending, natural_order, passed_over, select, visible_files
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import JSON_SUFFIXES, TABLE_SUFFIXES, Quoting, match_column, read_table
from rnnlab.data.text.readers import TEXT_NAMES
from rnnlab.data.text_files import LINE_END, read_text

SPLITS = ("train", "val", "test")
PLAIN_SUFFIXES = {".txt", ".text"}
MOST_AHEAD, MOST_FRACTION = 400, 0.1
"""Characters within which a cut moves on to the next line end, or else to the next blank, and at most which fraction of the next part."""


@dataclass(frozen=True)
class DocumentColumns:
    """Say where a user's tables of documents keep what; see `TextColumns`."""

    text_column: str = "text"
    split_column: str | None = None
    delimiter: str | None = None
    quoting: Quoting | None = None


class Document(NamedTuple):
    """A text and where it is from: its id, its split ("" where not given), and its place for messages."""

    id: str
    text: str
    split: str
    place: str


def find_documents(source: str, folder: Path, columns: DocumentColumns, on_broken: OnBroken) -> tuple[pd.DataFrame, list[str]]:
    """List a source's documents.

    Args:
        source: a named set (`shakespeare`, `warpeace`, `ptb`, `poems`, `sample`), or anything else.
        folder: the set's folder; else a text file, a table with a column of texts, or a folder of such files, perhaps below or named
            `train`, `val` and `test`.
        columns: of a user's tables.
        on_broken: whether empty documents are refused or left out.

    Returns:
        One row a document: id, text, split ("" where not given); and what was passed over, in words.

    Raises:
        ValueError: for what cannot be read, and where there is no text.
    """
    if source in _NAMED:
        documents, remarks = list(_NAMED[source](folder)), list[str]()
    else:
        documents, remarks = _from_user(folder, columns)
    broken = Broken(on_broken)
    kept = [document for document in documents if document.text.strip()]
    for document in documents:
        if not document.text.strip():
            broken.add("the text is empty", document.place)
    if documents and not kept:
        raise ValueError(f"{documents[0].place}: the text is empty: give a file with text in it")
    remarks += broken.settle(len(kept), "Fill it in or remove it")
    return pd.DataFrame([document[:3] for document in kept], columns=["id", "text", "split"], dtype="str"), remarks


def hash_documents(table: pd.DataFrame) -> str:
    """Hash all texts with their ids and splits, in the order of rows; 16 hex digits."""
    found = hashlib.sha256()
    for row in zip(*(table[name] for name in ("id", "text", "split")), strict=True):
        for field in row:
            content = str(field).encode("utf-8", "surrogatepass")
            found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()[:16]


def hash_text(text: str) -> str:
    """Hash one text; 16 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


# Splitting ------------------------------------------------------------------------------------------------------------------------


def split_documents(table: pd.DataFrame, kind: str, split_seed: int, val_fraction: float) -> tuple[pd.DataFrame, str]:
    """Give every document its split; a single one is cut.

    Args:
        table: of `find_documents`.
        kind: `official` (as the source says; validation is cut off the end of training where it gives none), `order` (each document is cut
            in its order), `random` (whole documents, by the hash of text and `split_seed`), or `auto`: official where the source says,
            order of one document, random of three or more.
        split_seed: of random choices.
        val_fraction: fraction for validation, and as much for test.

    Returns:
        The table with a split in each row and, where documents were cut, more rows; and in words what was done.

    Raises:
        ValueError: where the documents don't allow it; says what would.
    """
    has_test, has_val = ((table["split"] == name).any() for name in ("test", "val"))
    if kind == "auto":
        kind = "official" if has_test else "random" if len(table) >= 3 else "order"
    if kind == "official":
        if not has_test:
            raise ValueError("data.split=official, but the source names no test documents: put some below test/, or use data.split=auto")
        table = table.assign(split=table["split"].replace("", "train"))
        if not (table["split"] == "train").any():
            raise ValueError("the source names no training documents: put some below train/")
        if has_val:
            return table, "official (train, val and test as given)"
        train = _cut(table[table["split"] == "train"], {"train": 1 - val_fraction, "val": val_fraction})
        return pd.concat([train, table[table["split"] == "test"]], ignore_index=True), "official test; validation is the end of training"
    if kind == "random":
        if len(table) < 3:
            raise ValueError(f"data.split=random needs three documents; the source has {len(table)}: use data.split=order")
        return table.assign(split=_drawn(table["text"], split_seed, val_fraction)), f"whole documents by hash (split_seed {split_seed})"
    if kind != "order":
        raise ValueError(f"data.split={kind!r} is not one of auto, official, order, random")
    parts = {"train": 1 - 2 * val_fraction, "val": val_fraction, "test": val_fraction}
    return _cut(table, parts), f"in order: the last {val_fraction:.0%} is test, as much before it validation"


def _drawn(texts: "pd.Series[str]", split_seed: int, val_fraction: float) -> list[str]:
    """Draw the split of each document from its text; where a split would be empty, it takes the documents with the next numbers."""
    places = np.array([int(hash_text(f"{split_seed} {text}"), 16) / 16**16 for text in texts])
    splits = np.select([places < val_fraction, places < 2 * val_fraction], ["test", "val"], "train").astype(object)
    order = np.argsort(places, kind="stable")
    for rank, name in enumerate(("test", "val")):
        if not (splits == name).any():
            splits[order[rank]] = name
    return splits.tolist()


def _cut(table: pd.DataFrame, parts: dict[str, float]) -> pd.DataFrame:
    """Cut all documents, one after another, into parts of these fractions of their characters."""
    rows, total, done = [], int(table["text"].str.len().sum()), 0
    least = min(parts.values()) * total
    ends = dict(zip(parts, np.cumsum(list(parts.values())) * total, strict=True))
    for name, text in zip(table["id"], table["text"], strict=True):
        begin = 0
        for split, end in ends.items():
            wanted = min(max(round(end) - done, 0), len(text))
            is_last = wanted == len(text) or split == list(ends)[-1]
            stop = len(text) if is_last else _whole(text, wanted, min(MOST_AHEAD, int(MOST_FRACTION * least)))
            if stop > begin:
                rows.append((name, text[begin:stop], split))
                begin = stop
        done += len(text)
    return pd.DataFrame(rows, columns=["id", "text", "split"], dtype="str")


def _whole(text: str, wanted: int, most: int) -> int:
    """Return the next place where a line ends, or else a word, so that no token is cut."""
    if wanted == 0:
        return 0
    ahead = text[wanted - 1 : wanted + most]
    for mark in ("\n", " "):
        if (found := ahead.find(mark)) >= 0:
            return wanted + found
    return wanted


# The named sets -------------------------------------------------------------------------------------------------------------------


def _one_text(name: str) -> Callable[[Path], Iterator[Document]]:
    """Return a reader of a set that is one file, whose every character counts."""

    def read(folder: Path) -> Iterator[Document]:
        yield Document(name, (folder / name).read_bytes().decode("utf-8"), "", name)

    return read


def _ptb(folder: Path) -> Iterator[Document]:
    for split, part in zip(SPLITS, ("train", "valid", "test"), strict=True):
        name = f"ptb.{part}.txt"
        yield Document(name, (folder / name).read_text(encoding="utf-8"), split, name)


def _poems(folder: Path) -> Iterator[Document]:
    """Read each poem once: lines of its paragraphs."""
    known = set()
    for file in sorted(folder.glob("*.json"), key=lambda file: natural_order(file.name)):
        for number, poem in enumerate(json.loads(file.read_text(encoding="utf-8")), start=1):
            text = "\n".join(poem["paragraphs"])
            if text.strip() and text not in known:
                known.add(text)
                yield Document(f"{file.stem}:{number}", text, "", f"{file.name}, poem {number}")


def _sample(folder: Path) -> Iterator[Document]:
    yield Document("sample", (folder / "story.txt").read_text(encoding="utf-8"), "", "story.txt")


_NAMED: dict[str, Callable[[Path], Iterator[Document]]] = {
    "shakespeare": _one_text("input.txt"),
    "warpeace": _one_text("warpeace_input.txt"),
    "ptb": _ptb,
    "poems": _poems,
    "sample": _sample,
}


# The user's own -------------------------------------------------------------------------------------------------------------------


def _from_user(source: Path, columns: DocumentColumns) -> tuple[list[Document], list[str]]:
    if source.is_file():
        return documents_of(source, columns), []
    files, remarks = files_of(source)
    documents = []
    for file in files:
        parts = [part.lower() for part in (*file.relative_to(source).parts[:-1], re.split(r"[.\-_]", file.name)[0])]
        split = next((SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS), "")
        documents += [
            document._replace(id=f"{file.relative_to(source)}{document.id.removeprefix(file.name)}", split=split or document.split)
            for document in documents_of(file, columns)
        ]
    return documents, remarks


def files_of(source: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a folder that hold text, in their natural order; and what is passed over, in words.

    Raises:
        ValueError: if there are none.
    """
    found, others = select(visible_files(source), TABLE_SUFFIXES | JSON_SUFFIXES | PLAIN_SUFFIXES)
    if not found:
        there = "; ".join(passed_over(others, source)) or "it is empty"
        raise ValueError(f"no text in {source}: wanted files of {' '.join(sorted(PLAIN_SUFFIXES | TABLE_SUFFIXES))}. Found: {there}")
    found.sort(key=lambda file: (natural_order(str(file.relative_to(source))), str(file)))
    return found, passed_over(others, source)


def documents_of(file: Path, columns: DocumentColumns) -> list[Document]:
    """Return the documents of a file: of a table (by its suffix) its column of texts, else all of it as one."""
    if ending(file) not in TABLE_SUFFIXES | JSON_SUFFIXES:
        text = read_text(file).text if file.stat().st_size else ""
        return [Document(file.name, LINE_END.sub("\n", text), "", str(file))]
    table = read_table(file, delimiter=columns.delimiter, quoting=columns.quoting)
    aliases = TEXT_NAMES[1:] if columns.text_column == TEXT_NAMES[0] else ()
    texts = table.frame[str(match_column(table, columns.text_column, aliases, key="data.prepare.text_column"))]
    wanted = columns.split_column or SPLIT_COLUMNS[0]
    is_needed = columns.split_column is not None
    name = match_column(table, wanted, () if is_needed else SPLIT_COLUMNS, is_needed=is_needed, key="data.prepare.split_column")
    splits = table.frame[name].tolist() if name else [""] * len(texts)
    found = []
    for line, text, split in zip(table.lines.tolist(), texts, splits, strict=True):
        known, place = split.strip().lower(), f"{file}, line {line}"
        if known and known not in SPLIT_WORDS:
            raise ValueError(
                f"{place}: {name} {split!r} is not one of {', '.join(SPLIT_WORDS)}. Write it as one of these, or set "
                "data.prepare.split_column to the column that says the split"
            )
        found.append(Document(f"{file.name}:{line}", LINE_END.sub("\n", text), SPLIT_WORDS[known] if known else "", place))
    return found
