"""What every data module shares: where data come from, splits that are checked, hashes, and loaders over prepared arrays."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from rich.console import Console

from rnnlab.contracts import Batch, DataSpec
from rnnlab.data.batches import BatchLoader, EpochOrder
from rnnlab.data.hashing import digest
from rnnlab.data.prepared import Json, Prepared, open_prepared, prepare_once, read_meta
from rnnlab.data.sources.fetching import AnyUpstream, SourceError, fetch, mirror_folder

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class SequenceDataModule(pl.LightningDataModule, ABC):
    """Find or prepare data, split them, and give batches.

    A subclass reads raw data (`read_raw`, `hash_raw`), prepares them (`prepared_key`, `write`), splits (`assign_splits`), describes
    (`make_spec`) and collates.

    Args:
        paths: `data` (where raw, prepared and cache lie) and `samples`.
        seed: of order and augmentation, never of splits.
        name: the data's name.
        source: a named source, `sample`, or a path.
        mirror: a folder with copies of public data, or None for the environment's RNNLAB_MIRROR.
        offline: never try the network.
    """

    group_column: ClassVar[str] = "id"
    """The column of `examples` that names the unit that may leak."""
    upstreams: ClassVar[Mapping[str, AnyUpstream]] = {}
    """The named sources."""
    sample: ClassVar[str]
    """The folder of the bundled sample, below `paths.samples`."""
    name: str
    provenance: str = ""
    """Where a named source was had, in words."""
    split_used: str = ""
    """What `assign_splits` did, in words."""
    rank, num_processes = 0, 1
    """Which share of each training batch is given."""

    def __init__(self, paths: dict[str, str], seed: int, name: str, source: str, mirror: str | None, offline: bool) -> None:
        super().__init__()
        self.data_root = Path(paths["data"])
        self.sample_folder = Path(paths["samples"]) / self.sample
        self.seed, self.name, self.source, self.mirror, self.offline = seed, name, source, mirror, offline
        self.prepared: Prepared | None = None
        self.rows: dict[Split, np.ndarray] = {}
        self.console = Console(stderr=True, soft_wrap=True)

    # -- where the data are --------------------------------------------------------------------------------------------

    @abstractmethod
    def read_raw(self, raw: Path) -> pd.DataFrame:
        """Return what raw data hold, as a table."""

    @abstractmethod
    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash the content of raw data that are nobody's named source."""

    @abstractmethod
    def prepared_key(self, source_hash: str) -> str:
        """Hash what prepared data follow from: source, settings, code."""

    @abstractmethod
    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Prepare a table and write a prepared folder."""

    def fetch_raw(self) -> Path:
        """Bring raw data to this machine and return where they are.

        Raises:
            SourceError: where they cannot be had, or are not what was pinned.
        """
        if self.source == "sample":
            return self.sample_folder
        if self.source in self.upstreams:
            folder = self.data_root / "raw" / self.source
            provenance = fetch(self.upstreams[self.source], folder, mirror_folder(self.mirror), self.offline)
            self.provenance = f"{provenance.kind}: {provenance.where}"
            return folder
        path = Path(self.source).expanduser().absolute()
        if not path.exists():
            named = ", ".join([*self.upstreams, "sample"])
            raise SourceError(f"data.source={self.source}: no such folder or file, nor a named source ({named})")
        return path

    def ensure_prepared(self) -> Prepared:
        """Return prepared data: DVC's where they fit, else this variant's, made once."""
        if self.source in self.upstreams:
            source_hash = self.upstreams[self.source].content_hash
            for folder in (self.data_root / "prepared" / self.source, self.cache_folder(source_hash)):
                if self._is_current(folder, source_hash):
                    return open_prepared(folder)
        raw = self.fetch_raw()
        table = self.read_raw(raw)
        source_hash = self.upstreams[self.source].content_hash if self.source in self.upstreams else self.hash_raw(table)
        folder = self.cache_folder(source_hash)
        prepare_once(folder, lambda: self._is_current(folder, source_hash), lambda: self.prepare_into(folder, table, source_hash))
        return open_prepared(folder)

    def prepare_stage(self) -> None:
        """Prepare a named source into `data/prepared`, as its DVC stage does."""
        if self.source not in self.upstreams:
            raise SourceError(f"data.source={self.source}: DVC stages are for named sources ({', '.join(self.upstreams)})")
        table = self.read_raw(self.fetch_raw())
        self.prepare_into(self.data_root / "prepared" / self.source, table, self.upstreams[self.source].content_hash)

    def prepare_into(self, folder: Path, table: pd.DataFrame, source_hash: str) -> None:
        """Prepare a table with this module's settings."""
        self.write(folder, table, {"source": self.source, "source_hash": source_hash, "prepared_key": self.prepared_key(source_hash)})

    def cache_folder(self, source_hash: str) -> Path:
        """Return where this variant lies when no DVC stage made it."""
        return self.data_root / "cache" / self.prepared_key(source_hash)

    def _is_current(self, folder: Path, source_hash: str) -> bool:
        meta = read_meta(folder)
        return meta is not None and meta.get("prepared_key") == self.prepared_key(source_hash)

    # -- what the data are ---------------------------------------------------------------------------------------------

    @abstractmethod
    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Return rows of `examples` per split."""

    @abstractmethod
    def setup_as_test(self, bundle: Json) -> None:
        """Open the data and take all of them as test, read as the run that made the bundle read its own."""

    @abstractmethod
    def make_spec(self) -> DataSpec:
        """Describe the data to a model."""

    @abstractmethod
    def targets(self, rows: np.ndarray) -> list[object]:
        """Return the targets of these rows in a form that JSON can hold."""

    @abstractmethod
    def describe(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the data, as (name, text)."""

    @abstractmethod
    def bundle(self) -> Json:
        """Return what turning raw input into batches needs, as JSON."""

    def setup(self, stage: str | None = None) -> None:
        """Open the data and split them (once)."""
        if self.prepared is None:
            self.prepared = self.ensure_prepared()
            try:
                self.rows = self.assign_splits(self.prepared)
                self.check_splits()
            except ValueError:
                self.prepared, self.rows = None, {}  # what failed does not pass for set up
                raise

    @property
    def data(self) -> Prepared:
        """The prepared data, after `setup`."""
        if self.prepared is None:
            raise RuntimeError("call setup() first")
        return self.prepared

    @property
    def examples(self) -> pd.DataFrame:
        """One row an example: id, the unit that may leak, ..."""
        return self.data.examples

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each example, (N,) int64."""
        return self.data.lengths

    def input_vectors(self) -> np.ndarray | None:
        """Return vectors that an embedding begins with, one row a token, NaN where there is none; None to draw them all."""
        return None

    def notes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return what else a table of predictions says of these examples, as columns."""
        return {}

    def shown(self, rows: np.ndarray) -> list[str] | None:
        """Return these examples as a person reads them, for tables of errors; None where there is nothing to read."""
        return None

    @property
    def hashes(self) -> dict[str, str]:
        """Return the hashes of source, preparation and test split."""
        test = self.rows["test"]
        ids = self.examples["id"].to_numpy()[test].tolist()
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
                    f"the {split} split is empty: {len(self.examples)} examples are too few for data.split="
                    "... as given; give more data, another split, or a `split` column"
                )
        joined = np.concatenate([self.rows[split] for split in SPLITS])
        if len(np.unique(joined)) != len(joined):
            raise ValueError("an example is in two splits: this is an error in the data module, not in your data")

    # -- batches -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch of these rows; augmented only where `is_training`."""

    @abstractmethod
    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        """Return which of these rows make a batch together, and when."""

    def train_dataloader(self) -> BatchLoader:
        """Give training batches, shuffled and augmented."""
        return self._loader("train", is_training=True)

    def plain_dataloader(self, split: Split) -> BatchLoader:
        """Give batches of a split as they are, in a fixed order: what a baseline is fitted on."""
        return self._loader(split, is_training=False)

    def val_dataloader(self) -> BatchLoader:
        """Give validation batches."""
        return self._loader("val", is_training=False)

    def test_dataloader(self) -> BatchLoader:
        """Give test batches."""
        return self._loader("test", is_training=False)

    def _loader(self, split: Split, is_training: bool) -> BatchLoader:
        order = self.make_order(self.rows[split], is_training)
        rank, num_processes = (self.rank, self.num_processes) if split == "train" and is_training else (0, 1)
        return BatchLoader(order, lambda ids, epoch: self.collate(ids, epoch, is_training), rank, num_processes)
