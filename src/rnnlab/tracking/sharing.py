"""Files that a run's folder and its artifacts share by hard link, where both lie on one file system: each is kept once, under two names.

A shared file is never written in place: who writes it anew puts another file in its place, or stops sharing it first (`unshare`). Small
files are copied, since people edit them (`config.yaml`), and a link would save nothing.
"""

import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

LEAST_BYTES = 1 << 16
"""Of a file that is shared."""


def local_folder(uri: str) -> Path | None:
    """Return the folder that an artifact store's address names on this machine; None where it names something else."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return Path(unquote(parts.path)) if parts.scheme else Path(uri)


def share(path: Path, folder: Path) -> None:
    """Put a file, or all that is in a folder, into another folder: linked where that is possible, else copied.

    Raises:
        OSError: where it cannot be written.
    """
    if not path.is_dir():
        _put(path, folder / path.name)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(path.rglob("*")):
        if file.is_dir():
            (folder / file.relative_to(path)).mkdir(parents=True, exist_ok=True)
        else:
            _put(file, folder / file.relative_to(path))


def share_again(path: Path, folder: Path) -> None:
    """Replace the files of a folder that have the content of those in another by links to them, where that is possible."""
    for copy in sorted(file for file in folder.rglob("*") if file.is_file()):
        file = path / copy.relative_to(folder)
        if file.is_file() and _is_worth_it(file) and filecmp.cmp(file, copy, shallow=False):
            _put(file, copy)


def unshare(folder: Path) -> None:
    """Give a folder files of its own in place of those that have another name elsewhere, so that they may be written again."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and file.stat().st_nlink > 1:
            _put(file, file, is_linked=False)


def _put(file: Path, target: Path, *, is_linked: bool = True) -> None:
    """Put a file in place whole, under another name first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.writing")
    aside.unlink(missing_ok=True)
    try:
        if not (is_linked and _is_worth_it(file) and _linked(file, aside)):
            shutil.copy2(file, aside)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)  # of two names of one file, replacing one by the other leaves both


def _linked(file: Path, target: Path) -> bool:
    """Link a file, and say whether that was possible: not to another file system, nor where links are unknown or too many."""
    with suppress(OSError):
        os.link(file, target)
        return True
    return False


def _is_worth_it(file: Path) -> bool:
    return not file.is_symlink() and file.stat().st_size >= LEAST_BYTES
