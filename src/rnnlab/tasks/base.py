"""What every task answers: the size of its output, its loss, its metrics and how its output is read."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from rnnlab.contracts import Batch, DataSpec, Fraction, NonNegativeFloat, PositiveFloat

ClassWeights = Literal["none", "balanced"] | list[NonNegativeFloat]
LossKind = Literal["cross_entropy", "focal", "brier", "mse", "mae", "huber", "qlike"]
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
    "max": "accuracy frame_accuracy f1 precision recall skill direction_accuracy ic rank_ic sacrebleu bleu chrf rouge",
    "min": "loss nll qlike mse rmse mae pinball wer cer per sentence_error ece",
}


def direction_of(name: str) -> Literal["min", "max"] | None:
    """Return whether more or less of a metric is better, by its name; None where neither is (`coverage` has a level to meet)."""
    is_one_of = {way: re.match(rf"({'|'.join(names.split())})(?![a-z])", name) for way, names in BETTER.items()}
    return "max" if is_one_of["max"] else "min" if is_one_of["min"] else None


@dataclass(frozen=True)
class Loss:
    """Say what is minimised, and measured as `loss` on every split (`model.loss`).

    Args:
        kind: see `tasks.classify` and `tasks.forecast`; None: the task's own.
        gamma: of `focal`, how little counts what is almost right; 0 is cross entropy.
        delta: of `huber`, from which size errors count by their size and no longer by their square, in the target's standard deviations.
    """

    kind: LossKind | None
    gamma: NonNegativeFloat
    delta: PositiveFloat

    def kind_for(self, spec: DataSpec, what: str, allowed: tuple[LossKind, ...]) -> LossKind:
        """Return the kind, the first of those allowed where none was given.

        Args:
            spec: of the data, for the message.
            what: the targets are, for the message.
            allowed: kinds that fit them, one at least.

        Raises:
            ValueError: where another was given.
        """
        if self.kind is None:
            return allowed[0]
        if self.kind not in allowed:
            raise ValueError(f"model.loss.kind={self.kind} is not for data={spec.name}, {what}. Allowed: {', '.join(allowed)}, or null")
        return self.kind


TASKS_OWN = Loss(None, 0.0, 1.0)
"""Of a task that nobody gave a loss; the numbers are not used."""


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

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        self.spec = spec
        self.regularisation = regularisation
        self.loss_settings = loss
        self.output_size = spec.target_size

    @property
    def compared(self) -> Measure:
        """By what results of different models are compared."""
        return self.measure

    def is_solved(self, numbers: Mapping[str, float], to_spare: float = 0.0) -> bool | None:
        """Tell whether these metrics are beyond what the data call solved; None where they don't say.

        Args:
            numbers: metrics by name.
            to_spare: share of the error allowed (1 - value, where more is better) by which they are beyond.
        """
        if self.spec.solved_at is None:
            return None
        value, limit, share = numbers[self.compared.name], self.spec.solved_at, 1 - to_spare
        return value < limit * share if self.compared.direction == "min" else value > 1 - (1 - limit) * share

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

    def first_bias(self) -> Tensor | None:
        """Return what the last layer's bias begins with, (output_size,), where training data say; None: it is drawn."""
        return None

    def num_answers(self, batch: Batch) -> int:
        """Count what the loss is a mean over: a batch's weight in a mean over batches."""
        return batch.size

    def loss_weight(self, batch: Batch) -> Tensor:
        """Return what the loss is a mean over while training, a float64 scalar: a share's weight in the loss of a whole batch."""
        return torch.tensor(float(self.num_answers(batch)), dtype=torch.double, device=batch.targets.device)

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        """Turn computed metrics into names and numbers."""
        return {name: float(value) for name, value in computed.items() if value.ndim == 0}
