"""One label per sequence, or one per step."""

import re

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec
from rnnlab.tasks.base import ClassWeights, Columns, Measure, Regularisation, Task


class Classify(Task[Tensor]):
    """One label per sequence."""

    name = "classify"
    measure: Measure = Measure("accuracy", "max", "share")

    def __init__(self, spec: DataSpec, regularisation: Regularisation) -> None:
        super().__init__(spec, regularisation)
        self.weights = class_weights(regularisation.class_weights, spec)
        if spec.metric == "loss":
            self.measure = Measure("loss", "min", "nats")

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

    def loss_weight(self, batch: Batch) -> Tensor:
        """Sum the weights of the targets' classes."""
        if self.weights is None:
            return super().loss_weight(batch)
        return self.weights.to(batch.targets.device)[batch.targets[batch.targets != IGNORED_TARGET]].sum(dtype=torch.double)

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
        """Return the predicted class index of every valid step, as lists; where targets are known, each sequence's mean cross entropy."""
        rows = zip(outputs.argmax(-1).cpu().numpy(), batch.input_lengths.tolist(), strict=True)
        found = {"prediction": _object_array([row[:length] for row, length in rows])}
        is_known_BT = (batch.targets != IGNORED_TARGET).to(outputs.device)
        if not is_known_BT.any():
            return found
        losses_BT = F.cross_entropy(outputs.mT, batch.targets.to(outputs.device), ignore_index=IGNORED_TARGET, reduction="none")
        return found | {"cross_entropy": (losses_BT.sum(1) / is_known_BT.sum(1)).cpu().numpy()}

    def target_columns(self, batch: Batch) -> Columns:
        """Return the true class index of every valid step, as lists."""
        targets = batch.targets.cpu().numpy()
        return {"target": _object_array([row[row != IGNORED_TARGET] for row in targets])}


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
