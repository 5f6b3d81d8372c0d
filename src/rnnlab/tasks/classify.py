"""One label per sequence, or one per step.

With p the softmax of the outputs and y the target's class, the loss of one answer (`model.loss.kind`) is

    cross_entropy   -ln p_y
    focal           -(1 - p_y)^gamma ln p_y      Lin et al. (2017), section 3.2, for a softmax; class weights are its alpha
    brier           sum_c (p_c - [c = y])^2      Brier (1950), eq. 2: squared error on a softmax, of which tutorials take cross entropy's
                                                 gradient p - y by mistake: it is 2 (diag(p) - p p') (p - y)

and that of a batch the mean, weighted where classes have weights.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec
from rnnlab.tasks.base import TASKS_OWN, ClassWeights, Columns, Loss, LossKind, Regularisation, Task, object_array
from rnnlab.tasks.metrics import Metric, legal_names
from rnnlab.tasks.table_metrics import of_classes


class Classify(Task[Tensor]):
    """One label per sequence."""

    name = "classify"
    metric: Metric = Metric.named("accuracy")

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        self.weights = class_weights(regularisation.class_weights, spec)
        is_by_loss = spec.metric == "loss"
        kinds: tuple[LossKind, ...] = ("cross_entropy",) if is_by_loss else ("cross_entropy", "focal", "brier")
        self.loss_kind = loss.kind_for(spec, "which is measured by its cross entropy" if is_by_loss else "whose targets are classes", kinds)
        if regularisation.label_smoothing and self.loss_kind != "cross_entropy":
            raise ValueError(
                f"model.regularisation.label_smoothing={regularisation.label_smoothing} is for model.loss.kind=cross_entropy, not "
                f"{self.loss_kind}: set it to 0"
            )
        if is_by_loss:
            self.metric = replace(Metric.named("loss"), unit="nats")

    def loss(self, outputs: Tensor, batch: Batch, is_training: bool = True) -> Tensor:
        """Return the mean loss of (B, C) against (B,); see the top."""
        logits_NC, targets_N = outputs.flatten(0, -2), batch.targets.flatten()
        weights = self.weights.to(outputs) if self.weights is not None and is_training else None
        if self.loss_kind == "cross_entropy":
            smoothing = self.regularisation.label_smoothing if is_training else 0.0
            return F.cross_entropy(logits_NC, targets_N, weights, ignore_index=IGNORED_TARGET, label_smoothing=smoothing)
        is_valid_N = targets_N != IGNORED_TARGET
        logits_NC, targets_N = logits_NC[is_valid_N], targets_N[is_valid_N]
        losses_N = focal(logits_NC, targets_N, self.loss_settings.gamma) if self.loss_kind == "focal" else brier(logits_NC, targets_N)
        if weights is None:
            return losses_N.mean()
        weights_N = weights[targets_N]
        return (losses_N * weights_N).sum() / weights_N.sum()

    def loss_weight(self, batch: Batch) -> Tensor:
        """Sum the weights of the targets' classes."""
        if self.weights is None:
            return super().loss_weight(batch)
        return self.weights.to(batch.targets.device)[batch.targets[batch.targets != IGNORED_TARGET]].sum(dtype=torch.double)

    def metrics(self) -> MetricCollection:
        """Accuracy; precision, recall and F1 as macro means and per class; the confusion matrix."""
        size, ignored = self.spec.target_size, IGNORED_TARGET
        collection: dict[str, torchmetrics.Metric | MetricCollection] = {
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
        numbers, names = super().flatten(computed), legal_names(self.spec.label_names)
        for key, values in computed.items():
            if key.endswith("_by_class"):
                for name, value in zip(names, values, strict=True):
                    numbers[f"{key.removesuffix('_by_class')}/{name}"] = float(value)
        return numbers

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        return of_classes(table, self.spec.label_names)

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return the predicted label and the probability of each class."""
        probabilities = outputs.float().softmax(-1).cpu().numpy()
        names = np.array(self.spec.label_names, dtype=object)
        scores = {f"score/{label}": probabilities[:, index] for index, label in enumerate(self.spec.label_names)}
        return {"prediction": names[probabilities.argmax(-1)], "confidence": probabilities.max(-1), **scores}

    def target_columns(self, batch: Batch) -> Columns:
        return {"target": np.array(self.spec.label_names, dtype=object)[batch.targets.cpu().numpy()]}


class Label(Classify):
    """One label per step."""

    name = "label"
    is_per_step = True

    def num_answers(self, batch: Batch) -> int:
        """Count the valid steps."""
        return int((batch.targets != IGNORED_TARGET).sum())

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        """Return nothing: neighbouring steps are not independent, so no simple interval holds."""
        return {}

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return the predicted class index of every valid step, as lists; where targets are known, each sequence's mean cross entropy."""
        rows = zip(outputs.argmax(-1).cpu().numpy(), batch.input_lengths.tolist(), strict=True)
        found = {"prediction": object_array([row[:length] for row, length in rows])}
        is_known_BT = (batch.targets != IGNORED_TARGET).to(outputs.device)
        if not is_known_BT.any():
            return found
        losses_BT = F.cross_entropy(outputs.mT, batch.targets.to(outputs.device), ignore_index=IGNORED_TARGET, reduction="none")
        return found | {"cross_entropy": (losses_BT.sum(1) / is_known_BT.sum(1)).cpu().numpy()}

    def target_columns(self, batch: Batch) -> Columns:
        """Return the true class index of every valid step, as lists."""
        targets = batch.targets.cpu().numpy()
        return {"target": object_array([row[row != IGNORED_TARGET] for row in targets])}


def focal(logits_NC: Tensor, targets_N: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p_y)^gamma ln p_y of each answer, (N,)."""
    log_p_N = -F.cross_entropy(logits_NC, targets_N, reduction="none")
    # Of a power below 1 the slope at 0 is infinite: an answer that is wholly sure would make NaN of it.
    missing_N = (-torch.expm1(log_p_N)).clamp(min=torch.finfo(log_p_N.dtype).tiny ** 0.5)
    return -(missing_N**gamma) * log_p_N


def brier(logits_NC: Tensor, targets_N: Tensor) -> Tensor:
    """Return sum_c (p_c - [c = y])^2 of each answer, (N,)."""
    probabilities_NC = logits_NC.softmax(-1)
    return (probabilities_NC - F.one_hot(targets_N, logits_NC.shape[-1])).square().sum(-1)


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
