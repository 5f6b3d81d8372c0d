"""Raw input, as a person gives it to `predict.py` or a program to a served model, and the readers that turn it into batches.

Each kind of data has a reader class beside its data module. A reader holds all that reading needs (settings, vocabulary, statistics of
the training split), so a bundle keeps it as JSON and another process makes it anew.
"""

import importlib
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from rnnlab.contracts import Batch
from rnnlab.data.prepared import Json
from rnnlab.data.tables import TABLE_SUFFIXES, Quoting, match_column, read_table

ROOM = "rnnlab.data."
CLASS = "reader"
"""The key under which JSON names a reader's class."""


@dataclass(frozen=True)
class InputReader(ABC):
    """Base class of all readers of raw input."""

    kind: ClassVar[str]
    """The kind of data, for messages."""
    columns: ClassVar[Mapping[str, str]]
    """The columns a served model takes, any one of them, each with its type."""
    example: ClassVar[str]
    """What a person types to predict."""
    is_counted_back: ClassVar[bool] = False
    """Whether the last step is now, so that figures count steps back from it."""

    @property
    def input_words(self) -> tuple[str, ...]:
        """The vocabulary of the inputs, empty unless they are tokens that the data's specification does not name."""
        return ()

    @abstractmethod
    def collect(self, given: Sequence[str], text: str | None) -> list[str]:
        """Return the raw inputs that a person means.

        Args:
            given: files and folders; `-` is standard input.
            text: one input as it is.

        Raises:
            ValueError: where the person must give something else; says what.
        """

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
    suffixes: ClassVar[Collection[str]] = TABLE_SUFFIXES
    """The files to take from a folder."""
    files: ClassVar[str] = "tables"
    """What the files are called, in the plural."""

    def collect(self, given: Sequence[str], text: str | None) -> list[str]:
        if text:
            raise ValueError(f"text=... is for runs on texts; this one is on data of the kind {self.kind}: give input=FILE")
        return [str(file) for item in given for file in find_files(item, self.suffixes, self.files)]


class TableFormat(NamedTuple):
    """A table's column of inputs, and how the table is written: see `read_table`."""

    column: str
    delimiter: str | None = None
    has_header: bool = True
    quoting: Quoting | None = None


@dataclass(frozen=True)
class WrittenReader(InputReader, ABC):
    """Base class of readers whose inputs are written: texts, words, or sequences in letters and numbers."""

    columns: ClassVar[Mapping[str, str]] = {"text": "string"}
    usual_columns: ClassVar[tuple[str, ...]] = ()
    """Usual names of a table's column of inputs, the standard one first."""
    is_aligned: ClassVar[bool] = False
    """Whether answers stand beside inputs line by line, so that no line may be passed over."""

    @property
    def table_format(self) -> TableFormat:
        """How a table of inputs is written."""
        return TableFormat(self.usual_columns[0])

    def collect(self, given: Sequence[str], text: str | None) -> list[str]:
        """Return all texts: of a table its column of inputs, of other files and standard input the lines."""
        return [line for item in given for line in self._texts(item)] + ([str(text)] if text else [])

    def _texts(self, item: str) -> list[str]:
        if item == "-":
            return self._lines(sys.stdin.read(), "standard input")
        file = find_files(item, TABLE_SUFFIXES, "tables")[0]
        return self.texts_of(file)

    def texts_of(self, file: Path) -> list[str]:
        """Return the inputs of a file: of a table its column, of any other the lines."""
        if file.suffix.lower() not in TABLE_SUFFIXES:
            return self._lines(file.read_text(encoding="utf-8-sig", errors="replace"), str(file))
        wanted, delimiter, has_header, quoting = self.table_format
        table = read_table(file, delimiter=delimiter, has_header=has_header, quoting=quoting)
        column = str(match_column(table, wanted, self.usual_columns if wanted in self.usual_columns[:1] else ()))
        found = table.frame[column]
        if len(empty := table.lines[found.str.strip() == ""]):
            more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
            raise ValueError(f"{file}, line {empty[0]}: the {column} is empty{more}. Fill it in or remove the row")
        return [str(text) for text in found]

    def _lines(self, text: str, place: str) -> list[str]:
        """Return the lines that are not empty; where answers stand beside inputs, refuse an empty one."""
        lines = [line.strip() for line in text.split("\n")]
        if self.is_aligned:
            while lines and not lines[-1]:
                lines.pop()
            if "" in lines:
                number = lines.index("") + 1
                raise ValueError(f"{place}, line {number} of {len(lines)} is empty: take it out, so that answers stay beside inputs")
        return [line for line in lines if line]


def find_files(item: str, suffixes: Collection[str], what: str) -> list[Path]:
    """Return the file of this name, or a folder's files with these suffixes.

    Raises:
        ValueError: if there is none.
    """
    path = Path(item).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
        if not found:
            raise ValueError(f"input={item}: no {what} in that folder")
        return found
    if not path.is_file():
        raise ValueError(f"input={item}: no such file or folder")
    return [path]


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
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"warning: {text}")


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
        except ImportError:
            found = None
    if not (inspect.isclass(found) and issubclass(found, InputReader) and not inspect.isabstract(found) and found.__module__ == module):
        raise ValueError(f"the bundle's data are read by {path!r}, which this version does not have")
    try:
        reader: InputReader = TypeAdapter(found).validate_python({key: value for key, value in kept.items() if key != CLASS})
    except ValidationError as error:
        raise ValueError(f"the bundle's data don't fit {path}: {error.errors()[0]['msg']} ({error.errors()[0]['loc']})") from None
    return reader
