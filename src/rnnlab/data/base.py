"""What every data module shares: prepared arrays on disk, splits, the order of batches, and the three hashes.

A prepared folder holds `values.npy` (all sequences end to end), `offsets.npy` (where each begins and ends),
`examples.parquet` (one row a sequence: id, label, the unit that may leak, ...) and `meta.json`.
"""

import ast
import hashlib
import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from filelock import FileLock
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Json = dict[str, object]


@dataclass(frozen=True)
class Prepared:
    """Hold one prepared folder, values memory-mapped.

    Args:
        folder: where it lies.
        values: (all steps, F) float32 or (all steps,) int.
        offsets: (N + 1,) int64; sequence n is `values[offsets[n]:offsets[n + 1]]`.
        examples: one row a sequence.
        meta: settings, hashes and counts.
    """

    folder: Path
    values: np.ndarray
    offsets: np.ndarray
    examples: pd.DataFrame
    meta: Json

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, (N,) int64."""
        lengths: np.ndarray = np.diff(self.offsets)
        return lengths


def open_prepared(folder: Path) -> Prepared:
    """Open a prepared folder.

    Raises:
        ValueError: where it is damaged.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
        offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        examples = pd.read_parquet(folder / "examples.parquet")
        is_whole = offsets.ndim == 1 and len(offsets) == len(examples) + 1 and offsets[-1] == len(values) == meta["num_steps"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"prepared data in {folder} are damaged ({error}): delete that folder and run again") from error
    if not is_whole:
        raise ValueError(f"prepared data in {folder} are damaged (sizes disagree): delete that folder and run again")
    return Prepared(folder, values, offsets, examples, meta)


def write_prepared(folder: Path, sequences: Iterable[np.ndarray], examples: pd.DataFrame, meta: Json) -> None:
    """Write a prepared folder aside and rename it into place, so that nobody ever sees half of one."""
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
    try:
        aside.mkdir(parents=True)
        rows = list(sequences)
        values = np.concatenate(rows)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        np.save(aside / "values.npy", values)
        np.save(aside / "offsets.npy", offsets)
        examples.to_parquet(aside / "examples.parquet", index=False)
        text = json.dumps({**meta, "num_steps": len(values)}, indent=1, sort_keys=True)
        (aside / "meta.json").write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
    except OSError as error:
        raise ValueError(
            f"cannot write prepared data to {folder} ({error.strerror or error}): free some space or give another place "
            "with paths.data=FOLDER"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def prepare_once(folder: Path, is_current: Callable[[], bool], build: Callable[[], None]) -> None:
    """Build a folder unless it is there, while other processes that want the same one wait."""
    if is_current():
        return
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder.parent} ({error.strerror or error}): give another place with paths.data=FOLDER"
        ) from error
    try:
        if not is_current():
            build()
    finally:
        lock.release()


def read_meta(folder: Path) -> Json | None:
    """Return a prepared folder's meta.json, or None where there is none that can be read."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return meta if isinstance(meta, dict) else None
    except (OSError, ValueError):
        return None


def digest(value: object) -> str:
    """Hash anything that JSON can hold, independent of key order; 16 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def code_hash(*files: Path, classes: bool = False) -> str:
    """Hash what modules' functions and constants do: not comments, docstrings or layout, nor (unless asked) derived classes.

    Preparation is functions and frozen settings, loading is a class derived from another: so changing a loader prepares nothing anew.
    """
    parts = []
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.bases and not classes:
                continue
            if _is_text(node):
                continue
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef | ast.ClassDef):
                    inner.body = [statement for statement in inner.body if not _is_text(statement)] or [ast.Pass()]
            parts.append(ast.dump(node))
    return digest(parts)


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is nothing but a string: a docstring, or words below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class ExampleRandom:
    """Random numbers that depend on nothing but (seed, epoch, example): not on the batch, the order or the process.

    Counter-based: the splitmix64 finaliser (Steele et al. 2014) of a key per example and a running index.
    """

    def __init__(self, seed: int, epoch: int, example_ids_B: np.ndarray) -> None:
        start = _mix(np.uint64((seed * 0x9E3779B97F4A7C15 + epoch) % 2**64))
        self._keys_B = _mix(start ^ _mix(example_ids_B.astype(np.uint64)))
        self._drawn = 0

    def child(self, number: int) -> "ExampleRandom":
        """Return a stream of its own: for draws whose count depends on the batch, so that they don't move the others."""
        child = ExampleRandom(0, 0, np.zeros(0))
        child._keys_B = _mix(self._keys_B + np.uint64(number))
        return child

    def uniform(self, *shape: int) -> Tensor:
        """Draw (B, *shape) float32 numbers in [0, 1)."""
        count = int(np.prod(shape, dtype=np.int64))
        index = np.arange(self._drawn, self._drawn + count, dtype=np.uint64)
        self._drawn += count
        bits = _mix(self._keys_B[:, None] + (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        numbers = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return torch.from_numpy(numbers.reshape(len(self._keys_B), *shape))

    def between(self, low: float, high: float) -> Tensor:
        """Draw (B,) numbers in [low, high)."""
        return low + (high - low) * self.uniform()


def _mix(x: np.ndarray | np.uint64) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = np.asarray(x, dtype=np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


class EpochOrder:
    """Give the order of training examples, from (seed, epoch) alone.

    Args:
        example_ids: (N,) rows of the split.
        lengths: (N,) their steps.
        batch_size: sequences per batch.
        seed: of the order.
        bucket_batches: shuffle, then sort by length within stretches of this many batches and shuffle the batches: neighbours of
            like length, so less padding (1: no sorting; 0: no shuffling at all, all sorted, for evaluation).
    """

    def __init__(self, example_ids: np.ndarray, lengths: np.ndarray, batch_size: int, seed: int, bucket_batches: int) -> None:
        self.example_ids = example_ids
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.bucket_batches = bucket_batches
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (Lightning calls this before each one)."""
        self.epoch = epoch

    def batches(self) -> list[np.ndarray]:
        """Return the epoch's batches of example ids."""
        if self.bucket_batches == 0:
            return self._cut(np.argsort(self.lengths, kind="stable"))
        generator = np.random.default_rng([self.seed, self.epoch])
        places = generator.permutation(len(self.example_ids))
        if self.bucket_batches == 1:
            return self._cut(places)
        size = self.batch_size * self.bucket_batches
        stretches = [places[start : start + size] for start in range(0, len(places), size)]
        batches = self._cut(np.concatenate([s[np.argsort(self.lengths[s], kind="stable")] for s in stretches]))
        return [batches[index] for index in generator.permutation(len(batches))]

    def _cut(self, places: np.ndarray) -> list[np.ndarray]:
        ids = self.example_ids[places]
        return [ids[start : start + self.batch_size] for start in range(0, len(ids), self.batch_size)]

    def __len__(self) -> int:
        return -(-len(self.example_ids) // self.batch_size)


class BatchLoader:
    """Iterate over padded batches, straight from memory-mapped arrays."""

    def __init__(self, order: EpochOrder, collate: Callable[[np.ndarray, int], Batch]) -> None:
        self.sampler = self.batch_sampler = order  # Lightning calls `sampler.set_epoch`
        self.collate = collate
        self.start = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        start, self.start = self.start, 0
        for rows in self.sampler.batches()[start:]:
            yield self.collate(rows, self.sampler.epoch)

    def skip_once(self, num_batches: int) -> None:
        """Begin the next epoch after this many batches (a resume within an epoch)."""
        self.start = num_batches


class SequenceDataModule(pl.LightningDataModule, ABC):
    """Find or prepare data, split them, and give batches.

    A subclass prepares (`locate`, `build`), splits (`assign_splits`), describes (`make_spec`) and collates.
    """

    group_column: ClassVar[str] = "id"
    """The column of `examples` that names the unit that may leak."""
    name: str
    source: str
    provenance: str = ""
    """Where a named source was had, in words."""
    split_used: str = ""
    """What `assign_splits` did, in words."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.prepared: Prepared | None = None
        self.rows: dict[Split, np.ndarray] = {}

    @abstractmethod
    def fetch_raw(self) -> Path:
        """Bring raw data to this machine and return where they are."""

    @abstractmethod
    def prepare_stage(self) -> None:
        """Prepare a named source into `data/prepared`, as its DVC stage does."""

    @abstractmethod
    def ensure_prepared(self) -> Prepared:
        """Return prepared data, making them first where they are missing."""

    @abstractmethod
    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Return rows of `examples` per split."""

    @abstractmethod
    def make_spec(self) -> DataSpec:
        """Describe the data to a model."""

    @abstractmethod
    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch of these rows."""

    @abstractmethod
    def targets(self, rows: np.ndarray) -> list[object]:
        """Return the targets of these rows in a form that JSON can hold."""

    @abstractmethod
    def describe(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the data, as (name, text)."""

    @abstractmethod
    def bundle(self) -> Json:
        """Return what turning raw input into batches needs, as JSON."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Sequences per batch."""

    @property
    @abstractmethod
    def bucket_batches(self) -> int:
        """See `EpochOrder`."""

    def setup(self, stage: str | None = None) -> None:
        """Open the data and split them (once)."""
        if self.prepared is None:
            self.prepared = self.ensure_prepared()
            self.rows = self.assign_splits(self.prepared)
            self.check_splits()

    @abstractmethod
    def setup_as_test(self, bundle: Json) -> None:
        """Open the data and take all of them as test, read as the run that made the bundle read its own."""

    @property
    def data(self) -> Prepared:
        """The prepared data, after `setup`."""
        if self.prepared is None:
            raise RuntimeError("call setup() first")
        return self.prepared

    @property
    def hashes(self) -> dict[str, str]:
        """Return the hashes of source, preparation and test split."""
        test = self.rows["test"]
        ids = self.data.examples["id"].to_numpy()[test].tolist()
        return {
            "source_hash": str(self.data.meta["source_hash"]),
            "prepared_key": str(self.data.meta["prepared_key"]),
            "test_hash": digest(sorted([str(a), b] for a, b in zip(ids, self.targets(test), strict=True))),
        }

    def check_splits(self) -> None:
        """Refuse splits that overlap or are empty."""
        for split in SPLITS:
            if len(self.rows[split]) == 0:
                raise ValueError(
                    f"the {split} split is empty: {len(self.data.examples)} examples are too few for data.split="
                    "... as given; give more data, another split, or a `split` column"
                )
        joined = np.concatenate([self.rows[split] for split in SPLITS])
        if len(np.unique(joined)) != len(joined):
            raise ValueError("an example is in two splits: this is an error in the data module, not in your data")

    def train_dataloader(self) -> BatchLoader:
        """Give training batches, shuffled and augmented."""
        return self._loader("train", is_training=True)

    def val_dataloader(self) -> BatchLoader:
        """Give validation batches."""
        return self._loader("val", is_training=False)

    def test_dataloader(self) -> BatchLoader:
        """Give test batches."""
        return self._loader("test", is_training=False)

    def _loader(self, split: Split, is_training: bool) -> BatchLoader:
        rows = self.rows[split]
        buckets = self.bucket_batches if is_training else 0
        order = EpochOrder(rows, self.data.lengths[rows], self.batch_size, self.seed, buckets)
        return BatchLoader(order, lambda ids, epoch: self.collate(ids, epoch, is_training))


def pad_rows(prepared: Prepared, rows: np.ndarray, max_steps: int | None = None) -> tuple[Tensor, Tensor]:
    """Gather sequences of float features into one padded batch, longer ones cut at `max_steps`.

    Returns:
        (B, T, F) float32 and lengths (B,) int64.
    """
    lengths_B = prepared.lengths[rows] if max_steps is None else prepared.lengths[rows].clip(max=max_steps)
    values_BTF = np.zeros((len(rows), int(lengths_B.max()), prepared.values.shape[1]), dtype=np.float32)
    for index, (row, length) in enumerate(zip(rows, lengths_B, strict=True)):
        start = prepared.offsets[row]
        values_BTF[index, :length] = prepared.values[start : start + length]
    return torch.from_numpy(values_BTF), torch.from_numpy(lengths_B.copy())


def round_up_steps(values_BTF: Tensor, multiple: int = 8) -> Tensor:
    """Pad time to a multiple, so that few different shapes occur: convolution kernels are built and kept per shape."""
    missing = -values_BTF.shape[1] % multiple
    return torch.nn.functional.pad(values_BTF, (0, 0, 0, missing)) if missing else values_BTF
