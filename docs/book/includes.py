"""Lines of a page that stand for something in the repository, and links that lead out of the book.

A paragraph that is one link of these kinds is replaced by what it names, so that a page cannot drift from the code; read as plain
Markdown, it is a link to the file.

    [code: GRUCell.step](../../src/rnnlab/cells/gru.py)           the source of a class, method or function, without its docstring
    [equations](../../src/rnnlab/cells/gru.py)                    a module's docstring
    [test: test_a_claim](../../tests/cells/test_cells.py)         a test, folded, with the command that runs it
    [output: python -m rnnlab.x](../../src/rnnlab/x.py)           what a command prints, run while the book is built
"""

import ast
import contextlib
import functools
import io
import re
import runpy
import shlex
import sys
import textwrap
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from places import EXPERIMENTS, HOME, link, page_of, source_of

LINE = re.compile(r"^\[(?:(?P<kind>code|test|output): (?P<what>[^\]]+)|equations)\]\((?P<path>[^)\s]+)\)$", re.MULTILINE)
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put what is named in its place (an event of MkDocs)."""
    name = page.file.src_uri
    if not source_of(name).is_file():  # made while the book is built
        return markdown
    return expanded(markdown, source_of(name), name)


def expanded(markdown: str, source: Path, page: str) -> str:
    """Return a page with its included lines and its links as the book needs them.

    Args:
        markdown: of the page.
        source: the file that it is written in, which links are relative to.
        page: its place in the book.

    Raises:
        PluginError: where something is named that does not exist.
    """
    markdown = LINE.sub(lambda found: included(found, source), markdown)
    parts = FENCED.split(markdown)
    return "".join(part if number % 2 else LINK.sub(lambda found: relinked(found, source, page), part) for number, part in enumerate(parts))


def included(found: "re.Match[str]", source: Path) -> str:
    """Return what a line stands for, as Markdown."""
    kind, what = found["kind"], found["what"]
    file = (source.parent / found["path"]).resolve()
    if not file.is_file():
        raise PluginError(f"{source.relative_to(HOME)} names {found['path']}, which does not exist")
    place = file.relative_to(HOME).as_posix()
    if kind == "output":
        return fenced(f"$ {what}\n{output_of(what)}", "console")
    if kind == "code":
        return fenced(code_of(file, what), "python", f"{place}: {what}")
    if kind == "test":
        words = what.removeprefix("test_").replace("_", " ")
        inner = f"`python -m pytest {place} -k {what}`\n\n{fenced(code_of(file, what), 'python')}"
        return f'??? success "Test: {words}"\n{textwrap.indent(inner, "    ")}'
    return fenced(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "", "text", place)


def fenced(text: str, language: str, title: str = "") -> str:
    """Return a block of code."""
    named = f' title="{title}"' if title else ""
    return f"``` {{.{language}{named}}}\n{text.rstrip()}\n```"


@functools.cache
def code_of(file: Path, path: str) -> str:
    """Return the source of a class, method or function without its docstring.

    Args:
        file: of Python.
        path: its name, dotted: `GRUCell.step`.

    Raises:
        PluginError: where there is no such name.
    """
    text = file.read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for name in path.split("."):
        inner = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name]
        if not inner:
            raise PluginError(f"{file.relative_to(HOME)} has no {path!r}")
        node = inner[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    lines = text.splitlines()[first - 1 : node.end_lineno]
    if ast.get_docstring(node):
        start, end = node.body[0].lineno - first, (node.body[0].end_lineno or 0) - first + 1
        lines = lines[:start] + lines[end:]
    return textwrap.dedent("\n".join(lines)).replace("\n\n\n", "\n\n")


@functools.cache
def output_of(command: str) -> str:
    """Return what a Python command prints; it is run in this process, from the repository's folder.

    Args:
        command: `python -m MODULE WORDS` or `python FILE WORDS`.
    """
    _, *words = shlex.split(command)
    argv, folders, shown = sys.argv, sys.path[:], io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), contextlib.chdir(HOME):
            sys.path.insert(0, str(HOME / "src"))
            if words[0] == "-m":
                sys.argv = words[1:]
                runpy.run_module(words[1], run_name="__main__")
            else:
                sys.argv = words
                sys.path.insert(0, str((HOME / words[0]).parent))
                runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, folders
    return shown.getvalue()


def relinked(found: "re.Match[str]", source: Path, page: str) -> str:
    """Return a link as the book needs it: to the page that a file has become, or its text alone where it is in no page."""
    target, anchor = found["target"], found["anchor"] or ""
    if "://" in target or target.startswith("mailto:"):
        return found[0]
    file = (source.parent / target).resolve()
    if file.name == "README.md" and file.parent.parent == EXPERIMENTS and file.parent.is_dir() and not file.exists():
        return found["text"]  # a study that has not been recorded yet
    if not file.exists():
        raise PluginError(f"{source.relative_to(HOME)} links to {target}, which does not exist")
    place = page_of(file)
    if place is None:
        return found["text"]
    return f"{found['mark']}[{found['text']}]({link(page, place)}{anchor})"
