"""How a training goes on with weights that were trained before (Howard and Ruder 2018, ULMFiT).

Gradual unfreezing (their section 3.3): in the first epoch the head alone is trained, and each epoch (here: each so many) the group of
layers below joins, down to the front end. Discriminative rates (section 3.2): a group is trained with the rate of the one above divided by
a number, theirs 2.6; see `models.base.Optimization`. Their slanted triangle of rates is nearly `scheduler=onecycle`.
"""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from torch import nn

from rnnlab.contracts import Batch
from rnnlab.models.base import Network

console = Console(stderr=True, soft_wrap=True)


class GradualUnfreezing(Callback):
    """Train the last group of layers first, and one group more each so many epochs.

    What is trained follows from the epoch alone, so that a resumed training goes on exactly; weights that are frozen have no gradient, and
    an optimizer leaves them, and its averages of them, as they are.

    Args:
        model: whose groups these are; weights that its settings freeze stay so.
        every_epochs: between two groups.
    """

    def __init__(self, model: Network, every_epochs: int) -> None:
        groups = {name: [weight for weight in weights if weight.requires_grad] for name, weights in model.layer_groups().items()}
        self.groups: dict[str, list[nn.Parameter]] = {name: weights for name, weights in groups.items() if weights}
        self.every_epochs = every_epochs
        self.num_trained = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say in which order groups are unfrozen, and which will not be."""
        names = [*reversed(self.groups)]
        how_often = "each epoch" if self.every_epochs == 1 else f"each {self.every_epochs} epochs"
        console.print(f"  {'unfreezing':13} {', '.join(names)}: the first from the start, {how_often} one more", highlight=False)
        last = trainer.max_epochs or 0
        if last > 0 and (never := names[1 + (last - 1) // self.every_epochs :]):
            wanted = 1 + (len(names) - 1) * self.every_epochs
            words = f"{', '.join(never)} stay frozen in {last} epochs: epochs={wanted} or more reaches them"
            console.print(f"  {'look at':13} {words}", highlight=False)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Freeze and unfreeze what the epoch says, also where a training goes on within one."""
        num_trained = 1 + trainer.current_epoch // self.every_epochs
        if num_trained == self.num_trained:
            return
        self.num_trained = num_trained
        for place, weights in enumerate(reversed(self.groups.values())):
            for weight in weights:
                weight.requires_grad_(place < num_trained)
