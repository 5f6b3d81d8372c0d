"""A tag for each word: parts of speech, or entities in BIO or BIOES.

An entity counts as found if its type and both its ends are right (conlleval, seqeval; see `contracts.spans_of`). With c entities that are
right, g that are given and t that are true,

    precision  c / g        recall  c / t        f1  2 c / (g + t)

over all test sentences together, of all types and of each (`f1/PER`); 0 where nothing could be counted. `accuracy` is of tags.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, TagPath, spans_of
from rnnlab.tasks.base import TASKS_OWN, Columns, Loss, Regularisation, object_array
from rnnlab.tasks.classify import Label
from rnnlab.tasks.metrics import Metric, legal_names
from rnnlab.tasks.table_metrics import of_tags

COUNTS = ("num_correct", "num_given", "num_true")
"""Of each sentence the entities that are right, that are given, and that are true; columns of a table of predictions."""


class Tag(Label):
    """A tag for each word; see the top of this file."""

    name = "tag"

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        self.has_entities = spec.scheme in ("bio", "bioes")
        if self.has_entities:
            self.metric = Metric.named("f1")

    def metrics(self) -> MetricCollection:
        """Accuracy and confusions of tags; of entities precision, recall and F1, else those of tags."""
        if not self.has_entities:
            return super().metrics()
        size, ignored = self.spec.target_size, IGNORED_TARGET
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(size, average="micro", ignore_index=ignored, validate_args=False),
                "confusion": MulticlassConfusionMatrix(size, ignore_index=ignored, validate_args=False),
                "entities": EntityCounts(self.spec.label_names),
            }
        )

    def loss(self, outputs: Tensor | TagPath, batch: Batch, is_training: bool = True) -> Tensor:
        """Return the mean loss of a tag; of tags that are chosen together their sentences' -ln p divided by their number."""
        if isinstance(outputs, Tensor):
            return super().loss(outputs, batch, is_training)
        return torch.tensor(torch.nan) if outputs.nll_B is None else outputs.nll_B.sum() / self.num_answers(batch)

    def answers(self, outputs: Tensor | TagPath, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the tag of each word and the target, (B, T) where there are entities, else flat."""
        given_BT = best_tags(outputs)
        return (given_BT, batch.targets) if self.has_entities else (given_BT.flatten(), batch.targets.flatten())

    def columns(self, outputs: Tensor | TagPath, batch: Batch) -> Columns:
        """Return the tag of each word, as lists of indices; where targets are known those of scored words, their mean -ln p, and each
        sentence's entities.
        """
        lengths, targets = batch.input_lengths.tolist(), batch.targets.cpu().numpy()
        given = [row[:length] for row, length in zip(best_tags(outputs).cpu().numpy(), lengths, strict=True)]
        is_known_BT = targets != IGNORED_TARGET
        if not is_known_BT.any():
            return {"prediction": object_array(given)}
        rows = [row[is_known[: len(row)]] for row, is_known in zip(given, is_known_BT, strict=True)]
        means_B = self._nats(outputs, batch) / np.maximum(is_known_BT.sum(1), 1)
        found: Columns = {"prediction": object_array(rows), "cross_entropy": means_B}
        if self.has_entities:
            true = [target[is_known] for target, is_known in zip(targets, is_known_BT, strict=True)]
            counts = [count_entities(self._names(row), self._names(right)) for row, right in zip(rows, true, strict=True)]
            sums = np.array([[sum(each.values()) for each in row] for row in counts], dtype=np.int64).reshape(-1, 3)
            found |= {name: sums[:, place] for place, name in enumerate(COUNTS)}
        return found

    def _nats(self, outputs: Tensor | TagPath, batch: Batch) -> np.ndarray:
        """Return -ln p of each sentence's tags, (B,)."""
        if isinstance(outputs, Tensor):
            losses_BT = F.cross_entropy(outputs.mT, batch.targets.to(outputs.device), ignore_index=IGNORED_TARGET, reduction="none")
            return losses_BT.sum(1).cpu().numpy()
        assert outputs.nll_B is not None
        return outputs.nll_B.cpu().numpy()

    def _names(self, numbers: np.ndarray) -> list[str]:
        return [self.spec.label_names[number] for number in numbers]

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        return of_tags(table)


def best_tags(outputs: Tensor | TagPath) -> Tensor:
    """Return the tags that are given, (B, T)."""
    if isinstance(outputs, Tensor):
        return outputs.argmax(-1)
    assert outputs.best_BT is not None
    return outputs.best_BT


class EntityCounts(torchmetrics.Metric):
    """Count entities by type: those that are right, given, and true."""

    is_differentiable = False
    full_state_update = False
    counts_K3: Tensor

    def __init__(self, label_names: Sequence[str]) -> None:
        super().__init__()
        self.label_names = tuple(label_names)
        self.types = sorted({name.partition("-")[2] for name in label_names if name.partition("-")[2]})
        self.add_state("counts_K3", torch.zeros(len(self.types), 3, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, predictions_BT: Tensor, targets_BT: Tensor) -> None:
        """Add sentences; words whose target is unknown are left out."""
        sums = np.zeros((len(self.types), 3))
        for given, right in zip(predictions_BT.cpu().numpy(), targets_BT.cpu().numpy(), strict=True):
            is_known = right != IGNORED_TARGET
            names = ([self.label_names[number] for number in row[is_known]] for row in (given, right))
            for place, counted in enumerate(count_entities(*names)):
                for kind, count in counted.items():
                    sums[self.types.index(kind), place] += count
        self.counts_K3 += torch.from_numpy(sums).to(self.counts_K3)

    def compute(self) -> dict[str, Tensor]:
        """Return precision, recall and F1, of all and of each type."""
        found = _ratios(self.counts_K3.sum(0), "")
        for name, counts_3 in zip(legal_names(self.types), self.counts_K3, strict=True):
            found |= _ratios(counts_3, f"/{name}")
        return found


def _ratios(counts_3: Tensor, suffix: str) -> dict[str, Tensor]:
    correct, given, true = counts_3
    pairs = {"precision": (correct, given), "recall": (correct, true), "f1": (2 * correct, given + true)}
    return {f"{name}{suffix}": part / whole.clamp(min=1) for name, (part, whole) in pairs.items()}


def count_entities(given: Sequence[str], right: Sequence[str]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count by type the entities of a sentence that are right, that are given, and that are true."""
    found, true = set(spans_of(given)), set(spans_of(right))
    return Counter(s.type for s in found & true), Counter(s.type for s in found), Counter(s.type for s in true)
