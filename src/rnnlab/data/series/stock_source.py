"""Read a user's own prices before anything heavy is imported (see `rnnlab.data.early`)."""

from pathlib import Path

from rnnlab.config import Config, checked, needed, section
from rnnlab.data.early import keep_read
from rnnlab.data.files import OnBroken
from rnnlab.data.series.prices import read_prices
from rnnlab.data.sources.catalogue import PRICES
from rnnlab.data.sources.fetching import own_path
from rnnlab.data.tables import Writing

NAMED = tuple(PRICES)


def find(source: str) -> Path:
    """Return the path that `data.source` means."""
    return own_path(source, NAMED)


def read(source: str, raw: Path, values: Config) -> None:
    """Read it as the data module will."""
    writing: Writing = checked({key: needed(values, key, "data") for key in ("decimal", "day_first")}, Writing, "data")
    tickers = checked(needed(values, "tickers", "data"), list[str] | None, "data.tickers")
    on_broken = checked(needed(section(values, "prepare"), "on_broken", "data.prepare"), OnBroken, "data.prepare.on_broken")
    keep_read(read_prices, raw, tickers, writing, on_broken, values.get("target") == "change")
