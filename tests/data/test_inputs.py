"""Claims about readers of raw input: what a bundle may name as one, and what each kind says of itself."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest
from tests.data.bundled import through_json

from rnnlab.data.inputs import InputReader, as_json, from_json
from rnnlab.data.music.music import MusicReader
from rnnlab.paths import PACKAGE

MODULES = sorted(file.relative_to(PACKAGE.parent).with_suffix("") for file in (PACKAGE / "data").glob("*/*.py"))
READERS = [
    found
    for module in MODULES
    for found in vars(importlib.import_module(".".join(module.parts))).values()
    if inspect.isclass(found) and issubclass(found, InputReader) and not inspect.isabstract(found)
]


def test_a_reader_is_json_and_back() -> None:
    reader = MusicReader(("c", "e"))
    assert as_json(reader) == {"reader": "rnnlab.data.music.music.MusicReader", "keys": ("c", "e"), "steps_per_beat": 4}
    assert through_json(reader) == reader


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "rnnlab.models.gru.GRU",
        "rnnlab.data.music.music.MusicData",
        "rnnlab.data.music.music.os",
        "rnnlab.data.inputs.FileReader",
        "rnnlab.data.sound.base.AUDIO_SUFFIXES",
        "rnnlab.data.gone.Reader",
        "rnnlab.data.music.music.gone",
        "rnnlab.data...Reader",
        "",
    ],
)
def test_a_class_that_is_no_reader_of_our_data_is_neither_run_nor_imported_from_elsewhere(path: str) -> None:
    with pytest.raises(ValueError, match=rf"^the bundle's data are read by '{re.escape(path)}', which this version does not have$"):
        from_json({"reader": path, "keys": ["c"]})


@pytest.mark.parametrize("kept", [{}, {"keys": 3}, {"keys": [1.5]}])
def test_values_that_a_reader_does_not_take_are_refused(kept: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^the bundle's data don't fit rnnlab.data.music.music.MusicReader: .*keys"):
        from_json({"reader": "rnnlab.data.music.music.MusicReader", **kept})


def test_every_kind_of_data_has_one_reader_that_says_what_it_takes() -> None:
    assert len({reader.kind for reader in READERS}) == len(set(READERS)) >= 11
    for reader in READERS:
        assert reader.example.startswith(("text=", "input=")) and set(reader.columns.values()) <= {"string", "binary"}


@pytest.mark.slow
def test_a_reader_whose_package_is_missing_names_the_package() -> None:
    code = "import sys; sys.modules['mido'] = None; from rnnlab.data.inputs import from_json; from_json({'reader': sys.argv[1]})"
    done = subprocess.run([sys.executable, "-c", code, "rnnlab.data.music.music.MusicReader"], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("which needs the package mido: install it")
