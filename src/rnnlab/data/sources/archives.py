"""Unpack archives that cannot be trusted: regular files only, inside the folder, counted while they are read."""

import gzip
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, cast

CHUNK_BYTES = 1 << 16


class SourceError(ValueError):
    """Say that raw data cannot be brought to their place."""


class UnsafeArchive(SourceError):
    """Say that an archive holds what no data set needs: links, paths that lead outside, too much."""


UNREADABLE = (
    *(OSError, EOFError, RuntimeError, OverflowError, UnicodeError, struct.error),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_Members = Generator[tuple[str, Iterator[bytes]], None, None]
_Readable = IO[bytes] | gzip.GzipFile | lzma.LZMAFile


def members(file: IO[bytes], guard: "Guard") -> _Members:
    """Yield the path and the content of every regular file, in order.

    Raises:
        UnsafeArchive: for links, paths that lead outside, repeated names, or more than the guard allows.
    """
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"PK"):
        yield from _zip_members(file, guard)
    elif magic.startswith(b"\x1f\x8b"):
        with gzip.open(file) as tar:
            yield from _tar_members(tar, guard)
    elif magic == b"\xfd7zXZ\x00":
        with lzma.open(file) as tar:
            yield from _tar_members(tar, guard)
    else:
        raise tarfile.ReadError("it is neither a tar.gz, a tar.xz nor a zip archive")


def _tar_members(file: _Readable, guard: "Guard") -> _Members:
    # Counted below the tar layer, so that headers and skipped members count too.
    with tarfile.open(fileobj=cast(IO[bytes], _Counted(file, guard)), mode="r|") as archive:
        for member in archive:
            is_file = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
            path = guard.enter(member.name, is_file, member.isdir())
            if is_file and (stream := archive.extractfile(member)):
                yield path, iter(partial(stream.read, CHUNK_BYTES), b"")


def _zip_members(file: IO[bytes], guard: "Guard") -> _Members:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            is_named_folder = member.filename.endswith("/")  # is_dir() fails on an empty name
            is_folder = is_named_folder and kind in (0, stat.S_IFDIR)
            is_file = not is_named_folder and kind in (0, stat.S_IFREG)
            path = guard.enter(member.orig_filename, is_file, is_folder)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile(f"{member.filename!r} is packed in a way other than deflate")
            if is_file:
                with archive.open(member) as stream:
                    yield path, iter(partial(_Counted(stream, guard).read, CHUNK_BYTES), b"")


@dataclass
class Guard:
    """Refuse what no data set needs, and count what an archive really unpacks to, whatever it declares."""

    where: str
    max_files: int
    max_bytes: int
    num_members: int = 0
    num_bytes: int = 0
    seen: set[str] = field(default_factory=set)

    def enter(self, name: str, is_file: bool, is_folder: bool) -> str:
        """Count a member and return its path; refuse what no data set needs."""
        self.num_members += 1
        if self.num_members > self.max_files:
            raise UnsafeArchive(f"{self.where} holds more than the {self.max_files:,} members allowed")
        if not (is_file or is_folder):
            raise UnsafeArchive(f"{self.where}: {name!r} is a link, a device or a sparse file, not a regular one")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or re.search(r"[\x00-\x1f\\]|(^|/)[A-Za-z]:", name):
            raise UnsafeArchive(f"{self.where}: {name!r} is no plain path inside the archive")
        path = "/".join(part for part in parts if part not in ("", "."))
        if path in self.seen:
            raise UnsafeArchive(f"{self.where}: {name!r} occurs twice")
        if is_file:
            self.seen.add(path)
        return path

    def spend(self, num_bytes: int) -> None:
        """Count unpacked bytes."""
        self.num_bytes += num_bytes
        if self.num_bytes > self.max_bytes:
            raise UnsafeArchive(f"{self.where} unpacks to more than the {self.max_bytes:,} bytes allowed")


class _Counted:
    """Read a stream through a guard; its errors are no OSError, so that those mean the disk we write to."""

    def __init__(self, stream: _Readable, guard: Guard) -> None:
        self.stream = stream
        self.guard = guard

    def read(self, size: int) -> bytes:
        try:
            chunk = self.stream.read(size)
        except OSError as error:
            raise EOFError(str(error)) from error
        self.guard.spend(len(chunk))
        return chunk
