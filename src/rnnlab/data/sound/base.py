"""Data whose inputs are recordings: the base of labelled recordings and dictation.

Preparation (above) turns sound files into frames of features, once; nothing in it is fitted, so one prepared folder serves every
split and fold. The data module (below) augments, normalises and orders.
"""

import hashlib
import io
import wave
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from torch import Tensor

from rnnlab.config import PositiveFloat, PositiveInt
from rnnlab.data.base import FoldedData
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.files import OnBroken, ending
from rnnlab.data.inputs import FileReader
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, OddMeta, Prepared, pad_rows
from rnnlab.data.sound.audio import BrokenRecording, Features, Recording, extract, read_recording
from rnnlab.data.sound.augmentation import Augment, BandScale, Normalisation, augment, mask_frames, normalise
from rnnlab.data.sound.recordings import AUDIO_SUFFIXES, find_sounds


@dataclass(frozen=True)
class SoundPrepare(Features):
    """Say how recordings are prepared (`data.prepare`): `Features`, and what happens to broken ones.

    Args:
        on_broken: `raise` (name them all and stop) or `skip` (name them, count them, go on).
    """

    on_broken: OnBroken


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
        normalise, floor_db: see `rnnlab.data.sound.augmentation.normalise`.
        max_seconds: longer recordings are cut there; for dictation they are left out of training, and whole elsewhere.
        is_augmented: whether `augment` acts while training.
    """

    batch_size: PositiveInt
    bucket_batches: PositiveInt
    normalise: Normalisation
    floor_db: float | None
    max_seconds: PositiveFloat
    is_augmented: bool
    augment: Augment


@dataclass(eq=False, repr=False, kw_only=True)
class SoundData(FoldedData, ABC):
    """Base class of data modules that prepare recordings and give padded frames of them.

    A subclass lists recordings, splits them, and adds the targets.
    """

    group_column = "speaker"
    is_cut: ClassVar[bool]
    """Whether recordings are cut at `loader.max_seconds`."""

    prepare: SoundPrepare
    loader: SoundLoader

    def __post_init__(self) -> None:
        super().__post_init__()
        self.max_steps = num_steps(self.loader.max_seconds, self.prepare.hop_ms) if self.is_cut else None
        self.bands = BandScale.of(self.prepare.num_mels, self.prepare.sample_rate)
        if self.prepare.features != "logmel" or self.prepare.num_deltas:
            _refuse_mel_only(self.loader)

    # -- normalisation -------------------------------------------------------------------------------------------------

    def fit_normalisation(self, prepared: Prepared, train: np.ndarray) -> None:
        """Fit mean and spread per feature on the training split, if they are used."""
        size = prepared.values.shape[1]
        self.mean_F, self.std_F = torch.zeros(size), torch.ones(size)
        if self.loader.normalise == "training":
            padded = (pad_rows(prepared, rows, self.max_steps) for rows in np.split(train, len(train)))
            floored = [normalise(*each, "none", self.loader.floor_db, self.mean_F, self.std_F)[0] for each in padded]
            steps = torch.cat(floored).double()
            self.mean_F = steps.mean(0).float()
            self.std_F = steps.std(0, correction=0).float() + 1e-3

    def take_normalisation(self, reader: "SoundReader") -> None:
        """Take mean and spread from the run that made the reader."""
        self.mean_F, self.std_F = torch.tensor(reader.mean), torch.tensor(reader.std)

    def normalise(self, values_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Normalise a padded batch with this module's settings and statistics."""
        return normalise(values_BTF, lengths_B, self.loader.normalise, self.loader.floor_db, self.mean_F, self.std_F)

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        buckets = self.loader.bucket_batches if is_training else 0
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, buckets)

    def pad_frames(self, rows: np.ndarray, epoch: int, is_training: bool) -> tuple[Tensor, Tensor]:
        """Return normalised frames (B, T, F), augmented while training, and lengths (B,)."""
        values_BTF, lengths_B = pad_rows(self.data, rows, self.max_steps)
        is_augmented = is_training and self.loader.is_augmented
        if is_augmented:
            random = ExampleRandom(self.seed, epoch, rows)
            values_BTF, lengths_B = augment(values_BTF, lengths_B, self.loader.augment, self.bands, self.prepare.hop_ms, random)
        values_BTF = self.normalise(values_BTF, lengths_B)
        if is_augmented:
            values_BTF = mask_frames(values_BTF, lengths_B, self.loader.augment, self.prepare.hop_ms, random.child(2))
        return values_BTF, lengths_B

    # -- what a person and another process are told --------------------------------------------------------------------

    @abstractmethod
    def describe_targets(self) -> list[tuple[str, str]]:
        """Describe the targets to a person, as (name, text)."""

    def oddities(self) -> dict[str, int]:
        """Count what is odd in the data, by its name."""
        return self.data.meta_as(OddMeta).odd

    def describe(self) -> list[tuple[str, str]]:
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
            ("frames", f"{len(self.data.values):,} of {self.data.values.shape[1]} {self.prepare.features}"),
            ("odd", "; ".join(f"{count} {name}" for name, count in odd.items()) or "nothing"),
        ]


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


@dataclass(frozen=True)
class SoundReader(FileReader, ABC):
    """Base class of readers of sound files; `mean` and `std` are those of each feature in the training split."""

    columns: ClassVar[Mapping[str, str]] = {"audio": "binary"}
    packages: ClassVar[tuple[str, ...]] = ("torchaudio", "soundfile")
    files = "sound files"
    is_labelled: ClassVar[bool]
    """Whether recordings are labelled, not transcribed."""

    label_names: tuple[str, ...]
    prepare: SoundPrepare
    loader: SoundLoader
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def find(self, path: Path) -> tuple[list[Path], list[str]]:
        return find_sounds(path, self.is_labelled)

    def sent(self, item: object) -> bytes:
        if not isinstance(item, bytes):
            raise ValueError("the column audio takes the bytes of a sound file (in JSON by base64), and no path")
        return item

    def made_up(self) -> bytes:
        """Return a second of a tone that falls from 880 Hz to 440, as a WAV file."""
        rate = self.prepare.sample_rate
        phases = 2 * np.pi * 880 / np.log(2) * (1 - 2 ** -(np.arange(rate) / rate))
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((10_000 * np.sin(phases)).astype("<i2").tobytes())
        return content.getvalue()

    def fault(self, item: str | bytes) -> str:
        """Say why an input gets no answer: where broken recordings were left out of training, they are here, too."""
        if self.prepare.on_broken == "raise":
            return super().fault(item)
        try:
            self._decoded(item, item if isinstance(item, str) else "recording")
        except BrokenRecording as error:
            return str(error)
        return ""

    def _decoded(self, item: str | bytes, name: str) -> Recording:
        try:
            return read_recording(Path(item) if isinstance(item, str) else io.BytesIO(item), self.prepare.sample_rate)
        except BrokenRecording as error:
            advice = "" if not isinstance(item, str) or ending(Path(item)) in AUDIO_SUFFIXES else "; convert it to .wav or .flac"
            raise BrokenRecording(f"{name}: {error}{advice}") from None

    def read_frames(self, inputs: Sequence[str | bytes], max_steps: int | None) -> tuple[list[str], Tensor, Tensor]:
        """Turn sound files (paths or bytes) into normalised frames, as the run prepared its own.

        Args:
            inputs: paths, or contents of files.
            max_steps: longer ones are cut there (None: never).

        Returns:
            Names of the inputs; frames (B, T, F); lengths (B,).

        Raises:
            BrokenRecording: names the input.
        """
        names = [item if isinstance(item, str) else f"input {number}" for number, item in enumerate(inputs)]
        decoded = (self._decoded(item, name) for name, item in zip(names, inputs, strict=True))
        frames = [extract(recording.samples, self.prepare)[:max_steps] for recording in decoded]
        lengths_B = torch.tensor([len(rows) for rows in frames])
        values_BTF = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
        mean_F, std_F = torch.tensor(self.mean), torch.tensor(self.std)
        return names, normalise(values_BTF, lengths_B, self.loader.normalise, self.loader.floor_db, mean_F, std_F), lengths_B
