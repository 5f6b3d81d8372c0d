"""The base of `data=adding`, `data=copying` and `data=parity`: sequences that ask for memory, generated, exact, of any length.

Validation and test follow from `split_seed`; training sequences are drawn anew in every epoch from (seed, epoch, example), so none is
learned by heart and what is measured is memory alone.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnlab.config import PositiveInt
from rnnlab.contracts import Batch, Reference
from rnnlab.data import batches
from rnnlab.data.base import SPLITS, SequenceDataModule, Split
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, WrittenReader
from rnnlab.data.prepared import Json, Prepared, write_flat

FIXED, FRESH = 0, 1
"""Streams of random numbers: of what is the same in every epoch, and of what is not."""
FIRST_ID = 1 << 32
"""No epoch has such a number: of seed 0, `ExampleRandom` draws alike for (epoch 3, example 5) and (epoch 5, example 3)."""


@dataclass(frozen=True)
class MemoryLoader:
    """Say how many sequences make a batch (`data.loader`)."""

    batch_size: PositiveInt


@dataclass(frozen=True)
class MemoryReader(WrittenReader, ABC):
    """Base class of readers of written sequences."""

    usual_columns = ("sequence",)
    packages = ()

    @abstractmethod
    def parse(self, text: str) -> np.ndarray:
        """Return one sequence as a network sees it, (T, F) float32.

        Raises:
            ValueError: says what cannot be read, and what can.
        """

    @abstractmethod
    def unknown_targets(self, num_sequences: int, num_steps: int) -> Tensor:
        """Return targets that mark all answers as unknown."""

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        texts = [str(text) for text in inputs]
        rows = [torch.from_numpy(self.parse(text)) for text in texts]
        lengths_B = torch.tensor([len(row) for row in rows])
        inputs_BTF = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        targets = self.unknown_targets(*inputs_BTF.shape[:2])
        return texts, make_batch(inputs_BTF, targets, torch.arange(len(rows)), lengths_B)


@dataclass(eq=False, repr=False, kw_only=True)
class MemoryData(SequenceDataModule, ABC):
    """Base class of tasks that ask for memory: sequences are drawn, not read.

    A subclass draws values and says what they mean.
    """

    group_column = "group"
    sample = ""
    least_steps: ClassVar[int]
    """The smallest T."""
    why_least: ClassVar[str]
    """Why it is not smaller."""

    source: str = field(init=False, default="generated")
    mirror: str | None = field(init=False, default=None)
    offline: bool = field(init=False, default=True)
    num_steps: PositiveInt
    """T, how far back something must be remembered."""
    num_train: PositiveInt
    """Sequences of an epoch."""
    num_val: PositiveInt
    """Sequences of validation, always the same."""
    num_test: PositiveInt
    """Sequences of the test, always the same."""
    split_seed: int
    """Seed of validation and test."""
    loader: MemoryLoader

    def __post_init__(self) -> None:
        """Refuse a T that is too short for the task."""
        super().__post_init__()
        self.num_sequences: dict[Split, int] = {"train": self.num_train, "val": self.num_val, "test": self.num_test}
        if self.num_steps < self.least_steps:
            raise ValueError(f"data.num_steps={self.num_steps} is too short: {self.why_least}; give {self.least_steps} or more")

    # -- what a subclass says ------------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw the values of sequences, (B, T, ...)."""

    @abstractmethod
    def inputs_of(self, values: np.ndarray) -> Tensor:
        """Return what a network sees of values, (B, T, F) float32."""

    @abstractmethod
    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Return what is right: (B, 1) float32, or class numbers (B,) or (B, T) int64."""

    @abstractmethod
    def written(self, values: np.ndarray) -> str:
        """Write one sequence's values as a person reads them, and its reader too."""

    @property
    @abstractmethod
    def verdict(self) -> str:
        """The score without memory, and the score from which the task counts as solved, in words."""

    # -- preparation ---------------------------------------------------------------------------------------------------

    def fetch_raw(self) -> Path:
        return self.paths.data

    def read_raw(self, raw: Path) -> pd.DataFrame:
        names = [(f"{split}:{number}", split) for split, count in self.num_sequences.items() for number in range(count)]
        return pd.DataFrame(names, columns=["id", "split"]).assign(group="")

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash what the sequences follow from: settings and code."""
        code = code_hash(Path(str(batches.__file__)), Path(inspect.getfile(type(self))))
        return digest([type(self).__name__, self.num_steps, self.split_seed, *self.num_sequences.values(), code])

    def prepared_key(self, source_hash: str) -> str:
        return digest(["prepared", source_hash])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        values = self.draw(ExampleRandom(self.split_seed, 0, np.arange(len(table))).child(FIXED))
        offsets = np.arange(len(table) + 1, dtype=np.int64) * values.shape[1]
        write_flat(folder, values.reshape(-1, *values.shape[2:]), offsets, table, meta)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        self.split_used = f"validation and test by data.split_seed={self.split_seed}; training drawn anew in every epoch"
        names = prepared.examples["split"].to_numpy()
        return {split: np.flatnonzero(names == split) for split in SPLITS}

    def setup_as_test(self, reader: InputReader) -> None:
        self.prepared = self.ensure_prepared()
        self.take_all_as_test()

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Return the values of sequences as they were prepared, (B, T, ...)."""
        flat = self.data.values
        values: np.ndarray = flat.reshape(len(self.examples), -1, *flat.shape[1:])[rows]
        return values

    def targets(self, rows: np.ndarray) -> list[object]:
        """Return what is right, to six digits where it is a number."""
        found = self.targets_of(self.values(rows))
        if found.dtype == np.int64:
            return [row.tolist() for row in found]
        return [[float(value) for value in row] for row in found]

    def describe(self) -> list[tuple[str, str]]:
        train, val, test = (self.num_sequences[split] for split in SPLITS)
        return [
            ("sequences", f"generated, {self.lengths[0]:,} steps each: {train:,} an epoch, {val:,} validation, {test:,} test"),
            ("split", self.split_used),
            ("solved", self.verdict),
        ]

    def shown(self, rows: np.ndarray) -> list[str]:
        return [self.written(row) for row in self.values(rows)]

    def class_counts(self, num_classes: int) -> tuple[int, ...]:
        """Count the classes of the prepared training sequences (of what is drawn anew, they are an estimate)."""
        classes = self.targets_of(self.values(self.rows["train"]))
        return tuple(np.bincount(classes.ravel(), minlength=num_classes).tolist())

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, 1 if is_training else 0)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return sequences with their targets, while training new ones."""
        if is_training:
            values = self.draw(ExampleRandom(self.seed, epoch, rows + FIRST_ID).child(FRESH + self.split_seed))
        else:
            values = self.values(rows)
        return make_batch(self.inputs_of(values), torch.from_numpy(self.targets_of(values)), torch.from_numpy(rows))


def make_batch(inputs_BTF: Tensor, targets: Tensor, ids_B: Tensor, lengths_B: Tensor | None = None) -> Batch:
    """Return a batch of sequences of one length, or of those lengths; of numbers the constant 1 is what is forecast without memory."""
    num_examples, num_steps = inputs_BTF.shape[:2]
    targets = targets.double() if targets.is_floating_point() else targets
    lengths_B = torch.full((num_examples,), num_steps) if lengths_B is None else lengths_B
    target_lengths_B = lengths_B if targets.dtype == torch.int64 and targets.ndim == 2 else torch.ones_like(lengths_B)
    reference = Reference(torch.zeros_like(targets), *(torch.ones_like(targets),) * 2) if targets.is_floating_point() else None
    return Batch(inputs_BTF, lengths_B, targets, target_lengths_B, ids_B, reference)
