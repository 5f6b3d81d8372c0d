"""Where everything lies: conf/ and samples, in the repository or the installed package, and the folder of data, runs and their database."""

import errno
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
IS_INSTALLED = (PACKAGE / "conf").is_dir()
"""Whether this is an installed package, which holds conf/ and samples; else it lies in the repository."""
HOME = PACKAGE if IS_INSTALLED else PACKAGE.parents[1]
"""The folder of conf/: the installed package, or the repository."""
CONF = HOME / "conf"
SAMPLES = HOME / "data" / "samples"
CONSOLE = "rnnlab"
"""What `python src/NAME.py` is called where the package is installed: `rnnlab NAME`."""
ROOM_OF_A_FULL_DISK = 1 << 20
"""Bytes; a file that did not fit leaves less."""


def root() -> Path:
    """Return the folder of data, runs and the tracking database: the environment's RNNLAB_ROOT, else the repository, or where one is."""
    return Path(os.environ.get("RNNLAB_ROOT") or (Path.cwd() if IS_INSTALLED else HOME)).absolute()


def as_here(text: str) -> str:
    """Return a text with its commands as they are typed here: `rnnlab train` for `python src/train.py` where we were started so."""
    if not (IS_INSTALLED or Path(sys.argv[0]).stem == CONSOLE):
        return text
    return re.sub(r"\bmake ui\b", f"{CONSOLE} ui", re.sub(r"\bpython src/(\w+)\.py\b", rf"{CONSOLE} \1", text))


def file_name(name: str) -> str:
    """Return an example's name as a file may be called."""
    return re.sub(r"[^\w.-]", "_", name)


def why_not_written(error: Exception, folder: Path) -> str:
    """Say why a library could not write a file into a folder; NumPy and torch do not say that the disk is full.

    Ask before what was written of the file is removed: that makes room.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    is_full = shutil.disk_usage(folder).free < ROOM_OF_A_FULL_DISK
    return os.strerror(errno.ENOSPC) if is_full else (str(error).splitlines() or [type(error).__name__])[0]


# Words of files and people on a screen ------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Return a text that came from a file or a person so that a terminal shows it and does nothing else: control characters as escapes."""
    return "".join(each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text)


def in_markup(text: object) -> str:
    """Return a text that came from a file or a person as Rich's markup prints it: brackets stay, and nothing is done."""
    from rich.markup import escape  # half of what this file costs at the start

    return escape(printable(str(text)))


def as_typed(words: Iterable[str]) -> str:
    """Return words as one types them in a shell, in double quotes where they need quotes and these do."""
    return " ".join(f'"{word}"' if shlex.quote(word) != word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in words)
