"""`data=speech`: labelled recordings, from a named set, the bundled sample, or a folder or manifest of one's own."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from rnnlab.contracts import Batch, DataSpec
from rnnlab.data.base import Split
from rnnlab.data.batches import round_up_steps
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.labelled import LabelledData, natural_order, shortened
from rnnlab.data.prepared import Json, Prepared, write_prepared
from rnnlab.data.sound import audio, base, recordings
from rnnlab.data.sound.base import SoundData, SoundPrepare, num_steps, read_frames, read_sounds
from rnnlab.data.sound.recordings import find_recordings, hash_recordings
from rnnlab.data.sources.fetching import Upstream
from rnnlab.data.splits import assign_splits

FSDD = Upstream(
    name="fsdd",
    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz",
    mirror_file="fsdd.tar.gz",
    keep=("recordings/*.wav",),
    content_hash="04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b",
    licence="CC BY-SA 4.0",
    max_files=20_000,
    max_bytes=200_000_000,
)
UPSTREAMS = {source.name: source for source in (FSDD,)}


def prepare(table: pd.DataFrame, settings: SoundPrepare, folder: Path, meta: Json, console: Console) -> None:
    """Decode all recordings, extract features, and write a prepared folder."""
    frames, examples, found = read_frames(table, settings, console)
    labels = sorted(examples["label"].unique(), key=natural_order)
    write_prepared(folder, frames, examples, {**meta, "label_names": labels, **found})


@final
class SpeechData(SoundData, LabelledData):
    """Give batches of labelled recordings.

    Args:
        paths, seed, name, mirror, offline: see `rnnlab.data.base.SequenceDataModule`.
        source: `fsdd`, `sample`, or the path of a folder or manifest.
        split, fold, split_seed, val_fraction, prepare, loader: see `rnnlab.data.sound.base.SoundData`.
    """

    upstreams = UPSTREAMS
    sample = "speech"
    is_cut = True

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        """List the recordings."""
        return find_recordings(self.source, raw)

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash the sound files with their ids, labels, speakers and splits."""
        return hash_recordings(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings, code."""
        files = [Path(str(module.__file__)) for module in (audio, recordings, base)] + [Path(__file__)]
        return digest([source_hash, asdict(self.settings), code_hash(*files)])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Decode, extract features, write."""
        prepare(table, self.settings, folder, {**meta, "settings": asdict(self.settings)}, self.console)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split by the source's rule, by speaker or at random; see `rnnlab.data.splits`."""
        self.number_labels(tuple(prepared.meta["label_names"]), prepared.examples["label"])  # type: ignore[arg-type]
        rows, self.split_used = assign_splits(
            prepared.examples, self.split, self.fold, self.split_seed, self.val_fraction, self.group_column
        )
        self.fit_normalisation(prepared, rows["train"])
        return rows

    def setup_as_test(self, bundle: Json) -> None:
        """Open the recordings and take all of them as test, with another run's labels and statistics."""
        self.prepared = self.ensure_prepared()
        self.number_labels(tuple(bundle["label_names"]), self.prepared.examples["label"])  # type: ignore[arg-type]
        self.take_normalisation(bundle)
        self.rows = {"train": np.arange(0), "val": np.arange(0), "test": np.arange(len(self.prepared.examples))}

    def make_spec(self) -> DataSpec:
        """Describe the recordings to a model."""
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=int(self.data.values.shape[1]),
            target_kind="class",
            target_size=len(self.label_names),
            label_names=self.label_names,
            class_counts=self.class_counts(),
            step_ms=self.settings.hop_ms,
        )

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch, augmented while training."""
        values_BTF, lengths_B = self.pad_frames(rows, epoch, is_training)
        targets_B = torch.from_numpy(self.labels[rows])
        return Batch(round_up_steps(values_BTF), lengths_B, targets_B, torch.ones_like(lengths_B), torch.from_numpy(rows))

    def describe_targets(self) -> list[tuple[str, str]]:
        """Count the recordings of each label."""
        counts = Counter(self.data.examples["label"])
        return [("labels", f"{len(self.label_names)}: " + shortened([f"{n} ({counts[n]})" for n in self.label_names]))]

    def bundle(self) -> Json:
        """Return what turning sound into batches needs."""
        return {"kind": "speech", "label_names": list(self.label_names), **self.bundle_sound()}


def read_inputs(bundle: Json, inputs: list[str | bytes]) -> tuple[list[str], Batch]:
    """Turn sound files (paths or bytes) into a batch, as the bundle's run prepared its own; name its rows.

    Raises:
        BrokenRecording: names the input.
    """
    settings = SoundPrepare(**bundle["prepare"])  # type: ignore[arg-type]
    loader: dict[str, object] = bundle["loader"]  # type: ignore[assignment]
    most = num_steps(float(str(loader["max_seconds"])), settings.hop_ms)
    names, values_BTF, lengths_B = read_sounds(bundle, settings, inputs, most)
    ids_B = torch.arange(len(names))
    return names, Batch(values_BTF, lengths_B, torch.full_like(ids_B, -1), torch.ones_like(ids_B), ids_B)
