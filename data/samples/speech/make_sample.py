"""Make the bundled sample of spoken digits: synthetic speech, no download.

Synthesises "zero" to "nine" with espeak-ng in 12 voices, 5 renderings each with varied speed, pitch, level,
background noise and surrounding silence, and writes next to this file

    recordings/<label>/<label>_<voice>_<index>.flac    600 recordings, 8 kHz, mono, 16 bit
    manifest.csv                                       path, label, speaker, split (no speaker is in two splits)

Every choice comes from a generator with a fixed seed, so running it again writes the same bytes (with the same
versions of espeak-ng and the libraries). Files of the same names are overwritten; nothing is deleted.

Run:    python data/samples/speech/make_sample.py
Needs:  the program espeak-ng, and numpy, scipy and soundfile.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from scipy.signal import resample_poly

FOLDER = Path(__file__).resolve().parent
SEED = 20240607
SAMPLE_RATE = 8000
RENDERINGS = 5
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")  # the index is the label

SPEED_WPM = (140, 210)
PITCH = (35, 65)  # espeak-ng's scale is 0 to 99
TRIM = 0.02  # what is quieter than this share of the peak is cut from both ends
SILENCE_MS = (10.0, 80.0)  # drawn separately for the start and the end
PEAK_DBFS = -15.0  # before the gain below; quiet, which keeps the files small
GAIN_DB = (-12.0, 0.0)
NOISE_DBFS = (-88.0, -72.0)  # RMS of the white background noise


class Voice(NamedTuple):
    """One synthetic speaker: our name for it (m male, f female), the voice of espeak-ng, and its split."""

    name: str
    espeak: str
    split: str


# espeak-ng 1.51 ignores the variant in "en-gb+m2", so British English is "en" here, which is the same accent.
VOICES = (
    Voice("m1_us", "en-us+m1", "train"),
    Voice("m2_gb", "en+m2", "train"),
    Voice("m4_scotland", "en-gb-scotland+m4", "train"),
    Voice("m7_caribbean", "en-029+m7", "train"),
    Voice("f1_caribbean", "en-029+f1", "train"),
    Voice("f3_lancaster", "en-gb-x-gbclan+f3", "train"),
    Voice("f5_scotland", "en-gb-scotland+f5", "train"),
    Voice("f6_us", "en-us+belinda", "train"),
    Voice("m3_rp", "en-gb-x-rp+m3", "val"),
    Voice("f4_rp", "en-gb-x-rp+f4", "val"),
    Voice("m6_us", "en-us+m6", "test"),
    Voice("f2_gb", "en+f2", "test"),
)

Signal = NDArray[np.float64]


def synthesise(espeak: str, voice: str, word: str, speed: int, pitch: int, scratch: Path) -> tuple[Signal, int]:
    """Return what espeak-ng says, and its sample rate."""
    command = [espeak, "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(scratch), word]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: espeak-ng failed for voice {voice}: {done.stderr.strip()}")
    signal, rate = sf.read(scratch, dtype="float64")
    if not signal.any():
        sys.exit(f"error: espeak-ng said nothing for voice {voice}, word {word!r}")
    return signal, rate


def check_variant(espeak: str, voice: str, scratch: Path) -> None:
    """Stop if the variant (after the +) changes nothing: espeak-ng ignores one that it lacks without a word."""
    plain, varied = (synthesise(espeak, name, "seven", 165, 50, scratch)[0] for name in (voice.split("+")[0], voice))
    if np.array_equal(plain, varied):
        sys.exit(f"error: this espeak-ng lacks the voice variant of {voice} (version 1.51 has it)")


def amplitude(decibels: float) -> float:
    """Return the factor for a level in decibels."""
    return float(10.0 ** (decibels / 20.0))


def render(espeak: str, voice: str, word: str, rng: np.random.Generator, scratch: Path) -> Signal:
    """Return one recording of `word`: speech at a random speed, pitch and level, with silence and faint noise."""
    speed = int(rng.integers(*SPEED_WPM, endpoint=True))
    pitch = int(rng.integers(*PITCH, endpoint=True))
    signal, rate = synthesise(espeak, voice, word, speed, pitch, scratch)
    loud = np.flatnonzero(np.abs(signal) > TRIM * np.abs(signal).max())
    speech = np.asarray(resample_poly(signal[loud[0] : loud[-1] + 1], SAMPLE_RATE, rate), dtype=np.float64)
    speech *= amplitude(PEAK_DBFS + rng.uniform(*GAIN_DB)) / np.abs(speech).max()
    before, after = (int(rng.uniform(*SILENCE_MS) * SAMPLE_RATE / 1000) for _ in range(2))
    signal = np.pad(speech, (before, after))
    return signal + amplitude(rng.uniform(*NOISE_DBFS)) * rng.standard_normal(signal.size)


def main() -> None:
    """Write the recordings and the manifest."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        sys.exit(
            "error: the program espeak-ng was not found. Install it with, for example,\n"
            "  apt install espeak-ng (Debian, Ubuntu), dnf install espeak-ng (Fedora), brew install espeak-ng (macOS)"
        )
    print(f"writing {len(VOICES) * len(WORDS) * RENDERINGS} recordings to {FOLDER / 'recordings'}")
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "word.wav"
        for speaker, voice in enumerate(VOICES):
            check_variant(espeak, voice.espeak, scratch)
            for label, word in enumerate(WORDS):
                for index in range(RENDERINGS):
                    rng = np.random.default_rng([SEED, speaker, label, index])
                    signal = render(espeak, voice.espeak, word, rng, scratch)
                    path = f"recordings/{label}/{label}_{voice.name}_{index}.flac"
                    (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
                    sf.write(FOLDER / path, signal, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
                    rows.append({"path": path, "label": label, "speaker": voice.name, "split": voice.split})
                    seconds += signal.size / SAMPLE_RATE
            print(f"  {voice.name:<14} {voice.espeak:<20} {voice.split}")
    with (FOLDER / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["path", "label", "speaker", "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: str(row["path"])))
    print(f"wrote {len(rows)} recordings, {seconds:.1f} seconds in all, and {FOLDER / 'manifest.csv'}")


if __name__ == "__main__":
    main()
