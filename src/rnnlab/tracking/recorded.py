"""The configuration that a run recorded: data, never code."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from rnnlab.config import TARGET, ConfigError
from rnnlab.paths import CONF
from rnnlab.settings import Choices, Composed
from rnnlab.tracking.store import Client, TrackingError, read_artifact

FILE = "config.yaml"


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the recorded configuration of run {run_id} cannot be read: {error}") from None
    if not isinstance(recorded, dict) or not {"model", "data", "trainer", "seed", "choices"} <= recorded.keys():
        raise ConfigError(f"the recorded configuration of run {run_id} is no configuration of a training")
    refuse_foreign_targets(recorded)
    choices, words = recorded.pop("choices"), recorded.pop("words", [])
    return Composed(recorded, Choices(choices), tuple(words))


def refuse_foreign_targets(config: object) -> None:
    """Refuse a recorded configuration that names code which our own conf/ does not."""
    known = {target for file in CONF.rglob("*.yaml") for target in _targets(yaml.safe_load(file.read_text(encoding="utf-8")))}
    for target in _targets(config):
        if target not in known:
            raise ConfigError(f"the recorded configuration names {target!r}, which no file in conf/ does: it is not run")


def _targets(node: object) -> Iterable[str]:
    if isinstance(node, Mapping):
        if TARGET in node:
            yield str(node[TARGET])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)
