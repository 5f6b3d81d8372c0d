"""What a network is asked: the size of its output, its loss, its metrics and how its output is read.

A task follows from what the data's targets are (`DataSpec.target_kind`); a model family says which of them it can answer.

    class           classify   one label per sequence        cross entropy
    class_per_step  label      one label per step            cross entropy over valid steps
    real            forecast   D real numbers per sequence   mean squared error
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, Fraction, NonNegativeFloat

ClassWeights = Literal["none", "balanced"] | list[NonNegativeFloat]
Columns = dict[str, np.ndarray]


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


@dataclass(frozen=True)
class Measure:
    """Name the metric that chooses checkpoints and orders tables.

    Args:
        name: as in `val/<name>`.
        direction: `max` if more is better.
        unit: how to write it: `%` (a share) or the unit of the target.
    """

    name: str
    direction: Literal["min", "max"]
    unit: str


class Task(ABC):
    """Answer what a model and a training loop must know of a target kind."""

    name: ClassVar[str]
    measure: ClassVar[Measure]
    is_per_step: ClassVar[bool] = False

    def __init__(self, spec: DataSpec, regularisation: Regularisation) -> None:
        self.spec = spec
        self.regularisation = regularisation
        self.output_size = spec.target_size

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch, is_training: bool = True) -> Tensor:
        """Return the mean loss of a batch, a scalar; what only helps training (smoothing, weights) is left out when measuring."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Return fresh metrics; they take what `answers` returns."""

    @abstractmethod
    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (predictions, targets) as the metrics want them."""

    @abstractmethod
    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return the prediction columns of a batch's table, one row per sequence (see `predictions/*.parquet`); targets may be unknown."""

    @abstractmethod
    def target_columns(self, batch: Batch) -> Columns:
        """Return the target columns of a batch's table."""

    def num_answers(self, batch: Batch) -> int:
        """Count what the loss is a mean over: a batch's weight in a mean over batches."""
        return batch.size

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        """Turn computed metrics into names and numbers."""
        return {name: float(value) for name, value in computed.items() if value.ndim == 0}


class Classify(Task):
    """One label per sequence."""

    name = "classify"
    measure = Measure("accuracy", "max", "%")

    def __init__(self, spec: DataSpec, regularisation: Regularisation) -> None:
        super().__init__(spec, regularisation)
        self.weights = class_weights(regularisation.class_weights, spec)

    def loss(self, outputs: Tensor, batch: Batch, is_training: bool = True) -> Tensor:
        """Cross entropy of (B, C) against (B,)."""
        weights = self.weights.to(outputs) if self.weights is not None and is_training else None
        smoothing = self.regularisation.label_smoothing if is_training else 0.0
        return F.cross_entropy(
            outputs.flatten(0, -2),
            batch.targets.flatten(),
            weights,
            ignore_index=IGNORED_TARGET,
            label_smoothing=smoothing,
        )

    def metrics(self) -> MetricCollection:
        """Accuracy; precision, recall and F1 as macro means and per class; the confusion matrix."""
        size, ignored = self.spec.target_size, IGNORED_TARGET
        collection: dict[str, Metric | MetricCollection] = {
            "accuracy": MulticlassAccuracy(size, average="micro", ignore_index=ignored, validate_args=False),
            "confusion": MulticlassConfusionMatrix(size, ignore_index=ignored, validate_args=False),
        }
        for name, metric in (
            ("precision", MulticlassPrecision),
            ("recall", MulticlassRecall),
            ("f1", MulticlassF1Score),
        ):
            for average in ("macro", "none"):
                key = f"{name}_{average}" if average == "macro" else f"{name}_by_class"
                collection[key] = metric(size, average=average, ignore_index=ignored, validate_args=False)
        return MetricCollection(collection)

    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the most probable class of each sequence or step, and the target."""
        return outputs.argmax(-1).flatten(), batch.targets.flatten()

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        """Name per-class values `f1/<label>`, where a tracking server allows that name."""
        numbers = super().flatten(computed)
        for key, values in computed.items():
            if key.endswith("_by_class"):
                for label, value in zip(self.spec.label_names, values, strict=True):
                    numbers[f"{key.removesuffix('_by_class')}/{metric_name(label)}"] = float(value)
        return numbers

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return the predicted label and the probability of each class."""
        probabilities = outputs.float().softmax(-1).cpu().numpy()
        names = np.array(self.spec.label_names, dtype=object)
        scores = {f"score/{label}": probabilities[:, index] for index, label in enumerate(self.spec.label_names)}
        return {"prediction": names[probabilities.argmax(-1)], "confidence": probabilities.max(-1), **scores}

    def target_columns(self, batch: Batch) -> Columns:
        """Return the true label."""
        return {"target": np.array(self.spec.label_names, dtype=object)[batch.targets.cpu().numpy()]}


class Label(Classify):
    """One label per step: taggers, language models."""

    name = "label"
    is_per_step = True

    def num_answers(self, batch: Batch) -> int:
        """Count the valid steps."""
        return int((batch.targets != IGNORED_TARGET).sum())

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return the predicted class index of every valid step, as lists."""
        rows = zip(outputs.argmax(-1).cpu().numpy(), batch.input_lengths.tolist(), strict=True)
        return {"prediction": _object_array([row[:length] for row, length in rows])}

    def target_columns(self, batch: Batch) -> Columns:
        """Return the true class index of every valid step, as lists."""
        targets = batch.targets.cpu().numpy()
        return {"target": _object_array([row[row != IGNORED_TARGET] for row in targets])}


class Forecast(Task):
    """D real numbers per sequence."""

    name = "forecast"
    measure = Measure("mse", "min", "")

    def loss(self, outputs: Tensor, batch: Batch, is_training: bool = True) -> Tensor:
        """Mean squared error of (B, D) against (B, D)."""
        return F.mse_loss(outputs, batch.targets)

    def metrics(self) -> MetricCollection:
        """Mean squared error, its root, mean absolute error."""
        return MetricCollection({"mse": MeanSquaredError(), "rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()})

    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return outputs and targets as they are."""
        return outputs.contiguous(), batch.targets.contiguous()

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return one column per dimension."""
        values = outputs.float().cpu().numpy()
        return {f"prediction/{name}": values[:, index] for index, name in enumerate(self.spec.label_names)}

    def target_columns(self, batch: Batch) -> Columns:
        """Return one column per dimension."""
        values = batch.targets.cpu().numpy()
        return {f"target/{name}": values[:, index] for index, name in enumerate(self.spec.label_names)}


def make_task(spec: DataSpec, regularisation: Regularisation) -> Task:
    """Choose the task that a data set's targets ask for."""
    tasks: dict[str, type[Task]] = {"class": Classify, "class_per_step": Label, "real": Forecast}
    return tasks[spec.target_kind](spec, regularisation)


def class_weights(choice: ClassWeights, spec: DataSpec) -> Tensor | None:
    """Return one weight per class with mean 1 over the training examples, or None for equal ones."""
    if choice == "none":
        return None
    if choice == "balanced":
        counts = torch.tensor(spec.class_counts, dtype=torch.float)
        return torch.where(counts > 0, counts.sum() / (len(counts) * counts.clamp(min=1)), 0.0)
    if len(choice) != spec.target_size:
        raise ValueError(
            f"model.regularisation.class_weights has {len(choice)} numbers for {spec.target_size} classes: give one per class, "
            f"in this order: {', '.join(spec.label_names)}"
        )
    return torch.tensor(choice, dtype=torch.float)


def metric_name(label: str) -> str:
    """Replace what a metric's name may not hold (tracking stores allow letters, digits and `_ - . / :` and blanks)."""
    return re.sub(r"[^\w\-. :]", "_", label, flags=re.ASCII)


def _object_array(rows: np.ndarray | list[np.ndarray]) -> np.ndarray:
    result = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        result[index] = row
    return result
