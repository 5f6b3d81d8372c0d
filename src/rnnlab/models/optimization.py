"""How a network's weights are trained: the recipes of optimizer and schedule, and the rate of each group of layers."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True)
class Optimization:
    """Recipes of optimizer and schedule; sizes and step counts are filled in when training starts.

    Args:
        optimizer, scheduler: make them.
        rate_decay: by what the learning rate of each group of layers is divided for the one below (1: all have the same).
        unfreeze_every_epochs: see `training.finetuning`; None: all layers are trained from the first step.
    """

    optimizer: Callable[..., Optimizer]
    scheduler: Callable[..., LRScheduler | None]
    rate_decay: float = 1.0
    unfreeze_every_epochs: int | None = None

    def made(self, groups: list[list[nn.Parameter]]) -> Optimizer:
        """Return the optimizer of groups of weights, from the input up."""
        if self.rate_decay == 1:
            return self.optimizer([weight for group in groups for weight in group])
        optimizer = self.optimizer([{"params": group} for group in groups if group])
        for place, options in enumerate(reversed(optimizer.param_groups)):
            options["lr"] /= self.rate_decay**place
        return optimizer
