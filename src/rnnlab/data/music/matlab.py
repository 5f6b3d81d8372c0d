"""Variables of MATLAB's files up to version 7: matrices of numbers and cell arrays of such, read strictly.

SciPy's reader ends the process with a segmentation fault on some damaged files, so this one checks every size before it is used. Source:
MathWorks, MAT-File Format, chapter "Level 5 MAT-Files".
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.data.files import read_whole

MOST_UNPACKED_BYTES = 2**30
HEADER_BYTES, CLASS_CELL, PACKED, MATRIX = 128, 1, 15, 14
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers."""
_NUMERIC = range(6, 16)
"""Classes of matrices of numbers: double, single, and integers of eight sizes."""
_OTHERS = {2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix (write full(x))", 16: "a function", 17: "an object"}


@dataclass(frozen=True)
class Variable:
    """A variable: its shape, what it is in words, and its matrices, one a cell; none of what is neither numbers nor cells of numbers."""

    shape: tuple[int, ...]
    what: str
    cells: tuple[np.ndarray, ...] = ()


def read_variables(file: Path) -> dict[str, Variable]:
    """Read all variables of a file.

    Raises:
        ValueError: where it is no such file, is damaged, or holds more than a gigabyte.
    """
    data = read_whole(file, MOST_UNPACKED_BYTES)
    if data[124:128] in (b"\x00\x02IM", b"\x02\x00MI") or data.startswith(b"\x89HDF") or data[512:516] == b"\x89HDF":
        raise ValueError("it is of MATLAB's version 7.3 (HDF5), which is not read: save it with -v7")
    if len(data) < HEADER_BYTES or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("it does not begin as files of MATLAB's versions 5 to 7 do: save it with -v7")
    reader, found = _Reader("<" if data[126:128] == b"IM" else ">"), {}
    for kind, content in reader.elements(memoryview(data)[HEADER_BYTES:]):
        if kind == PACKED:
            kind, content = next(reader.elements(reader.unpacked(content)), (0, content))
        if kind == MATRIX:
            name, variable = reader.variable(content)
            found[name] = variable
    return found


@dataclass
class _Reader:
    """Read elements, each a type, a size and that many bytes; `order` is the order of bytes, `<` or `>`."""

    order: str
    num_left: int = MOST_UNPACKED_BYTES

    def elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Walk the elements that lie one behind the other."""
        place = 0
        while len(data) - place >= 8:
            kind, size = self._integers(data[place : place + 8], "u4")
            if kind >> 16:  # four bytes at most, beside type and size
                kind, size, begin, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
            else:
                begin, end = place + 8, place + 8 + size + (0 if kind == PACKED else -size % 8)
            if begin + size > min(len(data), end):
                raise ValueError("it is damaged or cut off: a size in it is more than there is")
            yield kind, data[begin : begin + size]
            place = end

    def unpacked(self, content: memoryview) -> memoryview:
        """Unpack an element."""
        try:
            found = zlib.decompressobj().decompress(content, self.num_left + 1)
        except zlib.error as error:
            raise ValueError(f"it is damaged: {error}") from None
        self.num_left -= len(found)
        if self.num_left < 0:
            raise ValueError(f"it unpacks to more than {MOST_UNPACKED_BYTES} bytes: divide it")
        return memoryview(found)

    def variable(self, content: memoryview) -> tuple[str, Variable]:
        """Read a matrix and its name."""
        parts = [*self.elements(content)]
        if len(parts) < 3 or len(parts[0][1]) != 8 or not len(parts[1][1]) or len(parts[1][1]) % 4:
            raise ValueError("it is damaged: a matrix in it lacks its class, shape or name")
        flags = self._integers(parts[0][1], "u4")[0]
        shape, name = tuple(self._integers(parts[1][1], "i4")), bytes(parts[2][1]).decode("latin-1")
        kind, is_complex = flags & 0xFF, bool(flags & 0x800)
        if kind == CLASS_CELL:
            inner = [self.variable(part)[1] if part else Variable((0, 0), "a matrix", (np.zeros((0, 0)),)) for _, part in parts[3:]]
            if len(inner) != math.prod(shape):
                raise ValueError(f"it is damaged: the cell array {name!r} of shape {shape} has {len(inner)} cells")
            odd = [one.what for one in inner if one.what != "a matrix"]
            what = f"a cell array with {odd[0]} in it" if odd else "a cell array"
            return name, Variable(shape, what, () if odd else tuple(one.cells[0] for one in inner))
        if kind not in _NUMERIC or is_complex:
            return name, Variable(shape, "a matrix of complex numbers" if is_complex else _OTHERS.get(kind, "of an unknown class"))
        return name, Variable(shape, "a matrix", (self._numbers(name, shape, parts[3:]),))

    def _numbers(self, name: str, shape: tuple[int, ...], parts: list[tuple[int, memoryview]]) -> np.ndarray:
        kind, content = parts[0] if parts else (9, memoryview(b""))
        dtype = np.dtype(self.order + _DTYPES.get(kind, "V1"))
        is_whole = kind in _DTYPES and min(shape) >= 0 and len(shape) <= 32 and math.prod(shape) * dtype.itemsize == len(content)
        if not is_whole:
            raise ValueError(f"it is damaged: the matrix {name!r} of shape {shape} has {len(content)} bytes of type {kind}")
        return np.frombuffer(content, dtype).reshape(shape, order="F")

    def _integers(self, content: memoryview, kind: str) -> list[int]:
        found: list[int] = np.frombuffer(content, f"{self.order}{kind}").tolist()
        return found
