"""Raw input, as a person gives it to `predict.py` or a program to a served model, and the readers that turn it into batches.

Each kind of data has a reader class beside its data module. A reader holds all that reading needs (settings, vocabulary, statistics of
the training split), so a bundle keeps it as JSON and another process makes it anew.
"""

import importlib
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from rnnlab.contracts import Batch
from rnnlab.data.files import ending, home_of, is_file, is_folder, passed_over, select, visible_files
from rnnlab.data.prepared import Json
from rnnlab.data.tables import TABLE_SUFFIXES, Quoting, Table, match_column, read_table
from rnnlab.data.text_files import read_text
from rnnlab.paths import printable

ROOM = "rnnlab.data."
Item = TypeVar("Item")
TOKEN_PACKAGES = ("torchtext", "sentencepiece")
"""What cutting texts into tokens takes."""
CLASS = "reader"
"""The key under which JSON names a reader's class."""


@dataclass(frozen=True)
class InputTokens:
    """Say what the tokens of a run's inputs are, for a run that begins with its weights.

    Args:
        unit: what a token is.
        words: the vocabulary, in the order of the embedding's rows; a blank among characters is `▁`.
        alphabet: the characters of words, where words come with theirs.
        subwords: the SentencePiece model that cuts subwords, as `tokens.model_to_text` writes it.
    """

    unit: Literal["char", "word", "subword"]
    words: tuple[str, ...]
    alphabet: tuple[str, ...] = ()
    subwords: str | None = None

    def refuse_other(self, unit: str, key: str = "") -> None:
        """Raise ValueError where tokens here are of another unit; `key` is what chooses that, where it can be chosen."""
        if unit != self.unit:
            either = f"set {key}={self.unit}, or " if key else ""
            raise ValueError(
                f"init_from: a token of that run is a {self.unit}, and here a {unit}: vectors go over only between equal ones; "
                f"{either}begin with a run whose tokens are each a {unit}"
            )


@dataclass(frozen=True)
class InputReader(ABC):
    """Base class of all readers of raw input."""

    kind: ClassVar[str]
    """The kind of data, for messages."""
    columns: ClassVar[Mapping[str, str]]
    """The columns a served model takes, any one of them, each with its type: content, and never a path, which is the server's own."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What a served model installs for this kind of data, beside what all kinds need."""
    example: ClassVar[str]
    """What a person types to predict."""
    is_counted_back: ClassVar[bool] = False
    """Whether the last step is now, so that figures count steps back from it."""

    reads_on: ClassVar[bool] = False
    """Whether what is read of the first lines of an input is the beginning of what is read of all of it."""

    def is_heading(self, lines: str) -> bool:
        """Tell whether lines hold no step yet but only say what follows."""
        return False

    @property
    def input_words(self) -> tuple[str, ...]:
        """The vocabulary of the inputs, empty unless they are tokens that the data's specification does not name."""
        return ()

    @property
    def input_tokens(self) -> InputTokens | None:
        """What the tokens of inputs are, where the weights of a run may begin another on other data of such tokens."""
        return None

    def tokens_of(self, text: str) -> list[str] | None:
        """Return the tokens of an input, where each has an answer of its own that is shown beside it; None elsewhere."""
        return None

    @abstractmethod
    def collect(self, given: Sequence[str], text: str | None) -> list[str]:
        """Return the raw inputs that a person means.

        Args:
            given: files and folders; `-` is standard input.
            text: one input as it is.

        Raises:
            ValueError: where the person must give something else; says what.
        """

    def fault(self, item: str | bytes) -> str:
        """Say why an input gets no answer, whatever the model; "" if nothing is wrong with it that may be passed over."""
        return "it is empty" if isinstance(item, str) and not item.strip() else ""

    def sent(self, item: object) -> str | bytes:
        """Return an input that was sent to a served model.

        Raises:
            ValueError: for what is no content.
        """
        if not isinstance(item, str):
            raise ValueError(f"an input is a text, not {type(item).__name__}")
        return item

    @abstractmethod
    def made_up(self) -> str | bytes:
        """Return an input that nobody recorded or wrote: the example of a served model."""

    @property
    def written_as(self) -> tuple[str, ...]:
        """The suffixes of the files that `write` writes; none where examples of this kind are not written."""
        return ()

    def write(self, values: np.ndarray, file: Path) -> None:
        """Write one example, (T, F), as the files that this reader reads.

        Raises:
            ValueError: where examples of this kind are not written.
        """
        raise ValueError(f"examples of the kind {self.kind} are not written")

    @abstractmethod
    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn raw inputs into a batch without targets, as the run prepared its own data.

        Returns:
            The name of each row, and the batch.

        Raises:
            ValueError: names the input that cannot be read.
        """


@dataclass(frozen=True)
class FileReader(InputReader, ABC):
    """Base class of readers whose inputs are files."""

    example: ClassVar[str] = "input=FILE"
    files: ClassVar[str] = "tables"
    """What the files are called, in the plural."""

    def find(self, path: Path) -> tuple[list[Path], list[str]]:
        """Return the files to read of a file or folder, those that training on it would read; and what is passed over, in words."""
        return find_tables(path)

    def sent(self, item: object) -> str | bytes:
        if "\n" not in (text := str(super().sent(item))):
            raise ValueError("the column csv takes the content of a table, heading and all, and this has no line break; a path is refused")
        return text

    def collect(self, given: Sequence[str], text: str | None) -> list[str]:
        if text:
            raise ValueError(f"text=... is for runs on texts; this one is on data of the kind {self.kind}: give input=FILE")
        return [str(file) for item in given for file in self._found(item)]

    def _found(self, item: str) -> list[Path]:
        found, remarks = self.find(existing(item))
        return told(item, found, remarks, self.files)


class TableFormat(NamedTuple):
    """Say where a run's tables keep its inputs: the column and its other names, and how they are written (see `read_table`)."""

    column: str
    aliases: tuple[str, ...] = ()
    delimiter: str | None = None
    has_header: bool = True
    quoting: Quoting | None = None
    takes_lists: bool = False  # of another column: its row is still one


@dataclass(frozen=True)
class WrittenReader(InputReader, ABC):
    """Base class of readers whose inputs are written: texts, words, or sequences in letters and numbers."""

    columns: ClassVar[Mapping[str, str]] = {"text": "string"}
    packages: ClassVar[tuple[str, ...]] = TOKEN_PACKAGES
    reads_on = True
    usual_columns: ClassVar[tuple[str, ...]] = ()
    """Usual names of a table's column of inputs, the standard one first."""

    def made_up(self) -> str:
        """Return what a person would type to try."""
        return self.example.removeprefix("text=").strip('"')

    @property
    def table_format(self) -> TableFormat:
        """Where a table keeps the inputs."""
        return TableFormat(self.usual_columns[0], self.usual_columns[1:])

    def collect(self, given: Sequence[str], text: str | None) -> list[str]:
        """Return all texts, empty ones too, so that answers stay beside them: of a table its column of inputs, else lines."""
        return [line for item in given for line in self._texts(item)] + ([str(text)] if text else [])

    def _texts(self, item: str) -> list[str]:
        if item == "-":
            return lines_of(sys.stdin.read())
        path = existing(item)
        return self.read_folder(path) if path.is_dir() else self.read_file(path)

    def read_folder(self, folder: Path) -> list[str]:
        """Return the texts of a folder, as training reads them."""
        found, remarks = find_tables(folder)
        return [text for file in told(str(folder), found, remarks, "tables") for text in self.read_file(file)]

    def read_file(self, file: Path) -> list[str]:
        """Return the texts of a file: of a table (by its suffix, or since it looks like those of the run) its column of inputs."""
        if ending(file) in TABLE_SUFFIXES:
            return self._read_column(file)[1]
        form = self.table_format
        try:
            table, texts = self._read_column(file)
            is_table = form.has_header or (table.frame.shape[1] > 1 and (form.delimiter is not None or table.delimiter == "\t"))
        except ValueError:
            is_table = False
        if not is_table:
            return lines_of(read_text(file).text)
        tell(f"{file} is read as a table with the run's column of inputs, {form.column!r}")
        return texts

    def _read_column(self, file: Path) -> tuple[Table, list[str]]:
        form = self.table_format
        table = read_table(file, delimiter=form.delimiter, has_header=form.has_header, quoting=form.quoting, takes_lists=form.takes_lists)
        column = str(match_column(table, form.column, form.aliases))
        if form.takes_lists:
            table = table.without(table.frame[[column]].assign(line=table.lines).duplicated([column, "line"]).to_numpy(bool))
        return table, table.frame[column].tolist()


def existing(item: str) -> Path:
    """Return the path of what is given.

    Raises:
        ValueError: if there is none.
    """
    path = home_of(item)
    if not (is_folder(path) or is_file(path)):
        raise ValueError(f"input={item}: no such file or folder")
    return path


def find_tables(path: Path) -> tuple[list[Path], list[str]]:
    """Return the file itself or all tables of a folder, and what is passed over, in words."""
    if path.is_file():
        return [path], []
    found, others = select(visible_files(path), TABLE_SUFFIXES)
    return found, passed_over(others, path)


def told(item: str, found: list[Item], remarks: list[str], what: str) -> list[Item]:
    """Return what was found, after telling what was not.

    Raises:
        ValueError: if nothing was found.
    """
    if not found:
        raise ValueError(f"input={item}: no {what} in that folder{''.join(f'; {remark}' for remark in remarks)}")
    for remark in remarks:
        tell(remark)
    return found


def tell(remark: str) -> None:
    """Tell a person what of the input to look at."""
    print(f"look at: {printable(remark)}", file=sys.stderr)


def lines_of(text: str) -> list[str]:
    """Return all lines, blank ones too, so that answers stay beside them; those at the end aside."""
    return [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []


def labelled_batch(inputs: torch.Tensor, lengths_B: torch.Tensor) -> Batch:
    """Return a batch of inputs whose labels are unknown."""
    ids_B = torch.arange(len(inputs))
    return Batch(inputs, lengths_B, torch.full_like(ids_B, -1), torch.ones_like(ids_B), ids_B)


def untold_batch(inputs: torch.Tensor, lengths_B: torch.Tensor) -> Batch:
    """Return a batch of inputs whose target sequences are unknown: (B, 0)."""
    ids_B = torch.arange(len(inputs))
    return Batch(inputs, lengths_B, torch.zeros((len(ids_B), 0), dtype=torch.int64), torch.zeros_like(ids_B), ids_B)


def warn(text: str) -> None:
    """Print a warning about raw input on stderr, as plain text."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"warning: {printable(text)}")


def as_json(reader: InputReader) -> Json:
    """Return a reader as JSON that names its class."""
    return {CLASS: f"{type(reader).__module__}.{type(reader).__qualname__}", **asdict(reader)}


def from_json(kept: Json) -> InputReader:
    """Make a reader from JSON.

    Raises:
        ValueError: where the class it names is no reader of `rnnlab.data` (files are data, never code), or its values don't fit.
    """
    path = str(kept.get(CLASS))
    module, _, name = path.rpartition(".")
    found = None
    if module.startswith(ROOM) and all(part.isidentifier() for part in module.split(".")):
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ImportError as error:
            if error.name and not error.name.startswith(ROOM):
                raise ValueError(f"the bundle's data are read by {path!r}, which needs the package {error.name}: install it") from None
    if not (inspect.isclass(found) and issubclass(found, InputReader) and not inspect.isabstract(found) and found.__module__ == module):
        raise ValueError(f"the bundle's data are read by {path!r}, which this version does not have")
    try:
        reader: InputReader = TypeAdapter(found).validate_python({key: value for key, value in kept.items() if key != CLASS})
    except ValidationError as error:
        raise ValueError(f"the bundle's data don't fit {path}: {error.errors()[0]['msg']} ({error.errors()[0]['loc']})") from None
    return reader
