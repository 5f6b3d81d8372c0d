"""Read a user's own labelled sequences before anything heavy is imported (see `rnnlab.data.early`)."""

from dataclasses import asdict, fields
from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.series.vector_tables import SequenceColumns, SequenceTables
from rnnlab.data.series.vectors import Target, find_sequences
from rnnlab.data.sources.catalogue import SEQUENCES
from rnnlab.data.sources.fetching import own_path

NAMED = tuple(SEQUENCES)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    known = {field.name: prepare[field.name] for field in fields(SequenceColumns) if field.name in prepare}
    columns: SequenceColumns = checked(known, SequenceColumns, "data.prepare")
    day_first = checked(needed(values, "day_first", "data"), bool | None, "data.day_first")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    target: Target = checked(needed(values, "target", "data"), Target, "data.target")
    keep_read(find_sequences, source, raw, SequenceTables(**asdict(columns), day_first=day_first), target, on_broken)
