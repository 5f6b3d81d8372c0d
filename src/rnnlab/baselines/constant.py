"""What needs no input at all: the last value goes on, or the mean of the training targets."""

from typing import ClassVar

import numpy as np

from rnnlab.baselines.base import Arrays, Method, classes, standardise
from rnnlab.contracts import Batch, InputKind, TargetKind


class Persistence(Method):
    """Forecast that the last value goes on (what that means for a target, the data say: see `contracts.Reference`)."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features", "tokens")
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real",)

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit nothing."""
        return {}

    def respond(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return persistence as an output."""
        if batch.reference is None:
            raise ValueError(f"data={self.spec.name} says nothing of persistence: choose another baseline.kind")
        return standardise(batch.reference.persistence, batch, self.spec)


class Mean(Method):
    """Forecast the mean of the training targets; of classes, their shares."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features", "tokens")
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real", "class")

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit the mean (of positive targets before the link: their own mean, which is what QLIKE asks for)."""
        if self.spec.target_kind == "class":
            counts = np.bincount(classes(train), minlength=self.spec.target_size) + 1
            return {"output": np.log(counts / counts.sum())}
        outputs = np.concatenate([standardise(batch.targets, batch, self.spec) for batch in train])
        if self.spec.link == "identity":
            return {"output": outputs.mean(0)}
        scale = np.concatenate([_scale(batch) for batch in train]).mean(0)
        return {"output": np.log(np.exp(outputs * scale).mean(0)) / scale}

    def respond(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return the same for all."""
        return np.tile(arrays["output"], (batch.size, 1))


def _scale(batch: Batch) -> np.ndarray:
    return np.ones(tuple(batch.targets.shape)) if batch.reference is None else batch.reference.scale.cpu().numpy().astype(float)
