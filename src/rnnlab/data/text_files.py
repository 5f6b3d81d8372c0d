"""Text files as they lie on people's disks: packed or not, in whatever encoding, and what of that was odd."""

import gzip
import io
import re
import zlib
from pathlib import Path
from typing import NamedTuple

MOST_UNPACKED_BYTES = 4 * 2**30
MOST_INVALID = 0.5  # share of lines with other than ASCII that may be invalid in a file that still counts as UTF-8

LINE_END = re.compile(r"\r\n?|\n")
_FOREIGN = {
    (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"): "is an Excel workbook (.xlsx, .xls) or a zip archive: export the sheet as CSV, or unpack it",
    (b"PAR1", b"ARROW1"): "is a Parquet or Arrow file: export it as CSV (pandas: read_parquet or read_feather, then to_csv)",
    (b"\x1f\x8b", b"\xfd7zXZ", b"BZh91AY", b"\x28\xb5\x2f\xfd"): "is packed: unpack it (by gzip also read if its name ends in .gz)",
    (b"\x89PNG", b"\xff\xd8\xff", b"%PDF-"): "is a picture or a PDF, not a text table: export the table as CSV",
    (b"<!doctype html", b"<!DOCTYPE html", b"<html"): "is a web page, not a table: download the raw file that the page shows",
    (b"version https://git-lfs",): "is a pointer of Git LFS, not the table itself: run `git lfs pull` where it came from",
}
_WIDE_MARKS = {"\ufeff".encode(name): name for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")}  # 32 first: it begins like 16
_WINDOWS = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}  # bytes without meaning are kept


class TextFile(NamedTuple):
    """The text of a file, without byte order mark; the name of what it was packed from, else its own; and what was odd, counted."""

    text: str
    name: str
    notes: dict[str, int]


def read_text(file: Path, encoding: str | None = None) -> TextFile:
    """Read a text file, packed by gzip (.gz) or not.

    Args:
        file: where it is.
        encoding: None for UTF-8, UTF-16 and UTF-32 with a byte order mark, and windows-1252, for single lines or the whole.

    Raises:
        ValueError: where it cannot be read, or is no text.
    """
    text, notes = _decode(file, _read_bytes(file), encoding)
    return TextFile(text, file.stem if file.suffix.lower() == ".gz" else file.name, notes)


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        if file.suffix.lower() == ".gz":
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MOST_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        words: dict[type, str] = {
            FileNotFoundError: "does not exist: check the name",
            IsADirectoryError: "is a folder: name a table in it (.csv, .tsv, .txt or .jsonl)",
            PermissionError: "may not be read by this user: change its permissions",
        }
        raise ValueError(f"{file} {words.get(type(error), f'cannot be read ({error}): get it anew')}") from error
    if len(data) > MOST_UNPACKED_BYTES:
        raise ValueError(f"{file} holds more than {MOST_UNPACKED_BYTES} bytes: split it into smaller tables")
    if not data:
        raise ValueError(f"{file} is empty (0 bytes)")
    if what := [words for marks, words in _FOREIGN.items() if data.startswith(marks)]:
        raise ValueError(f"{file} {what[0]}")
    return data


def _decode(file: Path, data: bytes, encoding: str | None) -> tuple[str, dict[str, int]]:
    """Return the text without byte order mark, and what was odd about it."""
    notes: dict[str, int] = {}
    encoding = encoding or next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), None)
    try:
        text = data.decode(encoding or "utf-8")
    except (LookupError, UnicodeError) as error:
        if encoding is not None:
            raise ValueError(f"{file} cannot be read with encoding={encoding!r} ({error}): leave it out, or give the right one") from error
        text, notes = _decode_mixed(data)
    notes["byte order mark"] = int(text.startswith("\ufeff"))
    text = text.removeprefix("\ufeff")
    if "\x00" in text:
        line = 1 + len(LINE_END.findall(text.partition("\x00")[0]))
        raise ValueError(
            f"{file} is not a text table: line {line} holds a NUL byte. Export it as CSV, or give its encoding if it is UTF-16"
        )
    end = LINE_END.search(text)
    if end is not None and end.group() != "\n":
        notes["CRLF line ends" if end.group() == "\r\n" else "CR line ends"] = 1
    return text, notes


def _decode_mixed(data: bytes) -> tuple[str, dict[str, int]]:
    """Decode what is not UTF-8 throughout, line by line, or as a whole where too many lines are not."""
    texts, num_wide, num_invalid = [], 0, 0
    for line in data.splitlines(keepends=True):
        num_wide += not line.isascii()
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            num_invalid += 1
            texts.append(line.decode("latin-1").translate(_WINDOWS))
    if num_invalid > MOST_INVALID * num_wide:
        return data.decode("latin-1").translate(_WINDOWS), {"lines not UTF-8 (whole file read as windows-1252)": num_invalid}
    return "".join(texts), {"lines not UTF-8 (read as windows-1252)": num_invalid}
