"""Measure a trained model on one split: its numbers, and a table of every prediction."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch

from rnnlab.contracts import Batch
from rnnlab.models.base import SequenceModule


@dataclass(frozen=True)
class Evaluation:
    """Hold what was measured.

    Args:
        numbers: metric name to value, `loss` among them.
        table: one row a sequence: row (in the prepared table), target, prediction, and what the task adds.
    """

    numbers: dict[str, float]
    table: pd.DataFrame


@torch.inference_mode()
def evaluate(model: SequenceModule, batches: Iterable[Batch], num_batches: int | None = None) -> Evaluation:
    """Measure a model, in float32, dropout off.

    Args:
        model: on the device where it is to run.
        batches: padded batches.
        num_batches: at most this many (None: all).
    """
    was_training = model.training
    model.eval()
    metrics = model.task.metrics().to(model.device)
    losses, sizes, parts = [], [], []
    for batch in islice(batches, num_batches):
        on_device = Batch(*(value.to(model.device) for value in vars(batch).values()))
        outputs = model(on_device.inputs, on_device.input_lengths)
        losses.append(float(model.task.loss(outputs, on_device, is_training=False)))
        sizes.append(model.task.num_answers(on_device))
        metrics.update(*model.task.answers(outputs, on_device))
        columns = {"row": batch.example_ids.numpy(), **model.task.target_columns(batch), **model.task.columns(outputs, on_device)}
        parts.append(pd.DataFrame(columns))
    model.train(was_training)
    numbers = {"loss": float(np.average(losses, weights=sizes)), **model.task.flatten(metrics.compute())}
    return Evaluation(numbers, pd.concat(parts, ignore_index=True))


@torch.inference_mode()
def answer(model: SequenceModule, batch: Batch) -> pd.DataFrame:
    """Return the predictions of one batch whose targets are unknown."""
    model.eval()
    return pd.DataFrame(model.task.columns(model(batch.inputs, batch.input_lengths), batch))
