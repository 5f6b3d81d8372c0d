"""Piano rolls from files: what is read, and what bad files are told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from rnnlab.data.music.piano_rolls import find_rolls, key_names, read_roll, roll_of, write_roll

ROLL = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]], dtype=np.uint8)
TEXT = "c,e,g\n" + "\n".join(",".join(map(str, row)) for row in ROLL.tolist()) + "\n"


def cells(*pieces: np.ndarray) -> np.ndarray:
    """Return what MATLAB calls a cell array."""
    found = np.empty((1, len(pieces)), dtype=object)
    for number, piece in enumerate(pieces):
        found[0, number] = piece.astype(float)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str, object], Path]:
    """Write a text or an array to a file below the test's folder."""

    def written(name: str, content: object) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            savemat(str(file), content)
        elif isinstance(content, np.ndarray):
            np.save(file, content, allow_pickle=content.dtype == object)
        else:
            file.write_bytes(content if isinstance(content, bytes) else str(content).encode())
        return file

    return written


Place = Callable[[str, object], Path]


@pytest.mark.parametrize(
    ("name", "content", "keys"),
    [
        ("a.csv", TEXT, ("c", "e", "g")),
        ("a.csv", TEXT.partition("\n")[2], ()),
        ("a.csv", TEXT.replace("1", "1.0").replace(",", ";"), ("c", "e", "g")),
        ("a.tsv", TEXT.replace(",", "\t"), ("c", "e", "g")),
        ("a.npy", ROLL, ()),
        ("a.npy", ROLL.astype(bool), ()),
        ("a.npy", ROLL.astype(np.float64), ()),
    ],
)
def test_a_roll_is_the_same_whatever_file_it_lies_in(name: str, content: object, keys: tuple[str, ...], place: Place) -> None:
    found = read_roll(place(name, content))
    assert found.values.dtype == np.uint8 and np.array_equal(found.values, ROLL)
    assert (found.id, found.keys) == ("a", keys)


def test_a_roll_that_was_written_is_read_again(tmp_path: Path) -> None:
    write_roll(ROLL.astype(float), ("c,1", "e", "g"), tmp_path / "b.csv")
    found = read_roll(tmp_path / "b.csv")
    assert np.array_equal(found.values, ROLL) and found.keys == ("c,1", "e", "g")


def test_the_content_of_a_file_will_do(tmp_path: Path, place: Place) -> None:
    assert np.array_equal(roll_of(TEXT, 3).values, ROLL)
    assert roll_of(TEXT, 3).place == "input 3"
    assert np.array_equal(roll_of(str(place("x.csv", TEXT)), 0).values, ROLL)


def test_keys_of_a_piano_are_named_from_a0_to_c8_and_others_are_numbered() -> None:
    names = key_names(88)
    assert (names[0], names[3], names[39], names[48], names[87]) == ("A0", "C1", "C4", "A4", "C8")
    assert len(set(names)) == 88
    assert key_names(3) == ("0", "1", "2")


def test_a_folder_gives_each_piece_the_split_that_it_lies_below(place: Place, tmp_path: Path) -> None:
    for name in ("train/b.csv", "valid/a.csv", "test/deep/a.csv", "else/c.csv", "d10.csv", "d9.csv"):
        place(name, TEXT)
    place("train/.hidden.csv", "rubbish")
    place("README.md", "no piece")
    table, keys, _ = find_rolls(tmp_path)
    found = dict(zip(table["id"], table["split"], strict=True))
    assert found == {"train/b": "train", "valid/a": "val", "test/deep/a": "test", "else/c": "", "d10": "", "d9": ""}
    assert keys == ("c", "e", "g") and table["content"].nunique() == 1
    assert table["id"].tolist().index("d9") < table["id"].tolist().index("d10")


def test_a_matlab_file_holds_a_split_in_each_of_its_cell_arrays(place: Place) -> None:
    other = 1 - ROLL
    file = place(
        "m/x.mat", {"traindata": cells(ROLL, other[:3]), "validdata": cells(other), "testdata": cells(ROLL[1:]), "more": np.eye(2)}
    )
    for raw in (file, file.parent):
        table, keys, _ = find_rolls(raw)
        assert table["id"].tolist() == ["train-0001", "train-0002", "val-0001", "test-0001"]
        assert table["split"].tolist() == ["train", "train", "val", "test"]
        assert [len(values) for values in table["values"]] == [4, 3, 4, 3]
        assert np.array_equal(table["values"][1], other[:3]) and keys == ("0", "1", "2")


BINARY = "a piano roll has one row a step, one column a key"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", ROLL * 64, rf"a.npy is not binary: step 0 \(from 0\), column 0 holds 64 \(4 such values\); {BINARY}.*take \(roll > 0\)"),
        ("a.npy", ROLL - 0.5, r"is not binary: step 0 \(from 0\), column 0 holds 0.5 \(12 such"),
        ("a.npy", np.where(ROLL, np.nan, 0), r"is not binary: step 0 \(from 0\), column 0 holds nan \(4 such"),
        ("a.npy", ROLL[0], rf"a.npy has 1 axes \(3,\), wanted 2 \(steps, keys\): {BINARY}"),
        ("a.npy", ROLL[:0], rf"a.npy is empty \(0 steps, 3 keys\): {BINARY}"),
        ("a.npy", ROLL.astype(str), r"a.npy holds <U3 values, not numbers"),
        ("a.npy", np.array([{}], dtype=object), r"a.npy cannot be read as an array that numpy.save wrote \(Object arrays cannot be loaded"),
        ("a.npy", b"rubbish", r"a.npy cannot be read as an array that numpy.save wrote"),
        ("a.npy", b"", r"a.npy cannot be read as an array that numpy.save wrote"),
        ("a.csv", "", r"a.csv (is empty|holds nothing)"),
        ("a.csv", "c,e\n", rf"a.csv names 2 keys but has no steps: {BINARY}"),
        ("a.csv", "c,e\n1,0\n0,loud\n", r"a.csv, line 3: column 2 holds 'loud', neither 0 nor 1"),
        ("a.csv", "c,e\n1,0\n0,\n", r"a.csv is not binary: step 1 \(from 0\), column 1 holds nan"),
        ("a.csv", "time,e\n0,0\n0.25,1\n", r"a.csv is not binary: step 1 .* column 0 holds 0.25 .* a column of times leave out"),
        ("a.csv", "c,c\n1,0\n", r"a.csv: its first line names the key 'c' twice; name every column once, or none"),
        ("a.csv", "c,\n1,0\n", r"a.csv: its first line has a key without a name; name every column once, or none"),
        ("a.csv", "c,e\n1,0,1\n", r"a.csv.*line 2"),
        ("a.abc", b"X:1", rf"a.abc is no piano roll that can be read: wanted .csv, .mid, .midi, .npy, .tsv; {BINARY}"),
    ],
)
def test_what_is_no_piano_roll_is_told_why(name: str, content: object, message: str, place: Place) -> None:
    with pytest.raises(ValueError, match=message):
        find_rolls(place(name, content))


def test_an_archive_of_arrays_is_told_to_be_taken_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", roll=ROLL)
    with pytest.raises(ValueError, match=r"a.npy is an archive of arrays \(npz\): give one .npy a piece"):
        read_roll((tmp_path / "a.npz").rename(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"traindata": cells(ROLL), "testdata": cells(ROLL)}, r"it lacks validdata; it has: traindata, testdata"),
        ({"notes": np.eye(3)}, r"it lacks traindata, validdata, testdata; it has: notes"),
        (
            dict.fromkeys(("traindata", "validdata", "testdata"), np.eye(3)),
            r"traindata is a matrix \(3, 3\) of float64, wanted a cell array",
        ),
        (dict.fromkeys(("traindata", "validdata", "testdata"), cells(ROLL * 3)), r"traindata\{1\} is not binary: step 0"),
        (
            {"traindata": cells(ROLL), "validdata": cells(ROLL, ROLL[:, :2]), "testdata": cells(ROLL)},
            r"validdata\{2\} has 2 keys, .*traindata\{1\} has 3",
        ),
        (b"rubbish that is long enough to be looked at" * 9, r"x.mat is no MATLAB file of piano rolls, with the cell arrays traindata"),
        (b"", r"x.mat is no MATLAB file of piano rolls, with the cell arrays traindata"),
        (
            b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF" * 100,
            r"x.mat is no MATLAB file.*: it is of MATLAB's version 7.3 \(HDF5\).*save it with -v7",
        ),
    ],
)
def test_a_matlab_file_that_holds_no_rolls_is_told_what_it_should_hold(content: object, message: str, place: Place) -> None:
    with pytest.raises(ValueError, match=message):
        find_rolls(place("x.mat", content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.csv", "c,e\n1,0\n0,1\n", r"b.csv has 2 keys, .*a.csv has 3: a piano roll has one row a step"),
        ("b.npy", np.zeros((3, 5)), r"b.npy has 5 keys, .*a.csv has 3; it seems to lie on its side: transpose it"),
        ("b.csv", TEXT.replace("e", "f"), r"b.csv names key 1 'f', .*a.csv has 'e': give all pieces the same keys"),
        ("b.csv", "c,e,g\n1,0,1\n", r"b.csv has one step: at least 2 are needed, since the keys of a step are predicted from those before"),
        (
            "b.mat",
            {"traindata": cells(ROLL)},
            r"should hold piano rolls \(.csv, .mid, .midi, .npy, .tsv\), .* or one .mat file; found: b.mat and 1 more",
        ),
    ],
)
def test_pieces_that_do_not_go_together_are_named(name: str, content: object, message: str, place: Place, tmp_path: Path) -> None:
    place("a.csv", TEXT)
    place(name, content)
    with pytest.raises(ValueError, match=message):
        find_rolls(tmp_path)


def test_a_folder_without_pieces_is_told_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"should hold piano rolls \(.csv, .mid, .midi, .npy, .tsv\), also below train/.*found: none"):
        find_rolls(tmp_path)


def test_files_that_are_no_rolls_are_left_out_where_asked_for(place: Place, tmp_path: Path) -> None:
    for name, content in {"a.csv": "0,1\n1,0\n", "b.csv": "0,1\n1,7\n", "c.csv": "0,1\n", "d.csv": "1,1\n1,0\n", "e.abc": "-"}.items():
        place(name, content)
    with pytest.raises(ValueError, match=r"b\.csv is not binary"):
        find_rolls(tmp_path)
    table, _, remarks = find_rolls(tmp_path, "skip")
    assert table["id"].tolist() == ["a", "d"] and remarks[0] == "files passed over: 1 of .abc (first e.abc)"
    assert remarks[1].startswith(f"left out, since it is no piano roll that can be used: 2 (first {tmp_path}/b.csv is not binary")


def test_an_array_whose_header_promises_36_terabytes_is_refused_before_room_is_made(place: Place) -> None:
    file = place("a.npy", ROLL)
    data = file.read_bytes()
    file.write_bytes(data.replace(b"(4, 3), }" + b" " * 12, b"(6000000000000, 6), }"))
    with pytest.raises(ValueError, match=r"its header promises 36,000,000,000,000 bytes of shape \(6000000000000, 6\), it has 12"):
        read_roll(file)
