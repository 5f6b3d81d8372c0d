"""Baselines that fit no function of the input: the last value, the mean of the training targets, or the best constant of the data."""

from typing import ClassVar

import numpy as np
import torch

from rnnlab.baselines.base import Arrays, Method, classes, standardise
from rnnlab.baselines.label_sets import known_steps
from rnnlab.contracts import Batch, DataSpec, InputKind, TargetKind

SMALLEST_PROBABILITY = 1e-60


class Persistence(Method):
    """Forecast that the last value goes on (what that means for a target, the data say: see `contracts.Reference`)."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features", "tokens")
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real",)

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        return {}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        if batch.reference is None:
            raise ValueError(f"data={self.spec.name} says nothing of persistence: choose another baseline.kind")
        return standardise(batch.reference.persistence, batch, self.spec)


class Mean(Method):
    """Forecast the mean of the training targets; of classes and labels, their frequencies (add-one)."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features", "tokens")
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real", "class", "labels_per_step")

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit the mean (of positive targets before the link: their own mean, which is what QLIKE asks for)."""
        if self.spec.target_kind == "class":
            counts = np.bincount(classes(train), minlength=self.spec.target_size) + 1
            return {"output": np.log(counts / counts.sum())}
        if self.spec.target_kind == "labels_per_step":
            _, targets_NC = known_steps(train)
            num_on_C = targets_NC.sum(0, dtype=float)
            return {"output": np.log((num_on_C + 1) / (len(targets_NC) - num_on_C + 1))}
        outputs = np.concatenate([standardise(batch.targets, batch, self.spec) for batch in train])
        if self.spec.link == "identity":
            return {"output": outputs.mean(0)}
        scale = np.concatenate([_scale(batch) for batch in train]).mean(0)
        return {"output": np.log(np.exp(outputs * scale).mean(0)) / scale}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        shape = (batch.size, batch.inputs.shape[1], 1) if self.spec.target_kind == "labels_per_step" else (batch.size, 1)
        return np.tile(arrays["output"], shape)


class Memoryless(Method):
    """Answer as best one can without any input, where the data know that exactly (`DataSpec.memoryless`): nothing is fitted."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features", "tokens")
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real", "class", "class_per_step")

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        return super().is_offered(spec) and bool(spec.memoryless)

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Write down the answers, (1, D) or (1, C), or (T, C) where there is one a step."""
        answers = np.repeat([answer for _, answer in self.spec.memoryless], [steps for steps, _ in self.spec.memoryless], axis=0)
        return {"output": answers if self.spec.target_kind == "real" else np.log(np.maximum(answers, SMALLEST_PROBABILITY))}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return the same for all; sequences of other lengths than the data's go on with the last answer."""
        output = arrays["output"]
        if self.spec.target_kind == "real":
            return standardise(torch.from_numpy(np.tile(output, (batch.size, 1))), batch, self.spec)
        if self.spec.target_kind == "class":
            return np.tile(output, (batch.size, 1))
        places = np.minimum(np.arange(batch.inputs.shape[1]), len(output) - 1)
        return np.tile(output[places], (batch.size, 1, 1))


def _scale(batch: Batch) -> np.ndarray:
    return np.ones(tuple(batch.targets.shape)) if batch.reference is None else batch.reference.scale.cpu().numpy().astype(float)
