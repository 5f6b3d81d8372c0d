"""Make the bundled sample of dictation: strings of digits, put together from the sample of spoken digits, no download.

Takes the recordings of ../speech (600 synthetic digits in 12 voices), puts 3 to 5 of one voice in a row with short silences between
them, adds faint noise, and writes next to this file

    recordings/<voice>_<index>.flac    150 recordings, 8 kHz, mono, 16 bit
    manifest.csv                       path, text ("three one nine"), speaker, split (no speaker is in two splits)

Every choice comes from a generator with a fixed seed, so running it again writes the same bytes (with the same versions of the
libraries). Files of the same names are overwritten; nothing is deleted.

Run:    python data/samples/dictation/make_sample.py
Needs:  the sample ../speech, and numpy and soundfile.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
DIGITS = FOLDER.parent / "speech"
SEED = 20240608
SAMPLE_RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")  # the index is the label
NUM_UTTERANCES = {"train": 100, "val": 25, "test": 25}
NUM_DIGITS = (3, 5)
PAUSE_MS = (0.0, 120.0)  # between digits, which bring 10 to 80 ms of their own at both ends
PEAK_DBFS = -24.0  # quiet, which keeps the files small
GAIN_DB = (-6.0, 0.0)
NOISE_DBFS = (-84.0, -76.0)  # RMS of the white background noise

Signal = NDArray[np.float64]


def amplitude(decibels: float) -> float:
    """Return the factor for a level in decibels."""
    return float(10.0 ** (decibels / 20.0))


def read_digits() -> dict[str, dict[str, dict[int, list[Signal]]]]:
    """Return the digits of ../speech by split, voice and label, each scaled to a peak of 1."""
    found: dict[str, dict[str, dict[int, list[Signal]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    with (DIGITS / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            signal, rate = sf.read(DIGITS / row["path"], dtype="float64")
            if rate != SAMPLE_RATE:
                sys.exit(f"error: {row['path']} has {rate} Hz, wanted {SAMPLE_RATE}")
            found[row["split"]][row["speaker"]][int(row["label"])].append(signal / np.abs(signal).max())
    return found


def say(digits: dict[int, list[Signal]], labels: list[int], rng: np.random.Generator) -> Signal:
    """Return one utterance: a rendering of each digit, with pauses, at a random level, with faint noise."""
    parts: list[Signal] = []
    for label in labels:
        parts += [digits[label][rng.integers(len(digits[label]))], np.zeros(int(rng.uniform(*PAUSE_MS) * SAMPLE_RATE / 1000))]
    signal = np.concatenate(parts[:-1]) * amplitude(PEAK_DBFS + rng.uniform(*GAIN_DB))
    return signal + amplitude(rng.uniform(*NOISE_DBFS)) * rng.standard_normal(signal.size)


def main() -> None:
    """Write the recordings and the manifest."""
    rows: list[dict[str, str]] = []
    seconds = 0.0
    (FOLDER / "recordings").mkdir(exist_ok=True)
    digits = read_digits()
    for number, split in enumerate(NUM_UTTERANCES):
        voices = digits[split]
        names = sorted(voices)
        for index in range(NUM_UTTERANCES[split]):
            rng = np.random.default_rng([SEED, number, index])
            voice = names[index % len(names)]
            labels = rng.integers(len(WORDS), size=rng.integers(*NUM_DIGITS, endpoint=True)).tolist()
            signal = say(voices[voice], labels, rng)
            path = f"recordings/{voice}_{index // len(names):02}.flac"
            sf.write(FOLDER / path, signal, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
            rows.append({"path": path, "text": " ".join(WORDS[label] for label in labels), "speaker": voice, "split": split})
            seconds += signal.size / SAMPLE_RATE
        print(f"  {split:<5} {NUM_UTTERANCES[split]} utterances of {', '.join(names)}")
    with (FOLDER / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["path", "text", "speaker", "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["path"]))
    print(f"wrote {len(rows)} recordings, {seconds:.1f} seconds in all, and {FOLDER / 'manifest.csv'}")


if __name__ == "__main__":
    main()
