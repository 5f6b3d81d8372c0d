"""Read a user's own labelled texts before anything heavy is imported (see `rnnlab.data.early`)."""

from dataclasses import fields
from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.sources.catalogue import CORPORA
from rnnlab.data.sources.fetching import own_path
from rnnlab.data.text.readers import TextColumns, find_texts

NAMED = tuple(CORPORA)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    known = {field.name: prepare[field.name] for field in fields(TextColumns) if field.name in prepare}
    columns: TextColumns = checked(known, TextColumns, "data.prepare")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    keep_read(find_texts, source, raw, columns, on_broken)
