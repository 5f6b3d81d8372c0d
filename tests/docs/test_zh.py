"""The Chinese pages are those of the originals: the same commands, the same code, tests and output, one word for recurrent."""

import re
from pathlib import Path

import pytest

from rnnlab.paths import HOME

DOCS = HOME / "docs"
PAGES = sorted(file.relative_to(DOCS / "zh") for file in (DOCS / "zh").rglob("*.md"))
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"^\[((?:code|test|output): [^\]]+|equations)\]\((?:\.\./)+([^)]+)\)$", re.MULTILINE)


def original_of(page: Path) -> Path:
    return DOCS.parent / "README.md" if page.name == "README.md" else DOCS / page


def test_the_readme_and_every_principle_are_translated() -> None:
    assert {page.name for page in PAGES} >= {"README.md", *(file.name for file in (DOCS / "principles").glob("*.md"))}
    assert all(original_of(page).is_file() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_code_and_tests_are_those_of_the_original(page: Path) -> None:
    translated, original = ((folder).read_text(encoding="utf-8") for folder in (DOCS / "zh" / page, original_of(page)))
    assert FENCED.findall(translated) == FENCED.findall(original)
    assert NAMED.findall(translated) == NAMED.findall(original)


def test_recurrent_is_one_word_and_the_other_is_explained_once() -> None:
    texts = {page.name: (DOCS / "zh" / page).read_text(encoding="utf-8") for page in PAGES}
    assert [name for name, text in texts.items() if "递归" in text] == ["recurrence.md"]
    assert "循环神经网络" in texts["README.md"]
