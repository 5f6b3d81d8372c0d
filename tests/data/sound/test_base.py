"""Claims about recordings as frames: rates, what is skipped, raw inputs, and augmentation on the bands that dictation uses."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from rich.console import Console

from rnnlab.data.batches import ExampleRandom
from rnnlab.data.sound.audio import BrokenRecording
from rnnlab.data.sound.augmentation import Augment, BandScale, augment, mask_frames
from rnnlab.data.sound.base import SoundLoader, SoundPrepare, num_steps, read_frames
from rnnlab.data.sound.speech import SpeechReader

WIDE = SoundPrepare(
    features="logmel", sample_rate=16000, num_mels=80, num_mfcc=20, window_ms=25.0, hop_ms=10.0, num_deltas=0, on_broken="raise"
)
NOTHING = Augment(0, 0, 0, 0, 0, 0, 0, (10.0, 40.0), 0, 0, 0, 0)


def tone(rate: int, hertz: float, seconds: float = 0.5) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def table_of(folder: Path, sounds: dict[str, tuple[np.ndarray, int]]) -> pd.DataFrame:
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / name, samples, rate)
    return pd.DataFrame(
        {"id": list(sounds), "file": [str(folder / name) for name in sounds], "text": [f"text of {name}" for name in sounds]}
    )


def frames_of(samples: np.ndarray, rate: int = 16000) -> torch.Tensor:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return READER.read_frames([file.getvalue()], None)[1][0]


READER = SpeechReader((), WIDE, SoundLoader(1, 1, "none", None, 1.0, False, NOTHING), (0.0,) * 80, (1.0,) * 80)


# Preparation


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_a_tone_is_in_its_band_whatever_the_rate_it_was_recorded_at(tmp_path: Path, rate: int) -> None:
    (frames,), examples, found = read_frames(table_of(tmp_path, {"a.wav": (tone(rate, 1000.0), rate)}), WIDE, Console(quiet=True))
    centres = 700 * (10 ** (np.arange(1, 81) * 2595 * np.log10(1 + 8000 / 700) / 81 / 2595) - 1)  # HTK's mel scale, 80 bands
    assert frames.shape == (51, 80) and frames.dtype == np.float32
    assert frames[10:40].mean(0).argmax() == np.abs(centres - 1000).argmin()
    assert examples["file_rate"].tolist() == [rate] and examples["seconds"][0] == pytest.approx(0.5, abs=1e-4)
    assert found["odd"]["resampled"] == 1


def test_what_is_known_of_recordings_stays_with_those_that_can_be_used(tmp_path: Path) -> None:
    table = table_of(tmp_path, {name: (tone(16000, 300.0 + 9 * len(name)), 16000) for name in ("a.wav", "bb.wav", "ccc.wav")})
    (tmp_path / "bb.wav").write_bytes(b"no sound")
    file = io.StringIO()
    settings = dataclasses.replace(WIDE, on_broken="skip")
    frames, examples, found = read_frames(table, settings, Console(file=file))
    assert len(frames) == 2 and examples["id"].tolist() == ["a.wav", "ccc.wav"] and list(examples.index) == [0, 1]
    assert examples["text"].tolist() == ["text of a.wav", "text of ccc.wav"] and "file" not in examples
    assert found["broken"] == ["bb.wav: no audio that can be read (Format not recognised)"]
    assert "skipped 1 of 3 recordings:" in file.getvalue()
    with pytest.raises(ValueError, match=r"^1 of 3 recordings cannot be used:\n  bb.wav: no audio"):
        read_frames(table, WIDE, Console(quiet=True))


# Raw inputs


def test_raw_inputs_are_cut_only_where_a_limit_is_given(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16000, 500.0), 16000)
    names, values_BTF, lengths_B = READER.read_frames([str(tmp_path / "a.wav")], 20)
    _, whole_BTF, whole_B = READER.read_frames([(tmp_path / "a.wav").read_bytes()], None)
    assert names == [str(tmp_path / "a.wav")] and lengths_B.tolist() == [20] and whole_B.tolist() == [51]
    assert torch.equal(values_BTF, whole_BTF[:, :20])


def test_a_raw_input_without_sound_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16000, 500.0), 16000)
    with pytest.raises(BrokenRecording, match=r"^input 1: no audio that can be read"):
        READER.read_frames([str(tmp_path / "a.wav"), b"no sound"], None)


def test_a_time_is_so_many_steps_and_at_least_one() -> None:
    assert [num_steps(seconds, 10.0) for seconds in (0.0, 0.001, 0.014, 2.0)] == [1, 1, 1, 200]
    assert num_steps(1.0, 12.5) == 80


# Augmentation at 16 kHz and 80 bands


class Highest(ExampleRandom):
    """Draws the highest number every time."""

    def __init__(self) -> None:
        super().__init__(0, 0, np.arange(1))

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.full((1, *shape), 1 - 2**-24)

    def child(self, number: int) -> "Highest":
        return self


@pytest.mark.parametrize("hertz", [500.0, 900.0, 2500.0, 5000.0])
def test_speed_changes_tempo_and_pitch_as_playing_faster_does(hertz: float) -> None:
    slow = frames_of(tone(16000, hertz, 1.0))
    settings = dataclasses.replace(NOTHING, speed_percent=10.0)
    values_BTF, lengths_B = augment(slow[None], torch.tensor([len(slow)]), settings, BandScale.of(80, 16000), 10.0, Highest())
    played = frames_of(tone(16000, hertz, 1.0), rate=17600)  # the same samples, read faster and brought back to 16 kHz
    assert abs(int(lengths_B[0]) - len(played)) <= 1
    found, wanted, before = (int(frames[20:70].mean(0).argmax()) for frames in (values_BTF[0], played, slow))
    assert abs(found - wanted) <= 1 and wanted > before


def test_warping_changes_pitch_alone_and_tempo_the_length_alone() -> None:
    frames = frames_of(tone(16000, 1000.0, 1.0))[None]
    length, bands = torch.tensor([frames.shape[1]]), BandScale.of(80, 16000)
    warped, same = augment(frames, length, dataclasses.replace(NOTHING, warp_percent=8.0), bands, 10.0, Highest())
    assert same.tolist() == length.tolist() and warped[0, 50].argmax() < frames[0, 50].argmax()
    faster, shorter = augment(frames, length, dataclasses.replace(NOTHING, tempo_percent=10.0), bands, 10.0, Highest())
    assert shorter.tolist() == [92] and faster[0, 50].argmax() == frames[0, 50].argmax()  # 100 steps between 101 frames / 1.1, and one


def test_masks_hide_at_most_what_they_are_allowed_to() -> None:
    values_BTF, lengths_B = torch.ones(200, 300, 80), torch.randint(20, 301, (200,), generator=torch.Generator().manual_seed(0))
    settings = dataclasses.replace(NOTHING, num_time_masks=1, time_mask_ms=80.0, num_band_masks=1, band_mask_percent=15.0)
    masked = mask_frames(values_BTF, lengths_B, settings, 10.0, ExampleRandom(0, 0, np.arange(200)))
    hidden_steps = (masked == 0).all(2).sum(1)
    hidden_bands = (masked == 0).all(1).sum(1)
    assert hidden_bands.max() == 12 and hidden_bands.min() == 0  # of 80
    assert hidden_steps.max() == 8 and (hidden_steps <= lengths_B / 4).all()
