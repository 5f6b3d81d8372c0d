"""Weights kept within bounds while training: after each step they are moved to the nearest point that is allowed.

    max_norm      |w| <= c for the weights w that enter one unit, a row of each matrix       Srivastava et al. (2014), section 5.1
    weight_clip   |w_ij| <= c for each weight by itself                                      Arjovsky et al. (2017), algorithm 1

Matrices only: biases are free. Of recurrent layers the rows are the units of each gate, weights from below and from the step before
counted apart. Tables of word vectors have no rows in that sense, so `max_norm` leaves them alone; what is frozen stays as it is.
"""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from rnnlab.config import ConfigError
from rnnlab.contracts import Batch
from rnnlab.layers.tcn import DilatedConvolution
from rnnlab.settings import Callbacks


class WeightConstraint(Callback):
    """Project the weights of a model after each step: each row's norm to `max_norm`, each weight to `weight_clip` (None: free).

    Raises:
        ConfigError: where a weight's size means nothing.
    """

    def __init__(self, model: nn.Module, max_norm: float | None, weight_clip: float | None) -> None:
        if any(isinstance(part, DilatedConvolution) and part.gain is not None for part in model.modules()):
            given = "max_norm" if max_norm is not None else "weight_clip"
            raise ConfigError(
                f"callbacks.{given} bounds weights, whose size means nothing with model.convolutions.has_weight_norm=true: set it to false"
            )
        self.max_norm, self.weight_clip = max_norm, weight_clip
        tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
        self.matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1 and parameter.requires_grad]
        self.rows = [parameter for parameter in self.matrices if id(parameter) not in tables]

    @torch.no_grad()
    def project(self) -> None:
        """Move all weights into their bounds."""
        if self.max_norm is not None:
            for parameter in self.rows:
                parameter.renorm_(2, 0, self.max_norm)
        if self.weight_clip is not None:
            for parameter in self.matrices:
                parameter.clamp_(-self.weight_clip, self.weight_clip)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Project, before anybody averages or saves."""
        self.project()


def weight_constraint(callbacks: Callbacks, model: nn.Module) -> Iterator[WeightConstraint]:
    """Yield the callback that the settings ask for, if any."""
    if callbacks.max_norm is not None or callbacks.weight_clip is not None:
        yield WeightConstraint(model, callbacks.max_norm, callbacks.weight_clip)
