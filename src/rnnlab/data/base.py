"""What every data module shares: splits that are checked, hashes, and loaders over prepared arrays."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytorch_lightning as pl

from rnnlab.contracts import Batch, DataSpec
from rnnlab.data.batches import BatchLoader, EpochOrder
from rnnlab.data.prepared import Json, Prepared, digest

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


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
