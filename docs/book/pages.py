"""Pages that are made while the book is built: studies, configuration keys, the package's documentation; and their places in the nav."""

import re
from pathlib import Path

import keys
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from places import DOCS, EXPERIMENTS, HOME, SHOWN, source_of, studies

PACKAGE = HOME / "src" / "rnnlab"
ROOMS = (
    *("tasks", "cells", "layers", "models", "baselines", "data", "training", "evaluation", "insight", "tracking", "studies", "report"),
    "commands",
)
"""The rooms of the package in the order of reading."""
BESIDE = "beside"
"""The page of the modules that stand beside the rooms."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the nav (an event of MkDocs): what is made, and pages that no section names yet."""
    named = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    others = [page.name for page in sorted(DOCS.glob("*.md")) if page.name not in named]
    made: dict[str, list[object]] = {"Findings": findings_nav(), "Reference": reference_nav(), "How to": [*others]}
    for section in config["nav"]:
        ((title, entries),) = section.items()
        if title in made:
            entries.extend(made[title])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages (an event of MkDocs)."""
    for name, text in {**written(), **api()}.items():
        files.append(File.generated(config, name, content=text))
    for study in studies():
        for file in sorted((EXPERIMENTS / study).iterdir()):
            if file.suffix in SHOWN:
                files.append(File.generated(config, f"findings/{study}/{file.name}", abs_src_path=str(file)))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Say which language a page is in (an event of MkDocs)."""
    is_chinese = page.file.src_uri.startswith("zh/")
    return output.replace('<html lang="en"', '<html lang="zh-CN"', 1) if is_chinese else output


def written() -> dict[str, str]:
    """Return the pages that are files elsewhere in the repository, and the list of studies and of keys."""
    pages = {f"findings/{study}.md": finding(study) for study in studies()}
    pages["index.md"] = source_of("index.md").read_text(encoding="utf-8")
    pages["findings/index.md"] = findings()
    pages["reference/keys.md"] = reference_of_keys()
    return pages


# ---------------------------------------------------------------------------------------------------------------- findings


def finding(study: str) -> str:
    """Return a study's page: its README, the figures that it does not show, and its files."""
    text = source_of(f"findings/{study}.md").read_text(encoding="utf-8")
    files = sorted(file.name for file in (EXPERIMENTS / study).iterdir() if file.suffix in SHOWN)
    figures = [name for name in files if name.endswith((".png", ".svg")) and f"]({name})" not in text]
    shown = "".join(f"\n![{Path(name).stem.replace('_', ' ')}]({name})\n" for name in figures)
    others = [name for name in files if name.endswith(".csv")]
    listed = f"\nFiles: {', '.join(f'[{name}]({name})' for name in others)}\n" if others else ""
    return f"{text}\n## Figures\n{shown}{listed}" if figures else f"{text}{listed}"


def title_of(study: str) -> str:
    """Return the heading of a study's page."""
    found = re.search(r"^# (.*)$", source_of(f"findings/{study}.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, study
    return found[1]


def question_of(study: str) -> str:
    """Return what a study asks."""
    text = source_of(f"findings/{study}.md").read_text(encoding="utf-8")
    found = re.search(r"\*\*Question\.\*\* (.*?)\n\n", text, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def findings() -> str:
    """Return the list of studies."""
    rows = "".join(f"| [{title_of(study)}]({study}.md) | {question_of(study)} |\n" for study in studies())
    return (
        "# Findings\n\nEvery study: the question, the commands that make every number again, and what was concluded. The pages are the "
        "files `experiments/*/README.md` of the repository.\n\n"
        f"| study | question |\n|---|---|\n{rows}"
    )


def findings_nav() -> list[object]:
    """Return the findings' entries."""
    return ["findings/index.md", *({title_of(study): f"findings/{study}.md"} for study in studies())]


# --------------------------------------------------------------------------------------------------------------- reference


def reference_of_keys() -> str:
    """Return all configuration keys as tables."""
    parts = [
        "# Configuration keys\n\nMade from `conf/` and the signatures that check it. A key is typed as it stands here: "
        "`python src/train.py model.recurrence.hidden_size=64`. `${...}` takes another key's value. A file that changes another shows only "
        "what it changes.\n"
    ]
    for page in keys.pages():
        rows = "".join(f"| `{key.name}` | {cell(key.default, True)} | {cell(key.allowed)} | {cell(key.meaning)} |\n" for key in page.keys)
        table = f"\n| key | default | allowed | meaning |\n|---|---|---|---|\n{rows}" if rows else ""
        parts.append(f"\n## `{page.title}`\n\n{page.note}\n{table}")
    return "".join(parts)


def cell(text: str, is_code: bool = False) -> str:
    """Return a text as a table's cell."""
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`" if is_code and text else escaped


def rooms() -> dict[str, list[str]]:
    """Return the package's modules by room, those that stand beside the rooms last."""
    names = [file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for file in sorted(PACKAGE.rglob("*.py"))]
    names = [name for name in names if not name.endswith("__init__")]
    new = sorted({name.partition(".")[0] for name in names if "." in name} - set(ROOMS))  # rooms that the order of reading does not know
    found = {room: [name for name in names if name.startswith(f"{room}.")] for room in (*ROOMS, *new)}
    return {**found, BESIDE: [name for name in names if "." not in name]}


def title(room: str) -> str:
    """Return the reference's name of a room."""
    return "Command line, settings, contracts" if room == BESIDE else f"rnnlab.{room}"


def api() -> dict[str, str]:
    """Return a page for each room: its modules, from their docstrings."""
    pages = {}
    for room, modules in rooms().items():
        parts = "".join(f"\n## `rnnlab.{module}`\n\n::: rnnlab.{module}\n    options: {{show_root_heading: false}}\n" for module in modules)
        pages[f"reference/{room}.md"] = f"# {title(room)}\n{parts}"
    return pages


def reference_nav() -> list[object]:
    """Return the reference's entries."""
    named = [{title(room): f"reference/{room}.md"} for room in rooms()]
    return [{"Configuration keys": "reference/keys.md"}, {"The package": named}]
