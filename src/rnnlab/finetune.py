"""Settings of a run that goes on with weights that were trained before."""

from dataclasses import dataclass

from rnnlab.config import Config, ConfigError, PositiveFloat, PositiveInt, checked


@dataclass(frozen=True)
class Finetune:
    """How a run that begins with another's weights goes on with them (`finetune`); see `training.finetuning`.

    Args:
        unfreeze_every_epochs: the head alone is trained first, and each time so many epochs later one group of layers more; None: all
            are trained from the first step.
        rate_decay: by what the learning rate of each group of layers is divided for the one below; 1: all have the same.
    """

    unfreeze_every_epochs: PositiveInt | None
    rate_decay: PositiveFloat

    @classmethod
    def of(cls, values: Config | None, init_from: str | None) -> "Finetune":
        """Turn the section into settings; None where a run was recorded before it was there.

        Raises:
            ConfigError: where nothing was trained before.
        """
        if values is None:
            return cls(None, 1.0)
        found: Finetune = checked(values, cls, "finetune")
        if found.rate_decay < 1:
            raise ConfigError(f"finetune.rate_decay={found.rate_decay} would train lower layers faster: give 1 (all alike) or more (2.6)")
        if found != cls(None, 1.0) and init_from is None:
            raise ConfigError(
                "finetune.unfreeze_every_epochs and finetune.rate_decay are for runs that begin with another's weights: add "
                "init_from=RUN_ID, or leave them out"
            )
        return found
