"""Base class of all baselines: arrays fitted once, and a function of a batch; no gradient, no recurrence."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from rnnlab.config import PositiveInt
from rnnlab.contracts import Batch, DataSpec, InputKind, TargetKind

Arrays = dict[str, np.ndarray]
"""Fitted arrays, saved as they are beside the configuration."""


@dataclass(frozen=True)
class BaselineSettings:
    """Which baseline, and its settings (`baseline`).

    Args:
        kind: `auto` (what suits the data), or a name of `rnnlab.models.baseline.METHODS`.
        ngrams: of texts: longest run of tokens that counts as a feature (None: the method's own).
        min_count: of texts: an n-gram must occur in this many training texts.
        num_words: of `lead`: how many of the first tokens (None: the first sentence).
    """

    kind: str
    ngrams: int | None
    min_count: int
    num_words: PositiveInt | None = None


class Method(ABC):
    """A baseline for one kind of data."""

    input_kinds: ClassVar[tuple[InputKind, ...]]
    target_kinds: ClassVar[tuple[TargetKind, ...]]
    has_probabilities: ClassVar[bool] = True
    """Of classes, whether outputs are log-odds of probabilities, and no mere margins or distances."""

    def __init__(self, spec: DataSpec, settings: BaselineSettings) -> None:
        self.spec = spec
        self.settings = settings

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        """Tell whether the method is for such data; it may still refuse (see `refusal`)."""
        return spec.input_kind in cls.input_kinds and spec.target_kind in cls.target_kinds

    def refusal(self) -> str | None:
        """Return why this method cannot answer data that it is offered for, or None."""
        return None

    @abstractmethod
    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit on training batches; validation batches choose settings and nothing else."""

    @abstractmethod
    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return outputs as the task reads them: (B, C) logits, (B, T, C) log-odds or (B, D) standardised forecasts."""


def standardised_targets(batches: Iterable[Batch], spec: DataSpec) -> np.ndarray:
    """Return (N, D): what an output should have been (see `contracts.Reference`)."""
    return np.concatenate([standardise(batch.targets, batch, spec) for batch in batches])


def standardise(values_BD: torch.Tensor, batch: Batch, spec: DataSpec) -> np.ndarray:
    """Turn values in the target's unit into outputs."""
    values = values_BD.double()
    values = values.log() if spec.link == "exp" else values
    if batch.reference is not None:
        values = (values - batch.reference.offset) / batch.reference.scale
    return values.cpu().numpy()


def classes(batches: Iterable[Batch]) -> np.ndarray:
    """Return (N,) class numbers."""
    return np.concatenate([batch.targets.cpu().numpy() for batch in batches])
