"""MIDI files, read as piano rolls and written from them.

A beat is divided into `steps_per_beat` steps, whatever the tempo. A note sounds from the step nearest to its beginning to the step nearest
to its end, for one step at least. A piano roll does not say where a note is struck again, so repeated notes without a rest join.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

NUM_PITCHES = 128
DRUMS = 9
"""The channel of percussion, whose notes are no pitches (General MIDI)."""
MOST_STEPS = 200_000
MOST_STEPS_PER_BEAT = 96
TOLERANCE = 0.1
"""Of a step: notes that begin farther from the grid are counted."""
BEATS_PER_MINUTE, TICKS_PER_STEP, VELOCITY = 100, 120, 80
PITCH = re.compile(r"([A-G])([#b]?)(-?\d+)")
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Note:
    """A note: its pitch and where it begins and ends, in ticks."""

    pitch: int
    start: int
    end: int


def read_midi(content: bytes, steps_per_beat: int) -> tuple[np.ndarray, Counter[str]]:
    """Read a MIDI file as a piano roll.

    Args:
        content: of a Standard MIDI File of type 0 or 1.
        steps_per_beat: steps of a quarter note.

    Returns:
        (T, 128) uint8, one column a pitch (60 is C4); and how many notes were left out, joined or moved, by what was done to them.

    Raises:
        ValueError: says why it cannot be read, or that it holds no note.
    """
    ticks_per_beat, tracks = _tracks(content)
    counts = Counter[str]()
    notes = [note for track in tracks for note in _notes(track, counts)]
    if not notes:
        drums = counts["percussion notes left out"]
        raise ValueError("it holds no note" + (f" besides {drums} of percussion" if drums else ""))
    scale = steps_per_beat / ticks_per_beat
    starts_N, ends_N = (np.array([getattr(note, name) for note in notes]) * scale for name in ("start", "end"))
    first_N = np.floor(starts_N + 0.5).astype(np.int64)
    last_N = np.maximum(np.floor(ends_N + 0.5).astype(np.int64), first_N + 1)
    if (num_steps := int(last_N.max())) > MOST_STEPS:
        raise ValueError(f"it has {num_steps:,} steps of 1/{steps_per_beat} beat, of which at most {MOST_STEPS:,} are read")
    counts["notes that begin between two steps, moved to the nearest"] = int((np.abs(starts_N - first_N) > TOLERANCE).sum())
    counts["notes shorter than half a step, lengthened to one"] = int((ends_N - starts_N < 0.5).sum())
    end = max(sum(message.time for message in track) for track in tracks)
    counts["steps of silence after the last note, left out"] = max(0, round(end * scale) - num_steps)
    roll = np.zeros((num_steps, NUM_PITCHES), dtype=np.uint8)
    for note, first, last in sorted(zip(notes, first_N.tolist(), last_N.tolist(), strict=True), key=lambda each: each[1]):
        before = roll[max(first - 1, 0) : first + 1, note.pitch]
        counts["notes joined with the same key's note before"] += int(before.any())
        roll[first:last, note.pitch] = 1
    return roll, +counts


def _tracks(content: bytes) -> tuple[int, list[mido.MidiTrack]]:
    if not content.startswith(b"MThd"):
        raise ValueError("it is no MIDI file that can be read (it does not begin with MThd): give a Standard MIDI File of type 0 or 1")
    try:
        file = mido.MidiFile(file=io.BytesIO(content))
    except Exception as error:  # mido meets damage with many kinds of errors
        reason = "it ends too early" if isinstance(error, EOFError) else str(error) or type(error).__name__
        raise ValueError(f"it is no MIDI file that can be read ({reason})") from None
    if file.type == 2:
        raise ValueError("it is a MIDI file of type 2, whose tracks are pieces of their own: save each as a file of type 0 or 1")
    if file.ticks_per_beat <= 0:
        raise ValueError("its times are in film frames, not in beats: save it with ticks per quarter note")
    return file.ticks_per_beat, file.tracks


def _notes(track: Iterable[mido.Message], counts: Counter[str]) -> list[Note]:
    """Return the notes of a track; one that is never released ends with the track."""
    now, found, sounding = 0, list[Note](), dict[tuple[int, int], int]()
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        is_begun = message.type == "note_on" and message.velocity > 0
        if message.channel == DRUMS:
            counts["percussion notes left out"] += is_begun
            continue
        start = sounding.pop((message.channel, message.note), None)
        if start is not None:
            found.append(Note(message.note, start, now))
        if is_begun:
            sounding[message.channel, message.note] = now
    counts["notes that are never released, ended with their track"] += len(sounding)
    return found + [Note(pitch, start, now) for (_, pitch), start in sounding.items()]


def write_midi(values_TK: np.ndarray, pitches: Sequence[int], file: Path, steps_per_beat: int) -> None:
    """Write a piano roll, (T, K) zeros and ones, as a MIDI file of one track; each run of ones is one note.

    Args:
        pitches: the MIDI number of each column.
        steps_per_beat: steps of a quarter note, at most `MOST_STEPS_PER_BEAT`.
    """
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_PER_MINUTE))])
    silence_1K = np.zeros((1, len(pitches)), dtype=np.int64)
    changes_TK = np.diff(np.concatenate([silence_1K, np.asarray(values_TK, dtype=np.int64), silence_1K]), axis=0)
    waited = 0
    for change_K in changes_TK:
        for kind, velocity, columns in (("note_off", 0, change_K < 0), ("note_on", VELOCITY, change_K > 0)):
            for column in np.flatnonzero(columns).tolist():
                track.append(mido.Message(kind, note=pitches[column], velocity=velocity, time=waited))
                waited = 0
        waited += TICKS_PER_STEP
    track.append(mido.MetaMessage("end_of_track", time=waited - TICKS_PER_STEP))  # the last change is at the end, and waits for no step
    written = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_STEP * steps_per_beat)
    written.tracks.append(track)
    written.save(file)


def pitch_of(key: str) -> int | None:
    """Return the MIDI number of a key's name, such as C4 (60), F#3 or Bb2; None where it names no pitch from 0 to 127."""
    found = PITCH.fullmatch(key)
    if not found:
        return None
    pitch = 12 * (int(found[3]) + 1) + SEMITONES[found[1]] + {"#": 1, "b": -1, "": 0}[found[2]]
    return pitch if 0 <= pitch < NUM_PITCHES else None


def pitches_of(keys: Sequence[str]) -> list[int]:
    """Return the MIDI numbers of keys.

    Raises:
        ValueError: names a key that is no pitch.
    """
    pitches = [pitch_of(key) for key in keys]
    if None in pitches:
        raise ValueError(f"key {keys[pitches.index(None)]!r} is no pitch: MIDI needs keys that are named like C4, F#3 or Bb2")
    return [pitch for pitch in pitches if pitch is not None]


def of_keys(roll_TP: np.ndarray, pitches: Sequence[int], counts: Counter[str]) -> np.ndarray:
    """Return the columns of these pitches, (T, K); count the steps at which other pitches sound."""
    others_P = np.ones(NUM_PITCHES, dtype=bool)
    others_P[list(pitches)] = False
    if outside := int(roll_TP[:, others_P].sum()):
        counts["steps of notes outside the keys left out"] += outside
    return np.ascontiguousarray(roll_TP[:, list(pitches)])
