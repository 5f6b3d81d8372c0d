"""Hashes that tell apart what numbers follow from: JSON values, and the code of modules."""

import ast
import hashlib
import json
import os
import sys
import threading
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

from rnnlab.paths import PACKAGE

KEPT = PACKAGE / "__pycache__" / "definitions.json"
"""Hashes of definitions by the hash of their file's text. To parse all modules anew would cost each process a second."""
MOST_KEPT = 5000
_PARSING = threading.Lock()  # Python 3.11 may raise SystemError when several threads parse at once
_OUTPUT = ("print", "warn", "log")


def digest(value: object) -> str:
    """Hash a value that JSON can hold, independent of key order; 16 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def checksum(file: Path) -> int:
    """Return the CRC-32 of a file's bytes: enough to tell that a disk lost some, at the speed of reading them."""
    found = 0
    with file.open("rb") as opened:
        while part := opened.read(1 << 22):
            found = zlib.crc32(part, found)
    return found


def code_hash(*files: Path, classes: bool = False) -> str:
    """Hash what the definitions in these files do, wherever they stand.

    Comments, docstrings, layout, messages (what is raised or printed), the names and order of files and imports from this package do not
    count: moving a definition to another file keeps the hash.

    Args:
        files: Python modules.
        classes: whether derived classes count. Preparation consists of functions and frozen settings, loading of derived classes, so
            changing a loader does not prepare the data anew.
    """
    num_before = len(_kept())
    found = digest(sorted({found for file in files for found in _definitions(file.read_text(encoding="utf-8"), classes)}))
    if len(_kept()) > num_before:
        _keep()
    return found


@cache
def _definitions(code: str, classes: bool) -> frozenset[str]:
    """Return a hash of each definition; a study asks for the same modules at every job."""
    name = hashlib.sha256(f"{sys.version} {classes} {_how()} {code}".encode()).hexdigest()
    if name not in _kept():
        _kept()[name] = sorted(_parsed(code, classes))
    return frozenset(_kept()[name])


@cache
def _kept() -> dict[str, list[str]]:
    """Return what earlier processes found; nothing where that cannot be read."""
    with suppress(OSError, ValueError):
        found = json.loads(KEPT.read_text(encoding="utf-8"))
        if isinstance(found, dict) and len(found) < MOST_KEPT:
            return found
    return {}


def _keep() -> None:
    """Write what was found for later processes, where that is possible."""
    aside = KEPT.with_name(f".{KEPT.name}.{os.getpid()}")
    with suppress(OSError):
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(_kept()), encoding="utf-8")
        aside.replace(KEPT)


@cache
def _how() -> str:
    """Return a hash of how definitions are hashed: this file."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _parsed(code: str, classes: bool) -> frozenset[str]:
    """Return a hash of each definition."""
    with _PARSING:
        tree = ast.parse(code)
    counted = (node for node in tree.body if classes or not (isinstance(node, ast.ClassDef) and node.bases))
    kept = (_Essence().visit(node) for node in counted)
    return frozenset(digest(ast.dump(node)) for node in kept if node is not None)


class _Essence(ast.NodeTransformer):
    """Remove from a syntax tree what changes no number."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Remove docstrings and output."""
        value = node.value
        is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        is_output = isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in _OUTPUT
        return None if is_text or is_output else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep which error is raised, not what it says."""
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(error)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Remove imports from this package."""
        return None if (node.module or "").partition(".")[0] == "rnnlab" else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Leave no block empty."""
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and not body:
            body.append(ast.Pass())
        return node
