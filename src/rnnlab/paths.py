"""Where everything lies: the repository with conf/ and samples, and the folder where data, runs and the tracking database are kept."""

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
"""The repository."""
CONF = HOME / "conf"
SAMPLES = HOME / "data" / "samples"
PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the folder of data, runs and the tracking database: the environment's RNNLAB_ROOT, by default the repository."""
    return Path(os.environ.get("RNNLAB_ROOT") or HOME).absolute()


def file_name(name: str) -> str:
    """Return an example's name as a file may be called."""
    return re.sub(r"[^\w.-]", "_", name)


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
