"""Each reader of files on 1,000 hostile variants: a ValueError or an answer, within 30 s and 2 GiB; nothing run or written elsewhere."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, configuration, given, seed, settings
from hypothesis import strategies as st
from tests.conftest import untracked
from tests.fuzz import targets
from tests.fuzz.guard import limited_memory, watched
from tests.fuzz.targets import Base

from rnnlab.commands import train as run

NUM_INPUTS = 1000
SEED = 15
TINY = ("trainer=smoke", "data.source=sample", "model.recurrence.hidden_size=4", "tracking.log_model=false", "trainer.num_threads=1")
BASELINE = ("model=baseline", "data=series", "data.source=sample", "trainer=smoke", "tracking.log_model=false")
STEPS = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1)), min_size=1, max_size=4)


@pytest.fixture
def made(compose: Callable[..., Any], root: Path) -> tuple[list[Path], bytes, bytes]:
    """Return the bundles of a network and a baseline, a checkpoint and a recorded configuration."""
    folders: list[Path] = []
    for words in (("model=gru", "data=text", "tuned=null", "callbacks.checkpoint.keep_last=true", *TINY), BASELINE):
        before = set((root / "outputs").glob("*"))
        run.train(compose(*words))
        folders += set((root / "outputs").glob("*")) - before
    checkpoint, config = (next(folders[0].rglob(name)).read_bytes() for name in ("last.ckpt", "config.yaml"))
    return [folder / "artifacts/bundle" for folder in folders], checkpoint, config


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder that readers may write in, temporary files too, between two that must stay as they are."""
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "a.csv").write_bytes(b"a\n1\n")
    monkeypatch.setenv("RNNLAB_FUZZ_PAYLOAD", str(tmp_path / "executed"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "root"))
    configuration.set_hypothesis_home_dir(tmp_path / "hypothesis")
    (tmp_path / "root").mkdir()
    before = untracked()
    yield tmp_path / "root"
    assert (beside / "a.csv").read_bytes() == b"a\n1\n" and len(list(beside.iterdir())) == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"beside", "root", "hypothesis"}
    assert untracked() == before


def laid_out(base: Base, folder: Path) -> Path:
    """Write the files of a base, and return the one to be changed."""
    for name, content in {**base.beside, base.name: base.content}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / base.name


def read(base: Base, folder: Path, data: bytes) -> None:
    """Read one hostile file; a fault is whatever is no ValueError."""
    file = folder / base.name
    file.write_bytes(data)
    with watched(folder.parent) as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            base.read(folder, file)
        except ValueError as error:
            assert str(error).strip()
    assert watch.seen == [] and not Path(os.environ["RNNLAB_FUZZ_PAYLOAD"]).exists()


def fuzz(bases: list[Base], root: Path) -> None:
    """Read NUM_INPUTS variants of some files."""
    folders = [root / str(number) for number in range(len(bases))]
    for base, folder in zip(bases, folders, strict=True):
        file = laid_out(base, folder)
        with pytest.raises(ValueError) if base.is_refused else nullcontext():
            base.read(folder, file)

    @seed(SEED)
    @settings(max_examples=NUM_INPUTS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(which=st.integers(0, len(bases) - 1), steps=STEPS)
    def reads(which: int, steps: list[tuple[int, int]]) -> None:
        read(bases[which], folders[which], bases[which].changed(steps))

    with limited_memory():
        reads()
    shutil.rmtree(root)
    root.mkdir()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tables", "texts", "pairs", "manifests", "audio", "rolls"])
def test_hostile_data_cost_a_message_and_nothing_else(place: Path, kind: str) -> None:
    fuzz(getattr(targets, kind)(), place)


@pytest.mark.slow
def test_hostile_bundles_cost_a_message_and_nothing_else(made: tuple[list[Path], bytes, bytes], place: Path) -> None:
    fuzz(targets.bundles(made[0]), place)


@pytest.mark.slow
def test_hostile_checkpoints_cost_a_message_and_nothing_else(made: tuple[list[Path], bytes, bytes], place: Path) -> None:
    fuzz(targets.checkpoints(made[1]), place)


@pytest.mark.slow
def test_hostile_recorded_configurations_cost_a_message_and_nothing_else(made: tuple[list[Path], bytes, bytes], place: Path) -> None:
    fuzz(targets.configs(made[2]), place)
