"""Read a user's own log of events before anything heavy is imported (see `rnnlab.data.early`)."""

from dataclasses import fields
from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.series.event_logs import EventColumns, find_events
from rnnlab.data.sources.catalogue import EVENT_LOGS
from rnnlab.data.sources.fetching import own_path

NAMED = tuple(EVENT_LOGS)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    prepare = section(values, "prepare")
    known = {field.name: prepare[field.name] for field in fields(EventColumns) if field.name in prepare}
    columns: EventColumns = checked(known, EventColumns, "data.prepare")
    day_first = checked(needed(values, "day_first", "data"), bool | None, "data.day_first")
    drops_repeats = checked(needed(prepare, "drops_repeats", "data.prepare"), bool, "data.prepare.drops_repeats")
    on_broken = checked(needed(prepare, "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    keep_read(find_events, source, raw, columns, day_first, drops_repeats, on_broken)
