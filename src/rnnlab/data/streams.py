"""Data that are read as long streams, part by part."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnnlab.data.base import SequenceDataModule
from rnnlab.data.batches import EpochOrder


class StreamOrder(EpochOrder):
    """Read streams side by side, in their order: batch k holds part k of every stream that has so many, the longest streams first.

    Args:
        streams: the numbers of the parts of each stream.
    """

    def __init__(self, streams: list[np.ndarray]) -> None:
        super().__init__(np.concatenate(streams), np.zeros(0), len(streams), 0, 0)
        self.streams = streams

    def batches(self) -> list[np.ndarray]:
        return [np.array([stream[part] for stream in self.streams if len(stream) > part]) for part in range(len(self.streams[0]))]

    def __len__(self) -> int:
        return len(self.streams[0])


@dataclass(eq=False, repr=False, kw_only=True)
class RunningText(SequenceDataModule, ABC):
    """Base class of data modules of running text, of which a model may write more."""

    is_stream: ClassVar[bool] = True

    @abstractmethod
    def training_tokens(self) -> np.ndarray:
        """Return the tokens of the training text, (N,) int."""

    @abstractmethod
    def prompt(self) -> np.ndarray:
        """Return tokens that a sample goes on from, (T,) int64."""

    @abstractmethod
    def joined(self, numbers: np.ndarray) -> str:
        """Return the text of tokens, (T,) int."""
