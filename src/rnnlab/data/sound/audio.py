"""From sound files to feature frames: decode, mix down, resample, log-mel or MFCC (torchaudio)."""

import importlib
import io
import math
import sys
import types
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import torch
from torch import Tensor

from rnnlab.config import NonNegativeInt, PositiveFloat, PositiveInt
from rnnlab.data.files import is_file


def _import_torchaudio() -> types.ModuleType:
    """Import torchaudio; beside a CPU-only torch its native library, which links CUDA, does not load: then without it.

    Only that one failure is handled. What is used here (spectrograms, filter banks, MFCC, resampling) is pure Python.
    """
    try:
        return importlib.import_module("torchaudio")
    except OSError as error:
        if "Could not load this library" not in str(error):
            raise
    for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
        del sys.modules[name]
    stub = types.ModuleType("torchaudio._extension")

    def fail_if_no_align(function: object) -> object:
        def refuse(*args: object, **kwargs: object) -> None:
            raise RuntimeError("this torchaudio runs without its native library: forced alignment is not available")

        return refuse

    vars(stub).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_RIR_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=fail_if_no_align,
        _check_cuda_version=lambda: None,
    )
    sys.modules["torchaudio._extension"] = stub
    return importlib.import_module("torchaudio")


torchaudio = _import_torchaudio()

FeatureKind = Literal["logmel", "mfcc"]
PART = 2**20
"""Samples that are decoded or resampled at a time."""
MOST_SAMPLES = 2**29
"""Of a recording: nine hours at 16 kHz, two gigabytes."""
MOST_WEIGHTS = 2**22
"""Of a table for resampling."""
SINC_WIDTH, ROLLOFF = 6, 0.99
"""torchaudio's defaults: zero crossings on each side, and where the band ends, in parts of half the lower rate."""
LOG_FLOOR = 1e-6
"""Added to mel power before the logarithm: about -60 dB for a full-scale tone."""


class BrokenRecording(ValueError):
    """A recording that cannot be used; the message says why."""


@dataclass(frozen=True)
class Features:
    """Say how sound becomes frames (`data.prepare`).

    Args:
        features: `logmel` (log of mel power) or `mfcc`.
        sample_rate: Hz; recordings at other rates are resampled.
        num_mels: mel bands.
        num_mfcc: coefficients kept (mfcc only).
        window_ms: length of the Hann window.
        hop_ms: distance between frames.
        num_deltas: 0, 1 (slopes appended) or 2 (slopes and their slopes).
    """

    features: FeatureKind
    sample_rate: PositiveInt
    num_mels: PositiveInt
    num_mfcc: PositiveInt
    window_ms: PositiveFloat
    hop_ms: PositiveFloat
    num_deltas: NonNegativeInt

    def __post_init__(self) -> None:
        if self.features == "mfcc" and self.num_mfcc > self.num_mels:
            raise ValueError(f"data.prepare.num_mfcc={self.num_mfcc} is more than num_mels={self.num_mels}: lower it or raise num_mels")
        if self.num_deltas > 2:
            raise ValueError(f"data.prepare.num_deltas={self.num_deltas}: allowed are 0, 1 and 2")
        for name, milliseconds in (("window_ms", self.window_ms), ("hop_ms", self.hop_ms)):
            if round(self.sample_rate * milliseconds / 1000) < 1:
                raise ValueError(f"data.prepare.{name}={milliseconds} is less than a sample at {self.sample_rate} Hz: raise it")

    @property
    def size(self) -> int:
        """F: numbers per frame."""
        return (self.num_mels if self.features == "logmel" else self.num_mfcc) * (1 + self.num_deltas)

    @property
    def num_fft(self) -> int:
        """Window length in samples, rounded up to a power of two."""
        return 1 << (round(self.sample_rate * self.window_ms / 1000) - 1).bit_length()


@dataclass(frozen=True)
class Recording:
    """Hold decoded sound: mono float32 in [-1, 1] at the wanted rate, and what the file was."""

    samples: Tensor
    file_rate: int
    num_channels: int
    seconds: float
    peak: float


def read_recording(source: Path | io.BytesIO, sample_rate: int) -> Recording:
    """Decode any format that soundfile reads, mix down and resample.

    Raises:
        BrokenRecording: no audio, truncated, empty, silent or not finite.
    """
    if isinstance(source, Path) and not is_file(source):
        raise BrokenRecording("no audio that can be read (it is no file)")
    try:
        with soundfile.SoundFile(source) as file:
            rate, num_channels = int(file.samplerate), int(file.channels)
            mono = _mixed_down(file)
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError) as error:  # TypeError: of raw samples, by its name
        raise BrokenRecording(f"no audio that can be read ({_reason(error)})") from None
    if missing := _missing_bytes(source):
        raise BrokenRecording(f"truncated: its header promises {missing:,} more bytes than the file has")
    if len(mono) == 0:
        raise BrokenRecording("no samples in it (zero length)")
    if not np.isfinite(mono).all():
        raise BrokenRecording("holds samples that are not finite numbers")
    peak = float(np.abs(mono).max())
    if peak == 0:
        raise BrokenRecording("silent: every sample is zero")
    values = torch.from_numpy(mono)
    return Recording(resample(values, rate, sample_rate), rate, num_channels, len(mono) / rate, peak)


def _mixed_down(file: soundfile.SoundFile) -> np.ndarray:
    """Return the mean of all channels, (N,) float32, read in parts: a damaged header may promise any number of samples."""
    parts, num = [np.zeros(0, dtype=np.float32)], 0
    while len(part := file.read(max(1, PART // file.channels), dtype="float32", always_2d=True)):
        num += len(part)
        if num > MOST_SAMPLES:
            raise BrokenRecording(f"longer than the {MOST_SAMPLES:,} samples that are read: cut it into parts")
        parts.append(part.mean(axis=1))
    return np.concatenate(parts)


def resample(values: Tensor, rate: int, wanted: int) -> Tensor:
    """Resample (N,) samples by windowed sinc functions (torchaudio's defaults).

    Raises:
        BrokenRecording: where more than MOST_SAMPLES would come of it.
    """
    if rate == wanted:
        return values
    if len(values) * wanted > MOST_SAMPLES * rate:
        raise BrokenRecording(f"{len(values):,} samples at {rate} Hz are too many at {wanted} Hz: is its rate right?")
    common = math.gcd(rate, wanted)
    num_weights = wanted // common * (rate // common + 2 * SINC_WIDTH * max(1.0, rate / wanted))
    return _resampler(rate, wanted)(values) if num_weights <= MOST_WEIGHTS else _resampled_apart(values, rate // common, wanted // common)


def _resampled_apart(values: Tensor, rate: int, wanted: int) -> Tensor:
    """Resample where the two rates have so little in common (44,101 and 16,000 Hz) that a table of all weights would fill the memory.

    Every new sample takes the weights of its own place, a part of the samples at a time.
    """
    base = min(rate, wanted) * ROLLOFF
    width = math.ceil(SINC_WIDTH * rate / base)
    num = -(-len(values) * wanted // rate)
    padded = torch.nn.functional.pad(values, (width, width + 2))
    offsets = torch.arange(-width, width + 2)
    found = []
    for places in torch.arange(num).split(max(1, PART // len(offsets))):
        near, rest = places * rate // wanted, (places * rate % wanted).double() / wanted
        times = ((offsets - rest[:, None]) * base / rate).clamp(-SINC_WIDTH, SINC_WIDTH)
        weights = torch.cos(times * math.pi / SINC_WIDTH / 2) ** 2 * torch.sinc(times) * (base / rate)
        found.append((padded[near[:, None] + offsets + width] * weights.float()).sum(1))
    return torch.cat(found)


def extract(samples: Tensor, settings: Features) -> Tensor:
    """Turn mono samples, (N,) float32, into frames; fewer than a window are padded.

    Returns:
        (T, F) float32, T = 1 + N // hop; deltas appended along F.
    """
    frames_FT = _transform(settings)(samples)
    if settings.features == "logmel":
        frames_FT = torch.log(frames_FT + LOG_FLOOR)
    parts = [frames_FT]
    for _ in range(settings.num_deltas):
        parts.append(torchaudio.functional.compute_deltas(parts[-1][None])[0])
    return torch.cat(parts).T.contiguous()


@lru_cache(maxsize=8)
def _transform(settings: Features) -> torch.nn.Module:
    spectrum = {
        "n_fft": settings.num_fft,
        "win_length": round(settings.sample_rate * settings.window_ms / 1000),
        "hop_length": round(settings.sample_rate * settings.hop_ms / 1000),
        "n_mels": settings.num_mels,
        "pad_mode": "constant",
    }
    if settings.features == "logmel":
        return torchaudio.transforms.MelSpectrogram(settings.sample_rate, **spectrum)
    return torchaudio.transforms.MFCC(settings.sample_rate, settings.num_mfcc, log_mels=True, melkwargs=spectrum)


@lru_cache(maxsize=8)
def _resampler(source: int, target: int) -> torch.nn.Module:
    return torchaudio.transforms.Resample(source, target)


def _missing_bytes(source: Path | io.BytesIO) -> int:
    """Count the bytes that a WAV file's data chunk promises beyond the end of the file (libsndfile reads such files silently)."""
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source.getvalue()) as file:
        end = file.seek(0, io.SEEK_END)
        file.seek(0)
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return 0
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                is_streamed = size == 0 or size >= 0x7FFF0000  # written to a pipe: the size was unknown (0xFFFFFFFF; sox: 0x7FFFF000)
                return 0 if is_streamed else max(0, file.tell() + size - end)
            file.seek(size + size % 2, 1)
    return 0


def _reason(error: Exception) -> str:
    return str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
