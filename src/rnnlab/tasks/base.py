"""Base class of all tasks: the size of the output, the loss, the metrics and how the output is read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from rnnlab.config import Fraction, NonNegativeFloat, PositiveFloat
from rnnlab.contracts import Batch, DataSpec
from rnnlab.tasks.metrics import Metric

ClassWeights = Literal["none", "balanced"] | list[NonNegativeFloat]
LossKind = Literal["cross_entropy", "focal", "brier", "mse", "mae", "huber", "qlike"]
Columns = dict[str, np.ndarray]
Outputs = TypeVar("Outputs")
"""What a model predicts and its task reads: a tensor, or `contracts.Decoded`."""


@dataclass(frozen=True)
class Regularisation:
    """Terms added to the plain loss (`model.regularisation`).

    Args:
        label_smoothing: fraction of the target's probability spread over all classes (Szegedy et al. 2016, section 7).
        class_weights: `none`, `balanced` (inverse to each class's frequency in the training split) or one weight per class.
        l1: times the sum of absolute weights (matrices only); weight decay (L2) is the optimizer's.
        activation: times the mean square of what the last layer gives, after dropout (Merity et al. 2017, section 2: AR).
        temporal_activation: times the mean square of its change from step to step, before dropout (there: TAR).
    """

    label_smoothing: Fraction
    class_weights: ClassWeights
    l1: NonNegativeFloat
    activation: NonNegativeFloat = 0.0
    temporal_activation: NonNegativeFloat = 0.0


@dataclass(frozen=True)
class Loss:
    """The loss that is minimised, and reported as `loss` on every split (`model.loss`).

    Args:
        kind: see `tasks.classify` and `tasks.forecast`; None for the task's default.
        gamma: of `focal`, how little counts what is almost right; 0 is cross entropy.
        delta: of `huber`, from which size errors count by their size and no longer by their square, in the target's standard deviations.
        intent_weight: of tags with an intent, times the intent's -ln p beside those of the tags.
    """

    kind: LossKind | None
    gamma: NonNegativeFloat
    delta: PositiveFloat
    intent_weight: NonNegativeFloat = 1.0

    def kind_for(self, spec: DataSpec, what: str, allowed: tuple[LossKind, ...]) -> LossKind:
        """Return the kind, the first of those allowed where none was given; `what` the targets are is for the message.

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


class Task(ABC, Generic[Outputs]):
    """Base class of tasks: all that a model and a training loop must know about a kind of target."""

    name: ClassVar[str]
    metric: Metric
    """By which checkpoints are chosen and tables are ordered."""
    is_per_step: ClassVar[bool] = False

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        self.spec = spec
        self.regularisation = regularisation
        self.loss_settings = loss
        self.output_size = spec.target_size

    @property
    def compared(self) -> Metric:
        """The metric by which results of different models are compared."""
        return self.metric

    def is_solved(self, numbers: Mapping[str, float], to_spare: float = 0.0) -> bool | None:
        """Tell whether metrics pass what the data call solved, by a fraction `to_spare` of the allowed error; None if they don't say."""
        if self.spec.solved_at is None:
            return None
        value, limit, kept = numbers[self.compared.name], self.spec.solved_at, 1 - to_spare
        return value < limit * kept if self.compared.direction == "min" else value > 1 - (1 - limit) * kept

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

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        """Return what a whole table of predictions gives beyond `metrics`, by name.

        Args:
            table: one row per sequence (see `evaluation.evaluate.with_examples`): group, perhaps date, targets, predictions, ...
        """
        return {}

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

    def num_counted(self, outputs: Outputs, batch: Batch) -> int:
        """Count what the loss of these outputs is a mean over, where that depends on them."""
        return self.num_answers(batch)

    def loss_weight(self, batch: Batch) -> Tensor:
        """Return what the loss is a mean over while training, a float64 scalar: the weight of a shard in the loss of a whole batch."""
        return torch.tensor(float(self.num_answers(batch)), dtype=torch.double, device=batch.targets.device)

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        """Turn computed metrics into names and numbers."""
        return {name: float(value) for name, value in computed.items() if value.ndim == 0}


def object_array(values: Sequence[object]) -> np.ndarray:
    """Return a column of these objects, (N,), whatever their lengths."""
    result = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        result[place] = value
    return result
