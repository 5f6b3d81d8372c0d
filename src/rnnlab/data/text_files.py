"""Text files as they lie on people's disks: packed or not, in whatever encoding, and what of that was odd."""

import gzip
import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

from rnnlab.data.files import MOST_BYTES, read_whole

UNPACKED_FREELY, MOST_TIMES = 2**28, 300
"""What a packed file may hold in any case, in bytes, and beyond that how many times its own size: texts pack to a third or a tenth."""
MOST_INVALID = 0.5  # share of lines with other than ASCII that may be invalid in a file that still counts as UTF-8
MOST_ADJACENT = 0.5  # share of letters beyond ASCII that may stand beside another one in a file that still counts as windows-1252

LINE_END = re.compile(r"\r\n?|\n")
_FOREIGN = {
    (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"): "is an Excel workbook (.xlsx, .xls): export the sheet as CSV",
    (b"PAR1", b"ARROW1"): "is a Parquet or Arrow file: export it as CSV (pandas: read_parquet or read_feather, then to_csv)",
    (b"\x1f\x8b", b"\xfd7zXZ", b"BZh91AY", b"\x28\xb5\x2f\xfd"): "is packed: unpack it (packed by gzip it is read if its name ends in .gz)",
    (b"\x89PNG", b"\xff\xd8\xff", b"%PDF-"): "is a picture or a PDF, not a text table: export the table as CSV",
    (b"<!doctype html", b"<!DOCTYPE html", b"<html"): "is a web page, not a table: download the raw file that the page shows",
    (b"version https://git-lfs",): "is a pointer of Git LFS, not the table itself: run `git lfs pull` where it came from",
}
_WIDE_MARKS = {"\ufeff".encode(name): name for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")}  # 32 first: it begins like 16
_NEIGHBOUR = rb"[\x80-\x84\x86-\x90\x98-\xff]"  # quotes, dashes and dots of windows-1252 aside
_WINDOWS = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}  # bytes without meaning are kept


class TextFile(NamedTuple):
    """The text of a file, without byte order mark; the name of what it was packed from, else its own; and what was odd, counted."""

    text: str
    name: str
    notes: dict[str, int]


def read_text(file: Path, encoding: str | None = None) -> TextFile:
    """Read a text file, packed by gzip (.gz) or alone in a zip archive.

    Args:
        file: where it is.
        encoding: None for UTF-8, UTF-16 and UTF-32 with a byte order mark, and windows-1252, for single lines or the whole.

    Raises:
        ValueError: where it cannot be read, is no text, or is in an encoding that must be given.
    """
    name, data = _read_bytes(file)
    text, notes = _decode(file, data, encoding)
    return TextFile(text, name, notes)


def _read_bytes(file: Path) -> tuple[str, bytes]:
    name = file.name
    try:
        data = read_whole(file)
        if file.suffix.lower() == ".gz":
            data, name = gunzipped(file, data), file.stem
        elif data.startswith(b"PK\x03\x04"):
            data, name = _unzipped(file, data)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # of zip: damage, a password
        words: dict[type, str] = {
            FileNotFoundError: "does not exist: check the name",
            IsADirectoryError: "is a folder: name a table in it (.csv, .tsv, .txt or .jsonl)",
            PermissionError: "may not be read by this user: change its permissions",
        }
        raise ValueError(f"{file} {words.get(type(error), f'cannot be read ({error}): get it anew')}") from error
    if not data:
        raise ValueError(f"{file} is empty (0 bytes): write it anew, or give another file")
    if what := [words for marks, words in _FOREIGN.items() if data.startswith(marks)]:
        raise ValueError(f"{file} {what[0]}")
    return name, data


def _unzipped(file: Path, data: bytes) -> tuple[bytes, str]:
    """Return the only file of a zip archive and its name; a workbook stays as it is."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if any(member.filename == "[Content_Types].xml" for member in members):
            return data, file.name
        names = [name for member in members if not (name := member.filename).startswith("__MACOSX/") and Path(name).name[:1] != "."]
        if len(names) != 1:
            raise ValueError(f"{file} is a zip archive of {len(names)} files ({', '.join(names[:5])}): unpack it and name one of them")
        with archive.open(names[0]) as packed:
            return _unpacked(file, packed, len(data)), Path(names[0]).name


def gunzipped(file: Path, data: bytes) -> bytes:
    """Unpack what gzip packed.

    Raises:
        ValueError: where it unpacks to much more than texts do; nothing beyond that is held in memory.
        OSError, EOFError, zlib.error: where it is damaged.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        return _unpacked(file, packed, len(data))


def _unpacked(file: Path, packed: IO[bytes] | gzip.GzipFile, num_packed: int) -> bytes:
    most, parts = min(MOST_BYTES, max(UNPACKED_FREELY, MOST_TIMES * num_packed)), io.BytesIO()
    while part := packed.read(2**20):
        parts.write(part)
        if parts.tell() > most:
            raise ValueError(
                f"{file} of {num_packed:,} bytes unpacks to more than {most:,}, as no text or table does: if it is one, unpack it"
            )
    return parts.getvalue()


def _decode(file: Path, data: bytes, encoding: str | None) -> tuple[str, dict[str, int]]:
    """Return the text without byte order mark, and what was odd about it."""
    notes: dict[str, int] = {}
    encoding = encoding or next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), None)
    try:
        text = data.decode(encoding or "utf-8")
    except (LookupError, UnicodeError) as error:
        if encoding is not None:
            raise ValueError(f"{file} cannot be read with encoding={encoding!r} ({error}): leave it out, or give the right one") from error
        text, notes = _decode_mixed(file, data)
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


def _decode_mixed(file: Path, data: bytes) -> tuple[str, dict[str, int]]:
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
        _refuse_other_scripts(file, data)
        return data.decode("latin-1").translate(_WINDOWS), {"lines not UTF-8 (whole file read as windows-1252)": num_invalid}
    return "".join(texts), {"lines not UTF-8 (read as windows-1252)": num_invalid}


def _refuse_other_scripts(file: Path, data: bytes) -> None:
    """Refuse what is neither UTF-8 nor a language of Western Europe, whose letters beyond ASCII rarely stand side by side."""
    letters = len(re.findall(rb"[\xc0-\xff]", data))
    adjacent = len(re.findall(rb"(?<=%b)[\xc0-\xff]|[\xc0-\xff](?=%b)" % (_NEIGHBOUR, _NEIGHBOUR), data))
    if adjacent > MOST_ADJACENT * letters and adjacent > 3:
        raise ValueError(
            f"{file} is not UTF-8, and no text of Western Europe either: save it as UTF-8, such as by "
            f"`iconv -f gb18030 -t utf-8 {file.name} > NEW` "
            "(for Chinese; cp1251 for Russian, shift_jis for Japanese, euc-kr for Korean, cp1253 for Greek)"
        )
