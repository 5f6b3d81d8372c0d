"""From answers to pictures and tables of what carried them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rnnlab.contracts import Batch
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.inputs import InputReader
from rnnlab.insight.attribution import Attribution, attribute
from rnnlab.insight.attribution_figures import ShownInput, draw_shares
from rnnlab.models.base import Predictor
from rnnlab.paths import file_name


@dataclass(frozen=True)
class Explained:
    """Explanations of some answers.

    Args:
        table: input, answer, unit, step (from 1), what (word or feature, empty of frames), share.
        most_missed: see `Attribution.missed`, the largest.
    """

    table: pd.DataFrame
    most_missed: float


def explain(model: Predictor, reader: InputReader, batch: Batch, folder: Path, stems: list[str]) -> Explained:
    """Explain every answer of a batch and draw it; targets may be unknown.

    Args:
        folder: for PNGs, `<stem>.png`, or `<stem>_<forecast>.png` where there are several.
        stems: one a sequence.

    Raises:
        ValueError: where such answers cannot be explained.
    """
    tables, missed = [], [0.0]
    for row, stem in enumerate(stems):
        answers = attribute(model, batch, row)
        for found in answers:
            reading = _reading(model, reader, batch, row, len(found.shares_TF))
            name = stem if len(answers) == 1 else f"{stem}_{file_name(found.answer)}"
            draw_shares(found, reading, folder / f"{name}.png")
            tables.append(_table(found, reading).assign(input=stem))
            missed.append(found.missed)
    columns = ["input", "answer", "unit", "step", "what", "share"]
    return Explained(pd.concat(tables, ignore_index=True)[columns], max(missed))


def explain_examples(model: Predictor, data: SequenceDataModule, folder: Path, num_examples: int) -> None:
    """Draw what carried the answers to some test examples of all lengths."""
    rows = data.rows["test"]
    by_length = rows[np.argsort(data.lengths[rows], kind="stable")]
    chosen = by_length[np.linspace(0, len(rows) - 1, min(num_examples + 2, len(rows))).astype(int)][1:-1]
    batch = data.collate(chosen, epoch=0, is_training=False).to(model.device)
    stems = [file_name(str(name)) for name in data.examples["id"].iloc[chosen]]
    found = explain(model, data.reader(), batch, folder, stems)
    found.table.to_csv(folder / "shares.csv", index=False)


def _reading(model: Predictor, reader: InputReader, batch: Batch, row: int, num_steps: int) -> ShownInput:
    spec = model.spec
    inputs = batch.inputs[row, :num_steps].cpu()
    if spec.input_kind == "features":
        return ShownInput(inputs.float().numpy(), None, spec.feature_names, spec.step_ms, reader.is_counted_back)
    vocabulary = spec.feature_names or reader.input_words
    return ShownInput(np.zeros((num_steps, 0)), [vocabulary[number] for number in inputs.tolist()], (), None, False)


def _table(found: Attribution, reading: ShownInput) -> pd.DataFrame:
    shares_TF, names = found.shares_TF, list(reading.names)
    if not names:
        shares_TF, names = shares_TF.sum(1, keepdims=True), [""]
    steps, features = np.indices(shares_TF.shape).reshape(2, -1)
    what = [names[feature] for feature in features] if reading.words is None else reading.words
    columns = {"answer": found.answer, "unit": found.unit, "step": steps + 1, "what": what, "share": shares_TF.ravel()}
    return pd.DataFrame(columns)
