"""MIDI files, written byte by byte from the standard, read as piano rolls; and rolls that come back as they were."""

from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
import pytest

from rnnlab.data.inputs import as_json, from_json
from rnnlab.data.music import midi
from rnnlab.data.music.music import MusicReader
from rnnlab.data.music.piano_rolls import find_rolls, key_names, read_roll, write_roll

C4, E4, G4 = 60, 64, 67
DIVISION = 96  # ticks of a quarter note
Event = tuple[int, bytes]  # ticks since the event before, and its bytes


def on(pitch: int, channel: int = 0, velocity: int = 64) -> bytes:
    return bytes([0x90 + channel, pitch, velocity])


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes([0x80 + channel, pitch, 0])


def waited(ticks: int) -> bytes:
    """Return a number as MIDI writes it: seven bits a byte, the first bit set in all but the last."""
    return b"".join(bytes([0x80 | (ticks >> shift) & 0x7F]) for shift in (21, 14, 7) if ticks >> shift) + bytes([ticks & 0x7F])


def file_of(*tracks: Sequence[Event], kind: int = 1, division: int = DIVISION) -> bytes:
    """Return a Standard MIDI File, as its specification lays it out."""
    content = b"MThd" + (6).to_bytes(4, "big") + b"".join(value.to_bytes(2, "big") for value in (kind, len(tracks), division))
    for track in tracks:
        body = b"".join(waited(wait) + event for wait, event in track) + b"\x00\xff\x2f\x00"
        content += b"MTrk" + len(body).to_bytes(4, "big") + body
    return content


def sounding(roll: np.ndarray) -> list[list[int]]:
    """Return the pitches of each step."""
    return [np.flatnonzero(step).tolist() for step in roll]


MELODY = file_of([(0, on(C4)), (96, off(C4)), (0, on(E4)), (48, on(E4, velocity=0)), (48, on(G4)), (96, off(G4))])


def test_a_beat_has_as_many_steps_as_asked_for_and_silence_is_kept() -> None:
    assert sounding(midi.read_midi(MELODY, 1)[0]) == [[C4], [E4], [G4]]
    roll, changed = midi.read_midi(MELODY, 2)
    assert sounding(roll) == [[C4], [C4], [E4], [], [G4], [G4]] and not changed
    assert roll.dtype == np.uint8 and roll.shape == (6, 128)


def test_tracks_and_channels_sound_together_and_percussion_is_left_out_and_counted() -> None:
    content = file_of([(0, on(C4)), (96, off(C4))], [(0, on(G4, 3)), (0, on(38, 9)), (48, off(38, 9)), (48, off(G4, 3))])
    roll, changed = midi.read_midi(content, 1)
    assert sounding(roll) == [[C4, G4]] and changed == {"percussion notes left out": 1}


def test_notes_that_do_not_fit_the_steps_are_moved_lengthened_and_joined_and_counted() -> None:
    off_the_grid = file_of([(20, on(C4)), (96, off(C4)), (76, on(E4)), (10, off(E4))])  # begins 20 and 192 ticks late, of 96 a step
    roll, changed = midi.read_midi(off_the_grid, 1)
    assert sounding(roll) == [[C4], [], [E4]]
    assert changed == {
        "notes that begin between two steps, moved to the nearest": 1,
        "notes shorter than half a step, lengthened to one": 1,
    }
    repeated = file_of([(0, on(C4)), (96, off(C4)), (0, on(C4)), (96, off(C4))])
    roll, changed = midi.read_midi(repeated, 1)
    assert sounding(roll) == [[C4], [C4]] and changed == {"notes joined with the same key's note before": 1}


def test_a_note_that_is_struck_again_or_never_released_ends() -> None:
    content = file_of([(0, on(C4)), (96, on(C4)), (96, b"\xff\x01\x00")])
    roll, changed = midi.read_midi(content, 1)
    assert sounding(roll) == [[C4], [C4]]
    assert changed == {"notes joined with the same key's note before": 1, "notes that are never released, ended with their track": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no MIDI file that can be read"),
        (b"RIFF and no MIDI at all", r"it does not begin with MThd"),
        (MELODY[:40], r"it ends too early"),
        (MELODY.replace(b"\x90\x3c\x40", b"\x90\xfc\x40"), "it is no MIDI file that can be read"),
        (file_of([(0, on(C4)), (96, off(C4))], kind=2), "type 2, whose tracks are pieces of their own"),
        (file_of([(0, on(C4)), (96, off(C4))], division=0xE728), "film frames"),
        (file_of([(0, on(C4)), (96, off(C4))], division=0), "ticks per quarter note"),
        (file_of([]), "it holds no note$"),
        (file_of([(0, on(38, 9)), (48, off(38, 9))]), "it holds no note besides 1 of percussion"),
        (file_of([(0, on(C4)), (1_000_000, off(C4))], division=1), "has 4,000,000 steps of 1/4 beat, of which at most 200,000"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_reason(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_roll(tmp_path / "a.mid")
    assert str(raised.value).startswith(str(tmp_path / "a.mid"))


def test_a_roll_is_written_as_notes_and_comes_back(tmp_path: Path) -> None:
    keys = ("C4", "Eb4", "F#4")
    values = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=np.uint8)
    write_roll(values, keys, tmp_path / "a.mid", steps_per_beat=2)
    found = mido.MidiFile(tmp_path / "a.mid")
    notes = [(message.type, message.note) for message in found.tracks[0] if message.type.startswith("note")]
    assert notes.count(("note_on", 60)) == 2 and notes.count(("note_on", 63)) == 1 and notes.count(("note_on", 66)) == 1
    assert found.length == pytest.approx(2.5 * 60 / midi.BEATS_PER_MINUTE)  # five steps, two a beat
    again = read_roll(tmp_path / "a.mid", steps_per_beat=2, keys=keys)
    assert np.array_equal(again.values, values) and again.keys == keys and not again.changed


def test_silence_at_the_end_is_written_and_counted_when_it_is_read(tmp_path: Path) -> None:
    write_roll(np.array([[1], [0], [0]], dtype=np.uint8), ("C4",), tmp_path / "a.mid", steps_per_beat=1)
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(3 * 60 / midi.BEATS_PER_MINUTE)
    found = read_roll(tmp_path / "a.mid", steps_per_beat=1, keys=("C4",))
    assert found.values.tolist() == [[1]] and found.changed == {"steps of silence after the last note, left out": 2}


def test_keys_outside_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(MELODY)
    found = read_roll(tmp_path / "a.mid", steps_per_beat=1, keys=("C4", "E4"))
    assert found.values.tolist() == [[1, 0], [0, 1], [0, 0]] and found.changed == {"steps of notes outside the keys left out": 1}
    assert read_roll(tmp_path / "a.mid").keys == key_names(88)


@pytest.mark.parametrize(("key", "pitch"), [("C4", 60), ("A0", 21), ("C8", 108), ("Bb2", 46), ("F#3", 54), ("C-1", 0), ("G9", 127)])
def test_keys_are_named_as_in_scientific_pitch_notation(key: str, pitch: int) -> None:
    assert midi.pitch_of(key) == pitch


@pytest.mark.parametrize("key", ["G#9", "H4", "60", "c4", "C", "Cb-1"])
def test_other_names_are_no_pitches(key: str) -> None:
    assert midi.pitch_of(key) is None
    with pytest.raises(ValueError, match="is no pitch: MIDI needs keys that are named like C4"):
        midi.pitches_of(["C4", key])


def test_a_folder_of_midi_files_is_read_and_what_was_changed_is_told(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.mid").write_bytes(MELODY)
    (tmp_path / "b.MIDI").write_bytes(MELODY)
    table, keys, remarks = find_rolls(tmp_path, "raise", 1)
    assert table[["id", "split"]].to_numpy().tolist() == [["b", ""], ["train/a", "train"]] and keys == key_names(88)
    assert [len(values) for values in table["values"]] == [3, 3]
    assert remarks == []
    (tmp_path / "c.mid").write_bytes(file_of([(20, on(C4)), (96, off(C4)), (96, on(38, 9)), (96, on(C4)), (96, off(C4))]))
    assert find_rolls(tmp_path, "raise", 1)[2] == [
        "of 1 MIDI file(s): 2 notes that begin between two steps, moved to the nearest",
        "of 1 MIDI file(s): 1 percussion notes left out",
    ]


def test_a_reader_writes_midi_where_keys_are_pitches_only() -> None:
    assert MusicReader(("C4", "D4")).written_as == (".csv", ".mid")
    assert MusicReader(("0", "1")).written_as == (".csv",)
    kept = as_json(MusicReader(("C4",), 2))
    assert from_json(kept) == MusicReader(("C4",), 2)
    del kept["steps_per_beat"]  # of a run before MIDI files were read
    assert from_json(kept) == MusicReader(("C4",), 4)
