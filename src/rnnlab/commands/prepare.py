"""Fetch and prepare data ahead of training, and say what they are (`src/prepare.py`).

Nothing heavy is imported before the user's own files were read.
"""

from dataclasses import dataclass

from rich.console import Console

from rnnlab.config import ConfigError, Node, checked, nearest
from rnnlab.data.early import read_early
from rnnlab.settings import Composed, Paths

STAGES = ("all", "fetch", "dvc")
console = Console(stderr=True, soft_wrap=True)


@dataclass(frozen=True)
class PrepareSettings:
    """What `prepare.py` is asked; conf/prepare.yaml says what each key means."""

    data: Node
    paths: Paths
    stage: str

    @classmethod
    def of(cls, composed: Composed) -> "PrepareSettings":
        """Turn composed values into settings.

        Raises:
            ConfigError: names the key, what was given, what is allowed.
        """
        values = composed.values
        if (stage := str(values["stage"])) not in STAGES:
            raise ConfigError(f"stage={stage} is not allowed.{nearest(stage, STAGES)} Allowed: {', '.join(STAGES)}")
        return cls(Node("data", values["data"]), checked(values["paths"], Paths, "paths"), stage)


def prepare(settings: PrepareSettings) -> None:
    """Fetch and prepare a data set; the bundled sample never replaces an unavailable source here.

    Raises:
        ValueError: the user can mend it; the message says how.
    """
    if settings.stage == "all":
        read_early(settings.data)
    from rnnlab.data.base import SequenceDataModule
    from rnnlab.training.recipes import describe

    data: SequenceDataModule = settings.data.recipe()(settings.paths, 0)
    if settings.stage == "fetch":
        folder = data.fetch_raw()
        console.print(f"fetched {data.source} ({data.provenance}) to {folder}", highlight=False)
        return
    if settings.stage == "dvc":
        data.prepare_stage()
    data.setup()
    describe(data)
