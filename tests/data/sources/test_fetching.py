"""Claims about where raw data come from; every archive and server here is real, local and small."""

import dataclasses
import errno
import gzip
import hashlib
import io
import os
import socket
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

import rnnlab
from rnnlab.data.sources import archives, fetching
from rnnlab.data.sources.archives import UnsafeArchive
from rnnlab.data.sources.catalogue import FSDD
from rnnlab.data.sources.fetching import (
    Provenance,
    SourceCorrupt,
    SourceError,
    SourceUnavailable,
    Upstream,
    UpstreamFiles,
    check_writable,
    content_hash,
    fetch,
    mirror_folder,
)

REAL_MIRROR = os.environ.get("RNNLAB_MIRROR")
FILES = {"recordings/1_ann_0.wav": b"one", "recordings/0_ann_0.wav": b"zero!", "README.md": b"words"}
# printf zero! >recordings/0_ann_0.wav; printf one >recordings/1_ann_0.wav; sha256sum recordings/* | sha256sum
PINNED = "0c053867d090cb0ab03ac17d53b1a354e816191dc2491030ab77df8129c4f81e"
DIGITS = Upstream(
    name="digits",
    url="http://127.0.0.1:9/never-asked.tar.gz",
    mirror_file="digits.tar.gz",
    keep=("recordings/*.wav",),
    content_hash=PINNED,
    licence="CC0-1.0",
    max_files=7,
    max_bytes=60_000,
)
Packing = Literal["w:gz", "w:xz"]


def tar_bytes(files: dict[str, bytes], mode: Packing = "w:gz", top: str = "digits-1.0/") -> bytes:
    return tar_of([(tarfile.TarInfo(top + name), content) for name, content in files.items()], mode)


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], mode: Packing = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(files: dict[str, bytes], top: str = "digits-1.0/", unix_mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(top + name)
            info.external_attr = unix_mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def mirror_with(tmp_path: Path, archive: bytes) -> Path:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "digits.tar.gz").write_bytes(archive)
    return tmp_path / "mirror"


def fetch_archive(tmp_path: Path, archive: bytes, upstream: Upstream = DIGITS) -> Provenance:
    return fetch(upstream, tmp_path / "raw" / "digits", mirror_with(tmp_path, archive), is_offline=True)


def left_behind(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "raw").iterdir() if path.suffix != ".lock"]


class Server:
    """Answer every request with one body, and note what was asked."""

    def __init__(self) -> None:
        self.body = tar_bytes(FILES)
        self.status = 200
        self.declared_length: int | None = None
        self.num_bytes_before_stall: int | None = None
        self.requests: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.can_go_on = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def upstream(self, credentials: str = "", query: str = "") -> Upstream:
        url = f"http://{credentials}127.0.0.1:{self.http.server_port}/digits.tar.gz{query}"
        return dataclasses.replace(DIGITS, url=url)

    def stop(self) -> None:
        self.can_go_on.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                if outer.num_bytes_before_stall == 0:
                    outer.can_go_on.wait()
                body = outer.bodies.get(self.path, outer.body)
                self.send_response(outer.status if self.path in outer.bodies or not outer.bodies else 404)
                self.send_header("Content-Length", str(outer.declared_length or len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.num_bytes_before_stall])
                if outer.num_bytes_before_stall is not None:
                    outer.can_go_on.wait()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_proxy_and_no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("RNNLAB_MIRROR", raising=False)


# Content and places


def test_the_content_hash_is_that_of_the_lines_sha256sum_prints(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert content_hash(tmp_path, ["recordings/1_ann_0.wav", "recordings/0_ann_0.wav"]) == PINNED


@pytest.mark.parametrize(
    "archive",
    [
        tar_bytes(FILES),
        tar_bytes(FILES, "w:xz"),
        zip_bytes(FILES),
        tar_bytes({**FILES, "extra/more.wav": b"more"}, top="./other-name/"),
    ],
    ids=["tar.gz", "tar.xz", "zip", "another top folder and extra files"],
)
def test_packing_and_extra_files_do_not_matter(tmp_path: Path, archive: bytes) -> None:
    provenance = fetch_archive(tmp_path, archive)
    assert provenance == Provenance("mirror", str(tmp_path / "mirror" / "digits.tar.gz"), PINNED)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "raw" / "digits").rglob("*") if path.is_file()}
    assert kept == {"0_ann_0.wav": b"zero!", "1_ann_0.wav": b"one"}
    assert left_behind(tmp_path) == ["digits"]


def test_files_beside_the_top_folder_are_not_kept(tmp_path: Path) -> None:
    wavs = {f"top/{name}": content for name, content in FILES.items() if name.endswith(".wav")}
    upstream = dataclasses.replace(DIGITS, keep=("*", "recordings/*.wav"))
    assert fetch_archive(tmp_path, tar_bytes({"note": b"beside", **wavs}, top=""), upstream).content_hash == PINNED


def test_content_that_is_present_is_checked_and_used_without_any_source(tmp_path: Path) -> None:
    fetch_archive(tmp_path, tar_bytes(FILES))
    provenance = fetch(DIGITS, tmp_path / "raw" / "digits", mirror=None, is_offline=True)
    assert provenance == Provenance("present", str(tmp_path / "raw" / "digits"), PINNED)


@pytest.mark.parametrize("name", ["recordings/0_ann_0.wav", "recordings/2_ann_0.wav"], ids=["changed", "added"])
def test_present_content_that_was_changed_names_the_folder_to_delete(tmp_path: Path, name: str) -> None:
    fetch_archive(tmp_path, tar_bytes(FILES))
    (tmp_path / "raw" / "digits" / name).write_bytes(b"noise")
    with pytest.raises(SourceCorrupt, match=f"expected content hash {PINNED}, found .* Delete the folder .*raw/digits"):
        fetch(DIGITS, tmp_path / "raw" / "digits", mirror=None, is_offline=True)


def test_an_empty_destination_is_filled(tmp_path: Path) -> None:
    (tmp_path / "raw" / "digits").mkdir(parents=True)
    assert fetch_archive(tmp_path, tar_bytes(FILES)).kind == "mirror"


def test_a_file_in_the_place_of_the_destination_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text("a note")
    with pytest.raises(SourceError, match="digits is a file where digits needs a folder: move it away"):
        fetch(DIGITS, tmp_path / "digits", mirror=None, is_offline=True)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "raw" / ".digits.partial" / "content" / "recordings").mkdir(parents=True)
    (tmp_path / "raw" / ".digits.partial" / "content" / "recordings" / "9_ann_0.wav").write_bytes(b"half")
    fetch_archive(tmp_path, tar_bytes(FILES))
    assert left_behind(tmp_path) == ["digits"]


def test_two_fetches_at_once_unpack_once(tmp_path: Path) -> None:
    mirror = mirror_with(tmp_path, tar_bytes(FILES))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fetch, DIGITS, tmp_path / "raw" / "digits", mirror, True) for _ in range(2)]
    assert {run.result().content_hash for run in runs} == {PINNED}
    assert sum(run.result().kind == "mirror" for run in runs) == 1


def test_a_mirror_file_with_other_content_is_an_error_and_the_network_is_not_asked(tmp_path: Path, server: Server) -> None:
    mirror = mirror_with(tmp_path, tar_bytes({**FILES, "recordings/0_ann_0.wav": b"noise"}))
    with pytest.raises(SourceCorrupt, match=f"digits.tar.gz does not hold .* expected content hash {PINNED}, found"):
        fetch(server.upstream(), tmp_path / "raw" / "digits", mirror, is_offline=False)
    assert server.requests == []
    assert left_behind(tmp_path) == []


def test_offline_without_a_mirror_says_what_to_do(tmp_path: Path) -> None:
    claim = (
        r"no mirror folder is set; http://.*never-asked.tar.gz was not asked \(offline\)\. What to do: "
        r"set data.mirror=FOLDER \(or RNNLAB_MIRROR\) to a folder that holds digits.tar.gz, "
        "give your own files with data.source=PATH, or use the bundled sample with data.source=sample"
    )
    with pytest.raises(SourceUnavailable, match=claim):
        fetch(DIGITS, tmp_path / "raw" / "digits", mirror=None, is_offline=True)
    assert left_behind(tmp_path) == []


def test_the_configured_mirror_goes_before_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mirror_folder(None) is None
    monkeypatch.setenv("RNNLAB_MIRROR", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert mirror_folder(None) == tmp_path
    assert mirror_folder(str(tmp_path / "mine")) == tmp_path / "mine"


def test_a_mirror_folder_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceUnavailable, match=r"data.mirror=.*nowhere is not a folder"):
        mirror_folder(str(tmp_path / "nowhere"))
    monkeypatch.setenv("RNNLAB_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(SourceUnavailable, match=r"RNNLAB_MIRROR=.*nowhere is not a folder"):
        mirror_folder(None)


def test_a_writable_folder_is_created_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep")
    assert list((tmp_path / "new" / "deep").iterdir()) == []


def test_a_folder_that_cannot_be_written_says_where_else(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("a regular file")
    advice = r"cannot write to .*note/raw \(Not a directory\): free some space or give another place with paths.data="
    with pytest.raises(SourceError, match=advice):
        check_writable(tmp_path / "note" / "raw")
    with pytest.raises(SourceError, match=advice):
        fetch(DIGITS, tmp_path / "note" / "raw" / "digits", mirror=None, is_offline=True)


def test_a_full_disk_while_unpacking_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    open_file = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r": FullDisk() if mode == "xb" else open_file(path, mode))
    with pytest.raises(SourceError, match=r"_ann_0.wav \(No space left on device\): free some space") as caught:
        fetch_archive(tmp_path, tar_bytes(FILES))
    assert type(caught.value) is SourceError
    assert left_behind(tmp_path) == []


# Downloading


def test_what_the_mirror_lacks_is_downloaded(tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mirror").mkdir()
    provenance = fetch(server.upstream(), tmp_path / "raw" / "digits", tmp_path / "mirror", is_offline=False)
    assert provenance == Provenance("upstream", server.upstream().url, PINNED)
    assert left_behind(tmp_path) == ["digits"]
    assert capfd.readouterr() == ("", "")  # no bar where there is no terminal


def test_a_terminal_sees_the_file_and_its_bytes(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(fetching, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=90))
    fetch(server.upstream(), tmp_path / "shown", None, is_offline=False)
    shown = screen.getvalue()
    assert "digits.tar.gz" in shown and f"{len(server.body)}/{len(server.body)} bytes" in shown
    fetch(server.upstream(), tmp_path / "hidden", None, is_offline=False, show_progress=False)
    assert screen.getvalue() == shown


def test_credentials_and_queries_are_never_sent_shown_or_recorded(tmp_path: Path, server: Server) -> None:
    upstream = server.upstream(credentials="ann:secret@", query="?token=secret")
    assert fetch(upstream, tmp_path / "raw" / "digits", None, is_offline=False).where == server.upstream().url
    assert server.requests == ["/digits.tar.gz"]
    server.status = 401
    with pytest.raises(SourceUnavailable, match="HTTP Error 401: Unauthorized") as caught:
        fetch(upstream, tmp_path / "again", None, is_offline=False)
    assert "secret" not in str(caught.value)


def test_a_refused_connection_names_every_place_that_was_tried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/digits.tar.gz"
    (tmp_path / "mirror").mkdir()
    claim = "the mirror .*mirror holds no digits.tar.gz; http://127.0.0.1:.*Connection refused.*data.source=sample"
    with pytest.raises(SourceUnavailable, match=claim):
        fetch(dataclasses.replace(DIGITS, url=url), tmp_path / "raw" / "digits", tmp_path / "mirror", is_offline=False)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("num_bytes_before_stall", "reason"), [(0, "no answer within 0.2 s|timed out"), (17, "broke off after 17 bytes")])
def test_a_server_that_stalls_is_given_up(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, num_bytes_before_stall: int, reason: str
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    server.num_bytes_before_stall = num_bytes_before_stall
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=reason):
        fetch(server.upstream(), tmp_path / "raw" / "digits", None, is_offline=False)
    assert time.monotonic() - started < 1.5
    assert left_behind(tmp_path) == []


def test_a_name_lookup_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    can_go_on = threading.Event()

    def hang(*args: object, **kwargs: object) -> None:
        can_go_on.wait()
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"no answer within 0.2 s"):
        fetch(DIGITS, tmp_path / "raw" / "digits", None, is_offline=False)
    assert time.monotonic() - started < 1.5
    can_go_on.set()


def test_a_download_that_breaks_off_is_not_taken_for_a_corrupt_one(tmp_path: Path, server: Server) -> None:
    server.declared_length = len(server.body) + 5
    with pytest.raises(SourceUnavailable, match=f"broke off after {len(server.body)} of {len(server.body) + 5} bytes"):
        fetch(server.upstream(), tmp_path / "raw" / "digits", None, is_offline=False)


def test_a_download_larger_than_allowed_is_stopped(tmp_path: Path, server: Server) -> None:
    server.body = b"x" * (DIGITS.max_bytes + 1)
    with pytest.raises(UnsafeArchive, match=r"digits.tar.gz sends more than the 60,000 bytes allowed"):
        fetch(server.upstream(), tmp_path / "raw" / "digits", None, is_offline=False)
    assert left_behind(tmp_path) == []


# Plain files

TABLES = {"train.csv": b"one", "test.csv": b"zero!"}
# printf one >train.csv; printf zero! >test.csv; LC_ALL=C sha256sum test.csv train.csv | sha256sum
PINNED_TABLES = "294006fe731971ffa627ec9cc33e9ea65b2578a7dd3023dae4caa183c3801b99"
PLAIN = UpstreamFiles(
    name="tables",
    urls={name: f"http://127.0.0.1:9/never-asked/{name}" for name in TABLES},
    mirror_file="tables",
    content_hash=PINNED_TABLES,
    licence="CC0-1.0",
    max_bytes=100,
)


def mirror_of(tmp_path: Path, files: dict[str, bytes]) -> Path:
    (tmp_path / "mirror" / "tables").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "mirror" / "tables" / name).write_bytes(content)
    return tmp_path / "mirror"


def served(server: Server, files: dict[str, bytes] = TABLES, query: str = "") -> UpstreamFiles:
    server.bodies = {f"/data/{name}": content for name, content in files.items()}
    address = f"http://127.0.0.1:{server.http.server_port}/data"
    return dataclasses.replace(PLAIN, urls={name: f"{address}/{name}{query}" for name in TABLES})


def contents(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "raw" / "tables").iterdir()}


def test_plain_files_are_copied_from_a_folder_of_the_mirror(tmp_path: Path) -> None:
    mirror = mirror_of(tmp_path, {**TABLES, "README.md": b"words"})
    provenance = fetch(PLAIN, tmp_path / "raw" / "tables", mirror, is_offline=True)
    assert provenance == Provenance("mirror", str(mirror / "tables"), PINNED_TABLES)
    assert contents(tmp_path) == TABLES and left_behind(tmp_path) == ["tables"]


def test_files_of_an_installed_package_need_no_mirror_and_no_network(tmp_path: Path) -> None:
    shipped = Path(rnnlab.__file__).parent / "py.typed"
    (tmp_path / "wanted").mkdir()
    (tmp_path / "wanted" / "marker").write_bytes(shipped.read_bytes())
    source = UpstreamFiles(
        "marker", {"marker": "package:rnnlab/py.typed"}, "x", content_hash(tmp_path / "wanted", ["marker"]), "none", 1000
    )
    provenance = fetch(source, tmp_path / "raw", None, is_offline=True)
    assert (provenance.kind, provenance.where) == ("package", "package:rnnlab/py.typed")
    assert (tmp_path / "raw" / "marker").read_bytes() == shipped.read_bytes()
    for url in ("package:rnnlab/nothing", "package:no_such_package/x"):
        with pytest.raises(SourceUnavailable, match=r"is unavailable: no package (rnnlab|no_such_package) with (nothing|x)\. "):
            fetch(dataclasses.replace(source, urls={"marker": url}), tmp_path / "other", None, is_offline=True)


def test_plain_files_in_subfolders_of_the_mirror_are_copied_as_they_are(tmp_path: Path) -> None:
    nested = tmp_path / "mirror" / "parts"
    for name, packed in (("train/words", b"words"), ("test/words.gz", gzip.compress(b"others"))):
        (nested / name).parent.mkdir(parents=True)
        (nested / name).write_bytes(packed)
    wanted = tmp_path / "wanted"
    for name, content in (("train/words", b"words"), ("test/words", b"others")):
        (wanted / name).parent.mkdir(parents=True)
        (wanted / name).write_bytes(content)
    names = ("train/words", "test/words")
    source = UpstreamFiles("parts", {name: f"http://x/{name}" for name in names}, "parts", content_hash(wanted, names), "none", 1000)
    fetch(source, tmp_path / "raw" / "parts", tmp_path / "mirror", is_offline=True)
    assert [(tmp_path / "raw" / "parts" / name).read_bytes() for name in names] == [b"words", b"others"]


def test_what_an_address_packs_is_unpacked_under_the_name_that_is_asked_for(tmp_path: Path, server: Server) -> None:
    server.bodies = {"/train.csv": b"one", "/test.csv.gz": gzip.compress(b"zero!")}
    address = f"http://127.0.0.1:{server.http.server_port}"
    source = dataclasses.replace(PLAIN, urls={"train.csv": f"{address}/train.csv", "test.csv": f"{address}/test.csv.gz"})
    assert fetch(source, tmp_path / "raw" / "tables", mirror=None, is_offline=False).kind == "upstream"
    assert sorted(path.name for path in (tmp_path / "raw" / "tables").iterdir()) == ["test.csv", "train.csv"]
    server.bodies["/test.csv.gz"] = gzip.compress(b"0" * 10_000)
    with pytest.raises(UnsafeArchive, match="unpacks to more than the 100 bytes allowed"):
        fetch(source, tmp_path / "raw" / "other", mirror=None, is_offline=False)


def test_plain_files_that_are_present_are_checked_and_used_without_any_source(tmp_path: Path) -> None:
    fetch(PLAIN, tmp_path / "raw" / "tables", mirror_of(tmp_path, TABLES), is_offline=True)
    (tmp_path / "raw" / "tables" / "note.txt").write_text("not one of them")
    provenance = fetch(PLAIN, tmp_path / "raw" / "tables", mirror=None, is_offline=True)
    assert provenance == Provenance("present", str(tmp_path / "raw" / "tables"), PINNED_TABLES)
    (tmp_path / "raw" / "tables" / "test.csv").unlink()
    with pytest.raises(SourceCorrupt, match=r"found .* over 1 files matching train.csv, test.csv\. Delete the folder .*raw/tables and run"):
        fetch(PLAIN, tmp_path / "raw" / "tables", mirror=None, is_offline=True)


def test_a_mirror_that_lacks_one_of_the_files_is_said_to(tmp_path: Path) -> None:
    mirror = mirror_of(tmp_path, {"train.csv": b"one"})
    claim = (
        r"^tables cannot be had: the mirror .*mirror holds no tables/test.csv; http://.*/never-asked/train.csv was not asked \(offline\)\. "
        r"What to do: set data.mirror=FOLDER \(or RNNLAB_MIRROR\) to a folder that holds tables, give your own"
    )
    with pytest.raises(SourceUnavailable, match=claim):
        fetch(PLAIN, tmp_path / "raw" / "tables", mirror, is_offline=True)
    assert left_behind(tmp_path) == []


def test_plain_files_without_a_mirror_are_downloaded_one_by_one(tmp_path: Path, server: Server) -> None:
    provenance = fetch(served(server), tmp_path / "raw" / "tables", mirror=None, is_offline=False)
    assert provenance == Provenance("upstream", f"http://127.0.0.1:{server.http.server_port}/data", PINNED_TABLES)
    assert contents(tmp_path) == TABLES and server.requests == ["/data/train.csv", "/data/test.csv"]


def test_a_mirror_that_lacks_a_file_gives_none_and_all_are_downloaded(tmp_path: Path, server: Server) -> None:
    mirror = mirror_of(tmp_path, {"train.csv": b"other"})
    assert fetch(served(server), tmp_path / "raw" / "tables", mirror, is_offline=False).kind == "upstream"
    assert contents(tmp_path) == TABLES and len(server.requests) == 2


def test_one_plain_file_that_is_gone_leaves_none_behind(tmp_path: Path, server: Server) -> None:
    upstream = served(server, {"train.csv": b"one"})
    with pytest.raises(SourceUnavailable, match=r"tables cannot be had: no mirror folder is set; .* failed \(HTTP Error 404: Not Found\)"):
        fetch(upstream, tmp_path / "raw" / "tables", mirror=None, is_offline=False)
    assert left_behind(tmp_path) == []


def test_the_address_that_failed_is_the_one_that_is_named(tmp_path: Path, server: Server) -> None:
    upstream = served(server, {"train.csv": b"one"})
    with pytest.raises(SourceUnavailable, match=r"/data/test.csv failed \(HTTP Error 404"):
        fetch(upstream, tmp_path / "raw" / "tables", None, is_offline=False)


@pytest.mark.parametrize("where", ["mirror", "upstream"])
def test_plain_files_with_other_content_are_refused(tmp_path: Path, server: Server, where: str) -> None:
    spoilt = {**TABLES, "test.csv": b"noise"}
    mirror = mirror_of(tmp_path, spoilt) if where == "mirror" else None
    with pytest.raises(
        SourceCorrupt, match=rf"does not hold tables as published: expected content hash {PINNED_TABLES}, found .* over 2 f"
    ):
        fetch(served(server, spoilt), tmp_path / "raw" / "tables", mirror, is_offline=False)
    assert left_behind(tmp_path) == [] and (server.requests == []) == (where == "mirror")


def test_a_plain_file_larger_than_allowed_is_refused_while_it_comes(tmp_path: Path, server: Server) -> None:
    with pytest.raises(UnsafeArchive, match=r"/data/test.csv sends more than the \d+ bytes allowed$"):
        fetch(served(server, {**TABLES, "test.csv": bytes(300_000)}), tmp_path / "raw" / "tables", mirror=None, is_offline=False)
    assert left_behind(tmp_path) == []


def test_all_plain_files_together_are_bounded(tmp_path: Path, server: Server) -> None:
    upstream = served(server, {"train.csv": bytes(70), "test.csv": bytes(70)})
    with pytest.raises(UnsafeArchive, match=r"more than the \d+ bytes allowed"):
        fetch(upstream, tmp_path / "raw" / "tables", mirror=None, is_offline=False)


def test_a_query_of_a_plain_files_address_is_neither_sent_nor_recorded(tmp_path: Path, server: Server) -> None:
    provenance = fetch(served(server, query="?token=secret"), tmp_path / "raw" / "tables", mirror=None, is_offline=False)
    assert "secret" not in provenance.where and server.requests == ["/data/train.csv", "/data/test.csv"]


# Unpacking


def packed_header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT), mtime=0)


@pytest.mark.parametrize(
    "archive",
    [
        b"<html>Please log in</html>",
        b"",
        gzip.compress(b"a text", mtime=0),
        zip_bytes(FILES)[:-30],
        tar_bytes(FILES)[:-30],
        packed_header("top/recordings/0_ann_0.wav", tarfile.REGTYPE, 50_000) + gzip.compress(bytes(40_000), mtime=0) + b"no gzip",
    ],
    ids=["a page", "nothing", "a gzip that is no tar", "a cut zip", "a cut tar.gz", "a tar.gz damaged inside a file"],
)
def test_a_file_that_is_no_archive_says_so(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(SourceCorrupt, match=r"mirror/digits.tar.gz cannot be unpacked \(.+\)\. What to do"):
        fetch_archive(tmp_path, archive)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", ["../evil.wav", "recordings/../../evil.wav", "a\\..\\evil.wav", "C:evil.wav", "line\nbreak.wav"])
def test_an_archive_member_with_dotdot_or_a_drive_or_a_backslash_is_refused(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], name: str
) -> None:
    with pytest.raises(UnsafeArchive, match=r"evil.wav|break.wav") as caught:
        fetch_archive(tmp_path, pack({**FILES, name: b"evil"}))
    assert "is no plain path inside the archive" in str(caught.value)
    assert left_behind(tmp_path) == [] and not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("archive", [tar_bytes({"x": b""}, top="/"), zip_bytes({"x": b""}, top="/")], ids=["tar", "zip"])
def test_an_archive_member_with_an_absolute_path_is_refused(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(UnsafeArchive, match="'/x' is no plain path inside the archive"):
        fetch_archive(tmp_path, archive)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
@pytest.mark.parametrize("name", ["recordings/0_bob_0.wav", "not-kept"])
def test_a_link_or_device_in_a_tar_is_refused_kept_or_not(tmp_path: Path, kind: bytes, name: str) -> None:
    info = tarfile.TarInfo("digits-1.0/" + name)
    info.type, info.linkname = kind, "README.md"
    with pytest.raises(UnsafeArchive, match=f"{name}' is a link, a device or a sparse file"):
        fetch_archive(tmp_path, tar_of([(info, b"")]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_in_a_zip_is_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(UnsafeArchive, match=r"README.md' is a link, a device"):
        fetch_archive(tmp_path, zip_bytes({"README.md": b"/etc/passwd"}, unix_mode=kind | 0o777))


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    twice = [(tarfile.TarInfo(f"top/{dot}recordings/0_ann_0.wav"), b"zero!") for dot in ("", "./")]
    with pytest.raises(UnsafeArchive, match=r"0_ann_0.wav' occurs twice"):
        fetch_archive(tmp_path, tar_of(twice))


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_an_archive_of_too_many_members_is_refused(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    with pytest.raises(UnsafeArchive, match="holds more than the 7 members allowed"):
        fetch_archive(tmp_path, pack({str(index): b"" for index in range(8)}))


def billion_zeros(name: str, kind: bytes) -> bytes:
    """Make a tar.gz of a little over a megabyte: a header, then the same packed zeros again and again."""
    return packed_header(name, kind, 10**9) + gzip.compress(bytes(1 << 20)) * 1000


@pytest.mark.parametrize(
    "archive",
    [
        billion_zeros("top/recordings/0_ann_0.wav", tarfile.REGTYPE),
        billion_zeros("top/not-kept", tarfile.REGTYPE),
        billion_zeros("header", tarfile.XHDTYPE),
        billion_zeros("long name", tarfile.GNUTYPE_LONGNAME),
        zip_bytes({"recordings/0_ann_0.wav": bytes(70_000)}),
        zip_bytes({"not-kept": bytes(70_000)}),
    ],
    ids=["kept", "not kept", "pax header", "long name", "zip kept", "zip not kept"],
)
def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    num_read = 0
    spend = archives.Guard.spend

    def count(guard: archives.Guard, num_bytes: int) -> None:
        nonlocal num_read
        num_read += num_bytes
        spend(guard, num_bytes)

    monkeypatch.setattr(archives.Guard, "spend", count)
    with pytest.raises(UnsafeArchive, match=r"digits.tar.gz unpacks to more than the 60,000 bytes allowed"):
        fetch_archive(tmp_path, archive)
    assert num_read <= 60_000 + archives.CHUNK_BYTES
    assert left_behind(tmp_path) == []


def test_a_zip_that_declares_less_than_it_holds_is_corrupt(tmp_path: Path) -> None:
    honest = zip_bytes({"recordings/0_ann_0.wav": bytes(70_000)})
    lying = honest.replace((70_000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(SourceCorrupt, match="cannot be unpacked"):
        fetch_archive(tmp_path, lying)


def test_a_zip_member_whose_name_starts_with_a_null_is_refused(tmp_path: Path) -> None:
    archive = zip_bytes({"Qx": b"words"}, top="").replace(b"Qx", b"\0x")
    with pytest.raises(UnsafeArchive, match=r"x00x' is no plain path"):
        fetch_archive(tmp_path, archive)


def test_a_zip_packed_with_a_method_that_cannot_be_bounded_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("top/README.md", b"words")
    with pytest.raises(SourceCorrupt, match=r"README.md' is packed in a way other than deflate"):
        fetch_archive(tmp_path, buffer.getvalue())


@pytest.mark.slow
@pytest.mark.skipif(REAL_MIRROR is None, reason="needs RNNLAB_MIRROR: a folder that holds fsdd.tar.gz")
def test_the_real_spoken_digits_come_from_a_mirror(tmp_path: Path) -> None:
    provenance = fetch(FSDD, tmp_path / "fsdd", mirror_folder(REAL_MIRROR), is_offline=True)
    assert (provenance.kind, provenance.content_hash) == ("mirror", hashlib_of_sorted(tmp_path / "fsdd"))
    assert len(list((tmp_path / "fsdd" / "recordings").glob("*.wav"))) == 3000


def hashlib_of_sorted(folder: Path) -> str:
    """Hash as `sha256sum recordings/*.wav | sha256sum` does."""
    files = sorted((folder / "recordings").iterdir(), key=lambda path: path.name)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  recordings/{path.name}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
