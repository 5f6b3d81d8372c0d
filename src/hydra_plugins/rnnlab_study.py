"""Hydra's sweeper plugin: hands a multirun to `rnnlab.studies.sweep`. Every start imports this file, so it imports nothing heavy."""

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StudySweeper(Sweeper):
    """Run every combination exactly once (`hydra/sweeper=study`, the default)."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a launcher needs."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep that a user's words ask for."""
        from rnnlab.studies.sweep import sweep

        sweep(self.context, self.task, self.config, arguments)
