"""A fresh environment without a network: a folder that holds what pip would install, and nothing else, and a Python that sees only it."""

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

BEGIN = "import sys; sys.path.append(sys.argv.pop(1)); import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


def installed_by(requirements: Iterable[str]) -> list[importlib.metadata.Distribution]:
    """Return the distributions that installing these would bring, by what the installed ones say of themselves.

    Raises:
        PackageNotFoundError: where one of those that are asked for is not installed here.
    """
    left = [(Requirement(line), True) for line in requirements]
    found: dict[str, importlib.metadata.Distribution] = {}
    while left:
        wanted, is_asked_for = left.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if is_asked_for:
                raise
            continue
        left += [(Requirement(line), False) for line in found[name].requires or []]
    return [*found.values()]


def lay_out(folder: Path, requirements: Iterable[str]) -> Path:
    """Link all that these requirements install into a folder."""
    folder.mkdir()
    for distribution in installed_by(requirements):
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            place = folder / top
            if not place.exists():
                place.symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return folder


def run_in(site: Path, script: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a script that sees Python's own library and this folder: neither the packages of these tests, nor PYTHONPATH, nor rnnlab."""
    settings = {"PATH": os.environ["PATH"], "HOME": str(site.parent), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-I", "-S", "-c", BEGIN, str(site), str(script), *words]
    return subprocess.run(command, env=settings, cwd=script.parent, capture_output=True, text=True, timeout=300)
