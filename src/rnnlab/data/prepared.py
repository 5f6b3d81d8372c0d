"""Prepared arrays on disk: flat, memory-mapped, written aside and renamed, and the hashes that tell variants apart.

A prepared folder holds `values.npy` (all sequences end to end), `offsets.npy` (where each begins and ends),
`examples.parquet` (one row a sequence: id, label, the unit that may leak, ...) and `meta.json`; where targets are sequences too,
`targets.npy` and `target_offsets.npy`.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from pydantic import TypeAdapter
from torch import Tensor

from rnnlab.data.hashing import checksum, digest
from rnnlab.paths import why_not_written

Json = dict[str, object]
Meta = TypeVar("Meta")
"""Some entries of `meta.json`, typed; each kind of data has its own."""


@dataclass(frozen=True)
class OddMeta:
    """Entries of `meta.json` of data that count what is odd in them."""

    odd: dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """Hold one prepared folder, values memory-mapped.

    Args:
        folder: where it lies.
        values: (all steps, F) float32 or (all steps,) int.
        offsets: (N + 1,) int64; sequence n is `values[offsets[n]:offsets[n + 1]]`.
        examples: one row a sequence.
        meta: settings, hashes and counts.
        targets: (all target tokens,) int32, empty where targets are no sequences.
        target_offsets: (N + 1,) int64, as `offsets`; empty likewise.
    """

    folder: Path
    values: np.ndarray
    offsets: np.ndarray
    examples: pd.DataFrame
    meta: Json
    targets: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    target_offsets: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def meta_as(self, shape: type[Meta]) -> Meta:
        """Return the entries of `meta` that a dataclass names, checked."""
        found: Meta = TypeAdapter(shape).validate_python(self.meta)
        return found

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
        is_whole = _agree(values, offsets, len(examples)) and len(values) == meta["num_steps"]
        if meta.get("num_target_tokens") is None:
            targets, target_offsets = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
        else:
            targets = np.load(folder / "targets.npy", mmap_mode="r", allow_pickle=False)
            target_offsets = np.load(folder / "target_offsets.npy", allow_pickle=False)
            is_whole = is_whole and _agree(targets, target_offsets, len(examples)) and len(targets) == meta["num_target_tokens"]
        broken = [name for name, wanted in meta.get("checksums", {}).items() if checksum(folder / name) != wanted]
        broken += ["meta.json"] if "checksum" in meta and _checksum_of(meta) != meta["checksum"] else []
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(f"prepared data in {folder} are damaged ({error}): delete that folder and run again") from error
    if not is_whole:
        raise ValueError(f"prepared data in {folder} are damaged (sizes disagree): delete that folder and run again")
    if broken:
        raise ValueError(f"prepared data in {folder} are damaged ({broken[0]} is not as it was written): delete that folder and run again")
    return Prepared(folder, values, offsets, examples, meta, targets, target_offsets)


def _checksum_of(meta: Json) -> str:
    return digest({name: value for name, value in meta.items() if name != "checksum"})


def _agree(values: np.ndarray, offsets: np.ndarray, num_examples: int) -> bool:
    return offsets.ndim == 1 and len(offsets) == num_examples + 1 and bool(offsets[-1] == len(values))


Flat = tuple[np.ndarray, np.ndarray]
"""Sequences end to end, and where each begins and ends."""


def write_prepared(folder: Path, sequences: Iterable[np.ndarray], examples: pd.DataFrame, meta: Json, targets: Flat | None = None) -> None:
    """Write sequences end to end, see `write_flat`."""
    rows = list(sequences)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    write_flat(folder, np.concatenate(rows), offsets, examples, meta, targets)


def write_flat(
    folder: Path, values: np.ndarray, offsets: np.ndarray, examples: pd.DataFrame, meta: Json, targets: Flat | None = None
) -> None:
    """Write a prepared folder aside and rename it into place, so that nobody ever sees half of one."""
    counts: Json = {"num_steps": len(values)}
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
    try:
        aside.mkdir(parents=True)
        np.save(aside / "values.npy", values)
        np.save(aside / "offsets.npy", offsets)
        if targets is not None:
            np.save(aside / "targets.npy", targets[0])
            np.save(aside / "target_offsets.npy", targets[1])
            counts["num_target_tokens"] = len(targets[0])
        examples.to_parquet(aside / "examples.parquet", index=False)
        whole: Json = {**meta, **counts, "checksums": {file.name: checksum(file) for file in sorted(aside.iterdir())}}
        text = json.dumps({**whole, "checksum": _checksum_of(json.loads(json.dumps(whole)))}, indent=1, sort_keys=True)
        (aside / "meta.json").write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
    except OSError as error:
        raise ValueError(
            f"cannot write prepared data to {folder} ({why_not_written(error, folder.parent)}): free some space or give another place "
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
    """Return a prepared folder's meta.json, or None if there is none that can be read."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return meta if isinstance(meta, dict) else None
    except (OSError, ValueError):
        return None


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
