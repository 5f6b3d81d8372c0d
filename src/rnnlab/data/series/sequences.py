"""`data=sequences`: a label, or a number, for each of many sequences of numeric vectors (gestures, strokes, sensors, spoken vowels)."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnlab.config import NonNegativeFloat, PositiveInt
from rnnlab.contracts import Batch, DataSpec, Reference
from rnnlab.data.base import FoldedData, Split
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken, home_of, natural_order
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import FileReader, InputReader, labelled_batch
from rnnlab.data.labelled import LabelledData, shortened
from rnnlab.data.prepared import Json, Prepared, pad_rows, write_prepared
from rnnlab.data.series import ts_files, vector_tables, vectors
from rnnlab.data.series.vector_tables import SequenceColumns, SequenceTables
from rnnlab.data.series.vectors import Target, content_of, find_sequences, hash_sequences, read_unlabelled, sequence_files
from rnnlab.data.sources.catalogue import SEQUENCES
from rnnlab.data.splits import assign_splits

Normalisation = Literal["training", "sequence", "none"]
LEAST_SPREAD = 1e-6
NUMBER = "value"
"""The name of the target where labels are numbers."""


@dataclass(frozen=True)
class SequencePrepare(SequenceColumns):
    """Say how sequences are read (`data.prepare`).

    Args:
        id_column, time_column, label_column, group_column, split_column, features: of a user's tables, see `SequenceColumns`.
        on_broken: whether sequences that cannot be used are refused or left out.
    """

    on_broken: OnBroken

    def tables(self, day_first: bool | None) -> SequenceTables:
        """Return where a user's tables keep what, and how they write dates."""
        parts = (self.id_column, self.time_column, self.label_column, self.group_column, self.split_column, self.features)
        return SequenceTables(*parts, day_first)


@dataclass(frozen=True)
class SequenceLoader:
    """Say how sequences become batches (`data.loader`).

    Args:
        batch_size: sequences per batch.
        bucket_batches: stretches of this many shuffled batches are sorted by length (1: no sorting).
        normalise: `training` (each feature by its mean and spread over all steps of training), `sequence` (each sequence by its own) or
            `none`.
        jitter: noise on the normalised features while training, in standard deviations.
        scaling: while training each sequence is multiplied by a factor within 1 - scaling and 1 + scaling.
    """

    batch_size: PositiveInt
    bucket_batches: PositiveInt
    normalise: Normalisation
    jitter: NonNegativeFloat
    scaling: NonNegativeFloat


@dataclass(frozen=True)
class SequenceMeta:
    """Entries of `meta.json` that loading needs."""

    label_names: tuple[str, ...]
    feature_names: tuple[str, ...]


def normalise(values_BTF: Tensor, lengths_B: Tensor, how: Normalisation, mean_F: Tensor, std_F: Tensor) -> Tensor:
    """Normalise padded sequences, (B, T, F); padding stays zero."""
    is_step_BT1 = (torch.arange(values_BTF.shape[1])[None] < lengths_B[:, None])[..., None]
    if how == "training":
        values_BTF = (values_BTF - mean_F) / std_F
    elif how == "sequence":
        mean_B1F = values_BTF.sum(1, keepdim=True) / lengths_B[:, None, None]
        left_BTF = (values_BTF - mean_B1F) * is_step_BT1
        spread_B1F = (left_BTF.square().sum(1, keepdim=True) / lengths_B[:, None, None]).sqrt()
        values_BTF = left_BTF / spread_B1F.clamp(min=LEAST_SPREAD)
    return values_BTF * is_step_BT1


@dataclass(frozen=True)
class SequencesReader(FileReader):
    """Read sequences as the run did that made this: of each table, array or .ts file all of its sequences, labels aside."""

    kind = "sequences"
    columns: ClassVar[Mapping[str, str]] = {"csv": "string"}
    files = "sequences"

    label_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    prepare: SequencePrepare
    normalise: Normalisation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    target_mean: float
    target_std: float
    day_first: bool | None = None

    def find(self, path: Path) -> tuple[list[Path], list[str]]:
        return sequence_files(path)

    def made_up(self) -> str:
        """Return 20 steps of slow waves, as a CSV file."""
        waves_TF = np.sin(np.arange(20)[:, None] / (2 + np.arange(len(self.feature_names))))
        return pd.DataFrame(waves_TF, columns=list(self.feature_names)).round(4).to_csv(index=False)

    def write(self, values: np.ndarray, file: Path) -> None:
        np.save(file.with_suffix(vectors.ARRAY), values)

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn files (paths, or the content of CSV files) into a batch; name its rows.

        Raises:
            ValueError: names the sequence that cannot be read or has other features.
        """
        found = [one for item in inputs for one in self._read_one(str(item))]
        lengths_B = torch.tensor([len(values) for _, values in found])
        padded_BTF = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(values) for _, values in found], batch_first=True)
        inputs_BTF = normalise(padded_BTF, lengths_B, self.normalise, torch.tensor(self.mean), torch.tensor(self.std))
        batch = labelled_batch(inputs_BTF, lengths_B)
        if not self.label_names:
            batch.targets = torch.full((len(found), 1), torch.nan, dtype=torch.double)
            batch.reference = reference_of(len(found), self.target_mean, self.target_std)
        return [name for name, _ in found], batch

    def _read_one(self, item: str) -> list[tuple[str, np.ndarray]]:
        if "\n" not in item:
            return read_unlabelled(home_of(item), self.prepare.tables(self.day_first), self.feature_names)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "input.csv"
            file.write_text(item, encoding="utf-8")
            return read_unlabelled(file, self.prepare.tables(self.day_first), self.feature_names)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class SequencesData(FoldedData, LabelledData):
    """Give batches of labelled sequences.

    `source` is a named set, `sample`, or the path of a long table, of a .ts file, or of a folder (see `vectors`).
    """

    group_column = "unit"
    upstreams = SEQUENCES
    sample = "sequences"

    target: Target
    """What labels are: classes, or numbers to predict."""
    day_first: bool | None
    """Whether 03/04/2021 is in April; None for as the tables show."""
    prepare: SequencePrepare
    loader: SequenceLoader

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.names, self.remarks = read_once(
            find_sequences, self.source, raw, self.prepare.tables(self.day_first), self.target, self.prepare.on_broken
        )
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return hash_sequences(table, self.names)

    def prepared_key(self, source_hash: str) -> str:
        files = [Path(str(module.__file__)) for module in (ts_files, vector_tables, vectors)] + [Path(__file__)]
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, self.target, self.day_first, asdict(self.prepare), code_hash(*files)])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Write all sequences end to end; of numbers to predict `label` is empty, and `number` holds them."""
        is_class = self.target == "class"
        examples = table.drop(columns="values").assign(
            content=[content_of(values) for values in table["values"]],
            unit=table["group"].where(table["group"] != "", table["id"]),
            label=table["label"] if is_class else "",
            number=np.nan if is_class else table["label"].astype(float),
        )
        labels = sorted(table["label"].unique(), key=natural_order) if is_class else []
        write_prepared(folder, table["values"], examples, {**meta, "label_names": labels, "feature_names": list(self.names)})

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split, and fit what normalises features and targets on the training split."""
        meta = self._open(prepared)
        self.number_labels(meta.label_names if self.target == "class" else ("",), prepared.examples["label"])
        rows, self.split_used = assign_splits(prepared.examples, self.split, self.folding, self.val_fraction, "group")
        self._fit(prepared, rows["train"])
        return rows

    def _open(self, prepared: Prepared) -> SequenceMeta:
        meta = prepared.meta_as(SequenceMeta)
        self.names = meta.feature_names
        self.numbers = prepared.examples["number"].to_numpy(float)
        return meta

    def _fit(self, prepared: Prepared, train: np.ndarray) -> None:
        is_train = np.zeros(len(prepared.examples), dtype=bool)
        is_train[train] = True
        steps = np.asarray(prepared.values[np.repeat(is_train, prepared.lengths)], dtype=np.float64)
        spread = steps.std(0)
        self.mean_F = torch.from_numpy(steps.mean(0)).float()
        self.std_F = torch.from_numpy(np.where(spread > LEAST_SPREAD, spread, 1.0)).float()
        numbers = self.numbers[train]
        self.target_mean, self.target_std = (0.0, 1.0) if self.target == "class" else (float(numbers.mean()), float(numbers.std()) or 1.0)

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, SequencesReader)
        self.prepared = self.ensure_prepared()
        names = self._open(self.prepared).feature_names
        if names != reader.feature_names:
            raise ValueError(
                f"data.source={self.source} has the features {', '.join(names)}, but the run was trained on "
                f"{', '.join(reader.feature_names)}: give the same, in the same order"
            )
        self.number_labels(reader.label_names or ("",), self.prepared.examples["label"])
        self.mean_F, self.std_F = torch.tensor(reader.mean), torch.tensor(reader.std)
        self.target_mean, self.target_std = reader.target_mean, reader.target_std
        self.take_all_as_test()

    @property
    def is_ragged(self) -> bool:
        """Whether sequences have different lengths."""
        return len(np.unique(self.data.lengths)) > 1

    def make_spec(self) -> DataSpec:
        is_class = self.target == "class"
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=len(self.names),
            target_kind="class" if is_class else "real",
            target_size=len(self.label_names) if is_class else 1,
            label_names=self.label_names if is_class else (NUMBER,),
            class_counts=self.class_counts() if is_class else (),
            feature_names=self.names,
            is_ragged=self.is_ragged,
        )

    def targets(self, rows: np.ndarray) -> list[object]:
        return super().targets(rows) if self.target == "class" else [float(number) for number in self.numbers[rows]]

    def describe(self) -> list[tuple[str, str]]:
        lengths, examples = self.data.lengths, self.data.examples
        groups = sorted(set(examples["group"]) - {""}, key=natural_order)
        numbers = f"{self.numbers.min():.4g} to {self.numbers.max():.4g}, mean {self.numbers.mean():.4g}"
        repeated = int(examples["content"].duplicated(keep=False).sum())
        return [
            (
                "sequences",
                f"{len(lengths):,}, {lengths.sum():,} steps; {lengths.min()} to {lengths.max()}, median {np.median(lengths):.0f}",
            ),
            ("features", f"{len(self.names)}: {shortened(list(self.names))}; normalised by {self.loader.normalise}"),
            *(self.describe_labels() if self.target == "class" else [("numbers", numbers)]),
            ("groups", f"{len(groups)}: {shortened(groups)}" if groups else "unknown"),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            ("odd", f"{repeated} sequences that are the same as another" if repeated else "nothing"),
        ]

    def reader(self) -> SequencesReader:
        return SequencesReader(
            label_names=self.label_names if self.target == "class" else (),
            feature_names=self.names,
            prepare=self.prepare,
            normalise=self.loader.normalise,
            mean=tuple(self.mean_F.tolist()),
            std=tuple(self.std_F.tolist()),
            target_mean=self.target_mean,
            target_std=self.target_std,
            day_first=self.day_first,
        )

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        buckets = self.loader.bucket_batches if is_training else 0
        return EpochOrder(rows, self.data.lengths[rows], self.loader.batch_size, self.seed, buckets)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded, normalised batch; while training with noise and other sizes, if these are asked for."""
        padded_BTF, lengths_B = pad_rows(self.data, rows)
        inputs_BTF = normalise(padded_BTF, lengths_B, self.loader.normalise, self.mean_F, self.std_F)
        if is_training and (self.loader.jitter or self.loader.scaling):
            inputs_BTF = self._varied(inputs_BTF, lengths_B, ExampleRandom(self.seed, epoch, rows))
        ids_B, ones_B = torch.from_numpy(rows), torch.ones_like(lengths_B)
        if self.target == "class":
            return Batch(inputs_BTF, lengths_B, torch.from_numpy(self.labels[rows]), ones_B, ids_B)
        numbers_B1 = torch.from_numpy(self.numbers[rows])[:, None]
        return Batch(inputs_BTF, lengths_B, numbers_B1, ones_B, ids_B, reference_of(len(rows), self.target_mean, self.target_std))

    def _varied(self, inputs_BTF: Tensor, lengths_B: Tensor, random: ExampleRandom) -> Tensor:
        """Scale each sequence and add noise to its steps; draws of the noise come last, since their count depends on the batch."""
        factor_B = 1 + self.loader.scaling * (2 * random.uniform() - 1)
        first, second = random.child(1), random.child(2)
        shape = tuple(inputs_BTF.shape[1:])
        # Box and Muller's way from uniform numbers to normal ones.
        noise_BTF = (-2 * (1 - first.uniform(*shape)).log()).sqrt() * (2 * torch.pi * second.uniform(*shape)).cos()
        is_step_BT1 = (torch.arange(inputs_BTF.shape[1])[None] < lengths_B[:, None])[..., None]
        return (inputs_BTF * factor_B[:, None, None] + self.loader.jitter * noise_BTF) * is_step_BT1


def reference_of(num: int, mean: float, std: float) -> Reference:
    """Return how outputs become numbers: by mean and spread of the training targets, of which the mean is what is said without a model."""
    mean_B1 = torch.full((num, 1), mean, dtype=torch.double)
    return Reference(mean_B1, torch.full_like(mean_B1, std), mean_B1)
