"""The base class of data modules: where data come from, checked splits, hashes, and loaders over prepared arrays."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from rich.console import Console

from rnnlab.config import Fraction, NonNegativeInt, PositiveInt
from rnnlab.contracts import Batch, DataSpec
from rnnlab.data.batches import BatchLoader, EpochOrder
from rnnlab.data.files import home_of, is_folder
from rnnlab.data.hashing import digest
from rnnlab.data.inputs import InputReader, InputTokens
from rnnlab.data.prepared import Json, Prepared, open_prepared, prepare_once, read_meta
from rnnlab.data.sources.fetching import AnyUpstream, SourceError, fetch, mirror_folder, own_path
from rnnlab.data.splits import DEFAULT_FOLDS, Folding, SplitKind
from rnnlab.paths import printable
from rnnlab.settings import Paths

Split = Literal["train", "val", "test"]
MOST_CHARACTERS = 40
"""Of the name of one's own data in the name of a run."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(eq=False, repr=False)
class SequenceDataModule(pl.LightningDataModule, ABC):
    """Base class of all data modules: find or prepare data, split them, and give batches.

    A subclass reads raw data (`read_raw`, `hash_raw`), prepares them (`prepared_key`, `write`), splits (`assign_splits`), describes
    (`make_spec`) and collates. Its fields are the keys of `conf/data/<name>.yaml`.
    """

    group_column: ClassVar[str] = "id"
    """The column of `examples` that names the unit that may leak."""
    upstreams: ClassVar[Mapping[str, AnyUpstream]] = {}
    """The named sources."""
    sample: ClassVar[str]
    """The folder of the bundled sample, below `paths.samples`."""
    sample_settings: ClassVar[Mapping[str, str | None]] = {}
    """Keys that the bundled sample needs whatever was asked of the named source it stands in for."""
    has_unordered_targets: ClassVar[bool] = False
    """Whether targets are sequences that don't come in the order of the inputs, as those of translation don't."""
    is_stream: ClassVar[bool] = False
    """Whether row r of each batch goes on where row r of the batch before ended."""
    rank, num_processes = 0, 1
    """Which part of each training batch this process takes."""

    paths: Paths
    """Where raw, prepared and cached data lie (`data`), and the bundled samples."""
    seed: int
    """Seed of order and augmentation, never of splits."""
    _: KW_ONLY
    name: str = field()  # Lightning's class has a `name`, which would be the default
    """The data's name."""
    source: str
    """A named source, `sample`, or a path."""
    mirror: str | None
    """A folder with copies of public data, or None for the environment's RNNLAB_MIRROR."""
    offline: bool
    """Whether the network may not be used."""

    def __post_init__(self) -> None:
        super().__init__()
        self.sample_folder = self.paths.samples / self.sample
        self.provenance, self.split_used = "", ""  # where a named source was found and what `assign_splits` did, in words
        self.remarks: list[str] = []  # what a user should know of their own files: what was passed over, left out, guessed
        self.prepared: Prepared | None = None
        self.rows: dict[Split, np.ndarray] = {}
        self.console = Console(stderr=True, soft_wrap=True)

    @property
    def kept_source(self) -> str:
        """The source as a run records it: a name, or a whole path, which means the same from every folder."""
        is_name = self.source == "sample" or self.source in self.upstreams
        return self.source if is_name else str(Path(self.source).expanduser().absolute())

    def name_parts(self) -> list[str]:
        """Return what the name of a run says of these settings, beside the data's name: of one's own data the file's or folder's."""
        own = self.own_name(self.source)
        return [own] if own else []

    @classmethod
    def own_name(cls, source: str) -> str:
        """Return the name of one's own file or folder without its ending; nothing of a named source and of the sample."""
        if source in ("sample", "generated") or source in cls.upstreams:
            return ""
        path = home_of(source).absolute()
        stem = path.name if is_folder(path) else path.name.partition(".")[0] or path.name
        return re.sub(r"[^\w-]", "_", stem.lower())[:MOST_CHARACTERS]

    # -- where the data are --------------------------------------------------------------------------------------------

    @abstractmethod
    def read_raw(self, raw: Path) -> pd.DataFrame:
        """Return what raw data hold, as a table."""

    @abstractmethod
    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash the content of raw data that are no named source."""

    @abstractmethod
    def prepared_key(self, source_hash: str) -> str:
        """Hash what prepared data follow from: source, settings, code."""

    @abstractmethod
    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Prepare a table and write a prepared folder."""

    def fetch_raw(self) -> Path:
        """Bring raw data to this machine and return where they are.

        Raises:
            SourceError: where they are unavailable, or are not what was pinned.
        """
        if self.source == "sample":
            return self.sample_folder
        if self.source in self.upstreams:
            folder = self.paths.data / "raw" / self.source
            provenance = fetch(self.upstreams[self.source], folder, mirror_folder(self.mirror), self.offline)
            self.provenance = f"{provenance.kind}: {provenance.where}"
            return folder
        return own_path(self.source, self.upstreams)

    def ensure_prepared(self) -> Prepared:
        """Return prepared data: those of the DVC stage if they fit, else this variant's, prepared once."""
        if self.source in self.upstreams:
            source_hash = self.upstreams[self.source].content_hash
            for folder in (self.paths.data / "prepared" / self.source, self.cache_folder(source_hash)):
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
        self.prepare_into(self.paths.data / "prepared" / self.source, table, self.upstreams[self.source].content_hash)

    def prepare_into(self, folder: Path, table: pd.DataFrame, source_hash: str) -> None:
        """Prepare a table with this module's settings."""
        self.write(folder, table, {"source": self.source, "source_hash": source_hash, "prepared_key": self.prepared_key(source_hash)})

    def cache_folder(self, source_hash: str) -> Path:
        """Return where this variant lies unless a DVC stage made it."""
        return self.paths.data / "cache" / self.prepared_key(source_hash)

    def _is_current(self, folder: Path, source_hash: str) -> bool:
        meta = read_meta(folder)
        return meta is not None and meta.get("prepared_key") == self.prepared_key(source_hash)

    # -- what the data are ---------------------------------------------------------------------------------------------

    @abstractmethod
    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Return rows of `examples` per split."""

    @abstractmethod
    def setup_as_test(self, reader: InputReader) -> None:
        """Open the data and take all of them as test, read as the run that made the reader read its own."""

    @abstractmethod
    def make_spec(self) -> DataSpec:
        """Describe the data to a model."""

    @abstractmethod
    def targets(self, rows: np.ndarray) -> list[object]:
        """Return the targets of these rows in a form that JSON can hold."""

    @abstractmethod
    def describe(self) -> list[tuple[str, str]]:
        """Describe the data to a person, as (name, text)."""

    @abstractmethod
    def reader(self) -> InputReader:
        """Return what turns raw input into batches as this module does."""

    def tell_remarks(self, console: Console) -> None:
        """Tell what of the user's own files was passed over, left out or guessed."""
        for line in self.remarks if self.source not in ("sample", *self.upstreams) else ():
            console.print(f"  {'look at':13} {printable(line)}", style="yellow", markup=False, highlight=False)

    def setup(self, stage: str | None = None) -> None:
        """Open the data and split them (once)."""
        if self.prepared is None:
            self.prepared = self.ensure_prepared()
            try:
                self.rows = self.assign_splits(self.prepared)
                self.check_splits()
            except ValueError:
                self.prepared, self.rows = None, {}  # a failed setup is no setup
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

    def begin_from(self, first: InputTokens) -> None:
        """Take over, before `setup`, the tokens of the run whose weights a network here begins with; nothing where inputs are others.

        Raises:
            ValueError: where tokens are others than here.
        """

    def input_vectors(self) -> np.ndarray | None:
        """Return the vectors that an embedding starts from, one row a token, NaN for missing ones; None to draw them all."""
        return None

    def notes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return further columns for a table of predictions of these examples."""
        return {}

    def shown(self, rows: np.ndarray) -> list[str] | None:
        """Return these examples as a person reads them, for tables of errors; None if they cannot be read."""
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

    def take_all_as_test(self, rows: np.ndarray | None = None) -> None:
        """Take all examples, or these rows, as test, and none for training or validation."""
        none = np.arange(0)
        self.rows = {"train": none, "val": none, "test": np.arange(len(self.data.examples)) if rows is None else rows}

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
        """Return a padded batch of these rows; augmented only if `is_training`."""

    @abstractmethod
    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        """Return the order in which these rows are batched."""

    def train_dataloader(self) -> BatchLoader:
        return self._loader("train", is_training=True)

    def plain_dataloader(self, split: Split) -> BatchLoader:
        """Give batches of a split as they are, in a fixed order, for fitting baselines."""
        return self._loader(split, is_training=False)

    def val_dataloader(self) -> BatchLoader:
        return self._loader("val", is_training=False)

    def test_dataloader(self) -> BatchLoader:
        return self._loader("test", is_training=False)

    def _loader(self, split: Split, is_training: bool) -> BatchLoader:
        order = self.make_order(self.rows[split], is_training)
        rank, num_processes = (self.rank, self.num_processes) if split == "train" and is_training else (0, 1)
        collate = lambda ids, epoch: self.collate(ids, epoch, is_training)  # noqa: E731
        return BatchLoader(order, collate, rank, num_processes, is_stream=self.is_stream)


@dataclass(eq=False, repr=False, kw_only=True)
class SplitData(SequenceDataModule, ABC):
    """Base class of data that are split as the source says, or at random by `split_seed`."""

    sample_settings: ClassVar[Mapping[str, str | None]] = {"split": "auto"}

    split: SplitKind
    """How examples are split, see `rnnlab.data.splits`."""
    split_seed: int
    """Seed of random splits."""
    val_fraction: Fraction
    """Fraction carved off for validation where the source does not say, and for test in random splits."""


@dataclass(eq=False, repr=False, kw_only=True)
class FoldedData(SplitData, ABC):
    """Base class of data that may also be divided into folds; bundles made before there were such have neither key."""

    num_folds: PositiveInt = DEFAULT_FOLDS
    """Into how many parts `split=kfold` divides."""
    fold: NonNegativeInt = 0
    """Which part is test (`kfold`), or which group (`speaker`)."""

    @property
    def folding(self) -> Folding:
        """What `kfold` divides by."""
        return Folding(self.fold, self.num_folds, self.split_seed)

    def name_parts(self) -> list[str]:
        return [*super().name_parts(), *([f"f{self.fold}"] if self.split in ("speaker", "kfold") else [])]
