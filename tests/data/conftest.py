"""What the tests of data share: data modules as conf/ describes them, with a few keys changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rnnlab.config import Config, recipe
from rnnlab.data.base import SequenceDataModule
from rnnlab.paths import HOME
from rnnlab.settings import Paths


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., SequenceDataModule]:
    """Make the data module of conf/data/<name>.yaml with changed keys (`loader__batch_size=3`), its data below the test's own folder."""

    def made(name: str, /, source: Path | str, seed: int = 0, data: Path | None = None, **changed: object) -> SequenceDataModule:
        config: Config = yaml.safe_load((HOME / "conf" / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
        config.pop("defaults", None)
        for key, value in {"source": str(source), "offline": True, **changed}.items():
            *parents, last = key.split("__")
            node = config
            for parent in parents:
                node = node[parent]
            assert last in node
            node[last] = value
        paths = replace(Paths.below(tmp_path), data=data or tmp_path / "data")
        module: SequenceDataModule = recipe(config, "data")(paths, seed)
        return module

    return made
