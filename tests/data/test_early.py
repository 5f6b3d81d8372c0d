"""A user's files are read before anything heavy is imported, once, and as the data module reads them."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from rnnlab.config import TARGET, ConfigError, Node, locate
from rnnlab.data import early
from rnnlab.data.early import keep_read, read_early, read_once
from rnnlab.paths import CONF, HOME, SAMPLES

KINDS: dict[str, dict[str, Any]] = {
    content["name"]: content
    for content in (yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((CONF / "data").glob("*.yaml")))
    if TARGET in content and "source" in content
}
HEAVY = ("torch", "pytorch_lightning", "mlflow", "torchtext", "torchaudio", "scipy", "sklearn")
OWN = {
    "text": "text/headlines.csv", "translation": "translation", "pronunciation": "pronunciation", "speech": "speech",
    "dictation": "dictation", "music": "music", "series": "series/hourly_load.csv", "stock": "stock", "language": "language/story.txt",
    "sequences": "sequences/swings.csv",
    "summaries": "summaries/notices.jsonl",
    "tags": "tags",
    "events": "events/orders.csv",
}  # fmt: skip


def source_module(kind: str) -> Any:
    return importlib.import_module(f"{KINDS[kind][TARGET].rpartition('.')[0]}_source")


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    early._kept.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_reads_files_can_read_them_early_and_knows_its_named_sources(kind: str) -> None:
    named: Mapping[str, object] = locate(KINDS[kind][TARGET], "data").upstreams  # type: ignore[attr-defined]  # of a data module
    assert set(source_module(kind).NAMED) == set(named)
    assert kind in OWN


def test_nothing_heavy_is_imported_to_read() -> None:
    modules = [f"{KINDS[kind][TARGET].rpartition('.')[0]}_source" for kind in KINDS]
    code = f"import sys, importlib, rnnlab.commands.train\nfor name in {modules}: importlib.import_module(name)\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME / "src")
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_read_early_is_what_the_data_module_reads_and_is_not_read_again(
    kind: str, compose: Callable[..., Any], tmp_path: Path
) -> None:
    sample, own = SAMPLES / OWN[kind], tmp_path / Path(OWN[kind]).name
    (shutil.copytree if sample.is_dir() else shutil.copy)(sample, own)
    settings = compose(f"data={kind}", f"data.source={own}")
    make = settings.data.recipe()
    expected: pd.DataFrame = make(settings.paths, 0).read_raw(own)
    read_early(settings.data)
    assert early._kept
    for file in (file for file in own.rglob("*") if file.is_file()) if own.is_dir() else [own]:
        file.write_bytes(b"")
    data = make(settings.paths, 0)
    found = data.read_raw(data.fetch_raw())
    pd.testing.assert_frame_equal(found, expected)
    assert not early._kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_what_is_wrong_is_said_early_in_the_words_of_the_data_module(
    kind: str, source: str, compose: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "empty").write_bytes(b"")
    settings = compose(f"data={kind}", f"data.source={tmp_path / source}")
    data = settings.data.recipe()(settings.paths, 0)
    with pytest.raises(ValueError) as late:  # compared below
        data.read_raw(data.fetch_raw())
    with pytest.raises(ValueError) as said:  # likewise
        read_early(settings.data)
    assert str(said.value) == str(late.value) and str(tmp_path / source) in str(said.value)


@pytest.mark.parametrize("kind", KINDS)
def test_named_sources_and_the_sample_are_left_to_the_data_module(kind: str) -> None:
    for source in (*source_module(kind).NAMED, "sample"):
        read_early(Node("data", {**KINDS[kind], "source": source}))
    assert not early._kept


def test_generated_data_have_nothing_to_read(compose: Callable[..., Any]) -> None:
    read_early(compose("data=adding").data)
    assert not early._kept


def test_a_wrong_setting_is_refused_as_the_recipe_refuses_it(compose: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,b\n")
    with pytest.raises(ConfigError, match=r"data.prepare.on_broken=sometimes is not allowed. Allowed: raise, skip"):
        read_early(compose("data=text", f"data.source={tmp_path / 't.csv'}", "data.prepare.on_broken=sometimes").data)


def test_what_was_kept_is_given_once_to_whoever_asks_for_the_same() -> None:
    calls: list[tuple[int, str]] = []

    def read(number: int, word: str) -> list[int]:
        calls.append((number, word))
        return [number]

    keep_read(read, 1, "a")
    kept = read_once(read, 1, "a")
    assert (kept, calls) == ([1], [(1, "a")])
    assert read_once(read, 1, "a") == [1] and len(calls) == 2, "it was given away"
    keep_read(read, 1, "a")
    assert read_once(read, 2, "a") == [2] and not early._kept, "of other files nothing is kept any longer"
