"""`data=speech`: labelled recordings, from a named set, the bundled sample, or a folder or manifest of one's own.

Preparation (above) turns sound files into frames of features, once; nothing in it is fitted, so one prepared folder serves every
split and fold. The data module (below) splits, augments, normalises and batches.
"""

import hashlib
import io
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec, Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from rnnlab.data import audio, recordings
from rnnlab.data.audio import BrokenRecording, Features, extract, read_recording
from rnnlab.data.augment import Augment, BandScale, Normalisation, augment, mask_frames, normalise
from rnnlab.data.base import Split
from rnnlab.data.batches import EpochOrder, ExampleRandom, round_up_steps
from rnnlab.data.labelled import LabelledData, shortened
from rnnlab.data.prepared import (
    Json,
    Prepared,
    code_hash,
    digest,
    pad_rows,
    write_prepared,
)
from rnnlab.data.recordings import find_recordings, hash_recordings, natural_order
from rnnlab.data.sources import Upstream
from rnnlab.data.splits import SplitKind, assign_splits

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


@dataclass(frozen=True)
class SpeechPrepare(Features):
    """Say how recordings are prepared (`data.prepare`): `Features`, and what happens to broken ones.

    Args:
        on_broken: `raise` (name them all and stop) or `skip` (name them, count them, go on).
    """

    on_broken: Literal["raise", "skip"]


def prepare(table: pd.DataFrame, settings: SpeechPrepare, folder: Path, meta: Json, console: Console) -> None:
    """Decode all recordings, extract features, and write a prepared folder."""
    broken: list[str] = []
    details: list[dict[str, object]] = []
    frames: list[np.ndarray] = []
    kept: list[int] = []
    for index, row in enumerate(track(table.itertuples(), "preparing", len(table), console=console, transient=True)):
        try:
            recording = read_recording(Path(str(row.file)), settings.sample_rate)
        except BrokenRecording as error:
            broken.append(f"{row.id}: {error}")
            continue
        kept.append(index)
        frames.append(extract(recording.samples, settings).numpy())
        details.append(
            {
                "seconds": recording.seconds,
                "file_rate": recording.file_rate,
                "num_channels": recording.num_channels,
                "peak": recording.peak,
                "content": hashlib.sha256(recording.samples.numpy().tobytes()).hexdigest()[:16],
            }
        )
    _report_broken(broken, len(table), settings.on_broken, console)
    examples = table.iloc[kept].drop(columns="file").reset_index(drop=True).join(pd.DataFrame(details))
    odd = _oddities(examples, settings) | {"broken and skipped": len(broken)}
    labels = sorted(examples["label"].unique(), key=natural_order)
    write_prepared(folder, frames, examples, {**meta, "label_names": labels, "odd": odd, "broken": broken})


def _report_broken(broken: list[str], num_all: int, on_broken: str, console: Console) -> None:
    if not broken:
        return
    shown = "\n  ".join(broken[:20] + ([f"... and {len(broken) - 20} more"] if len(broken) > 20 else []))
    if on_broken == "raise" or len(broken) == num_all:
        raise ValueError(
            f"{len(broken)} of {num_all} recordings cannot be used:\n  {shown}\n"
            "Mend or remove them, or leave them out with data.prepare.on_broken=skip"
        )
    console.print(f"[yellow]skipped {len(broken)} of {num_all} recordings:[/]\n  {escape(shown)}", highlight=False)


def _oddities(examples: pd.DataFrame, settings: SpeechPrepare) -> dict[str, int]:
    return {
        "resampled": int((examples["file_rate"] != settings.sample_rate).sum()),
        "mixed down from several channels": int((examples["num_channels"] > 1).sum()),
        "clipped (a sample at full scale)": int((examples["peak"] >= 0.999).sum()),
        "shorter than a window": int((examples["seconds"] * 1000 < settings.window_ms).sum()),
        "the same sound as another": int(examples["content"].duplicated(keep=False).sum()),
    }


@dataclass(frozen=True)
class SpeechLoader:
    """Say how prepared recordings become batches (`data.loader`).

    Args:
        batch_size: recordings per batch.
        bucket_batches: stretches of this many shuffled batches are sorted by length (1: no sorting).
        normalise: see `rnnlab.data.augment.normalise`.
        floor_db: likewise.
        max_seconds: longer recordings are cut there.
        is_augmented: whether `augment` acts while training.
        augment: see `Augment`.
    """

    batch_size: PositiveInt
    bucket_batches: PositiveInt
    normalise: Normalisation
    floor_db: float | None
    max_seconds: PositiveFloat
    is_augmented: bool
    augment: Augment


def _refuse_mel_only(loader: SpeechLoader) -> None:
    cure = ["data.loader.is_augmented=false"] if loader.is_augmented and loader.augment.needs_bands else []
    cure += ["data.loader.floor_db=null"] if loader.floor_db is not None else []
    if cure:
        raise ValueError(
            "data.loader works along the mel axis (augment: gain, speed, warp, tilt, noise, band masks; floor_db), which MFCCs and "
            f"deltas don't have: use data.prepare.features=logmel with num_deltas=0, or {' '.join(cure)}"
        )


@final
class SpeechData(LabelledData):
    """Give batches of labelled recordings.

    Args:
        paths, seed, name, mirror, offline: see `rnnlab.data.base.SequenceDataModule`.
        source: `fsdd`, `sample`, or the path of a folder or manifest.
        split: see `rnnlab.data.splits`.
        fold: which speaker is the test speaker (`split=speaker`).
        split_seed: decides random splits.
        val_fraction: share of training recordings carved off for validation where none are given.
        prepare: see `SpeechPrepare`.
        loader: see `SpeechLoader`.
    """

    group_column = "speaker"
    upstreams = UPSTREAMS
    sample = "speech"

    def __init__(
        self,
        paths: dict[str, str],
        seed: int,
        name: str,
        source: str,
        mirror: str | None,
        offline: bool,
        split: SplitKind,
        fold: NonNegativeInt,
        split_seed: int,
        val_fraction: Fraction,
        prepare: SpeechPrepare,
        loader: SpeechLoader,
    ) -> None:
        super().__init__(paths, seed, name, source, mirror, offline)
        self.split: SplitKind = split
        self.fold, self.split_seed, self.val_fraction = fold, split_seed, val_fraction
        self.settings, self.loader = prepare, loader
        self.max_steps = num_steps(loader.max_seconds, prepare.hop_ms)
        self.bands = BandScale.of(prepare.num_mels, prepare.sample_rate)
        if prepare.features != "logmel" or prepare.num_deltas:
            _refuse_mel_only(loader)

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        """List the recordings."""
        return find_recordings(self.source, raw)

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash the sound files with their ids, labels, speakers and splits."""
        return hash_recordings(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings, code."""
        files = [Path(str(module.__file__)) for module in (audio, recordings)] + [Path(__file__)]
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
        self.mean_F, self.std_F = torch.tensor(bundle["mean"]), torch.tensor(bundle["std"])
        self.rows = {"train": np.arange(0), "val": np.arange(0), "test": np.arange(len(self.prepared.examples))}

    def fit_normalisation(self, prepared: Prepared, train: np.ndarray) -> None:
        """Fit mean and spread per feature on the training split, where they are used."""
        size = prepared.values.shape[1]
        self.mean_F, self.std_F = torch.zeros(size), torch.ones(size)
        if self.loader.normalise == "training":
            padded = (pad_rows(prepared, rows, self.max_steps) for rows in np.split(train, len(train)))
            floored = [normalise(*each, "none", self.loader.floor_db, self.mean_F, self.std_F)[0] for each in padded]
            steps = torch.cat(floored).double()
            self.mean_F = steps.mean(0).float()
            self.std_F = steps.std(0, correction=0).float() + 1e-3

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

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        """Put neighbours of like length together; sorted where nothing is trained."""
        buckets = self.loader.bucket_batches if is_training else 0
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, buckets)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch, augmented while training."""
        values_BTF, lengths_B = pad_rows(self.data, rows, self.max_steps)
        is_augmented = is_training and self.loader.is_augmented
        random = ExampleRandom(self.seed, epoch, rows)
        if is_augmented:
            values_BTF, lengths_B = augment(values_BTF, lengths_B, self.loader.augment, self.bands, self.settings.hop_ms, random)
        values_BTF = self.normalise(values_BTF, lengths_B)
        if is_augmented:
            values_BTF = mask_frames(values_BTF, lengths_B, self.loader.augment, self.settings.hop_ms, random.child(2))
        targets_B = torch.from_numpy(self.labels[rows])
        return Batch(round_up_steps(values_BTF), lengths_B, targets_B, torch.ones_like(lengths_B), torch.from_numpy(rows))

    def normalise(self, values_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Normalise a padded batch with this module's settings and statistics."""
        return normalise(values_BTF, lengths_B, self.loader.normalise, self.loader.floor_db, self.mean_F, self.std_F)

    def describe(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the data, as (name, text)."""
        examples = self.data.examples
        seconds = examples["seconds"]
        speakers = sorted(set(examples["speaker"]) - {""})
        counts = Counter(examples["label"])
        odd = {name: count for name, count in dict(self.data.meta["odd"]).items() if count}  # type: ignore[call-overload]
        return [
            ("recordings", f"{len(examples):,}, {seconds.sum() / 3600:.2f} h"),
            ("seconds each", f"{seconds.min():.2f} to {seconds.max():.2f}, median {seconds.median():.2f}"),
            ("labels", f"{len(self.label_names)}: " + shortened([f"{n} ({counts[n]})" for n in self.label_names])),
            ("speakers", f"{len(speakers)}: {shortened(speakers)}" if speakers else "unknown"),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            ("frames", f"{len(self.data.values):,} of {self.data.values.shape[1]} {self.settings.features}"),
            ("odd", "; ".join(f"{count} {name}" for name, count in odd.items()) or "nothing"),
        ]

    def bundle(self) -> Json:
        """Return what turning sound into batches needs."""
        return {
            "kind": "speech",
            "prepare": asdict(self.settings),
            "loader": asdict(self.loader),
            "label_names": list(self.label_names),
            "mean": self.mean_F.tolist(),
            "std": self.std_F.tolist(),
        }


def num_steps(seconds: float, hop_ms: float) -> int:
    """Return how many steps last this long, at least one."""
    return max(1, round(seconds * 1000 / hop_ms))


def read_inputs(bundle: Json, inputs: list[str | bytes]) -> tuple[list[str], Batch]:
    """Turn sound files (paths or bytes) into a batch, as the bundle's run prepared its own; name its rows.

    Raises:
        BrokenRecording: names the input.
    """
    settings = SpeechPrepare(**bundle["prepare"])  # type: ignore[arg-type]
    loader: dict[str, object] = bundle["loader"]  # type: ignore[assignment]
    most = num_steps(float(str(loader["max_seconds"])), settings.hop_ms)
    frames = []
    for number, item in enumerate(inputs):
        try:
            recording = read_recording(Path(item) if isinstance(item, str) else io.BytesIO(item), settings.sample_rate)
        except BrokenRecording as error:
            raise BrokenRecording(f"{item if isinstance(item, str) else f'input {number}'}: {error}") from None
        frames.append(extract(recording.samples, settings)[:most])
    lengths_B = torch.tensor([len(rows) for rows in frames])
    values_BTF = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
    mean_F, std_F = torch.tensor(bundle["mean"]), torch.tensor(bundle["std"])
    floor_db = loader["floor_db"]
    values_BTF = normalise(values_BTF, lengths_B, loader["normalise"], floor_db, mean_F, std_F)  # type: ignore[arg-type]
    ids_B = torch.arange(len(frames))
    names = [item if isinstance(item, str) else f"input {number}" for number, item in enumerate(inputs)]
    return names, Batch(values_BTF, lengths_B, torch.full_like(ids_B, -1), torch.ones_like(ids_B), ids_B)
