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
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.data.batches import ExampleRandom, round_up_steps
from rnnlab.data.prepared import (
    Json,
    Prepared,
    code_hash,
    digest,
    open_prepared,
    pad_rows,
    prepare_once,
    read_meta,
    write_prepared,
)
from rnnlab.data.recordings import find_recordings, hash_recordings, natural_order
from rnnlab.data.sources import SourceError, Upstream, fetch, mirror_folder
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
class SpeechData(SequenceDataModule):
    """Give batches of labelled recordings.

    Args:
        paths: `data` (where raw, prepared and cache lie) and `samples`.
        seed: of order and augmentation, never of splits.
        name: the data's name.
        source: `fsdd`, `sample`, or the path of a folder or manifest.
        mirror: a folder with copies of public archives, or None for the environment's RNNLAB_MIRROR.
        offline: never try the network.
        split: see `rnnlab.data.splits`.
        fold: which speaker is the test speaker (`split=speaker`).
        split_seed: decides random splits.
        val_fraction: share of training recordings carved off for validation where none are given.
        prepare: see `SpeechPrepare`.
        loader: see `SpeechLoader`.
    """

    group_column = "speaker"

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
        super().__init__(seed)
        self.data_root = Path(paths["data"])
        self.sample_folder = Path(paths["samples"]) / "speech"
        self.name, self.source, self.mirror, self.offline = name, source, mirror, offline
        self.split: SplitKind = split
        self.fold, self.split_seed, self.val_fraction = fold, split_seed, val_fraction
        self.settings, self.loader = prepare, loader
        self.max_steps = num_steps(loader.max_seconds, prepare.hop_ms)
        self.bands = BandScale.of(prepare.num_mels, prepare.sample_rate)
        self.console = Console(stderr=True, soft_wrap=True)
        if prepare.features != "logmel" or prepare.num_deltas:
            _refuse_mel_only(loader)

    @property
    def batch_size(self) -> int:
        """Recordings per batch."""
        return self.loader.batch_size

    @property
    def bucket_batches(self) -> int:
        """See `EpochOrder`."""
        return self.loader.bucket_batches

    # -- where the data are --------------------------------------------------------------------------------------------

    def fetch_raw(self) -> Path:
        """Bring the source's recordings to this machine and return their folder (or manifest).

        Raises:
            SourceError: where they cannot be had, or are not what was pinned.
        """
        if self.source == "sample":
            return self.sample_folder
        if self.source in UPSTREAMS:
            folder = self.data_root / "raw" / self.source
            provenance = fetch(UPSTREAMS[self.source], folder, mirror_folder(self.mirror), self.offline)
            self.provenance = f"{provenance.kind}: {provenance.where}"
            return folder
        path = Path(self.source).expanduser().absolute()
        if not path.exists():
            named = ", ".join([*UPSTREAMS, "sample"])
            raise SourceError(f"data.source={self.source}: no such folder or file, nor a named source ({named})")
        return path

    def ensure_prepared(self) -> Prepared:
        """Return prepared data: DVC's where they fit, else this variant's, made once."""
        if self.source in UPSTREAMS:
            source_hash = UPSTREAMS[self.source].content_hash
            stage_folder = self.data_root / "prepared" / self.source
            for folder in (stage_folder, self.cache_folder(source_hash)):
                if self._is_current(folder, source_hash):
                    return open_prepared(folder)
        raw = self.fetch_raw()
        table = find_recordings(self.source, raw)
        source_hash = UPSTREAMS[self.source].content_hash if self.source in UPSTREAMS else hash_recordings(table)
        folder = self.cache_folder(source_hash)
        prepare_once(folder, lambda: self._is_current(folder, source_hash), lambda: self.prepare_into(folder, table, source_hash))
        return open_prepared(folder)

    def prepare_stage(self) -> None:
        """Prepare a named source into `data/prepared`, as its DVC stage does."""
        if self.source not in UPSTREAMS:
            raise SourceError(f"data.source={self.source}: DVC stages are for named sources ({', '.join(UPSTREAMS)})")
        table = find_recordings(self.source, self.fetch_raw())
        self.prepare_into(self.data_root / "prepared" / self.source, table, UPSTREAMS[self.source].content_hash)

    def prepare_into(self, folder: Path, table: pd.DataFrame, source_hash: str) -> None:
        """Prepare these recordings with this module's settings."""
        meta: Json = {
            "source": self.source,
            "source_hash": source_hash,
            "prepared_key": self.prepared_key(source_hash),
            "settings": asdict(self.settings),
        }
        prepare(table, self.settings, folder, meta, self.console)

    def prepared_key(self, source_hash: str) -> str:
        """Hash what prepared data follow from: source, settings, code."""
        files = [Path(str(module.__file__)) for module in (audio, recordings)] + [Path(__file__)]
        return digest([source_hash, asdict(self.settings), code_hash(*files)])

    def cache_folder(self, source_hash: str) -> Path:
        """Return where this variant lies when no DVC stage made it."""
        return self.data_root / "cache" / self.prepared_key(source_hash)

    def _is_current(self, folder: Path, source_hash: str) -> bool:
        meta = read_meta(folder)
        return meta is not None and meta.get("prepared_key") == self.prepared_key(source_hash)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split by the source's rule, by speaker or at random; see `rnnlab.data.splits`."""
        self.label_names = tuple(str(name) for name in prepared.meta["label_names"])  # type: ignore[attr-defined]
        index = {name: number for number, name in enumerate(self.label_names)}
        self.labels = np.array([index[label] for label in prepared.examples["label"]], dtype=np.int64)
        rows, self.split_used = assign_splits(
            prepared.examples, self.split, self.fold, self.split_seed, self.val_fraction, self.group_column
        )
        self.fit_normalisation(prepared, rows["train"])
        return rows

    def setup_as_test(self, bundle: Json) -> None:
        """Open the recordings and take all of them as test, with another run's labels and statistics."""
        self.prepared = self.ensure_prepared()
        self.label_names = tuple(bundle["label_names"])  # type: ignore[arg-type]
        index = {name: number for number, name in enumerate(self.label_names)}
        if unknown := sorted(set(self.prepared.examples["label"]) - set(index)):
            raise ValueError(
                f"data.source={self.source} has the label {unknown[0]!r} ({len(unknown)} such), which the run never learned; it knows: "
                + ", ".join(self.label_names)
            )
        self.labels = np.array([index[label] for label in self.prepared.examples["label"]], dtype=np.int64)
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
        counts = np.bincount(self.labels[self.rows["train"]], minlength=len(self.label_names))
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=int(self.data.values.shape[1]),
            target_kind="class",
            target_size=len(self.label_names),
            label_names=self.label_names,
            class_counts=tuple(int(count) for count in counts),
            step_ms=self.settings.hop_ms,
        )

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

    def targets(self, rows: np.ndarray) -> list[object]:
        """Return labels."""
        return [self.label_names[number] for number in self.labels[rows]]

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
            ("labels", f"{len(self.label_names)}: " + _shortened([f"{n} ({counts[n]})" for n in self.label_names])),
            ("speakers", f"{len(speakers)}: {_shortened(speakers)}" if speakers else "unknown"),
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


def _shortened(words: list[str], most: int = 12) -> str:
    return ", ".join(words[:most] + ([f"... {len(words) - most} more"] if len(words) > most else []))


def read_inputs(bundle: Json, inputs: list[str | bytes]) -> Batch:
    """Turn sound files (paths or bytes) into a batch, as the bundle's run prepared its own.

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
    return Batch(values_BTF, lengths_B, torch.full_like(ids_B, -1), torch.ones_like(ids_B), ids_B)
