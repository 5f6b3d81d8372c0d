"""Claims about decoding sound files and about the frames they become."""

import importlib
import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from rnnlab.data.sound import audio
from rnnlab.data.sound.audio import LOG_FLOOR, BrokenRecording, Features, extract, read_recording

RATE = 8000


def features(**changed: Any) -> Features:
    settings: dict[str, Any] = {
        "features": "logmel",
        "sample_rate": RATE,
        "num_mels": 7,
        "num_mfcc": 5,
        "window_ms": 25.0,
        "hop_ms": 10.0,
        "num_deltas": 0,
    }
    return Features(**(settings | changed))


def noise(num_samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def voices(rate: int, seconds: float = 0.5) -> np.ndarray:
    """Sample the same thirty sines, all below 2.6 kHz, at any rate."""
    generator = np.random.default_rng(1)
    time_N1 = np.arange(round(rate * seconds))[:, None] / rate
    angles = 2 * np.pi * (generator.uniform(60, 2600, 30) * time_N1 + generator.uniform(0, 1, 30))
    return 0.02 * np.sin(angles).sum(1)


def wav_bytes(samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, subtype, format="WAV")
    return buffer.getvalue()


def numpy_mel_power(samples: np.ndarray, settings: Features) -> np.ndarray:
    """Return (T, mels): Hann window in the middle of a power of two, FFT, power, triangles (HTK mel), from the text book."""
    window, hop, size = 200, 80, 256
    hann = np.zeros(size)
    hann[28:228] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(samples.astype(np.float64), size // 2)
    starts = range(0, len(samples) + 1, hop)
    power = np.stack([np.abs(np.fft.rfft(padded[start : start + size] * hann)) ** 2 for start in starts])
    banks = audio.torchaudio.functional.melscale_fbanks(size // 2 + 1, 0.0, RATE / 2, settings.num_mels, RATE)
    return np.asarray(power @ banks.double().numpy())


def numpy_slopes(values_TF: np.ndarray) -> np.ndarray:
    """Return regression slopes over five frames, the ends held."""
    held = np.pad(values_TF, ((2, 2), (0, 0)), mode="edge")
    return (2 * (held[4:] - held[:-4]) + (held[3:-1] - held[1:-3])) / 10


# Frames


def test_log_mel_frames_are_those_of_a_plain_numpy_computation() -> None:
    samples = noise(1003)
    frames_TF = extract(torch.from_numpy(samples), features())
    assert frames_TF.shape == (13, 7) and frames_TF.is_contiguous() and frames_TF.dtype == torch.float32
    np.testing.assert_allclose(frames_TF, np.log(numpy_mel_power(samples, features()) + LOG_FLOOR), atol=1e-4)


def test_mfccs_are_the_orthonormal_cosine_transform_of_log_mel() -> None:
    samples, settings = noise(1003), features(features="mfcc")
    bands, orders = np.arange(7), np.arange(5)[:, None]
    cosines = np.sqrt(2 / 7) * np.cos(np.pi / 7 * (bands + 0.5) * orders)
    cosines[0] = np.sqrt(1 / 7)
    frames_TF = extract(torch.from_numpy(samples), settings)
    assert frames_TF.shape == (13, 5)
    np.testing.assert_allclose(frames_TF, np.log(numpy_mel_power(samples, settings) + LOG_FLOOR) @ cosines.T, atol=1e-4)


@pytest.mark.parametrize("kind", ["logmel", "mfcc"])
def test_deltas_are_slopes_over_five_frames_and_their_slopes(kind: str) -> None:
    samples = torch.from_numpy(noise(1003))
    plain = extract(samples, features(features=kind)).numpy()
    settings = features(features=kind, num_deltas=2)
    slopes = numpy_slopes(plain)
    frames_TF = extract(samples, settings)
    assert frames_TF.shape == (13, settings.size)
    np.testing.assert_allclose(frames_TF, np.concatenate([plain, slopes, numpy_slopes(slopes)], 1), atol=1e-4)


@pytest.mark.parametrize("num_samples", [1, 79, 80, 81, 199, 200, 799, 800])
def test_there_is_one_frame_and_one_more_per_whole_hop_however_short_the_recording(num_samples: int) -> None:
    assert extract(torch.from_numpy(noise(num_samples)), features()).shape == (1 + num_samples // 80, 7)


@pytest.mark.parametrize(
    ("changed", "num_fft", "size"),
    [
        ({}, 256, 7),
        ({"window_ms": 32.0}, 256, 7),
        ({"window_ms": 32.2, "num_deltas": 1}, 512, 14),
        ({"sample_rate": 16000, "features": "mfcc", "num_deltas": 2}, 512, 15),
    ],
)
def test_sizes_follow_from_the_settings(changed: dict[str, object], num_fft: int, size: int) -> None:
    assert (features(**changed).num_fft, features(**changed).size) == (num_fft, size)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": "mfcc", "num_mfcc": 9}, r"data.prepare.num_mfcc=9 is more than num_mels=7: lower it or raise num_mels"),
        ({"num_deltas": 3}, r"data.prepare.num_deltas=3: allowed are 0, 1 and 2"),
        ({"hop_ms": 0.05}, r"data.prepare.hop_ms=0.05 is less than a sample at 8000 Hz: raise it"),
        ({"window_ms": 0.01}, r"data.prepare.window_ms=0.01 is less than a sample at 8000 Hz: raise it"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        features(**changed)


def test_log_mel_does_not_mind_how_many_mfccs_there_would_be() -> None:
    assert features(num_mfcc=9).size == 7


# Decoding


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24"), ("a.aiff", "PCM_16")]
)
def test_a_recording_at_the_wanted_rate_keeps_its_samples(tmp_path: Path, name: str, subtype: str) -> None:
    soundfile.write(tmp_path / name, noise(1003), RATE, subtype)
    recording = read_recording(tmp_path / name, RATE)
    np.testing.assert_allclose(recording.samples, noise(1003), atol=2**-15)
    assert (recording.file_rate, recording.num_channels, recording.seconds) == (RATE, 1, 1003 / RATE)
    assert recording.peak == pytest.approx(np.abs(noise(1003)).max(), abs=2**-15)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_stereo_at_44100_hz_and_24_bit_gives_the_features_of_the_mono_original(tmp_path: Path, name: str) -> None:
    high, side = voices(44100), 0.1 * noise(22050)
    soundfile.write(tmp_path / name, np.stack([high + side, high - side], 1), 44100, "PCM_24")
    recording = read_recording(tmp_path / name, RATE)
    assert (recording.file_rate, recording.num_channels, recording.seconds, len(recording.samples)) == (44100, 2, 0.5, 4000)
    given = extract(recording.samples, features())
    resampled = audio.torchaudio.functional.resample(torch.from_numpy(high).float(), 44100, RATE)
    torch.testing.assert_close(given, extract(resampled, features()), atol=1e-3, rtol=0)
    original = extract(torch.from_numpy(voices(RATE)).float(), features())
    inner = slice(2, -2)  # the ends of a cut signal ring
    torch.testing.assert_close(given[inner], original[inner], atol=0.05, rtol=0)


def test_bytes_are_decoded_like_the_file() -> None:
    np.testing.assert_allclose(read_recording(io.BytesIO(wav_bytes(noise(403))), RATE).samples, noise(403), atol=2**-15)


def with_data_size(size: int) -> bytes:
    content = bytearray(wav_bytes(noise(403)))
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", size)
    return bytes(content)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFEFFE], ids=["ffmpeg", "sox", "sox, whole frames"])
def test_a_wav_that_was_written_to_a_pipe_is_not_taken_for_truncated(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.wav").write_bytes(with_data_size(size))
    np.testing.assert_allclose(read_recording(tmp_path / "a.wav", RATE).samples, noise(403), atol=2**-15)


def test_chunks_around_the_samples_are_no_truncation(tmp_path: Path) -> None:
    content = wav_bytes(noise(403))
    place = content.index(b"data")
    note = b"note" + struct.pack("<I", 3) + b"odd\x00"
    whole = content[:place] + note + content[place:] + note
    (tmp_path / "a.wav").write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])
    assert len(read_recording(tmp_path / "a.wav", RATE).samples) == 403


FLAC = io.BytesIO()
soundfile.write(FLAC, noise(9001), RATE, format="FLAC")
BROKEN = {
    "text": (b"no sound at all\n" * 20, r"^no audio that can be read \(.+\)$"),
    "nothing": (b"", r"^no audio that can be read \(.+\)$"),
    "half a wav": (wav_bytes(noise(403))[:445], r"^truncated: its header promises 405 more bytes than the file has$"),
    "a wav header alone": (wav_bytes(noise(403))[:44], r"^truncated: its header promises 806 more bytes than the file has$"),
    "half a flac": (FLAC.getvalue()[:7000], r"^no audio that can be read \(.+\)$"),
    "zero length": (wav_bytes(noise(0)), r"^no samples in it \(zero length\)$"),
    "all zero": (wav_bytes(np.zeros(403)), r"^silent: every sample is zero$"),
    "channels that cancel": (wav_bytes(np.stack([noise(403), -noise(403)], 1), subtype="FLOAT"), r"^silent: every sample is zero$"),
    "not finite": (wav_bytes(np.array([0.1, np.nan, 0.3]), subtype="FLOAT"), r"^holds samples that are not finite numbers$"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_says_why_from_a_file_and_from_bytes(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(BrokenRecording, match=message):
        read_recording(tmp_path / "a.wav", RATE)
    with pytest.raises(BrokenRecording, match=message):
        read_recording(io.BytesIO(content), RATE)


def test_a_folder_in_the_place_of_a_recording_is_no_audio(tmp_path: Path) -> None:
    with pytest.raises(BrokenRecording, match=r"no audio that can be read"):
        read_recording(tmp_path, RATE)


def test_only_a_missing_native_library_is_forgiven_when_torchaudio_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(OSError, match="the disk is on fire"):
        audio._import_torchaudio()


def test_a_header_that_promises_a_quarter_of_a_terabyte_costs_what_is_there(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(800), RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # the number of samples, 36 bits
    data[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(bytes(data))
    assert soundfile.info(tmp_path / "a.flac").frames == 2**36 - 1
    with suppress(BrokenRecording):  # libsndfile's version decides whether it reads up to where a file ends
        assert len(read_recording(tmp_path / "a.flac", RATE).samples) == 800


def test_recordings_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MOST_SAMPLES", 1000)
    written = io.BytesIO()
    soundfile.write(written, noise(900), RATE, format="WAV")
    assert len(read_recording(io.BytesIO(written.getvalue()), RATE).samples) == 900
    with pytest.raises(BrokenRecording, match=r"900 samples at 8000 Hz are too many at 16000 Hz: is its rate right\?"):
        read_recording(io.BytesIO(written.getvalue()), 2 * RATE)
    written = io.BytesIO()
    soundfile.write(written, noise(1100), RATE, format="WAV")
    with pytest.raises(BrokenRecording, match=r"longer than the 1,000 samples that are read: cut it into parts"):
        read_recording(io.BytesIO(written.getvalue()), RATE)


@pytest.mark.parametrize(("rate", "wanted"), [(441, 160), (441, 161), (160, 441), (3, 7), (1000, 1)])
def test_rates_with_little_in_common_are_resampled_alike_without_a_table_of_weights(rate: int, wanted: int) -> None:
    values = torch.from_numpy(noise(3001))
    ours, theirs = audio._resampled_apart(values, rate, wanted), audio.torchaudio.functional.resample(values, rate, wanted)
    assert len(ours) == len(theirs)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_a_rate_of_44101_hz_takes_no_more_memory_than_44100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "_resampler", lambda *rates: pytest.fail("a table of 700 million weights"))
    assert len(audio.resample(torch.from_numpy(noise(4410)), 44_101, 16_000)) == 1600
