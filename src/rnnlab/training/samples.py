"""What a model answers while it is trained: artifacts `samples/step_<n>.txt`, one after each validation."""

from collections.abc import Callable
from itertools import islice
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from rnnlab.contracts import Batch, Decoded
from rnnlab.insight.generation import Sampling, continue_text, longest_repeat
from rnnlab.models.base import Predictor
from rnnlab.tasks import Transduce
from rnnlab.tracking.tracker import Tracker

NUM_SAMPLES = 8
NUM_CONTINUED, NUM_TOKENS = 2, 200
"""Texts that a language model writes after each validation, and their tokens."""


class Samples(Callback):
    """Write after each validation what is answered to a few examples of all lengths, beside what is right.

    Args:
        tracker: of the run; the files are artifacts `samples/step_<n>.txt`.
        show: makes readable inputs of rows of the table of examples (None where there is nothing to read).
        name: makes ids of them.
    """

    def __init__(self, tracker: Tracker, show: Callable[[np.ndarray], list[str] | None], name: Callable[[np.ndarray], list[str]]) -> None:
        self.tracker, self.show, self.name = tracker, show, name
        self.lines: list[str] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.lines = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take a few examples of some batches, which are sorted by length."""
        num_batches = int(trainer.num_val_batches[0])
        decoded = outputs["outputs"]
        if batch_idx % max(1, num_batches // NUM_SAMPLES) or not isinstance(decoded, Decoded) or batch.references is None:
            return
        places = np.linspace(0, batch.size - 1, min(batch.size, max(1, NUM_SAMPLES // num_batches))).astype(int)
        rows = batch.example_ids.cpu().numpy()[places]
        names, texts = self.name(rows), self.show(rows)
        best = [decoded.hypotheses[place][0] for place in places]
        for number, place in enumerate(places):
            self.lines += [
                f"example  {names[number]}",
                *([f"input    {texts[number]}"] if texts else []),
                f"right    {batch.references[place][0]}",
                f"answer   {cast(Transduce, pl_module.task).text(best[number].tokens, best[number].words)}",
                "",
            ]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.lines:
            return
        write(self.tracker, trainer.global_step, self.lines)


class Continuations(Callback):
    """Let a language model go on with the beginning of the validation text after each validation, and say what of it is training text.

    Args:
        tracker: of the run.
        stream: the tokens of the training text, (N,).
        prompt: the tokens to begin with, (T,).
        join: makes text of tokens.
    """

    def __init__(self, tracker: Tracker, stream: np.ndarray, prompt: np.ndarray, join: Callable[[np.ndarray], str]) -> None:
        self.tracker, self.stream, self.prompt, self.join = tracker, stream, prompt, join

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        model, was_training = cast(Predictor, pl_module), pl_module.training
        lines = [f"Each text goes on from {self.join(self.prompt)!r}, drawn at temperature 1.", ""]
        for seed in range(NUM_CONTINUED):
            written = np.array(list(islice(continue_text(model, self.prompt, Sampling(seed=seed)), NUM_TOKENS)))
            length, place, _ = longest_repeat(written, self.stream)
            passage = self.join(written[place : place + length])
            lines += [self.join(written), "", f"seed {seed}: its longest passage that training holds has {length} tokens: {passage!r}", ""]
        pl_module.train(was_training)
        write(self.tracker, trainer.global_step, lines)


def write(tracker: Tracker, num_steps: int, lines: list[str]) -> None:
    """Write the samples of a validation as an artifact."""
    file = tracker.folder / "artifacts" / "samples" / f"step_{num_steps:06d}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines), encoding="utf-8")
    tracker.log_files(file, "samples")
