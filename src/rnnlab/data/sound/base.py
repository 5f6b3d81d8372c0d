"""Data whose inputs are recordings: what labelled recordings and dictation share.

Preparation (above) turns sound files into frames of features, once; nothing in it is fitted, so one prepared folder serves every
split and fold. The data module (below) augments, normalises and orders.
"""

import hashlib
import io
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from torch import Tensor

from rnnlab.contracts import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, pad_rows
from rnnlab.data.sound.audio import BrokenRecording, Features, extract, read_recording
from rnnlab.data.sound.augmentation import Augment, BandScale, Normalisation, augment, mask_frames, normalise
from rnnlab.data.splits import SplitKind


@dataclass(frozen=True)
class SoundPrepare(Features):
    """Say how recordings are prepared (`data.prepare`): `Features`, and what happens to broken ones.

    Args:
        on_broken: `raise` (name them all and stop) or `skip` (name them, count them, go on).
    """

    on_broken: Literal["raise", "skip"]


def read_frames(table: pd.DataFrame, settings: SoundPrepare, console: Console) -> tuple[list[np.ndarray], pd.DataFrame, Json]:
    """Decode all recordings and extract features.

    Args:
        table: one row a recording: id, file, and what else is known of it.
        settings: see `SoundPrepare`.
        console: where progress and what is skipped are shown.

    Returns:
        (T, F) float32 of each recording that can be used; the table of these, without `file`, with seconds, file_rate, num_channels,
        peak and content (a hash of the sound); and, for `meta`, counts of oddities (`odd`) and the broken ones (`broken`).

    Raises:
        ValueError: names the broken recordings where they are not to be skipped, or are all there is.
    """
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
    return frames, examples, {"odd": odd, "broken": broken}


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


def _oddities(examples: pd.DataFrame, settings: SoundPrepare) -> dict[str, int]:
    return {
        "resampled": int((examples["file_rate"] != settings.sample_rate).sum()),
        "mixed down from several channels": int((examples["num_channels"] > 1).sum()),
        "clipped (a sample at full scale)": int((examples["peak"] >= 0.999).sum()),
        "shorter than a window": int((examples["seconds"] * 1000 < settings.window_ms).sum()),
        "the same sound as another": int(examples["content"].duplicated(keep=False).sum()),
    }


@dataclass(frozen=True)
class SoundLoader:
    """Say how prepared recordings become batches (`data.loader`).

    Args:
        batch_size: recordings per batch.
        bucket_batches: stretches of this many shuffled batches are sorted by length (1: no sorting).
        normalise: see `rnnlab.data.sound.augmentation.normalise`.
        floor_db: likewise.
        max_seconds: longer recordings are cut there; for dictation they are left out of training, and whole elsewhere.
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


class SoundData(SequenceDataModule, ABC):
    """Prepare recordings and give padded frames of them.

    A subclass lists recordings, splits them, and adds the targets.

    Args:
        paths, seed, name, mirror, offline: see `rnnlab.data.base.SequenceDataModule`.
        source: a named source, `sample`, or the path of a folder or manifest.
        split: see `rnnlab.data.splits`.
        fold: which speaker is the test speaker (`split=speaker`).
        split_seed: decides random splits.
        val_fraction: share of training recordings carved off for validation where none are given.
        prepare: see `SoundPrepare`.
        loader: see `SoundLoader`.
    """

    group_column = "speaker"
    is_cut: ClassVar[bool]
    """Whether recordings are cut at `loader.max_seconds`."""

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
        prepare: SoundPrepare,
        loader: SoundLoader,
    ) -> None:
        super().__init__(paths, seed, name, source, mirror, offline)
        self.split: SplitKind = split
        self.fold, self.split_seed, self.val_fraction = fold, split_seed, val_fraction
        self.settings, self.loader = prepare, loader
        self.max_steps = num_steps(loader.max_seconds, prepare.hop_ms) if self.is_cut else None
        self.bands = BandScale.of(prepare.num_mels, prepare.sample_rate)
        if prepare.features != "logmel" or prepare.num_deltas:
            _refuse_mel_only(loader)

    # -- normalisation -------------------------------------------------------------------------------------------------

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

    def take_normalisation(self, bundle: Json) -> None:
        """Take mean and spread from the run that made the bundle."""
        self.mean_F, self.std_F = torch.tensor(bundle["mean"]), torch.tensor(bundle["std"])

    def normalise(self, values_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Normalise a padded batch with this module's settings and statistics."""
        return normalise(values_BTF, lengths_B, self.loader.normalise, self.loader.floor_db, self.mean_F, self.std_F)

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        """Put neighbours of like length together; sorted where nothing is trained."""
        buckets = self.loader.bucket_batches if is_training else 0
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, buckets)

    def pad_frames(self, rows: np.ndarray, epoch: int, is_training: bool) -> tuple[Tensor, Tensor]:
        """Return normalised frames (B, T, F), augmented while training, and lengths (B,)."""
        values_BTF, lengths_B = pad_rows(self.data, rows, self.max_steps)
        is_augmented = is_training and self.loader.is_augmented
        random = ExampleRandom(self.seed, epoch, rows)
        if is_augmented:
            values_BTF, lengths_B = augment(values_BTF, lengths_B, self.loader.augment, self.bands, self.settings.hop_ms, random)
        values_BTF = self.normalise(values_BTF, lengths_B)
        if is_augmented:
            values_BTF = mask_frames(values_BTF, lengths_B, self.loader.augment, self.settings.hop_ms, random.child(2))
        return values_BTF, lengths_B

    # -- what a person and another process are told --------------------------------------------------------------------

    @abstractmethod
    def describe_targets(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the targets, as (name, text)."""

    def oddities(self) -> dict[str, int]:
        """Count what is odd in the data, by its name."""
        return dict(self.data.meta["odd"])  # type: ignore[call-overload]

    def describe(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the data, as (name, text)."""
        examples = self.data.examples
        seconds = examples["seconds"]
        speakers = sorted(set(examples["speaker"]) - {""})
        odd = {name: count for name, count in self.oddities().items() if count}
        return [
            ("recordings", f"{len(examples):,}, {seconds.sum() / 3600:.2f} h"),
            ("seconds each", f"{seconds.min():.2f} to {seconds.max():.2f}, median {seconds.median():.2f}"),
            *self.describe_targets(),
            ("speakers", f"{len(speakers)}: {shortened(speakers)}" if speakers else "unknown"),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            ("frames", f"{len(self.data.values):,} of {self.data.values.shape[1]} {self.settings.features}"),
            ("odd", "; ".join(f"{count} {name}" for name, count in odd.items()) or "nothing"),
        ]

    def bundle_sound(self) -> Json:
        """Return what turning sound into normalised frames needs."""
        return {
            "prepare": asdict(self.settings),
            "loader": asdict(self.loader),
            "mean": self.mean_F.tolist(),
            "std": self.std_F.tolist(),
        }


def _refuse_mel_only(loader: SoundLoader) -> None:
    cure = ["data.loader.is_augmented=false"] if loader.is_augmented and loader.augment.needs_bands else []
    cure += ["data.loader.floor_db=null"] if loader.floor_db is not None else []
    if cure:
        raise ValueError(
            "data.loader works along the mel axis (augment: gain, speed, warp, tilt, noise, band masks; floor_db), which MFCCs and "
            f"deltas don't have: use data.prepare.features=logmel with num_deltas=0, or {' '.join(cure)}"
        )


def num_steps(seconds: float, hop_ms: float) -> int:
    """Return how many steps last this long, at least one."""
    return max(1, round(seconds * 1000 / hop_ms))


def read_sounds(bundle: Json, settings: SoundPrepare, inputs: list[str | bytes], max_steps: int | None) -> tuple[list[str], Tensor, Tensor]:
    """Turn sound files (paths or bytes) into normalised frames, as the bundle's run prepared its own.

    Args:
        bundle: see `SoundData.bundle_sound`.
        settings: its settings of preparation.
        inputs: paths, or contents of files.
        max_steps: longer ones are cut there (None: never).

    Returns:
        Names of the inputs; frames (B, T, F); lengths (B,).

    Raises:
        BrokenRecording: names the input.
    """
    frames = []
    for number, item in enumerate(inputs):
        try:
            recording = read_recording(Path(item) if isinstance(item, str) else io.BytesIO(item), settings.sample_rate)
        except BrokenRecording as error:
            raise BrokenRecording(f"{item if isinstance(item, str) else f'input {number}'}: {error}") from None
        frames.append(extract(recording.samples, settings)[:max_steps])
    lengths_B = torch.tensor([len(rows) for rows in frames])
    values_BTF = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
    mean_F, std_F = torch.tensor(bundle["mean"]), torch.tensor(bundle["std"])
    loader: dict[str, object] = bundle["loader"]  # type: ignore[assignment]
    values_BTF = normalise(values_BTF, lengths_B, loader["normalise"], loader["floor_db"], mean_F, std_F)  # type: ignore[arg-type]
    names = [item if isinstance(item, str) else f"input {number}" for number, item in enumerate(inputs)]
    return names, values_BTF, lengths_B
