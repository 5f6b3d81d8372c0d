"""Where everything lies: the repository with conf/ and samples, and the folder where data, runs and the tracking database are kept."""

import os
import re
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
"""The repository."""
CONF = HOME / "conf"
SAMPLES = HOME / "data" / "samples"
PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the folder of data, runs and the tracking database: the environment's RNNLAB_ROOT, by default the repository."""
    return Path(os.environ.get("RNNLAB_ROOT") or HOME).absolute()


def file_name(name: str) -> str:
    """Return an example's name as a file may be called."""
    return re.sub(r"[^\w.-]", "_", name)
