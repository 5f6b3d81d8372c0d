"""How a network's weights are trained: the recipes of optimizer and schedule, and the rate of each group of layers."""

from collections.abc import Callable
from dataclasses import dataclass

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from rnnlab.tasks import Metric


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

    def configured(self, groups: list[list[nn.Parameter]], total_steps: int, steps_per_epoch: int, metric: Metric) -> OptimizerLRScheduler:
        """Return optimizer and schedule as Lightning takes them; `metric` is what a schedule waits for that follows validation."""
        optimizer = self.made(groups)
        scheduler = self.scheduler(optimizer, total_steps=total_steps, direction=metric.direction)
        if scheduler is None:
            return {"optimizer": optimizer}
        # A plateau schedule also steps within the epoch loop, right after validation: a checkpoint at the epoch's end has seen it.
        frequency = steps_per_epoch if isinstance(scheduler, ReduceLROnPlateau) else 1
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "step",
                "frequency": frequency,
                "monitor": f"val/{metric.name}",
                "strict": False,
            },
        }


def clip(optimizer: Optimizer, most: float, is_by_value: bool, norm: Tensor | None) -> None:
    """Clip the gradients of all weights together to a norm, or each of their numbers; a norm that is known is not computed again."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
    if is_by_value:
        nn.utils.clip_grad_value_(weights, most, foreach=True)
        return
    norm = nn.utils.get_total_norm([weight.grad for weight in weights]) if norm is None else norm
    if norm.device.type == "cpu" and most / (norm + 1e-6) >= 1:
        return  # PyTorch would multiply all gradients by 1, a pass over them; elsewhere, asking waits for the device
    nn.utils.clip_grads_with_norm_(weights, most, norm)
