"""Files of the time series archives of UEA and UCR (`.ts`): a header of `@` lines, then one labelled sequence a line.

A line is `channel:channel:...:label`, each channel's values separated by commas, `?` or NaN where one is missing. The header says whether
the last field is a class (`@classLabel true a b c`), a number (`@targetLabel true`), or no label at all.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.data.text_files import read_text

FLAGS = {"true": True, "false": False}
NEEDED = "a .ts file begins with lines such as `@problemName x`, `@classLabel true a b` and `@data`, then one sequence a line"


@dataclass(frozen=True)
class TsSequence:
    """One line of a .ts file.

    Args:
        line: its number, from 1.
        values: (T, F) float64, NaN where a value is missing.
        label: the class or number as it is written, "" where the file has none.
    """

    line: int
    values: np.ndarray
    label: str


@dataclass(frozen=True)
class TsFile:
    """What a .ts file holds; `has_numbers` says whether its labels are numbers to predict and not classes."""

    sequences: list[TsSequence]
    has_numbers: bool


@dataclass
class _Header:
    """What the lines before `@data` say."""

    has_label: bool | None = None
    has_numbers: bool = False
    classes: tuple[str, ...] = ()
    num_channels: int | None = None


def read_ts(file: Path) -> TsFile:
    """Read a .ts file, packed by gzip or not.

    Raises:
        ValueError: names the line of what is wrong.
    """
    lines = read_text(file).text.splitlines()
    header, start = _read_header(file, lines)
    found = []
    for number, line in enumerate(lines[start:], start=start + 1):
        if line.strip() and not line.startswith("#"):
            found.append(_read_line(f"{file}, line {number}", number, line.strip(), header))
    if not found:
        raise ValueError(f"{file} has no sequence below its header")
    return TsFile(found, header.has_numbers)


def _read_header(file: Path, lines: list[str]) -> tuple[_Header, int]:
    """Return what the header says, and how many lines it has."""
    header = _Header()
    for number, line in enumerate(lines, start=1):
        text, place = line.strip(), f"{file}, line {number}"
        if not text or text.startswith("#"):
            continue
        if not text.startswith("@"):
            raise ValueError(f"{place}: {text[:40]!r} stands before the line `@data`: {NEEDED}")
        name, *rest = text[1:].split()
        if name.lower() == "data":
            if header.has_label is None:
                raise ValueError(f"{file}: its header says neither @classLabel nor @targetLabel: add `@classLabel true a b c` (or false)")
            return header, number
        _take(header, name.lower(), rest, place)
    raise ValueError(f"{file} has no line `@data`: {NEEDED}")


def _take(header: _Header, name: str, rest: list[str], place: str) -> None:
    """Put one line of the header where it belongs; lines that don't change how sequences are read are passed over."""
    if name in ("classlabel", "targetlabel"):
        header.has_label = bool(header.has_label) or _flag(name, rest, place)
        header.has_numbers = header.has_numbers or (name == "targetlabel" and _flag(name, rest, place))
        header.classes = tuple(rest[1:]) if name == "classlabel" else header.classes
        if name == "classlabel" and header.has_label and not header.classes:
            raise ValueError(f"{place}: @classLabel true names no class: write them behind it, such as `@classLabel true a b`")
    elif name == "timestamps" and _flag(name, rest, place):
        raise ValueError(f"{place}: sequences with @timeStamps true are not read: write values alone, at equal distances")
    elif name in ("dimensions", "dimension"):
        if len(rest) != 1 or not rest[0].isdecimal() or int(rest[0]) < 1:
            raise ValueError(f"{place}: @{name} {' '.join(rest)} is no number of channels, such as `@dimensions 6`")
        header.num_channels = int(rest[0])


def _flag(name: str, rest: list[str], place: str) -> bool:
    if not rest or rest[0].lower() not in FLAGS:
        raise ValueError(f"{place}: @{name} {' '.join(rest)}: wanted true or false behind it")
    return FLAGS[rest[0].lower()]


def _read_line(place: str, number: int, text: str, header: _Header) -> TsSequence:
    fields = text.split(":")
    label = fields.pop().strip() if header.has_label else ""
    if header.classes and label not in header.classes:
        raise ValueError(f"{place}: its label {label[:40]!r} is none of those of the header: {', '.join(header.classes)}")
    if header.num_channels is not None and len(fields) != header.num_channels:
        raise ValueError(f"{place} has {len(fields)} channel(s), but the header says @dimensions {header.num_channels}: mend the line")
    try:
        channels = [np.array(field.replace("?", "nan").split(","), dtype=np.float64) for field in fields]
    except ValueError as error:
        raise ValueError(f"{place}: {error}: wanted numbers separated by commas, channels by colons") from None
    if len({len(channel) for channel in channels}) != 1:
        raise ValueError(f"{place}: its channels have {', '.join(str(len(c)) for c in channels)} steps: all need as many")
    return TsSequence(number, np.stack(channels, axis=1), label)
