"""`data=adding`, `data=copying`, `data=parity`: what a network must remember, generated, exact, of any length.

adding    Hochreiter & Schmidhuber (1997, section 5.4) as Le et al. (2015, section 4.1) and Bai et al. (2018, section 4.1) pose it: T pairs
          of a value from U(0, 1) and a mark; one value is marked in each half; the target is their sum
copying   Arjovsky et al. (2016, section 4.1): ten of eight symbols, T - 1 blanks, a delimiter, ten blanks; the targets are blank until
          behind the delimiter the ten symbols are asked for in order: T + 20 steps, a class at each
parity    T random bits; the target is whether the number of ones is odd

Validation and test follow from `split_seed`; training sequences are drawn anew in every epoch from (seed, epoch, example), so none is
learned by heart and what is measured is memory alone.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, PositiveInt, Reference
from rnnlab.data import batches
from rnnlab.data.base import SPLITS, SequenceDataModule, Split
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.prepared import Json, Prepared, write_flat

NUM_COPIED, NUM_SYMBOLS = 10, 8
BLANK, DELIMITER = 0, NUM_SYMBOLS + 1
LETTERS = "-abcdefgh>"
"""How the copying problem's ten inputs are written: the blank, the symbols, the delimiter."""
ADDING_SOLVED, SOLVED_SHARE, PARITY_SOLVED = 0.01, 0.1, 0.99
FIXED, FRESH = 0, 1
"""Streams of random numbers: of what is the same in every epoch, and of what is not."""
FIRST_ID = 1 << 32
"""No epoch has such a number: of seed 0, `ExampleRandom` draws alike for (epoch 3, example 5) and (epoch 5, example 3)."""


@dataclass(frozen=True)
class MemoryLoader:
    """Say how sequences become batches (`data.loader`).

    Args:
        batch_size: sequences per batch.
    """

    batch_size: PositiveInt


class MemoryData(SequenceDataModule, ABC):
    """Draw sequences that ask for memory.

    A subclass draws values and says what they mean.

    Args:
        paths, seed, name: see `rnnlab.data.base.SequenceDataModule`.
        num_steps: T, how far back something must be remembered.
        num_train: sequences of an epoch.
        num_val, num_test: sequences that are always the same.
        split_seed: of validation and test.
        loader: see `MemoryLoader`.

    Raises:
        ValueError: where T is too short for the task.
    """

    group_column = "group"
    sample = ""
    kind: ClassVar[str]
    """Which reader a bundle needs."""
    least_steps: ClassVar[int]
    """The smallest T, and why in words:"""
    why_least: ClassVar[str]

    def __init__(
        self,
        paths: dict[str, str],
        seed: int,
        name: str,
        num_steps: PositiveInt,
        num_train: PositiveInt,
        num_val: PositiveInt,
        num_test: PositiveInt,
        split_seed: int,
        loader: MemoryLoader,
    ) -> None:
        super().__init__(paths, seed, name, "generated", None, True)
        self.num_steps, self.split_seed, self.loader = num_steps, split_seed, loader
        self.num_sequences: dict[Split, int] = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
        if num_steps < self.least_steps:
            raise ValueError(f"data.num_steps={num_steps} is too short: {self.why_least}; give {self.least_steps} or more")

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
        """Write one sequence's values as a person reads them, and `read_inputs` too."""

    @property
    @abstractmethod
    def verdict(self) -> str:
        """What is had without memory, and from where on the task counts as solved, in words."""

    # -- preparation ---------------------------------------------------------------------------------------------------

    def fetch_raw(self) -> Path:
        """Fetch nothing: all of it is drawn."""
        return self.data_root

    def read_raw(self, raw: Path) -> pd.DataFrame:
        """List the sequences by split."""
        names = [(f"{split}:{number}", split) for split, count in self.num_sequences.items() for number in range(count)]
        return pd.DataFrame(names, columns=["id", "split"]).assign(group="")

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash what the sequences follow from: settings and code."""
        code = code_hash(Path(str(batches.__file__)), Path(__file__))
        return digest([self.kind, self.num_steps, self.split_seed, *self.num_sequences.values(), code])

    def prepared_key(self, source_hash: str) -> str:
        """Hash the source: there is one way to prepare it."""
        return digest(["prepared", source_hash])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Draw all sequences and write them end to end."""
        values = self.draw(ExampleRandom(self.split_seed, 0, np.arange(len(table))).child(FIXED))
        offsets = np.arange(len(table) + 1, dtype=np.int64) * values.shape[1]
        write_flat(folder, values.reshape(-1, *values.shape[2:]), offsets, table, meta)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Take each sequence for what it was drawn."""
        self.split_used = f"validation and test by data.split_seed={self.split_seed}; training drawn anew in every epoch"
        names = prepared.examples["split"].to_numpy()
        return {split: np.flatnonzero(names == split) for split in SPLITS}

    def setup_as_test(self, bundle: Json) -> None:
        """Take all sequences as test."""
        self.prepared = self.ensure_prepared()
        self.rows = {"train": np.arange(0), "val": np.arange(0), "test": np.arange(len(self.prepared.examples))}

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
        return [[float(f"{value:.6g}") for value in row] for row in found]

    def describe(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the data, as (name, text)."""
        train, val, test = (self.num_sequences[split] for split in SPLITS)
        return [
            ("sequences", f"generated, {self.lengths[0]:,} steps each: {train:,} an epoch, {val:,} validation, {test:,} test"),
            ("split", self.split_used),
            ("solved", self.verdict),
        ]

    def shown(self, rows: np.ndarray) -> list[str]:
        """Write sequences as `predict.py` reads them."""
        return [self.written(row) for row in self.values(rows)]

    def class_counts(self, num_classes: int) -> tuple[int, ...]:
        """Count the classes of the prepared training sequences (of what is drawn anew, they are an estimate)."""
        classes = self.targets_of(self.values(self.rows["train"]))
        return tuple(np.bincount(classes.ravel(), minlength=num_classes).tolist())

    def bundle(self) -> Json:
        """Return what turning written sequences into batches needs."""
        return {"kind": self.kind}

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        """Shuffle while training."""
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, 1 if is_training else 0)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return sequences with their targets, while training new ones."""
        if is_training:
            values = self.draw(ExampleRandom(self.seed, epoch, rows + FIRST_ID).child(FRESH + self.split_seed))
        else:
            values = self.values(rows)
        return make_batch(self.inputs_of(values), torch.from_numpy(self.targets_of(values)), torch.from_numpy(rows))


@final
class AddingData(MemoryData):
    """Ask for the sum of two marked values; see `MemoryData` and the top of this file."""

    kind = "adding"
    least_steps, why_least = 2, "the adding problem marks one value in each half of a sequence"

    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw (B, T, 2) float32: values, and marks of which one lies in the first T // 2 steps and one behind them."""
        num_steps, half = self.num_steps, self.num_steps // 2
        values_BT = random.uniform(num_steps).numpy()
        first_B, second_B = (random.uniform(2).numpy() * [half, num_steps - half]).astype(np.int64).T
        steps_T = np.arange(num_steps)
        marks_BT = (steps_T == first_B[:, None]) | (steps_T == half + second_B[:, None])
        return np.stack([values_BT, marks_BT.astype(np.float32)], axis=-1)

    def inputs_of(self, values: np.ndarray) -> Tensor:
        """Show values and marks."""
        return torch.from_numpy(np.ascontiguousarray(values))

    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Add the marked values, (B, 1)."""
        sums: np.ndarray = (values[..., 0] * values[..., 1]).sum(1, dtype=np.float32, keepdims=True)
        return sums

    def written(self, values: np.ndarray) -> str:
        """Write values one after another, a star behind those that are marked."""
        return " ".join(f"{value:.9g}{'*' if is_marked else ''}" for value, is_marked in values)

    @property
    def verdict(self) -> str:
        """What the constant 1 gives, and when the task counts as solved."""
        return f"mse below {ADDING_SOLVED:g}; the constant 1 has 1/6 = 0.1667"

    def make_spec(self) -> DataSpec:
        """Describe the sequences to a model."""
        return DataSpec(
            self.name,
            "features",
            2,
            "real",
            1,
            ("sum",),
            feature_names=("value", "mark"),
            solved_at=ADDING_SOLVED,
            memoryless=((1, (1.0,)),),
        )


@final
class CopyingData(MemoryData):
    """Ask for ten symbols after T blanks; see `MemoryData` and the top of this file."""

    kind = "copying"
    least_steps, why_least = 1, "the copying problem needs a step for its delimiter"

    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw (B, T + 20) uint8, places in `LETTERS`."""
        symbols_B = (random.uniform(NUM_COPIED) * NUM_SYMBOLS).numpy().astype(np.uint8) + 1
        values_BT = np.full((len(symbols_B), self.num_steps + 2 * NUM_COPIED), BLANK, dtype=np.uint8)
        values_BT[:, :NUM_COPIED] = symbols_B
        values_BT[:, NUM_COPIED + self.num_steps - 1] = DELIMITER
        return values_BT

    def inputs_of(self, values: np.ndarray) -> Tensor:
        """Show each step as one of ten."""
        return torch.from_numpy(np.eye(len(LETTERS), dtype=np.float32)[values])

    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Want blanks, and at the last ten steps the first ten symbols, (B, T + 20)."""
        targets_BT = np.full(values.shape, BLANK, dtype=np.int64)
        targets_BT[:, -NUM_COPIED:] = values[:, :NUM_COPIED]
        return targets_BT

    def written(self, values: np.ndarray) -> str:
        """Write a letter a step: - is a blank, > the delimiter."""
        return "".join(LETTERS[value] for value in values)

    @property
    def baseline(self) -> float:
        """Cross entropy, in nats per step, of saying blank until symbols are due and then each of the eight alike: 10 ln 8 / (T + 20)."""
        return NUM_COPIED * math.log(NUM_SYMBOLS) / (self.num_steps + 2 * NUM_COPIED)

    @property
    def verdict(self) -> str:
        """What is had without memory, and when the task counts as solved."""
        return f"loss below {SOLVED_SHARE * self.baseline:.4g}, a tenth of 10 ln 8 / (T + 20) = {self.baseline:.4g}, had without memory"

    def make_spec(self) -> DataSpec:
        """Describe the sequences to a model."""
        size = NUM_SYMBOLS + 1  # the delimiter is never wanted
        blank, any_symbol = (1.0, *[0.0] * NUM_SYMBOLS), (0.0, *[1 / NUM_SYMBOLS] * NUM_SYMBOLS)
        return DataSpec(
            self.name,
            "features",
            len(LETTERS),
            "class_per_step",
            size,
            tuple(LETTERS[:size]),
            self.class_counts(size),
            feature_names=tuple(LETTERS),
            metric="loss",
            solved_at=SOLVED_SHARE * self.baseline,
            memoryless=((self.num_steps + NUM_COPIED, blank), (NUM_COPIED, any_symbol)),
        )


@final
class ParityData(MemoryData):
    """Ask whether the number of ones is odd; see `MemoryData` and the top of this file."""

    kind = "parity"
    least_steps, why_least = 2, "the parity of one bit is that bit"

    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw (B, T) uint8 bits."""
        bits_BT: np.ndarray = (random.uniform(self.num_steps).numpy() >= 0.5).astype(np.uint8)
        return bits_BT

    def inputs_of(self, values: np.ndarray) -> Tensor:
        """Show each bit as 0 or 1."""
        return torch.from_numpy(values[..., None].astype(np.float32))

    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Want 1 where the number of ones is odd, (B,)."""
        odd_B: np.ndarray = values.sum(1, dtype=np.int64) % 2
        return odd_B

    def written(self, values: np.ndarray) -> str:
        """Write the bits."""
        return "".join(map(str, values))

    @property
    def verdict(self) -> str:
        """What is had by guessing, and when the task counts as solved."""
        return f"accuracy above {100 * PARITY_SOLVED:g} %; guessing has 50 %"

    def make_spec(self) -> DataSpec:
        """Describe the sequences to a model."""
        return DataSpec(
            self.name,
            "features",
            1,
            "class",
            2,
            ("even", "odd"),
            self.class_counts(2),
            feature_names=("bit",),
            solved_at=PARITY_SOLVED,
            memoryless=((1, (0.5, 0.5)),),
        )


def make_batch(inputs_BTF: Tensor, targets: Tensor, ids_B: Tensor, lengths_B: Tensor | None = None) -> Batch:
    """Return a batch of sequences of one length, or of those lengths; of numbers the constant 1 is what is forecast without memory."""
    num_examples, num_steps = inputs_BTF.shape[:2]
    lengths_B = torch.full((num_examples,), num_steps) if lengths_B is None else lengths_B
    target_lengths_B = lengths_B if targets.dtype == torch.int64 and targets.ndim == 2 else torch.ones_like(lengths_B)
    reference = Reference(torch.zeros_like(targets), *(torch.ones_like(targets),) * 2) if targets.is_floating_point() else None
    return Batch(inputs_BTF, lengths_B, targets, target_lengths_B, ids_B, reference)


# Written sequences ----------------------------------------------------------------------------------------------------------------


def read_inputs(bundle: Json, inputs: list[str]) -> tuple[list[str], Batch]:
    """Turn written sequences, of any lengths, into a batch.

    Raises:
        ValueError: names what cannot be read, and what can.
    """
    read = READERS[str(bundle["kind"])]
    rows = [torch.from_numpy(read(text)) for text in inputs]
    lengths_B = torch.tensor([len(row) for row in rows])
    inputs_BTF = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    unknown = {
        "adding": torch.full((len(rows), 1), torch.nan),
        "copying": torch.full(inputs_BTF.shape[:2], IGNORED_TARGET),
        "parity": torch.full((len(rows),), IGNORED_TARGET),
    }[str(bundle["kind"])]
    return inputs, make_batch(inputs_BTF, unknown, torch.arange(len(rows)), lengths_B)


def read_adding(text: str) -> np.ndarray:
    """Read values, a star behind two of them: (T, 2) float32."""
    words = text.split()
    try:
        values = [float(word.removesuffix("*")) for word in words]
    except ValueError:
        values = [math.nan]
    marks = [float(word.endswith("*")) for word in words]
    if not np.isfinite(values).all() or sum(marks) != 2:
        raise ValueError(f"{text[:40]!r} is no adding problem: wanted numbers, two of them with a star, such as 0.2 0.7* 0.1 0.4*")
    return np.stack([values, marks], axis=-1).astype(np.float32)


def read_letters(text: str) -> np.ndarray:
    """Read one letter a step: (T, 10) float32."""
    if not set(text) <= set(LETTERS):
        raise ValueError(f"{text[:40]!r} is no copying problem: wanted letters of {LETTERS}, such as abcdefghab--->----------")
    return np.eye(len(LETTERS), dtype=np.float32)[[LETTERS.index(letter) for letter in text]]


def read_bits(text: str) -> np.ndarray:
    """Read bits: (T, 1) float32."""
    if not set(text) <= set("01"):
        raise ValueError(f"{text[:40]!r} is no parity problem: wanted bits, such as 01101")
    return np.array([[float(bit)] for bit in text], dtype=np.float32)


READERS: dict[str, Callable[[str], np.ndarray]] = {"adding": read_adding, "copying": read_letters, "parity": read_bits}
