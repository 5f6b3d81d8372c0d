"""`data=speech`: labelled recordings, from a named set, the bundled sample, or a folder or manifest of one's own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from rnnlab.contracts import Batch, DataSpec
from rnnlab.data.base import Split
from rnnlab.data.batches import round_up_steps
from rnnlab.data.early import read_once
from rnnlab.data.files import natural_order, refuse_lost_labels
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, labelled_batch
from rnnlab.data.labelled import LabelledData
from rnnlab.data.prepared import Json, Prepared, write_prepared
from rnnlab.data.sound import audio, base, recordings
from rnnlab.data.sound.base import SoundData, SoundPrepare, SoundReader, num_steps, read_frames
from rnnlab.data.sound.recordings import find_recordings, hash_recordings
from rnnlab.data.sources.catalogue import LABELLED_RECORDINGS
from rnnlab.data.splits import assign_splits


def prepare(table: pd.DataFrame, settings: SoundPrepare, folder: Path, meta: Json, console: Console) -> None:
    """Decode all recordings, extract features, and write a prepared folder."""
    frames, examples, found = read_frames(table, settings, console)
    refuse_lost_labels(table["label"], examples["label"], "data.source")
    labels = sorted(examples["label"].unique(), key=natural_order)
    write_prepared(folder, frames, examples, {**meta, "label_names": labels, **found})


@dataclass(frozen=True)
class SpeechReader(SoundReader):
    """Read labelled recordings as the run did that made this."""

    kind = "speech"
    is_labelled = True

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn sound files (paths or bytes) into a batch; name its rows.

        Raises:
            BrokenRecording: names the input.
        """
        names, values_BTF, lengths_B = self.read_frames(inputs, num_steps(self.loader.max_seconds, self.prepare.hop_ms))
        return names, labelled_batch(values_BTF, lengths_B)


@dataclass(frozen=True)
class SpeechMeta:
    """Entries of `meta.json` that loading needs."""

    label_names: tuple[str, ...]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class SpeechData(SoundData, LabelledData):
    """Give batches of labelled recordings; `source` is `fsdd`, `sample`, or the path of a folder or manifest."""

    upstreams = LABELLED_RECORDINGS
    sample = "speech"
    is_cut = True

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.remarks = read_once(find_recordings, self.source, raw, self.prepare.on_broken)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash the sound files with their ids, labels, speakers and splits."""
        return hash_recordings(table)

    def prepared_key(self, source_hash: str) -> str:
        files = [Path(str(module.__file__)) for module in (audio, recordings, base)] + [Path(__file__)]
        return digest([source_hash, asdict(self.prepare), code_hash(*files)])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        prepare(table, self.prepare, folder, {**meta, "settings": asdict(self.prepare)}, self.console)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        self.number_labels(prepared.meta_as(SpeechMeta).label_names, prepared.examples["label"])
        rows, self.split_used = assign_splits(prepared.examples, self.split, self.folding, self.val_fraction, self.group_column)
        self.fit_normalisation(prepared, rows["train"])
        return rows

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, SpeechReader)
        self.prepared = self.ensure_prepared()
        self.number_labels(reader.label_names, self.prepared.examples["label"])
        self.take_normalisation(reader)
        self.take_all_as_test()

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=int(self.data.values.shape[1]),
            target_kind="class",
            target_size=len(self.label_names),
            label_names=self.label_names,
            class_counts=self.class_counts(),
            step_ms=self.prepare.hop_ms,
        )

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        values_BTF, lengths_B = self.pad_frames(rows, epoch, is_training)
        targets_B = torch.from_numpy(self.labels[rows])
        return Batch(round_up_steps(values_BTF), lengths_B, targets_B, torch.ones_like(lengths_B), torch.from_numpy(rows))

    def describe_targets(self) -> list[tuple[str, str]]:
        return self.describe_labels()

    def reader(self) -> SpeechReader:
        return SpeechReader(self.label_names, self.prepare, self.loader, tuple(self.mean_F.tolist()), tuple(self.std_F.tolist()))
