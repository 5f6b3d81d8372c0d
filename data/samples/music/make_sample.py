"""Make the bundled sample of music: chord progressions and canons by rule, no piece copied.

Writes next to this file

    train/*.csv, val/*.csv, test/*.csv    one piece each: a line of key names, then one line a step, 1 where a key sounds

Every choice comes from a generator with a fixed seed, so running it again writes the same bytes. Files of these names are overwritten.

Run:    python data/samples/music/make_sample.py
Needs:  numpy.
"""

import csv
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
SEED = 3
NUM_PIECES = {"train": 32, "val": 6, "test": 8}
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
LOWEST, NUM_KEYS = 48, 36  # C3 to B5
SCALE = (0, 2, 4, 5, 7, 9, 11)
TONICS = (0, 2, 5, 7)  # C, D, F, G
LOOPS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (5, 3, 0, 4))
CADENCE = (3, 4, 0)
STEPS_OF_CHORD, STEPS_OF_PHRASE = 4, 8


def degree(number: int, tonic: int) -> int:
    """Return the pitch of a degree of the major scale, in semitones above C of the lowest octave; seven degrees are an octave."""
    return tonic + 12 * (number // len(SCALE)) + SCALE[number % len(SCALE)]


def press(roll: np.ndarray, step: int, pitch: int) -> None:
    """Sound a key, moved by octaves into the keyboard."""
    while pitch >= NUM_KEYS:
        pitch -= 12
    roll[step, pitch] = 1


def chords(random: np.random.Generator) -> np.ndarray:
    """Play a loop of four chords two or three times and end with a cadence: held bass and triad, a moving melody above."""
    loop, tonic = LOOPS[random.integers(len(LOOPS))], int(random.choice(TONICS))
    roots = [*loop * int(random.integers(2, 4)), *CADENCE]
    roll = np.zeros((len(roots) * STEPS_OF_CHORD, NUM_KEYS), dtype=int)
    for place, root in enumerate(roots):
        top = int(random.choice((0, 2, 4)))
        for step in range(STEPS_OF_CHORD):
            row = place * STEPS_OF_CHORD + step
            press(roll, row, degree(root, tonic) % 12)
            for third in (0, 2, 4):
                press(roll, row, 12 + degree(root + third, tonic) % 12)
            is_last = place == len(roots) - 1
            press(roll, row, 24 + degree(root + (top if is_last else top + (0, 1, 2, 1)[step]), tonic) % 12)
    return roll


def canon(random: np.random.Generator) -> np.ndarray:
    """Walk up and down the scale in phrases A A B A; a second voice says the same a phrase later, an octave below."""
    tonic, phrases = int(random.choice(TONICS)), []
    for _ in range(2):
        steps = random.choice((-2, -1, -1, 1, 1, 2), size=STEPS_OF_PHRASE // 2 - 1)
        walk = np.clip(np.cumsum([int(random.choice((0, 2, 4))), *steps]), 0, 6)
        phrases.append(np.repeat(walk, 2))
    melody = np.concatenate([phrases[0], phrases[0], phrases[1], phrases[0]])
    roll = np.zeros((len(melody) + STEPS_OF_PHRASE, NUM_KEYS), dtype=int)
    for step, number in enumerate(melody):
        press(roll, step, 24 + degree(int(number), tonic) % 12)
        press(roll, step + STEPS_OF_PHRASE, 12 + degree(int(number), tonic) % 12)
    return roll


def main() -> None:
    """Make the pieces, every other one a canon."""
    random = np.random.default_rng(SEED)
    names = [f"{PITCHES[pitch % 12]}{pitch // 12 - 1}" for pitch in range(LOWEST, LOWEST + NUM_KEYS)]
    seen: set[bytes] = set()
    for split, count in NUM_PIECES.items():
        (FOLDER / split).mkdir(exist_ok=True)
        for number in range(count):
            kind = (chords, canon)[number % 2]
            roll = kind(random)
            while roll.tobytes() in seen:
                roll = kind(random)
            seen.add(roll.tobytes())
            with (FOLDER / split / f"{kind.__name__}-{number:02d}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([names, *roll.tolist()])


if __name__ == "__main__":
    main()
