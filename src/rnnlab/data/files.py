"""Files of a folder, as every kind of data finds them: which are read, and what is passed over, counted and named.

Files that systems and archives leave beside data (hidden ones, `__MACOSX`, `Thumbs.db`) are no data, and nothing is said of them.
"""

import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from rnnlab.data.splits import SPLIT_WORDS

OnBroken = Literal["raise", "skip"]
MOST_BYTES = 4 * 2**30
"""Of a file that is read as a whole."""
SIDE_NAMES = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__pycache__"),
    *("$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle"),
}
SKIP = "data.prepare.on_broken=skip"


def home_of(path: str) -> Path:
    """Return a path with `~` written out; where there is no such user, it is the name of a file."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_there(path: Path) -> bool:
    """Tell whether there is anything of this name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a name that no file can have (too long, a NUL in it) and folders that may not be read are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell likewise whether there is a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, none where there is none that can be read."""
    try:
        return [found.name for found in folder.iterdir()]
    except (OSError, ValueError):
        return []


def read_whole(file: Path, most: int = MOST_BYTES) -> bytes:
    """Read a file into memory.

    Raises:
        OSError: where it cannot be read.
        ValueError: where it is a pipe or a device, which may have no end, or larger than `most` bytes.
    """
    found = file.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # of a folder, reading says that it is one
        raise ValueError(f"{file} is no regular file but a pipe or a device: write its content to a file first")
    if found.st_size > most:
        raise ValueError(f"{file} holds {found.st_size:,} bytes, more than the {most:,} that are read: divide it")
    return file.read_bytes()


def is_side(name: str) -> bool:
    """Tell whether a file or folder of this name is hidden, or left by a system, an archive or an editor."""
    return name.startswith((".", "~$")) or name.lower() in SIDE_NAMES


def visible_files(folder: Path) -> list[Path]:
    """List all files below a folder, however deep and in linked folders too, in the order of their paths; none that `is_side`.

    Raises:
        ValueError: where a folder may not be read.
    """
    return sorted(_below(folder, ()), key=lambda file: file.relative_to(folder).as_posix())


def _below(folder: Path, above: tuple[str, ...]) -> Iterable[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link that leads back
        return
    try:
        entries = [entry for entry in os.scandir(folder) if not is_side(entry.name)]
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}): change its permissions, or move it elsewhere") from error
    for entry in entries:
        if entry.is_dir():
            yield from _below(folder / entry.name, (*above, real))
        else:
            yield folder / entry.name


def ending(file: Path) -> str:
    """Return a file's suffix in lower case, of a file packed by gzip that of what is in it."""
    return Path(file.name.lower().removesuffix(".gz")).suffix


def select(files: Iterable[Path], suffixes: Collection[str]) -> tuple[list[Path], list[Path]]:
    """Divide files into those with one of these suffixes, and others."""
    kept, others = list[Path](), list[Path]()
    for file in files:
        (kept if ending(file) in suffixes and file.is_file() else others).append(file)
    return kept, others


def by_kind(files: Iterable[Path], folder: Path) -> list[str]:
    """Count files by their suffix, most first, and name the first of each: `12 of .m4a (first yes/1.m4a)`."""
    of_kind: dict[str, list[str]] = {}
    for file in files:
        kind = (file.suffix.lower() or "no suffix") if file.is_file() else "no file (links to nothing, pipes)"
        of_kind.setdefault(kind, []).append(file.relative_to(folder).as_posix())
    ordered = sorted(of_kind.items(), key=lambda item: -len(item[1]))
    return [f"{len(names):,} of {kind} (first {names[0]})" for kind, names in ordered]


def passed_over(files: Iterable[Path], folder: Path) -> list[str]:
    """Say in a line which files are not read; no line if there are none."""
    return [f"files passed over: {', '.join(found)}"] if (found := by_kind(files, folder)) else []


class Labelled(NamedTuple):
    """A file and what its folders say of it: its label ("" without one) and its split ("" where not given); `id` is its path."""

    file: Path
    id: str
    label: str
    split: str


@dataclass(frozen=True)
class Layout:
    """Files below folders that are named by labels.

    Attributes:
        files: in the order of ids; where no file lies in a folder, those of no label.
        remarks: what was passed over, in words.
        faults: why one may predict from them but not train, in words.
    """

    files: list[Labelled]
    remarks: list[str]
    faults: list[str]


def labelled_files(folder: Path, suffixes: Collection[str], aside: Collection[str] = ()) -> Layout:
    """Find the files below `LABEL/`, or below `train/LABEL/`, `val/LABEL/` and `test/LABEL/`, at any depth.

    Args:
        folder: the folder of all.
        suffixes: of the files to read.
        aside: top folders that are no labels, whatever is in them, and files that are read otherwise.
    """
    all_files = visible_files(folder)
    parts = {file: file.relative_to(folder).parts for file in all_files}
    kept, others = select((file for file in all_files if parts[file][0] not in aside), suffixes)
    deep = [file for file in kept if _is_below_split(parts[file])]
    flat = [file for file in kept if len(parts[file]) > 1 and not (deep and parts[file][0].lower() in SPLIT_WORDS)]
    labelled = sorted(deep + flat, key=lambda file: "/".join(parts[file])) or kept
    in_labels, below_splits = set(labelled), set(deep)
    loose = [file for file in kept if file not in in_labels]
    remarks = passed_over(others, folder)
    remarks += [f"files in no label's folder passed over: {len(loose):,} (first {'/'.join(parts[loose[0]])})"] if loose else []
    set_aside = [file for file in all_files if parts[file][0] in aside and len(parts[file]) > 1]
    remarks += [f"no label: {len(set_aside)} file(s) of {parts[set_aside[0]][0]}/ passed over"] if set_aside else []
    homes = {file: _home(parts[file], bool(deep)) for file in kept + others}
    filled = {homes[file] for file in labelled}
    lost = [file for file in others if homes[file] and homes[file] not in filled]
    faults = [_lost(lost, homes, folder, suffixes)] if lost and deep + flat else []
    if mixed := [file for file in flat if file not in below_splits] if deep else []:
        faults.append(f"{deep[0]} is below a split, {mixed[0]} is not: put all labels below train/, val/ and test/, or none")
    found = []
    for file in labelled:
        home = homes[file]
        split = SPLIT_WORDS[home[0].lower()] if len(home) > 1 else ""
        found.append(Labelled(file, "/".join(parts[file]), home[-1] if home else "", split))
    return Layout(found, remarks, faults)


def _is_below_split(parts: tuple[str, ...]) -> bool:
    return len(parts) > 2 and parts[0].lower() in SPLIT_WORDS


def _home(parts: tuple[str, ...], is_split: bool) -> tuple[str, ...]:
    """Return the folder that is a label's: its name, with that of a split before it; nothing for files in none."""
    if is_split and parts[0].lower() in SPLIT_WORDS:
        return parts[:2] if len(parts) > 2 else ()
    return parts[:1] if len(parts) > 1 else ()


def _lost(lost: list[Path], homes: dict[Path, tuple[str, ...]], folder: Path, suffixes: Collection[str]) -> str:
    """Say that a label has files but none that are read."""
    home = homes[lost[0]]
    own = [file for file in lost if homes[file] == home]
    more = len({homes[file] for file in lost}) - 1
    also = f" ({more} more such folder{'s' if more > 1 else ''})" if more else ""
    return (
        f"{folder / Path(*home)} holds {len(own):,} file(s) but none that can be read: {', '.join(by_kind(own, folder))}{also}. "
        f"Convert them to {' '.join(sorted(suffixes))}, or move the folder elsewhere if it is no label"
    )


@dataclass
class Broken:
    """Collect what cannot be used of a source, to refuse it or, where `on_broken` is `skip`, to count and name it."""

    on_broken: OnBroken
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        """Note that what stands at a place cannot be used."""
        self.places.setdefault(reason, []).append(place)

    def settle(self, num_kept: int, cure: str) -> list[str]:
        """Return in words what was left out.

        Raises:
            ValueError: where nothing may be left out, or nothing would remain.
        """
        for reason, places in self.places.items():
            if self.on_broken == "raise" or not num_kept:
                more = f" (and {len(places) - 1:,} more)" if len(places) > 1 else ""
                raise ValueError(f"{places[0]}: {reason}{more}. {cure}{f', or leave such out with {SKIP}' if num_kept else ''}")
        return [f"left out, since {reason}: {len(places):,} (first {places[0]})" for reason, places in self.places.items()]


def refuse_lost_labels(before: Iterable[str], after: Iterable[str], source: str) -> None:
    """Raise ValueError where a label has lost all its examples to what was left out."""
    if lost := sorted(set(before) - set(after)):
        raise ValueError(
            f"{source}: all examples of the label {lost[0]!r} are broken and left out ({len(lost)} such label(s)): mend them, or remove "
            "the label"
        )


def natural_order(label: str) -> tuple[object, ...]:
    """Return a sort key under which numbers count as numbers: 2 before 10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", label))
