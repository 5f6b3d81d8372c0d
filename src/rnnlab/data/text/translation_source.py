"""Read a user's own pairs of sentences before anything heavy is imported (see `rnnlab.data.early`)."""

from dataclasses import fields
from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken, home_of, is_there
from rnnlab.data.sources.catalogue import PAIRS
from rnnlab.data.sources.fetching import own_path
from rnnlab.data.text.pair_files import Languages
from rnnlab.data.text.pairs import PairColumns, find_pairs, has_prefix

NAMED = tuple(PAIRS)


def find(source: str) -> Path:
    """Return the path that `data.source` means: a file or folder, or what the names of two aligned files begin with."""
    path = home_of(source).absolute()
    return path if not is_there(path) and has_prefix(path) else own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    known = {field.name: prepare[field.name] for field in fields(PairColumns) if field.name in prepare}
    columns: PairColumns = checked(known, PairColumns, "data.prepare")
    languages = Languages(*(checked(needed(values, key, "data"), str, f"data.{key}") for key in ("source_language", "target_language")))
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    keep_read(find_pairs, source, raw, languages, columns, on_broken)
