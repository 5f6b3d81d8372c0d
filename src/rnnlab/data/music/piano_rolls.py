"""Piano rolls: which keys sound at each step, read strictly from CSV, NumPy, MIDI and MATLAB files.

A roll is a matrix of zeros and ones, one row a step, one column a key. A piece is a file of one's own (CSV, npy or MIDI), or a cell
of a MATLAB file whose cell arrays `traindata`, `validdata` and `testdata` hold a split each, as Boulanger-Lewandowski et al. (2012)
published theirs.
"""

import csv
import hashlib
import io
import math
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from rnnlab.data.files import Broken, OnBroken, by_kind, ending, home_of, natural_order, passed_over, read_whole, select, visible_files
from rnnlab.data.hashing import digest
from rnnlab.data.music import midi
from rnnlab.data.music.matlab import read_variables
from rnnlab.data.splits import SPLIT_WORDS
from rnnlab.data.tables import read_table

TABLES, ARRAY, MATLAB = (".csv", ".tsv"), ".npy", ".mat"
MIDI = (".mid", ".midi")
ROLL_SUFFIXES = {*TABLES, ARRAY, *MIDI}
STEPS_PER_BEAT = 4
StepsPerBeat = Annotated[int, Field(ge=1, le=midi.MOST_STEPS_PER_BEAT)]
PARTS = {"traindata": "train", "validdata": "val", "testdata": "test"}
NUM_PIANO_KEYS, LOWEST_PIANO_KEY = 88, 21
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
WANTED = "a piano roll has one row a step, one column a key, 1 where the key sounds and 0 where not"
_CELL = re.compile(r"(.+\.mat):((?:train|val|test)-\d{4})", re.IGNORECASE)
BINARY = ("", "0", "1", "0.0", "1.0")


@dataclass(frozen=True)
class Roll:
    """Hold one piece as it was read.

    Args:
        id: names it.
        place: where it was read, for messages.
        values: (T, K) uint8.
        keys: K names, or none where the file does not say.
        split: train, val, test, or "" where not given.
        changed: how many notes of a MIDI file were left out, joined or moved, by what was done to them.
    """

    id: str
    place: str
    values: np.ndarray
    keys: tuple[str, ...] = ()
    split: str = ""
    changed: Mapping[str, int] = field(default_factory=dict)


def find_rolls(
    raw: Path, on_broken: OnBroken = "raise", steps_per_beat: int = STEPS_PER_BEAT
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """List the pieces of a file or folder.

    Args:
        raw: a MATLAB file, or a folder with one; a CSV, npy or MIDI file; or a folder of such, also below `train/`, `val/`, `test/`.
        on_broken: whether files that are no piano rolls of two steps or more are refused or left out.
        steps_per_beat: of MIDI files: steps of a quarter note.

    Returns:
        One row a piece: id, values ((T, K) uint8), split ("" where not given), content (a hash of the values); the names of the keys; and
        in words what of a folder was passed over, and what of MIDI files does not fit a piano roll.

    Raises:
        ValueError: for what is no piano roll, pieces of different numbers of keys, and pieces of fewer than two steps; says where.
    """
    files, remarks = roll_files(raw)
    rolls, broken = list[Roll](), Broken(on_broken)
    for file in files:
        try:
            rolls += map(_refuse_short, _rolls_of(file, raw, steps_per_beat))
        except ValueError as error:
            if on_broken == "raise" or len(files) == 1:
                raise
            broken.add("it is no piano roll that can be used", str(error))
    remarks += broken.settle(len(rolls), f"{WANTED[0].upper()}{WANTED[1:]}")
    remarks += _changed(rolls)
    keys = _agreed_keys(rolls)
    contents = [hashlib.sha256(roll.values.tobytes()).hexdigest()[:16] for roll in rolls]
    values = pd.Series([roll.values for roll in rolls], dtype=object)
    ids, splits = [roll.id for roll in rolls], [roll.split for roll in rolls]
    return pd.DataFrame({"id": ids, "values": values, "split": splits, "content": contents}), keys, remarks


def _refuse_short(roll: Roll) -> Roll:
    if len(roll.values) < 2:
        raise ValueError(f"{roll.place} has one step: at least 2 are needed, since the keys of a step are predicted from those before")
    return roll


def _changed(rolls: Sequence[Roll]) -> list[str]:
    """Say what was done to the notes of MIDI files, where anything was."""
    total = sum((Counter(roll.changed) for roll in rolls), Counter[str]())
    num_files = sum(1 for roll in rolls if roll.changed)
    return [f"of {num_files} MIDI file(s): {count:,} {what}" for what, count in sorted(total.items())]


def roll_files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the piano rolls of a path, in their order: the file itself, or those of a folder; and what is passed over, in words.

    Raises:
        ValueError: where a folder holds none, or a MATLAB file among others.
    """
    if not path.is_dir():
        return [path], []
    found, others = select(visible_files(path), {*ROLL_SUFFIXES, MATLAB})
    files = sorted(found, key=lambda file: natural_order(file.relative_to(path).as_posix()))
    of_matlab = [file for file in files if file.suffix.lower() == MATLAB]
    if not files or (of_matlab and len(files) > 1):
        what = f"{of_matlab[0].name} and {len(files) - 1} more" if of_matlab else ", ".join(by_kind(others, path)) or "none"
        raise ValueError(
            f"{path} should hold piano rolls ({', '.join(sorted(ROLL_SUFFIXES))}), also below train/, val/ and test/, or one .mat file; "
            f"found: {what}"
        )
    return files, passed_over(others, path)


def pieces_of(file: Path) -> list[str]:
    """Name the pieces of a file, as `roll_of` takes them: the file itself, or of a MATLAB file each cell (`FILE.mat:train-0001`)."""
    return [f"{file}:{roll.id}" for roll in _matlab(file)] if file.suffix.lower() == MATLAB else [str(file)]


def read_roll(file: Path, shown: str = "", steps_per_beat: int = STEPS_PER_BEAT, keys: Sequence[str] = ()) -> Roll:
    """Read one piece, of one step at least, from CSV, TSV, npy or MIDI.

    Args:
        shown: what messages call it (its path unless given).
        steps_per_beat: of a MIDI file: steps of a quarter note.
        keys: of a MIDI file: the keys that are read (the piano's 88 unless given).

    Raises:
        ValueError: for what is no piano roll; says where.
    """
    place = shown or str(file)
    if ending(file) not in ROLL_SUFFIXES:
        raise ValueError(f"{place} is no piano roll that can be read: wanted {', '.join(sorted(ROLL_SUFFIXES))}; {WANTED}")
    if file.suffix.lower() == ARRAY:
        return Roll(file.stem, place, check_roll(_array(file, place), place))
    if file.suffix.lower() in MIDI:
        return _midi(file, place, steps_per_beat, keys)
    values, found = _table(file, place)
    return Roll(file.stem, place, values, found)


def roll_of(item: str, number: int, steps_per_beat: int = STEPS_PER_BEAT, keys: Sequence[str] = ()) -> Roll:
    """Read a piece from a path, from a cell of a MATLAB file or, where it holds a line break, from the content of a CSV file.

    `steps_per_beat` and `keys` are as in `read_roll`.
    """
    if cell := _CELL.fullmatch(item):
        return replace(next(roll for roll in _matlab(home_of(cell[1])) if roll.id == cell[2]), place=item)
    if "\n" not in item:
        return read_roll(home_of(item), "", steps_per_beat, keys)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "roll.csv"
        file.write_text(item, encoding="utf-8")
        return read_roll(file, f"input {number}")


def hash_rolls(table: pd.DataFrame, keys: Sequence[str]) -> str:
    """Hash all pieces with their ids and splits, and the names of the keys."""
    return digest([[table[name].tolist() for name in ("id", "content", "split")], list(keys)])


def key_names(num_keys: int) -> tuple[str, ...]:
    """Name the keys of a roll whose file does not: of 88 keys the piano's (A0 to C8), of others by number from 0."""
    if num_keys != NUM_PIANO_KEYS:
        return tuple(str(number) for number in range(num_keys))
    pitches = range(LOWEST_PIANO_KEY, LOWEST_PIANO_KEY + NUM_PIANO_KEYS)
    return tuple(f"{PITCHES[pitch % 12]}{pitch // 12 - 1}" for pitch in pitches)


def write_roll(values_TK: np.ndarray, keys: Sequence[str], file: Path, steps_per_beat: int = STEPS_PER_BEAT) -> None:
    """Write a piece as a CSV or MIDI file (by its suffix) that `read_roll` reads.

    Raises:
        ValueError: where a MIDI file is wanted and a key is no pitch.
    """
    if file.suffix.lower() in MIDI:
        return midi.write_midi(values_TK, midi.pitches_of(keys), file, steps_per_beat)
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerows([list(keys), *values_TK.astype(int).tolist()])


def check_roll(values: np.ndarray, place: str) -> np.ndarray:
    """Return a matrix as (T, K) uint8.

    Raises:
        ValueError: where it is no matrix of zeros and ones with a step and a key at least.
    """
    if values.ndim != 2:
        raise ValueError(f"{place} has {values.ndim} axes {values.shape}, wanted 2 (steps, keys): {WANTED}")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{place} holds {values.dtype} values, not numbers: {WANTED}")
    if 0 in values.shape:
        raise ValueError(f"{place} is empty ({values.shape[0]} steps, {values.shape[1]} keys): {WANTED}")
    is_wrong = (values != 0) & (values != 1)
    if is_wrong.any():
        step, key = map(int, np.argwhere(is_wrong)[0])
        raise ValueError(
            f"{place} is not binary: step {step} (from 0), column {key} holds {values[step, key]:g} ({int(is_wrong.sum()):,} such values); "
            f"{WANTED}. Of loudness take (roll > 0); a column of times leave out"
        )
    return values.astype(np.uint8)


# Files


def _array(file: Path, place: str) -> np.ndarray:
    """Read an array, whose header is checked against the size of its file before anything is made room for."""
    data = io.BytesIO(_content(file, place))
    if data.getvalue().startswith(b"PK"):
        raise ValueError(f"{place} is an archive of arrays (npz): give one .npy a piece")
    try:
        major, _ = np.lib.format.read_magic(data)
        read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(data)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded: they may carry code")
        wanted, there = math.prod(shape) * dtype.itemsize, len(data.getvalue()) - data.tell()
        if min(shape, default=0) < 0 or wanted != there:
            raise ValueError(f"its header promises {wanted:,} bytes of shape {shape}, it has {there:,}")
        data.seek(0)
        found: np.ndarray = np.load(data, allow_pickle=False)
        return found
    except Exception as error:  # numpy reads the header as Python's literals, and fails in many ways
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{place} cannot be read as an array that numpy.save wrote ({reason})") from None


def _midi(file: Path, place: str, steps_per_beat: int, keys: Sequence[str]) -> Roll:
    """Read a MIDI file on these keys, those of a piano unless any are given."""
    wanted = tuple(keys) or key_names(NUM_PIANO_KEYS)
    try:
        pitches = midi.pitches_of(wanted)
        roll_TP, changed = midi.read_midi(_content(file, place), steps_per_beat)
        values = midi.of_keys(roll_TP, pitches, changed)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return Roll(file.stem, place, values, wanted, changed=changed)


def _content(file: Path, place: str) -> bytes:
    try:
        return read_whole(file)
    except OSError as error:
        raise ValueError(f"{place} cannot be read ({error.strerror})") from None


def _table(file: Path, place: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a table; its first line names the keys unless it is a step itself."""
    try:
        table = read_table(file, has_header=False)
    except ValueError as error:
        raise ValueError(str(error).replace(str(file), place)) from None
    rows = np.char.strip(table.frame.to_numpy(str))
    keys: tuple[str, ...] = ()
    if not np.isin(rows[0], BINARY).all():
        keys, rows = _named_keys(rows[0], place), rows[1:]
    if not len(rows):
        raise ValueError(f"{place} names {len(keys)} keys but has no steps: {WANTED}")
    try:
        values = np.where(rows == "", "nan", rows).astype(float)
    except ValueError:
        step, key = map(int, np.argwhere(~np.isin(rows, BINARY))[0])
        line = int(table.lines[step + len(table.lines) - len(rows)])
        raise ValueError(f"{place}, line {line}: column {key + 1} holds {str(rows[step, key])!r}, neither 0 nor 1; {WANTED}") from None
    return check_roll(values, place), keys


def _named_keys(first: np.ndarray, place: str) -> tuple[str, ...]:
    names = tuple("_".join(str(name).split()) for name in first)
    if "" in names or len(set(names)) < len(names):
        what = "has a key without a name" if "" in names else f"names the key {max(names, key=names.count)!r} twice"
        raise ValueError(f"{place}: its first line {what}; name every column once, or none")
    return names


def _rolls_of(file: Path, source: Path, steps_per_beat: int) -> Iterable[Roll]:
    """Read the pieces of a file of a source; what lies below `train/`, `val/` or `test/` of a folder is of that split."""
    if file.suffix.lower() == MATLAB:
        return _matlab(file)
    if file == source:
        return [read_roll(file, "", steps_per_beat)]
    name, roll = file.relative_to(source), read_roll(file, "", steps_per_beat)
    split = SPLIT_WORDS.get(name.parts[0].lower(), "") if len(name.parts) > 1 else ""
    return [replace(roll, id=name.with_suffix("").as_posix(), split=split)]


@lru_cache(maxsize=1)
def _matlab(file: Path) -> tuple[Roll, ...]:
    """Read the cells of a MATLAB file, up to version 7."""
    try:
        content = read_variables(file)
        if missing := [name for name in PARTS if name not in content]:
            raise ValueError(f"it lacks {', '.join(missing)}; it has: {', '.join(content) or 'nothing'}")
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is no MATLAB file of piano rolls, with the cell arrays {', '.join(PARTS)}: {error}") from None
    rolls = []
    for name, split in PARTS.items():
        found = content[name]
        if found.what != "a cell array":
            numbers = f" of {found.cells[0].dtype}" if found.cells else ""
            raise ValueError(f"{file}: {name} is {found.what} {found.shape}{numbers}, wanted a cell array with one matrix a piece")
        for number, values in enumerate(found.cells, start=1):
            place = f"{file}, {name}{{{number}}}"
            rolls.append(Roll(f"{split}-{number:04d}", place, check_roll(values, place), split=split))
    return tuple(rolls)


def _agreed_keys(rolls: Sequence[Roll]) -> tuple[str, ...]:
    """Return the names of the keys; refuse pieces that disagree.

    Raises:
        ValueError: names two pieces that do.
    """
    if not rolls:
        raise ValueError("there is no piece")
    first = rolls[0]
    for roll in rolls:
        refuse_other_keys(roll, first.values.shape[1], first.keys, f"{first.place} has")
    named = next((roll.keys for roll in rolls if roll.keys), ())
    return named or key_names(first.values.shape[1])


def refuse_other_keys(roll: Roll, num_keys: int, keys: Sequence[str], whose: str) -> None:
    """Refuse a piece with another number of keys, or whose own names of them are others.

    Raises:
        ValueError: says how many it has, and whether it seems to lie on its side.
    """
    if roll.values.shape[1] != num_keys:
        is_turned = roll.values.shape[0] == num_keys
        advice = "; it seems to lie on its side: transpose it" if is_turned else f": {WANTED}"
        raise ValueError(f"{roll.place} has {roll.values.shape[1]} keys, {whose} {num_keys}{advice}")
    if roll.keys and keys and roll.keys != tuple(keys):
        place = next(place for place, (mine, theirs) in enumerate(zip(roll.keys, keys, strict=True)) if mine != theirs)
        raise ValueError(f"{roll.place} names key {place} {roll.keys[place]!r}, {whose} {keys[place]!r}: give all pieces the same keys")
