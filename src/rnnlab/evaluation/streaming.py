"""A sequence that is read as it comes: an answer after each step or chunk of steps, and how long each took."""

import time
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnlab.contracts import Batch, Decoded
from rnnlab.layers import ctc
from rnnlab.models.base import Predictor, SequenceModule, StreamState

NUM_WARM, NUM_TIMED = 5, 200
"""Steps that are not timed, since kernels are made ready in them, and steps that are."""
NUM_EXAMPLES, MOST_EXAMPLES, MOST_SECONDS = 100, 64, 0.5
"""Answers to whole sequences that are timed, different ones among them at most, and the time after which no more are."""


class Stream:
    """Read one sequence with a network, chunk by chunk, and answer after each.

    Args:
        model: a network of one direction; it is put into evaluation mode.

    Raises:
        ValueError: where the model must see all of a sequence; says why.
    """

    def __init__(self, model: Predictor) -> None:
        if not isinstance(model, SequenceModule):
            kind = getattr(model, "kind", type(model).__name__.lower())
            raise ValueError(f"model={kind} reads whole sequences: choose a network of one direction (srnn, lstm, gru, tcn, transformer)")
        if model.needs_all_steps:
            raise ValueError(model.needs_all_steps)
        self.model = model.eval()
        self.state: StreamState | None = None
        self.seconds: list[float] = []
        self.num_steps = 0
        self._outputs: list[Tensor] = []

    @torch.inference_mode()
    def read(self, inputs: Tensor) -> Tensor:
        """Read the next T steps, (T, F) or (T,); return the outputs after each of them, (T, C)."""
        begun = time.perf_counter()
        outputs, self.state = self.model.stream(inputs[None].to(self.model.device), self.state)
        found = outputs[0].cpu()
        self.seconds.append(time.perf_counter() - begun)
        self.num_steps += len(inputs)
        return found

    def answer(self, batch: Batch, start: int, end: int) -> pd.DataFrame:
        """Read steps of a batch of one sequence; return the task's columns after the last of them, of one row."""
        outputs_TC = self.read(batch.inputs[0, start:end])
        task = self.model.task
        part = replace(batch, inputs=batch.inputs[:, start:end], input_lengths=torch.tensor([end - start]))
        if self.model.is_ctc:
            self._outputs.append(outputs_TC)
            whole = torch.cat(self._outputs)[None]
            decoded = Decoded([[found] for found in ctc.greedy(whole, torch.tensor([whole.shape[1]]))])
            return pd.DataFrame(task.columns(decoded, part))
        if not task.is_per_step:
            return pd.DataFrame(task.columns(outputs_TC[-1:], part))
        targets = batch.targets[:, start:end]
        lengths_B = (batch.target_lengths - start).clamp(0, end - start)
        return pd.DataFrame(task.columns(outputs_TC[None], replace(part, targets=targets, target_lengths=lengths_B)))

    def latency(self) -> dict[str, float]:
        """Return the median and the 99th percentile of the time of a chunk, in milliseconds, and by how much that is less than real time.

        The real-time factor is the time of computing over the time that the steps last, where steps are time.
        """
        low, high = 1000 * np.quantile(self.seconds, (0.5, 0.99))
        found = {"latency/p50_ms": float(low), "latency/p99_ms": float(high)}
        if step_ms := self.model.spec.step_ms:
            found["latency/real_time_factor"] = 1000 * sum(self.seconds) / (step_ms * self.num_steps)
        return found


def measure_latency(model: Predictor, batch: Batch) -> dict[str, float]:
    """Read sequences of a batch step by step, and return the latency of a step; nothing where the model must see all of a sequence."""
    if not isinstance(model, SequenceModule) or model.needs_all_steps:
        return {}
    was_training, stream = model.training, Stream(model)
    for inputs in _steps(batch):
        stream.read(inputs)
        if len(stream.seconds) == NUM_WARM + NUM_TIMED:
            break
    model.train(was_training)
    timed = stream.seconds[NUM_WARM:] or stream.seconds
    stream.seconds, stream.num_steps = timed, len(timed)
    return stream.latency()


def measure_examples(model: Predictor, batch: Batch) -> dict[str, float]:
    """Answer single sequences of a batch, one at a time and without padding, and return the latency of an answer.

    It ends after a hundred of them, or half a second.
    """
    was_training = model.training
    model.eval()
    examples = [only(batch, place).to(model.device) for place in range(min(batch.size, MOST_EXAMPLES))]
    seconds: list[float] = []
    with torch.inference_mode():
        for number in range(NUM_WARM + NUM_EXAMPLES):
            begun = time.perf_counter()
            model.predict(examples[number % len(examples)])
            seconds.append(time.perf_counter() - begun)
            if number > NUM_WARM and sum(seconds) > MOST_SECONDS:
                break
    model.train(was_training)
    low, high = 1000 * np.quantile(seconds[NUM_WARM:], (0.5, 0.99))
    return {"latency/example_p50_ms": float(low), "latency/example_p99_ms": float(high)}


def only(batch: Batch, place: int) -> Batch:
    """Return one sequence of a batch, without padding of its inputs, nor of its targets where there is one at each step."""
    length = int(batch.input_lengths[place])
    rows = slice(place, place + 1)
    kept = {name: _of_row(value, rows) for name, value in vars(batch).items() if value is not None and name not in ("whole_size", "inputs")}
    found = copy(batch)
    for name, value in kept.items():
        setattr(found, name, value)
    if batch.targets.shape[:2] == batch.inputs.shape[:2] and torch.equal(batch.target_lengths, batch.input_lengths):
        found.targets = found.targets[:, :length]
    if found.copies is not None:
        found.copies = replace(found.copies, numbers=found.copies.numbers[:, :length])
    return replace(found, inputs=batch.inputs[rows, :length], whole_size=None, is_continued=False)


def _of_row(value: object, rows: slice) -> object:
    """Return the part of one sequence of what a batch holds."""
    if isinstance(value, Tensor | tuple):
        return value[rows]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _of_row(getattr(value, field.name), rows) for field in fields(value)})
    return value


def _steps(batch: Batch) -> Iterator[Tensor]:
    """Yield the steps of a batch's sequences, one after another, (1, F) or (1,) each."""
    for values, length in zip(batch.inputs, batch.input_lengths.tolist(), strict=True):
        for step in range(length):
            yield cast(Tensor, values[step : step + 1])
