"""Runs that several tests of commands need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnlab.commands import train as command

RunOf = Callable[..., str]


@pytest.fixture(scope="module")
def trained(root: Path) -> dict[tuple[str, ...], str]:
    """Ids of trained runs by their words."""
    return {}


@pytest.fixture
def run_of(compose: Callable[..., Any], trained: dict[tuple[str, ...], str]) -> RunOf:
    """Train with these words, once for all tests of a file, and return the run's id."""

    def made(*words: str) -> str:
        if words not in trained:
            config = compose(*words)
            before = set(config.paths.outputs.glob("*"))
            command.train(config)
            (folder,) = set(config.paths.outputs.glob("*")) - before
            trained[words] = folder.name
        return trained[words]

    return made
