"""What every task answers: the size of its output, its loss, its metrics and how its output is read."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from rnnlab.contracts import Batch, DataSpec, Fraction, NonNegativeFloat

ClassWeights = Literal["none", "balanced"] | list[NonNegativeFloat]
Columns = dict[str, np.ndarray]
Outputs = TypeVar("Outputs")
"""What a model answers and its task reads: a tensor, or `contracts.Decoded`."""


@dataclass(frozen=True)
class Regularisation:
    """Say what is added to the plain loss (`model.regularisation`).

    Args:
        label_smoothing: share of the target's probability spread over all classes (Szegedy et al. 2016, section 7).
        class_weights: `none`, `balanced` (inverse to each class's share of the training split) or one weight per class.
        l1: times the sum of absolute weights (matrices only); weight decay (L2) is the optimizer's.
    """

    label_smoothing: Fraction
    class_weights: ClassWeights
    l1: NonNegativeFloat


BETTER = {
    "max": "accuracy f1 precision recall skill direction_accuracy ic rank_ic sacrebleu bleu chrf rouge",
    "min": "loss qlike mse rmse mae pinball wer cer per sentence_error ece",
}


def direction_of(name: str) -> Literal["min", "max"] | None:
    """Return whether more or less of a metric is better, by its name; None where neither is (`coverage` has a level to meet)."""
    is_one_of = {way: re.match(rf"({'|'.join(names.split())})(?![a-z])", name) for way, names in BETTER.items()}
    return "max" if is_one_of["max"] else "min" if is_one_of["min"] else None


@dataclass(frozen=True)
class Measure:
    """Name the metric that chooses checkpoints and orders tables.

    Args:
        name: as in `val/<name>`.
        direction: `max` if more is better.
        unit: how to write it: `share` (as per cent) or the unit of the target.
    """

    name: str
    direction: Literal["min", "max"]
    unit: str


class Task(ABC, Generic[Outputs]):
    """Answer what a model and a training loop must know of a target kind."""

    name: ClassVar[str]
    measure: Measure
    """What chooses checkpoints."""
    is_per_step: ClassVar[bool] = False

    def __init__(self, spec: DataSpec, regularisation: Regularisation) -> None:
        self.spec = spec
        self.regularisation = regularisation
        self.output_size = spec.target_size

    @property
    def compared(self) -> Measure:
        """By what results of different models are compared."""
        return self.measure

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch, is_training: bool = True) -> Tensor:
        """Return the mean loss of a batch, a scalar; what only helps training (smoothing, weights) is left out when measuring."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Return fresh metrics; they take what `answers` returns."""

    @abstractmethod
    def answers(self, outputs: Outputs, batch: Batch) -> tuple[object, object]:
        """Return (predictions, targets) as the metrics want them: tensors, or texts."""

    def update(self, metrics: MetricCollection, outputs: Outputs, batch: Batch) -> None:
        """Let the metrics see a batch."""
        metrics.update(*self.answers(outputs, batch))

    @abstractmethod
    def columns(self, outputs: Outputs, batch: Batch) -> Columns:
        """Return the prediction columns of a batch's table, one row per sequence (see `predictions/*.parquet`); targets may be unknown."""

    @abstractmethod
    def target_columns(self, batch: Batch) -> Columns:
        """Return the target columns of a batch's table."""

    def num_answers(self, batch: Batch) -> int:
        """Count what the loss is a mean over: a batch's weight in a mean over batches."""
        return batch.size

    def loss_weight(self, batch: Batch) -> Tensor:
        """Return what the loss is a mean over while training, a float64 scalar: a share's weight in the loss of a whole batch."""
        return torch.tensor(float(self.num_answers(batch)), dtype=torch.double, device=batch.targets.device)

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        """Turn computed metrics into names and numbers."""
        return {name: float(value) for name, value in computed.items() if value.ndim == 0}
