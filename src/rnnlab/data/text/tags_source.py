"""Read a user's own tagged sentences before anything heavy is imported (see `rnnlab.data.early`)."""

from dataclasses import fields
from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.sources.catalogue import TAGGED
from rnnlab.data.sources.fetching import own_path
from rnnlab.data.text.tagged import TagColumns, find_sentences

NAMED = tuple(TAGGED)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    known = {field.name: prepare[field.name] for field in fields(TagColumns) if field.name in prepare}
    columns: TagColumns = checked(known, TagColumns, "data.prepare")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    with_intent = checked(values.get("with_intent", False), bool, "data.with_intent")
    keep_read(find_sentences, source, raw, columns, on_broken, with_intent)
