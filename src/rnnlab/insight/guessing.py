"""The loss of guessing: what somebody who sees no input gets on the examples that a network is judged by."""

from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.constant import Memoryless
from rnnlab.contracts import Batch, DataSpec, TagsWithIntent
from rnnlab.tasks import Forecast, Task


def loss_of_guessing(task: Task[Any], batches: Iterable[Batch]) -> float | None:
    """Return the mean loss over batches of the best answer without any input; None where it is unknown (sequences of tokens).

    Where the data know that answer it is theirs (`DataSpec.memoryless`). Else it is, of classes and labels, how frequent they are in the
    training split (add-one), of forecasts the standardised target's mean, 0, and of quantiles those of the normal distribution.
    """
    losses, weights = [], []
    for batch in batches:
        outputs = guess(task, batch)
        if outputs is None:
            return None
        losses.append(float(task.loss(outputs, batch, is_training=False)))
        weights.append(task.num_answers(batch))
    return float(np.average(losses, weights=weights)) if any(weights) else None


def guess(task: Task[Any], batch: Batch) -> Tensor | TagsWithIntent | None:
    """Return outputs that do not depend on the input, as the task reads them; None where there are none to know."""
    spec = task.spec
    if spec.memoryless:
        method = Memoryless(spec, BaselineSettings("memoryless", None, 1))
        return torch.from_numpy(method.predict(method.fit([], []), batch))
    if isinstance(task, Forecast):
        levels = torch.tensor([NormalDist().inv_cdf(level) for level in task.quantiles] or [0.0], dtype=torch.double)
        return levels.repeat(batch.size, spec.target_size)
    output_C = task.first_bias()
    if output_C is None and spec.target_kind in ("class", "class_per_step") and spec.class_counts:
        output_C = _log_chances(spec.class_counts)
    if output_C is None:
        return None
    shape = (batch.size, batch.inputs.shape[1], 1) if task.is_per_step else (batch.size, 1)
    return _with_intent(spec, output_C.repeat(shape))


def _log_chances(counts: tuple[int, ...]) -> Tensor:
    return torch.log_softmax(torch.log(torch.tensor(counts, dtype=torch.double) + 1), 0)


def _with_intent(spec: DataSpec, outputs: Tensor) -> Tensor | TagsWithIntent:
    """Put the guess of the intents beside that of the tags, where there are such."""
    return TagsWithIntent(outputs, _log_chances(spec.intent_counts).repeat(len(outputs), 1)) if spec.intents else outputs
