"""Every command of the book's pages is typed here, in their order; trainings take a few batches of the bundled sample.

Studies, several devices, clusters and servers are composed and checked, not run (test_readme, test_sweep and test_distributed run such);
installs are left out.
"""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from rnnlab.cli import as_hydra_reads, check_words
from rnnlab.paths import HOME

PAGES = sorted(file for file in (HOME / "docs").rglob("*.md") if not {"zh", "book"} & set(file.parts) and file.name != "decisions.md")
BLOCK = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<file>[^\"]+)\")?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
COMPOSED = re.compile(r"study=|--status|filter=|trainer=ddp|tracking.uri=|hydra/launcher=|resume=|^RNNLAB_ROOT=")
ELSEWHERE = ("experiments/", "rnnlab.principles")  # their own tests run them
RECORDING = HOME / "data/samples/speech/recordings/7/7_f2_gb_1.flac"


def lines_of(page: Path) -> list[str]:
    """Return a page's commands."""
    text = page.read_text(encoding="utf-8")
    return [line for found in BLOCK.finditer(text) if found["language"] == "bash" for line in found["text"].splitlines() if line.strip()]


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """Split a command into the variables before it and its words."""
    words = shlex.split(line)
    num = next(index for index, word in enumerate(words) if "=" not in word)
    return dict(word.split("=", 1) for word in words[:num]), words[num:]


def is_composed(line: str) -> bool:
    """Whether a command is only composed and checked."""
    return (
        line.startswith("make ")
        or any(part in line for part in ELSEWHERE)
        or bool(COMPOSED.search(line) and "study.dry_run=true" not in line)
    )


WITH_COMMANDS = [page for page in PAGES if lines_of(page)]


def test_there_are_pages_with_commands() -> None:
    names = {page.relative_to(HOME / "docs").as_posix() for page in WITH_COMMANDS}
    assert {
        f"how-to/{name}.md" for name in ("own-data", "sweep", "compare", "gpu-and-cluster", "series", "dna", "sentiment", "music", "cells")
    } <= names


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_every_word_of_what_is_not_run_is_valid(page: Path) -> None:
    for line in filter(is_composed, lines_of(page)):
        variables, (program, *words) = words_of(line)
        assert all(name.startswith("RNNLAB_") for name in variables), line
        if program == "make":
            assert re.search(rf"^{words[0]}:", (HOME / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), line
            continue
        assert program == "python", line
        if words[0].startswith("src/"):
            name = Path(words[0]).stem.replace("train", "config")
            check_words(name, [as_hydra_reads(name, word) for word in words[1:] if not word.startswith("-") or word == "--status"])
        else:
            assert words[0] == "-m" or (HOME / words[0]).is_file(), line


LONG = ("epochs", "trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
"""Keys that say how long a training takes."""
FEW = ("trainer.limit_train_batches=4", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "trainer.max_epochs=1")


def shortened(words: list[str]) -> list[str]:
    """Return a training's words so that it takes seconds; other commands' are left as they are."""
    keys = [word.partition("=")[0] for word in words]
    if Path(words[0]).name != "train.py" or "resume" in keys or {"--cfg", "--help"} & set(words):
        return words
    kept = [word for word, key in zip(words, keys, strict=True) if key not in LONG]
    chosen = next((word.partition("=")[2] for word in words if word.startswith("data=")), "speech")
    files = [HOME / "conf/data" / f"{name}.yaml" for name in chosen.split(",")]
    has_source = all("source" in yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    added = [*FEW, "tracking.log_model=false", *(["data.source=sample"] if has_source and "data.source" not in keys else [])]
    return [*kept, *(word for word in added if word in FEW or word.partition("=")[0] not in keys)]


def typed(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a Python command in this process, as it is typed, and return what it prints."""
    script = HOME / words[0] if words[0].startswith("src/") else Path(words[0])
    monkeypatch.setattr(sys, "argv", [str(script), *words[1:]])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, f"{shlex.join(words)}\n{capsys.readouterr().err}"
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_a_page_runs_as_typed_from_top_to_bottom(
    page: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNLAB_ROOT", str(root))
    monkeypatch.delenv("RNNLAB_MIRROR", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found["file"]:
            (tmp_path / found["file"]).write_text(found["text"], encoding="utf-8")
    runs: list[str] = []
    for line in lines_of(page):
        if is_composed(line):
            continue
        _, (_, *words) = words_of(line.replace("input=FILE", f"input={RECORDING}"))
        while "RUN_ID" in (line := shlex.join(words)):
            words = shlex.split(line.replace("RUN_ID", runs[-1 - line.count("RUN_ID,")], 1))
        runs += re.findall(r"^run ([0-9a-f]{32})$", typed(shortened(words), capsys, monkeypatch), re.MULTILINE)
