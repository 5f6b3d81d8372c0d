"""Fetch and prepare data ahead of training, and say what they are (`src/prepare.py`)."""

from rich.console import Console

from rnnlab.config import ConfigError, Node, checked, nearest
from rnnlab.data.base import SequenceDataModule
from rnnlab.settings import Composed, Paths
from rnnlab.training.recipes import describe

STAGES = ("all", "fetch", "dvc")
console = Console(stderr=True, soft_wrap=True)


def prepare(composed: Composed) -> None:
    """Fetch and prepare what a configuration names; a source that is unavailable is never replaced here.

    Raises:
        ValueError: the user can mend it; the message says how.
    """
    stage = composed.values["stage"]
    if stage not in STAGES:
        raise ConfigError(f"stage={stage} is not allowed.{nearest(str(stage), STAGES)} Allowed: {', '.join(STAGES)}")
    data: SequenceDataModule = Node("data", composed.values["data"]).recipe()(checked(composed.values["paths"], Paths, "paths"), 0)
    if stage == "fetch":
        folder = data.fetch_raw()
        console.print(f"fetched {data.source} ({data.provenance}) to {folder}", highlight=False)
        return
    if stage == "dvc":
        data.prepare_stage()
    data.setup()
    describe(data)
