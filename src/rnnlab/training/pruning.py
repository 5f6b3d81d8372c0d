"""Weights of small size set to zero while a network is trained (`compression.sparsity`).

All matrices are pruned: of the front end, input, recurrent and output ones; biases and norms stay. The smallest weights of all matrices
together go first (See et al. 2016, section 3.2, found that better than the same fraction of each), or those of each matrix. Over the first
part of the training sparsity rises from 0 to S as

    s_t = S (1 - (1 - t / n)^3)           Zhu and Gupta (2017), equation 1, from the first step on

and which weights are zero is decided anew at each hundredth of it: a weight that was zero may come back until then. From step n on the
same weights stay zero while the others are fine-tuned; only checkpoints from there on can be chosen.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn

from rnnlab.config import Compression, ConfigError
from rnnlab.contracts import Batch
from rnnlab.settings import Callbacks

NUM_DECISIONS = 100


def matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that are pruned, by name: matrices that are trained."""
    return {name: weight for name, weight in model.named_parameters() if weight.ndim > 1 and weight.requires_grad}


@torch.no_grad()
def masks_of(weights: Sequence[Tensor], sparsity: float, scope: str) -> list[Tensor]:
    """Return which weights stay, a boolean of each one's shape: all but this fraction, the smallest, of all together or of each."""
    sizes = [weight.abs() for weight in weights]
    if scope == "matrix":
        return [size > _largest_to_go(size.flatten(), sparsity) for size in sizes]
    limit = _largest_to_go(torch.cat([size.flatten() for size in sizes]), sparsity)
    return [size > limit for size in sizes]


def _largest_to_go(sizes_N: Tensor, sparsity: float) -> Tensor:
    number = round(sparsity * len(sizes_N))
    return sizes_N.kthvalue(number).values if number else sizes_N.new_tensor(-1.0)


class MagnitudePruning(Callback):
    """Set weights to zero while training, and keep them so.

    Args:
        model: whose matrices; what is frozen stays as it is.
        sparsity: S.
        ramp: fraction of the training's steps after which S is reached.
        scope: see `masks_of`.
    """

    def __init__(self, model: nn.Module, sparsity: float, ramp: float, scope: str) -> None:
        self.weights = matrices(model)
        self.sparsity, self.ramp, self.scope = sparsity, ramp, scope
        self.masks: dict[str, Tensor] = {}
        self.num_decided = -1
        self.num_ramp_steps = 0

    @property
    def is_complete(self) -> bool:
        """Whether as many weights are zero as shall be."""
        return self.num_decided >= NUM_DECISIONS

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find out how long sparsity rises; prune at once where it does not."""
        self.num_ramp_steps = int(self.ramp * float(trainer.estimated_stepping_batches))
        self._prune(trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Prune, before anybody averages or saves."""
        self._prune(trainer.global_step)

    @torch.no_grad()
    def _prune(self, step: int) -> None:
        done = min(1.0, step / self.num_ramp_steps) if self.num_ramp_steps else 1.0
        if (decision := int(done * NUM_DECISIONS)) > self.num_decided:
            self.num_decided = decision
            sparsity = self.sparsity * (1 - (1 - decision / NUM_DECISIONS) ** 3)
            masks = masks_of([*self.weights.values()], sparsity, self.scope)
            self.masks = dict(zip(self.weights, masks, strict=True))
        for name, weight in self.weights.items():
            weight.mul_(self.masks[name])

    def state_dict(self) -> dict[str, Any]:
        return {"masks": dict(self.masks), "num_decided": self.num_decided}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_decided = state_dict["num_decided"]
        self.masks = {name: mask.to(self.weights[name].device) for name, mask in state_dict["masks"].items()}


class SparseCheckpoint(ModelCheckpoint):
    """Choose among the checkpoints that are as sparse as asked for."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass over what is not yet sparse."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's own type says nothing of it
        if all(each.is_complete for each in callbacks if isinstance(each, MagnitudePruning)):
            super().on_validation_end(trainer, pl_module)


def pruning(compression: Compression, callbacks: Callbacks, model: nn.Module) -> Iterator[MagnitudePruning]:
    """Yield the callback that the settings ask for, if any.

    Raises:
        ConfigError: where training may end before the network is sparse.
    """
    if compression.sparsity is None:
        return
    stopping = callbacks.early_stopping
    if stopping.patience is not None or stopping.when_solved:
        given = f"patience={stopping.patience}" if stopping.patience is not None else "when_solved=true"
        raise ConfigError(
            f"callbacks.early_stopping.{given} may end training before compression.sparsity={compression.sparsity} is reached, or before "
            "the weights that are left have been tuned: leave it out"
        )
    yield MagnitudePruning(model, compression.sparsity, compression.ramp, compression.scope)
