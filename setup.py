"""A built package holds conf/ and the samples, which lie beside the package in the repository."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

INSIDE = ("conf", "data/samples")


class BuildWithData(build_py):
    """Copy conf/ and the samples into the package; an editable installation reads them where they are."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:
            return
        for name in INSIDE:
            shutil.copytree(name, Path(self.build_lib) / "rnnlab" / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})
