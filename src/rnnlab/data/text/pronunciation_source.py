"""Read a user's own pronouncing dictionary before anything heavy is imported (see `rnnlab.data.early`)."""

from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.sources.catalogue import DICTIONARIES
from rnnlab.data.sources.fetching import own_path
from rnnlab.data.text.dictionaries import find_pronunciations

NAMED = tuple(DICTIONARIES)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    keep_read(find_pronunciations, raw, on_broken)
