"""Labelled sequences of numeric vectors: what is in a known set or in a user's own files, and what of it can be wrong.

One's own data are a long table (one row a step: id, time, numbers, label), a folder of tables or npy files (one file a sequence) below a
folder per label, or `.ts` files.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from rnnlab.data.files import Broken, OnBroken, ending, labelled_files, natural_order, passed_over, read_whole, select, visible_files
from rnnlab.data.hashing import digest
from rnnlab.data.numbers import as_numbers
from rnnlab.data.series.ts_files import read_ts
from rnnlab.data.series.vector_tables import (
    ID_NAMES,
    RawSequence,
    SequenceTables,
    features_of,
    of_table,
    order_of,
    time_column_of,
    times_of,
)
from rnnlab.data.splits import SPLIT_WORDS
from rnnlab.data.tables import TABLE_SUFFIXES, match_column, read_table
from rnnlab.data.text_files import read_text

Target = Literal["class", "number"]
ARRAY, TS = ".npy", ".ts"
SEQUENCE_SUFFIXES = {*TABLE_SUFFIXES, ARRAY, TS}
PARTS = {"_TRAIN": "train", "_TEST": "test"}
CURE = "Mend or remove it"
DIGIT_SHAPES = {"digits": (8, 8), "digit_pixels": (64, 1)}
COLUMNS = ["id", "label", "group", "split", "values"]


class Sequences(NamedTuple):
    """What a source holds.

    Args:
        table: one row a sequence: id, label, group, split ("" where not given), values (T, F) float32; in the order of ids.
        names: of the features.
        remarks: what was passed over or left out, in words.
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    remarks: list[str]


def find_sequences(source: str, raw: Path, columns: SequenceTables, target: Target, on_broken: OnBroken = "raise") -> Sequences:
    """List a source's sequences.

    Args:
        source: a named set, `sample`, or anything else.
        raw: the set's folder; else a table, a .ts file, or a folder, see above.
        columns: of a user's tables.
        target: whether labels are classes or numbers.
        on_broken: whether sequences that cannot be used are refused or left out.

    Raises:
        ValueError: names the file, and the line or sequence, of what is wrong.
    """
    broken, remarks = Broken(on_broken), list[str]()
    if source == "pendigits":
        raws: Iterable[RawSequence] = _pendigits(raw)
    elif source in DIGIT_SHAPES:
        raws = _digits(raw / "digits.csv", DIGIT_SHAPES[source])
    elif source == "sample":
        raws = of_table(raw / "swings.csv", columns, "", remarks)
    else:
        raws = _of_path(raw, columns, target, remarks)
    found = [one for one in raws if _is_kept(one, target, broken)]
    names = _usual_names(found)
    kept = [one for one in found if _has_names(one, names, broken)]
    remarks += broken.settle(len(kept), CURE)
    _refuse_repeats(kept)
    rows = [(one.id, one.label, one.group, one.split, _ordered(one, names)) for one in kept]
    table = pd.DataFrame(rows, columns=COLUMNS)
    order = sorted(range(len(table)), key=lambda row: natural_order(str(table["id"].iloc[row])))
    table = table.iloc[order].reset_index(drop=True)
    if target == "class":
        _check_labels(raw, table["label"])
    return Sequences(table, names, list(dict.fromkeys(remarks)))


def hash_sequences(table: pd.DataFrame, names: Iterable[str]) -> str:
    """Hash all sequences with their ids, labels, groups and splits, and the names of the features."""
    contents = [content_of(values) for values in table["values"]]
    return digest([[table[name].tolist() for name in COLUMNS[:-1]], contents, list(names)])


def content_of(values: np.ndarray) -> str:
    """Hash the numbers of a sequence."""
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()[:16]


def sequence_files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the file itself or all files of a folder that hold sequences, and what is passed over, in words."""
    if path.is_file():
        return [path], []
    found, others = select(visible_files(path), SEQUENCE_SUFFIXES)
    return found, passed_over(others, path)


def read_unlabelled(file: Path, columns: SequenceTables, names: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    """Return the sequences of a file, whose labels don't matter, as (id, (T, F) float32) with the features in this order.

    Raises:
        ValueError: names the sequence of what cannot be used.
    """
    if ending(file) == TS:
        raws: Iterable[RawSequence] = _of_ts(file, None, "")
    elif ending(file) == ARRAY or _header_of(file, columns) is None:
        raws = [_of_file(file, file.stem, columns)]
    else:
        raws = of_table(file, columns, "", [], is_labelled=False)
    found, broken = [], Broken("raise")
    for one in raws:
        _is_usable(one, broken)
        if len(one.names) != len(names) or (set(one.names) != set(names) and not _are_numbered(one.names)):
            raise ValueError(
                f"{one.place}: it has the features {', '.join(one.names)}, but the run was trained on {', '.join(names)}: give the same"
            )
        found.append((one.id, _ordered(one, names)))
    broken.settle(0, CURE)
    return found


# -- what every sequence needs -----------------------------------------------------------------------------------------------------


def _is_usable(one: RawSequence, broken: Broken) -> bool:
    """Note why a sequence cannot be used, if so."""
    fault = one.fault
    if not fault and not len(one.values):
        fault = "it has no step"
    elif not fault and (num := int((~np.isfinite(one.values)).any(1).sum())):
        fault = f"a value is missing or no finite number in {num} of its {len(one.values)} steps"
    if fault:
        broken.add(fault, one.place)
    return not fault


def _is_kept(one: RawSequence, target: Target, broken: Broken) -> bool:
    if not _is_usable(one, broken):
        return False
    fault = "" if one.label else "it has no label"
    if one.label and target == "number":
        fault = "" if _is_number(one.label) else f"its label {one.label[:40]!r} is no finite number (data.target=number)"
    if fault:
        broken.add(fault, one.place)
    return not fault


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _usual_names(found: list[RawSequence]) -> tuple[str, ...]:
    """Return the feature names of most sequences, in the order of the first of these."""
    counts = Counter(frozenset(one.names) for one in found)
    usual = max(counts, key=lambda names: counts[names], default=frozenset[str]())
    return next((one.names for one in found if frozenset(one.names) == usual), ())


def _has_names(one: RawSequence, names: tuple[str, ...], broken: Broken) -> bool:
    if set(one.names) == set(names):
        return True
    if len(one.names) != len(names):
        broken.add(f"it has {len(one.names)} features, most others {len(names)}", one.place)
    else:
        odd = [name for name in one.names if name not in names]
        broken.add(f"it has the features {', '.join(odd)}, which most others lack", one.place)
    return False


def _are_numbered(names: tuple[str, ...]) -> bool:
    return names == tuple(map(str, range(len(names))))


def _ordered(one: RawSequence, names: tuple[str, ...]) -> np.ndarray:
    values = one.values if one.names == names or set(one.names) != set(names) else one.values[:, [one.names.index(name) for name in names]]
    return np.ascontiguousarray(values, dtype=np.float32)


def _refuse_repeats(found: list[RawSequence]) -> None:
    first: dict[str, str] = {}
    for one in found:
        if one.id in first:
            raise ValueError(f"{first[one.id]} and {one.place}: two sequences are both called {one.id!r}: rename one")
        first[one.id] = one.place


def _check_labels(raw: Path, labels: "pd.Series[str]") -> None:
    """Refuse labels that are no classes."""
    num = labels.nunique()
    if num < 2:
        raise ValueError(f"{raw}: all {len(labels)} sequences have the label {labels.iloc[0]!r}: classes need two at least")
    if num > max(20, len(labels) / 2):
        raise ValueError(
            f"{raw}: {len(labels)} sequences have {num} different labels, which are no classes: if they are numbers to predict, set "
            "data.target=number"
        )


# -- a user's own files ------------------------------------------------------------------------------------------------------------


def _of_path(raw: Path, columns: SequenceTables, target: Target, remarks: list[str]) -> Iterator[RawSequence]:
    if raw.is_file():
        if ending(raw) == ARRAY:
            raise ValueError(f"{raw} is one array, which has no label: put it into a folder that is named by its label, beside others")
        yield from _of_ts(raw, target, "") if ending(raw) == TS else of_table(raw, columns, "", remarks)
        return
    files, others = select(visible_files(raw), SEQUENCE_SUFFIXES)
    top = [file for file in files if file.parent == raw]
    if series := [file for file in files if ending(file) == TS]:
        remarks += passed_over([*others, *(file for file in files if file not in series)], raw)
        for file in series:
            yield from _of_ts(file, target, _split_of_ts(file))
    elif tables := [file for file in top if ending(file) != ARRAY and _stem(file) in SPLIT_WORDS]:
        remarks += passed_over([*others, *(file for file in files if file not in tables)], raw)
        for file in tables:
            yield from of_table(file, columns, SPLIT_WORDS[_stem(file)], remarks)
    else:
        yield from _of_folders(raw, columns, remarks)


def _stem(file: Path) -> str:
    return file.name.lower().partition(".")[0]


def _split_of_ts(file: Path) -> str:
    stem = file.name.partition(".")[0].upper()
    return next((split for end, split in PARTS.items() if stem.endswith(end)), "")


def _of_folders(raw: Path, columns: SequenceTables, remarks: list[str]) -> Iterator[RawSequence]:
    layout = labelled_files(raw, SEQUENCE_SUFFIXES)
    if not any(one.label for one in layout.files):
        there = "; ".join(layout.remarks) or f"{len(layout.files)} file(s) in no label's folder"
        raise ValueError(
            f"no labelled sequences in {raw}: wanted .ts files, a train.csv and test.csv, or one subfolder per label with a .csv or .npy "
            f"file for each sequence. Found: {there}"
        )
    if layout.faults:
        raise ValueError(layout.faults[0])
    remarks += layout.remarks
    for one in layout.files:
        yield _of_file(one.file, one.id, columns)._replace(label=one.label, split=one.split)


def _of_file(file: Path, name: str, columns: SequenceTables) -> RawSequence:
    """Read a file that is one sequence: an array (T, F) or (T,), or a table with one row a step."""
    if not file.stat().st_size or (ending(file) != ARRAY and not read_text(file).text.strip()):
        return RawSequence(name, str(file), np.zeros((0, 0)), (), fault="it is empty")
    if ending(file) == ARRAY:
        values = _array(file)
        return RawSequence(name, str(file), values, tuple(map(str, range(values.shape[1]))))
    table = read_table(file, has_header=not _begins_with_numbers(file))
    time = time_column_of(table, columns)
    features = features_of(table, columns, {time} if time else set(), [])
    values = np.column_stack([as_numbers(table, feature) for feature in features])
    order, fault = (
        order_of(table, np.arange(len(values)), times_of(table, time, columns.day_first)) if time else (np.arange(len(values)), "")
    )
    return RawSequence(name, str(file), values[order], tuple(features), fault=fault)


def _array(file: Path) -> np.ndarray:
    try:
        values = np.load(io.BytesIO(read_whole(file)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{file} is no array of NumPy that can be read ({error}): write it with numpy.save") from None
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2):
        raise ValueError(f"{file} holds {values.dtype} of {values.ndim} dimension(s): wanted numbers, (steps, features) or (steps,)")
    numbers: np.ndarray = values.astype(np.float64) if values.ndim == 2 else values.astype(np.float64)[:, None]
    return numbers


def _begins_with_numbers(file: Path) -> bool:
    first = next((line for line in read_text(file).text.splitlines() if line.strip()), "")
    fields = first.replace(";", ",").replace("\t", ",").split(",")
    return all(_is_number(field) for field in fields)


def _header_of(file: Path, columns: SequenceTables) -> str | None:
    """Return the column of ids, or None where a table has none and is one sequence."""
    if not read_text(file).text.strip():
        raise ValueError(f"{file} is empty: give a table of steps")
    if _begins_with_numbers(file):
        return None
    return match_column(read_table(file), columns.id_column, ID_NAMES if columns.id_column == "id" else (), is_needed=False)


# -- known sets and formats --------------------------------------------------------------------------------------------------------


def _of_ts(file: Path, target: Target | None, split: str) -> Iterator[RawSequence]:
    found = read_ts(file)
    if target is not None and found.has_numbers != (target == "number"):
        other = "number" if found.has_numbers else "class"
        raise ValueError(f"{file} has labels of the kind {other} (see its header): set data.target={other}")
    stem = file.name.partition(".")[0]
    for one in found.sequences:
        names = tuple(map(str, range(one.values.shape[1])))
        yield RawSequence(f"{stem}:{one.line}", f"{file}, line {one.line}", one.values, names, one.label, "", split)


def _pendigits(folder: Path) -> Iterator[RawSequence]:
    """Read strokes of eight points, x and y in turn, and the digit; the writers of `.tes` are others than those of `.tra`."""
    for name, split in (("pendigits.tra", "train"), ("pendigits.tes", "test")):
        for number, line in enumerate(read_text(folder / name).text.splitlines(), start=1):
            *points, digit = (field.strip() for field in line.split(","))
            values = np.array(points, dtype=np.float64).reshape(8, 2)
            yield RawSequence(f"{split}:{number}", f"{name}, line {number}", values, ("x", "y"), digit, "", split)


def _digits(file: Path, shape: tuple[int, int]) -> Iterator[RawSequence]:
    """Read pictures of 8 by 8 grey values from 0 to 16, row by row or pixel by pixel, and the digit; who wrote which is not known."""
    for number, line in enumerate(read_text(file).text.splitlines(), start=1):
        *pixels, digit = line.split(",")
        values = np.array(pixels, dtype=np.float64).reshape(shape)
        names = tuple(f"column_{place}" for place in range(shape[1])) if shape[1] > 1 else ("pixel",)
        yield RawSequence(str(number), f"{file.name}, line {number}", values, names, str(int(float(digit))), "", "")
