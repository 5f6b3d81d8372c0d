"""The configuration that a run recorded: data, never code."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rnnlab.config import TARGET, ConfigError, checked
from rnnlab.paths import CONF
from rnnlab.settings import Choices, Composed, Paths
from rnnlab.tracking.store import Client, TrackingError, get_run, read_artifact

FILE = "config.yaml"
CONFIG_HASH = "config_hash"
NEEDED = {"model", "data", "trainer", "seed", "choices"}
"""Keys without which it is no configuration of a training."""
MOST_LEVELS, MOST_VALUES = 50, 100_000


def write_config(composed: Composed, folder: Path) -> Path:
    """Write a configuration into a run's folder and return the file; paths in it are absolute."""
    kept = {**composed.values, "choices": dict(composed.choices.by_group), "words": list(composed.words)}
    file = folder / FILE
    file.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return file


def config_hash(file: Path) -> str:
    """Hash a recorded configuration, as the run's tag CONFIG_HASH keeps it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def read_config(client: Client | None, run_id: str, into: Path, paths: Paths | None = None) -> Composed:
    """Read the configuration of a run, fetched to a folder; from the run's own folder where tracking lacks it, or there is no client.

    Raises:
        ConfigError: where none was recorded, it cannot be read, was changed since, or names foreign code.
    """
    own = paths.outputs / run_id / FILE if paths is not None else into / FILE
    try:
        file = own if client is None else read_artifact(client, run_id, FILE, into)
    except TrackingError as error:
        file = own
        if not own.is_file():
            raise ConfigError(f"{error}: it did not record its configuration, so it cannot be made again") from None
    if client is not None and config_hash(file) != get_run(client, run_id).data.tags.get(CONFIG_HASH, config_hash(file)):
        raise ConfigError(
            f"the recorded configuration of run {run_id} was changed since ({file}): its results do not follow from it any more. Put back "
            "what stood there, or train anew with the words that you want"
        )
    return load_config(file, run_id, paths)


def load_config(file: Path, run_id: str, paths: Paths | None = None) -> Composed:
    """Read a recorded configuration; paths below the root of then lie below today's, if that is given.

    Raises:
        ConfigError: where it cannot be read, or names foreign code.
    """
    try:
        recorded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"the recorded configuration of run {run_id} cannot be read ({file}): {' '.join(str(error).split())}") from None
    if not isinstance(recorded, dict) or not recorded.keys() >= NEEDED:
        raise ConfigError(f"the recorded configuration of run {run_id} is no configuration of a training ({file})")
    refuse_foreign_targets(recorded)
    if not all(isinstance(recorded[key], Mapping) for key in ("model", "data", "trainer")):
        raise ConfigError(f"the recorded configuration of run {run_id} is damaged ({file}): a section of it is none")
    before = recorded.get("paths", {})
    if paths is not None and isinstance(before, Mapping):
        recorded = _moved(recorded, str(before.get("root", "")), str(paths.root))
    choices, words = recorded.pop("choices"), recorded.pop("words", [])
    place = f"of the recorded configuration of run {run_id}"
    by_group = checked(choices, dict[str, str | None], f"choices {place}")
    return Composed(recorded, Choices(by_group), tuple(checked(words, list[str], f"words {place}")))


def _moved(node: Any, before: str, now: str) -> Any:
    """Return recorded values in which paths below a folder lie below the one that it was moved to."""
    if isinstance(node, Mapping):
        return {key: _moved(value, before, now) for key, value in node.items()}
    if isinstance(node, list):
        return [_moved(value, before, now) for value in node]
    is_below = isinstance(node, str) and before != "" and f"{node}/".startswith(f"{before.rstrip('/')}/")
    return now + node[len(before.rstrip("/")) :] if is_below else node


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
