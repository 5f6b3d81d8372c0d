"""Read a user's own piano rolls before anything heavy is imported (see `rnnlab.data.early`)."""

from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.music.piano_rolls import StepsPerBeat, find_rolls
from rnnlab.data.sources.catalogue import PIANO_ROLLS
from rnnlab.data.sources.fetching import own_path

NAMED = tuple(PIANO_ROLLS)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    steps_per_beat = checked(needed(prepare, "steps_per_beat", "data.prepare"), StepsPerBeat, "data.prepare.steps_per_beat")
    keep_read(find_rolls, raw, on_broken, steps_per_beat)
