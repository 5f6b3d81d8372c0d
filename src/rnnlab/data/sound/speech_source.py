"""Read a user's own list of labelled recordings before anything heavy is imported (see `rnnlab.data.early`)."""

from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.sound.recordings import find_recordings
from rnnlab.data.sources.catalogue import LABELLED_RECORDINGS
from rnnlab.data.sources.fetching import own_path

NAMED = tuple(LABELLED_RECORDINGS)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    keep_read(find_recordings, source, raw, on_broken)
