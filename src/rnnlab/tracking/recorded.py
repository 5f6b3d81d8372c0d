"""The configuration that a run recorded: data, never code."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import yaml

from rnnlab.config import TARGET, ConfigError, checked
from rnnlab.paths import CONF
from rnnlab.settings import Choices, Composed
from rnnlab.tracking.tracker import Client, TrackingError, read_artifact

FILE = "config.yaml"
NEEDED = {"model", "data", "trainer", "seed", "choices"}
"""Keys without which it is no configuration of a training."""
MOST_LEVELS, MOST_VALUES = 50, 100_000


def write_config(composed: Composed, folder: Path) -> Path:
    """Write a configuration into a run's folder and return the file."""
    kept = {**composed.values, "choices": dict(composed.choices.by_group), "words": list(composed.words)}
    file = folder / FILE
    file.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return file


def read_config(client: Client, run_id: str, into: Path) -> Composed:
    """Read the configuration of a run, fetched to a folder.

    Raises:
        ConfigError: where none was recorded, it cannot be read, or it names foreign code.
    """
    try:
        file = read_artifact(client, run_id, FILE, into)
        recorded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except TrackingError as error:
        raise ConfigError(f"{error}: it did not record its configuration, so it cannot be made again") from None
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"the recorded configuration of run {run_id} cannot be read: {error}") from None
    if not isinstance(recorded, dict) or not recorded.keys() >= NEEDED:
        raise ConfigError(f"the recorded configuration of run {run_id} is no configuration of a training")
    refuse_foreign_targets(recorded)
    choices, words = recorded.pop("choices"), recorded.pop("words", [])
    place = f"of the recorded configuration of run {run_id}"
    by_group = checked(choices, dict[str, str | None], f"choices {place}")
    return Composed(recorded, Choices(by_group), tuple(checked(words, list[str], f"words {place}")))


def refuse_foreign_targets(config: object) -> None:
    """Refuse a recorded configuration that names code which our own conf/ does not."""
    for target in _targets(config):
        if target not in _known():
            raise ConfigError(f"the recorded configuration names {target!r}, which no file in conf/ does: it is not run")


@cache
def _known() -> frozenset[str]:
    files = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in CONF.rglob("*.yaml"))
    return frozenset(target for content in files for target in _targets(content))


def _targets(config: object) -> Iterable[str]:
    """Walk all values; what is nested without end, or unfolds to millions, is damage or worse."""
    nodes, num_nodes = [(config, 0)], 0
    while nodes:
        node, depth = nodes.pop()
        num_nodes += 1
        if depth > MOST_LEVELS or num_nodes > MOST_VALUES:
            raise ConfigError(f"the recorded configuration has more than {MOST_LEVELS} levels or {MOST_VALUES} values: it is damaged")
        if isinstance(node, Mapping):
            if TARGET in node:
                yield str(node[TARGET])
            nodes += [(value, depth + 1) for value in node.values()]
        elif isinstance(node, list):
            nodes += [(value, depth + 1) for value in node]
