"""MATLAB's files: read as SciPy reads them where they are whole, and told what is wrong where they are not."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from rnnlab.data.music import matlab
from rnnlab.data.music.matlab import read_variables

KINDS = ("float64", "float32", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def content() -> dict[str, Any]:
    """Return cells of every kind of number, an empty one among them, and what is not read."""
    cells = np.empty((1, len(KINDS) + 1), dtype=object)
    for number, kind in enumerate(KINDS):
        cells[0, number] = (np.arange(6).reshape(2, 3) % 2).astype(kind)
    cells[0, -1] = np.zeros((0, 0))
    return {"cells": cells, "a_name_that_is_long": np.eye(3), "text": "words", "structure": {"a": 1}, "complex": np.array([[1j]])}


@pytest.mark.parametrize("is_packed", [False, True])
def test_matrices_and_cells_are_read_as_scipy_reads_them(tmp_path: Path, is_packed: bool) -> None:
    savemat(tmp_path / "x.mat", content(), do_compression=is_packed)
    found, theirs = read_variables(tmp_path / "x.mat"), loadmat(tmp_path / "x.mat")
    assert [(one.dtype, one.tolist()) for one in found["cells"].cells] == [(one.dtype, one.tolist()) for one in theirs["cells"].ravel()]
    assert np.array_equal(found["a_name_that_is_long"].cells[0], theirs["a_name_that_is_long"])
    assert found["cells"].shape == theirs["cells"].shape and found["cells"].what == "a cell array"
    assert [found[name].what for name in ("text", "structure", "complex")] == ["text", "a structure", "a matrix of complex numbers"]


def test_every_damaged_byte_costs_a_message_at_most(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"c": content()["cells"][:, :2]})
    data = (tmp_path / "x.mat").read_bytes()
    num_refused = 0
    for place in range(len(data)):
        for damaged in (data[:place] + b"\xff" + data[place + 1 :], data[:place]):
            (tmp_path / "x.mat").write_bytes(damaged)
            try:
                read_variables(tmp_path / "x.mat")
            except ValueError as error:
                num_refused += 1
                assert "it " in str(error)
    assert num_refused > 100


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "MOST_UNPACKED_BYTES", 10_000)
    monkeypatch.setattr(matlab._Reader, "__init__", lambda self, order: self.__dict__.update(order=order, num_left=10_000))
    bomb = zlib.compress(bytes(10**6))
    (tmp_path / "x.mat").write_bytes(b"x".ljust(124) + b"\x00\x01IM" + (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb)
    with pytest.raises(ValueError, match=r"unpacks to more than 10000 bytes: divide it"):
        read_variables(tmp_path / "x.mat")
