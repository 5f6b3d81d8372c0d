"""Which file of the repository is which page of the book, and how one finds the other."""

import os
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
DOCS = HOME / "docs"
EXPERIMENTS = HOME / "experiments"
SHOWN = {".png", ".svg", ".csv"}
"""What a study's page may link to and show."""


def studies() -> list[str]:
    """Return the folders of experiments that have something to say."""
    return sorted(file.parent.name for file in EXPERIMENTS.glob("*/README.md"))


def source_of(page: str) -> Path:
    """Return the file that a page is written in.

    Args:
        page: as MkDocs names it, e.g. `findings/cells_trec.md`.
    """
    if page == "index.md":
        return HOME / "README.md"
    folder, _, name = page.partition("/")
    if folder == "findings" and name.removesuffix(".md") in studies():
        return EXPERIMENTS / name.removesuffix(".md") / "README.md"
    return DOCS / page


def page_of(file: Path) -> str | None:
    """Return where a file of the repository lies in the book, or None where it does not.

    Args:
        file: absolute.
    """
    if file == HOME / "README.md":
        return "index.md"
    if file == EXPERIMENTS:
        return "findings/index.md"
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS).as_posix() if file.is_file() else None
    if file.is_relative_to(EXPERIMENTS) and file.parent.name in studies():
        if file.name == "README.md":
            return f"findings/{file.parent.name}.md"
        return f"findings/{file.parent.name}/{file.name}" if file.suffix in SHOWN and file.is_file() else None
    return f"findings/{file.name}.md" if file.parent == EXPERIMENTS and file.name in studies() else None


def link(page: str, other: str) -> str:
    """Return the way from one page to another."""
    return Path(os.path.relpath(other, Path(page).parent)).as_posix()
