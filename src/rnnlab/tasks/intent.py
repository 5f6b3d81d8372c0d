"""Two targets for a sentence: a tag for each word, and one class for the whole, its intent.

Given the input the two are taken for independent, p(y, i | x) = p(y | x) p(i | x)^w, so that the loss is

    (-ln p(y_1 ... y_T | x) - w ln p(i | x)) / T        w: `model.loss.intent_weight`

a mean over words like that of tags alone: batches and their shards add up, and metrics of tags mean what they mean without an intent.
`intent_accuracy` is of intents, `sentence_accuracy` counts a sentence as right if its intent and all its tags are.
"""

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, TagsWithIntent
from rnnlab.tasks.base import TASKS_OWN, Columns, Loss, Regularisation, Task
from rnnlab.tasks.table_metrics import of_intents
from rnnlab.tasks.tag import Tag, best_tags

COUNTED = "intents"
"""The name of the counts of intents in the collection of metrics."""


class TagAndIntent(Task[TagsWithIntent]):
    """A tag for each word and an intent for each sentence; see the top of this file."""

    name = "tag_and_intent"
    is_per_step = True

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        self.tag = Tag(spec, regularisation, loss)
        self.metric = self.tag.metric

    def loss(self, outputs: TagsWithIntent, batch: Batch, is_training: bool = True) -> Tensor:
        """Return the loss of both; see the top."""
        assert batch.intents is not None
        nats = F.cross_entropy(outputs.intent_BK, batch.intents.to(outputs.intent_BK.device), ignore_index=IGNORED_TARGET, reduction="sum")
        count = self.loss_weight(batch).to(nats) if is_training else self.num_answers(batch)
        return self.tag.loss(outputs.tags, batch, is_training) + self.loss_settings.intent_weight * nats / count

    def metrics(self) -> MetricCollection:
        """Those of tags, and how many intents and whole sentences are right."""
        found = self.tag.metrics()
        found.add_metrics({COUNTED: SentenceCounts()})
        return found

    def update(self, metrics: MetricCollection, outputs: TagsWithIntent, batch: Batch) -> None:
        """Let the metrics of tags see the tags, and the counts of sentences both."""
        answers = self.answers(outputs, batch)
        for name, metric in metrics.items():
            if name == COUNTED:
                metric.update(*_is_right(outputs, batch))
            else:
                metric.update(*answers)

    def answers(self, outputs: TagsWithIntent, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the tags and their targets."""
        return self.tag.answers(outputs.tags, batch)

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        return self.tag.flatten(computed)

    def num_answers(self, batch: Batch) -> int:
        """Count the words that have a tag."""
        return self.tag.num_answers(batch)

    def loss_weight(self, batch: Batch) -> Tensor:
        return self.tag.loss_weight(batch)

    def columns(self, outputs: TagsWithIntent | Tensor, batch: Batch) -> Columns:
        """Return those of tags, the intent and its probability; of a sentence that is still read (a tensor) those of tags alone."""
        if isinstance(outputs, Tensor):
            return self.tag.columns(outputs, batch)
        chances_BK = outputs.intent_BK.float().softmax(-1).cpu().numpy()
        names = np.array(self.spec.intents, dtype=object)[chances_BK.argmax(-1)]
        return {**self.tag.columns(outputs.tags, batch), "intent": names, "intent_confidence": chances_BK.max(-1)}

    def target_columns(self, batch: Batch) -> Columns:
        assert batch.intents is not None
        intents = np.array(self.spec.intents, dtype=object)[batch.intents.cpu().numpy()]
        return {**self.tag.target_columns(batch), "target_intent": intents}

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        return self.tag.table_metrics(table) | of_intents(table)


def _is_right(outputs: TagsWithIntent, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return of each sentence whether its intent is right, and whether its tags are, too, (B,) bool each."""
    assert batch.intents is not None
    is_intent_B = outputs.intent_BK.argmax(-1) == batch.intents
    is_tag_BT = (best_tags(outputs.tags) == batch.targets) | (batch.targets == IGNORED_TARGET)
    return is_intent_B, is_intent_B & is_tag_BT.all(1)


class SentenceCounts(torchmetrics.Metric):
    """Count sentences: those whose intent is right, those of which all is right, and all."""

    is_differentiable = False
    full_state_update = False
    counts_3: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts_3", torch.zeros(3, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, is_intent_B: Tensor, is_all_B: Tensor) -> None:
        """Add sentences."""
        counts = torch.stack([is_intent_B.sum(), is_all_B.sum(), torch.tensor(len(is_all_B), device=is_all_B.device)])
        self.counts_3 += counts.to(self.counts_3)

    def compute(self) -> dict[str, Tensor]:
        """Return the fractions that are right."""
        intents, sentences, count = self.counts_3
        return {"intent_accuracy": intents / count.clamp(min=1), "sentence_accuracy": sentences / count.clamp(min=1)}
