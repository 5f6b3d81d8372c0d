"""Hashes that tell apart what numbers follow from."""

from pathlib import Path

import pytest

from rnnlab.data import hashing
from rnnlab.data.hashing import code_hash, digest


def test_a_digest_is_that_of_sorted_json() -> None:
    # printf '{"a": [1, "é"], "b": null}' | sha256sum | head -c 16
    assert digest({"b": None, "a": [1, "é"]}) == digest({"a": [1, "é"], "b": None}) == "67bede5415afadc6"
    assert digest({"a": ["é", 1], "b": None}) != digest({"a": [1, "é"], "b": None})


CODE = '''"""Words about the module."""

LIMIT = 3
"""Words about the limit."""


def prepare(x: int) -> int:
    """Words about the function."""
    if x < 0:
        raise ValueError(f"{x} is too small")
    print("preparing", x)
    return x + LIMIT  # a comment


class Settings:
    """Words about the settings."""

    rate: int
    """Words about the rate."""


class Loader(Settings):
    """Words about the loader."""

    def load(self) -> int:
        return 1
'''


def hash_of(folder: Path, text: str, classes: bool = False) -> str:
    (folder / "module.py").write_text(text, encoding="utf-8")
    return code_hash(folder / "module.py", classes=classes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *[(f"Words about the {noun}.", "Other words.") for noun in ("module", "limit", "function", "settings", "rate", "loader")],
        ("  # a comment", ""),
        ("x + LIMIT", "(x  +\n        LIMIT)"),
        ('    """Words about the function."""\n', ""),
        ("is too small", "must be positive"),
        ('"preparing", x', '"ready"'),
        ("LIMIT = 3", "from rnnlab.data import tables\n\nLIMIT = 3"),
        ("return 1", "return 2"),
        ("class Loader(Settings)", "class Reader(Settings)"),
    ],
)
def test_words_layout_and_loaders_do_not_change_the_hash_of_code(tmp_path: Path, old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert hash_of(tmp_path, CODE.replace(old, new)) == hash_of(tmp_path, CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("LIMIT = 3", "LIMIT = 4"), ("x + LIMIT", "LIMIT + x"), ("rate: int", "rate: float"), ("raise ValueError", "raise TypeError")],
)
def test_code_changes_the_hash_of_code(tmp_path: Path, old: str, new: str) -> None:
    assert hash_of(tmp_path, CODE.replace(old, new)) != hash_of(tmp_path, CODE)


def test_the_hash_of_a_package_follows_derived_classes_too(tmp_path: Path) -> None:
    whole = hash_of(tmp_path, CODE, classes=True)
    assert hash_of(tmp_path, CODE.replace("return 1", "return 2"), classes=True) != whole
    assert hash_of(tmp_path, CODE.replace("Words about the loader.", "Other words."), classes=True) == whole


def test_moving_a_definition_to_another_file_keeps_the_hash_of_code(tmp_path: Path) -> None:
    whole, place = hash_of(tmp_path, CODE), CODE.index("class Settings")
    (tmp_path / "a.py").write_text(CODE[:place], encoding="utf-8")
    (tmp_path / "b.py").write_text(CODE[place:], encoding="utf-8")
    assert code_hash(tmp_path / "b.py", tmp_path / "a.py") == whole
    assert code_hash(tmp_path / "a.py") != whole


def test_hashes_are_kept_for_later_processes_and_a_damaged_file_of_them_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, kept = tmp_path / "module.py", tmp_path / "kept" / "definitions.json"
    monkeypatch.setattr(hashing, "KEPT", kept)
    file.write_text(CODE, encoding="utf-8")

    def anew() -> str:
        for each in (hashing._kept, hashing._definitions):
            each.cache_clear()
        return code_hash(file, classes=True)

    parsed, num_parsed = hashing._parsed, [0]

    def counting(code: str, classes: bool) -> frozenset[str]:
        num_parsed[0] += 1
        return parsed(code, classes)

    monkeypatch.setattr(hashing, "_parsed", counting)
    first = anew()
    assert kept.is_file() and num_parsed == [1]
    assert anew() == first and num_parsed == [1]
    kept.write_text("{", encoding="utf-8")
    assert anew() == first and num_parsed == [2]
    file.write_text(CODE.replace("LIMIT = 3", "LIMIT = 4"), encoding="utf-8")
    assert anew() != first and num_parsed == [3]
    for each in (hashing._kept, hashing._definitions):
        each.cache_clear()
