"""What the tests of data share: files, tables, and data modules as conf/ describes them, with a few keys changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from rnnlab.config import Config, recipe
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.tables import Table
from rnnlab.paths import HOME
from rnnlab.settings import Paths

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file, t.csv if not named, and return where it is."""

    def written(content: str | bytes, name: str = "t.csv") -> Path:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return written


def table_of(**columns: list[str]) -> Table:
    """Make a table as if read, its records in lines 2, 3, ..."""
    frame = pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in columns.items()})
    return Table(Path("t.csv"), frame, np.arange(2, 2 + len(frame)), ",", {})


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
