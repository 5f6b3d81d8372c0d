"""Watch over a reader of hostile files: what it starts or writes elsewhere, how long it takes, and how much memory it asks for."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MOST_SECONDS = 30
MOST_BYTES_MORE = 2 * 2**30  # of address space, beyond what the process has when it begins to read
STARTS = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "os.startfile"),
    *("socket.connect", "socket.bind", "pickle.find_class", "os.kill", "webbrowser.open"),
)
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_watched: list["Watch"] = []


class Hang(BaseException):
    """An input took longer than MOST_SECONDS; no reader catches this."""


class Watch:
    """What was seen of a reader; `root` is the only folder that it may write in."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self.seen: list[str] = []

    def look_at(self, event: str, parts: tuple[Any, ...]) -> None:
        """Note an audit event that no reader of files has a reason for."""
        if event in STARTS:
            self.seen.append(f"{event} {parts!r:.200}")
        elif event == "open":
            path, mode, flags = parts
            is_writing = any(sign in mode for sign in "wax+") if isinstance(mode, str) else bool(flags & _WRITING)
            if is_writing and not isinstance(path, int) and not self._is_inside(path):
                self.seen.append(f"open {path!r} {mode!r}")
        elif event in CHANGES and not all(self._is_inside(part) for part in parts if isinstance(part, str | bytes | os.PathLike)):
            self.seen.append(f"{event} {parts!r:.200}")

    def _is_inside(self, path: Any) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return real == os.devnull or os.path.commonpath([real, self.root]) == self.root


def _audit(event: str, parts: tuple[Any, ...]) -> None:
    if _watched and (event == "open" or event in STARTS or event in CHANGES):
        watch = _watched.pop()  # looking raises events of its own
        try:
            watch.look_at(event, parts)
        finally:
            _watched.append(watch)


sys.addaudithook(_audit)  # one for the process: hooks cannot be removed


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let allocations fail that ask for more than MOST_BYTES_MORE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES_MORE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def watched(root: Path) -> Iterator[Watch]:
    """Watch the reading of one input, and end it after MOST_SECONDS.

    Raises:
        Hang: where it takes longer.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {MOST_SECONDS} s")

    watch, before, writes_bytecode = Watch(root), signal.signal(signal.SIGALRM, end), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    signal.alarm(MOST_SECONDS)
    _watched.append(watch)
    try:
        yield watch
    finally:
        _watched.remove(watch)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        sys.dont_write_bytecode = writes_bytecode
