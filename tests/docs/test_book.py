"""The book builds strictly and from nothing outside, its reference is complete, and its pages are as wide as a screen."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, sync_playwright

from rnnlab.paths import HOME

BOOK, CONF = HOME / "docs" / "book", HOME / "conf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MADE = ("study.axes", "study.space")
"""Mappings whose keys are anybody's."""


def of_book(name: str) -> ModuleType:
    """Import a module of the book, as MkDocs does."""
    pytest.importorskip("mkdocs")
    folders = sys.path[:]
    sys.path.insert(0, str(BOOK))
    try:
        return __import__(name)
    finally:
        sys.path[:] = folders


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the book as `make docs` does."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(BOOK / "mkdocs.yml"), "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(HOME / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=HOME, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return folder


# ------------------------------------------------------------------------------------------------------------ the pages


@pytest.mark.slow
def test_every_study_every_room_and_every_page_is_in_the_book(site: Path) -> None:
    for study in (HOME / "experiments").glob("*/README.md"):
        assert (site / "findings" / f"{study.parent.name}.html").is_file()
    for room in (HOME / "src/rnnlab").iterdir():
        if room.is_dir() and any(file.name != "__init__.py" for file in room.glob("*.py")):
            assert (site / "reference" / f"{room.name}.html").is_file(), room.name
    for page in (HOME / "docs").rglob("*.md"):
        name = page.relative_to(HOME / "docs").with_suffix(".html")
        assert (site / name).is_file() or (page.name == "README.md" and (site / name.parent / "index.html").is_file()), name


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere_and_equations_are_drawn(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if page.name == "report.html":
            continue
        assert not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=\"(https?:)?//", text), page
        assert 'class="arithmatex"' not in text, page
    assert "<math" in (site / "principles" / "lstm.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_code_and_output_stand_where_a_page_names_them(site: Path) -> None:
    lstm = (site / "principles" / "lstm.html").read_text(encoding="utf-8")
    errata = (site / "errata.html").read_text(encoding="utf-8")
    assert "src/rnnlab/cells/lstm.py: LSTMCell" in lstm
    assert "python -m pytest tests/cells/" in lstm
    assert "0.6682, 0.7311" in errata
    assert "0.8757" in errata
    assert not any(re.search(r"\[(code|test|output):", page) for page in (lstm, errata))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_page_is_wider_than_a_screen_nor_says_an_error(width: int, scheme: Any, site: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(120_000)  # a machine may be busy
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None)
    for name in ("index", "principles/lstm", "principles/gradients", "errata", "reference/keys", "reference/cells", "findings/cells_trec"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, name
        assert said == [], name
    page.close()


# -------------------------------------------------------------------------------------------------- keys of configuration


def leaves(node: object, prefix: str = "") -> Iterator[str]:
    """Name every key that holds a value."""
    assert isinstance(node, dict)
    for key, value in node.items():
        name = f"{prefix}{key}"
        if key in ("defaults", "_target_") or name.startswith("hydra"):
            continue
        if isinstance(value, dict) and value and not name.endswith(tuple(part.rpartition(".")[2] for part in MADE)):
            yield from leaves(value, f"{name}.")
        else:
            yield name


@pytest.fixture(scope="module")
def reference() -> dict[str, list[Any]]:
    """Return the keys of the reference by file."""
    return {page.title: page.keys for page in of_book("keys").pages()}


def test_every_key_of_conf_is_in_the_reference_with_a_meaning(reference: dict[str, list[Any]]) -> None:
    left_out = {"hydra", "tuned"}  # help texts, recipes
    titles = {f"src/{name}.py" for name in ("train", "score", "predict", "compare", "reproduce", "prepare")}
    for file in CONF.rglob("*.yaml"):
        group = file.parent.relative_to(CONF).as_posix()
        if group.partition("/")[0] in left_out:
            continue
        title = f"{group}={file.stem}" if group != "." else f"src/{file.stem.replace('config', 'train')}.py"
        assert title in reference, title
        named = {key.name for key in reference[title]}
        for leaf in leaves(yaml.safe_load(file.read_text(encoding="utf-8")) or {}):
            assert any(name == leaf or name.endswith(f".{leaf}") for name in named), f"{title}: {leaf}"
    assert titles <= set(reference)
    assert [(title, key.name) for title, keys in reference.items() for key in keys if not key.meaning] == []


def test_a_key_says_its_default_what_is_allowed_and_what_it_means(reference: dict[str, list[Any]]) -> None:
    found = {key.name: key for key in reference["data=speech"]}
    assert found["data.prepare.features"].allowed == "logmel, mfcc"
    assert found["data.loader.batch_size"].allowed == "whole number ≥ 1"
    assert found["data.loader.batch_size"].default == "64"
    assert found["data.loader.floor_db"].allowed == "number or null"
    assert found["data.prepare.num_mels"].meaning == "mel bands"  # of a class that the key's class inherits from
    assert "list: number" in {key.allowed for key in reference["optimizer=adamw"]}


# ------------------------------------------------------------------------------------------------------- what is included


def test_a_name_that_does_not_exist_stops_the_build() -> None:
    includes = of_book("includes")
    page = HOME / "docs" / "errata.md"
    for line, message in (
        ("[code: GRUCell.setp](../src/rnnlab/cells/gru.py)", "has no 'GRUCell.setp'"),
        ("[test: test_nothing](../tests/docs/test_book.py)", "has no 'test_nothing'"),
        ("[code: X](../src/rnnlab/cells/gruu.py)", "which does not exist"),
        ("see [this](../nowhere.md)", "links to ../nowhere.md, which does not exist"),
    ):
        with pytest.raises(includes.PluginError, match=re.escape(message)):
            includes.expanded(line, page, "errata.md")


def test_links_lead_to_pages_and_files_outside_the_book_become_words() -> None:
    includes = of_book("includes")
    page = HOME / "docs" / "principles" / "gru.md"
    text = "[a](../../experiments/cells_trec/README.md) [b](../comparing.md) [c](../../LICENSE) [d](https://example.org)"
    assert (
        includes.expanded(text, page, "principles/gru.md")
        == "[a](../findings/cells_trec.md) [b](../comparing.md) c [d](https://example.org)"
    )


def test_an_equation_with_an_unknown_word_stops_the_build() -> None:
    mathml = of_book("mathml")
    assert "<mi>h</mi>" in mathml.drawn("h_t", False)
    assert mathml.drawn(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", True).count("<mtr>") == 2
    for latex in (r"\nosuchword{x}", r"a & b"):
        with pytest.raises(mathml.PluginError, match="cannot be drawn"):
            mathml.drawn(latex, True)
