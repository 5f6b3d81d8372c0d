"""Evaluate a trained model on one split: its numbers, and a table of every prediction."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch

from rnnlab.contracts import Batch
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.models.base import Predictor


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation: metric name to value, `loss` among them, and a table of one row a sequence."""

    numbers: dict[str, float]
    table: pd.DataFrame


def evaluate(model: Predictor, data: SequenceDataModule, split: Split, num_batches: int | None = None) -> Evaluation:
    """Evaluate a model on a split.

    Metrics, what only the whole table gives, and whether the task is solved (1 or 0) where the data say when; the table names each example.
    """
    found = evaluate_batches(model, data.plain_dataloader(split), num_batches)
    table = with_examples(found.table, data)
    numbers = found.numbers | model.task.table_metrics(table) | {"num_examples": len(table)}
    is_solved = model.task.is_solved(numbers)
    return Evaluation(numbers if is_solved is None else numbers | {"solved": float(is_solved)}, table)


def with_examples(table: pd.DataFrame, data: SequenceDataModule) -> pd.DataFrame:
    """Put each example's id, the unit that may leak and the date, where there is one, before its prediction; its length behind it."""
    rows = table["row"].to_numpy()
    examples = data.examples.iloc[rows].reset_index(drop=True)
    named = pd.DataFrame({"example_id": examples["id"], "group": examples[data.group_column]})
    if "date" in examples:
        named["date"] = examples["date"]
    return named.join(table.drop(columns="row")).assign(num_steps=data.lengths[rows], **data.notes(rows))


@torch.inference_mode()
def evaluate_batches(model: Predictor, batches: Iterable[Batch], num_batches: int | None = None) -> Evaluation:
    """Evaluate a model on padded batches (None: all of them), on the model's device, in float32, dropout off."""
    was_training = model.training
    model.eval()
    metrics = model.task.metrics().to(model.device)
    losses, sizes, parts = [], [], []
    for batch in islice(batches, num_batches):
        on_device = batch.to(model.device)
        outputs = model.predict(on_device)
        losses.append(float(model.task.loss(outputs, on_device, is_training=False)))
        sizes.append(model.task.num_counted(outputs, on_device))
        model.task.update(metrics, outputs, on_device)
        columns = {"row": batch.example_ids.numpy(), **model.task.target_columns(batch), **model.task.columns(outputs, on_device)}
        parts.append(pd.DataFrame(columns))
    model.train(was_training)
    loss = float(np.average(losses, weights=sizes)) if any(sizes) else float("nan")
    numbers = {"loss": loss, **model.task.flatten(metrics.compute())}
    return Evaluation(numbers, pd.concat(parts, ignore_index=True))


@torch.inference_mode()
def answer(model: Predictor, batch: Batch) -> pd.DataFrame:
    """Return the predictions of one batch whose targets are unknown."""
    model.eval()
    return pd.DataFrame(model.task.columns(model.predict(batch), batch))
