"""Data that are read as long streams, part by part."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnnlab.contracts import START
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.batches import EpochOrder
from rnnlab.data.inputs import WrittenReader


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


@dataclass(frozen=True)
class TextWriter(WrittenReader, ABC):
    """Base class of readers of running text, which also say how the tokens that a model draws are written."""

    vocabulary: tuple[str, ...]

    @property
    @abstractmethod
    def end(self) -> int | None:
        """The token that ends a document; None where documents have none."""

    @abstractmethod
    def words_of(self, text: str) -> list[str]:
        """Return the tokens of a text, behind the end of a document where the run's documents have such."""

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of `words_of` a text, (T,) int64."""

    @abstractmethod
    def written(self, word: str, before: str | None) -> str:
        """Return what is written for a token that comes after another (None: it is the first)."""

    def first(self) -> int:
        """Return a token to begin with: that before a document or a line, else the most frequent one."""
        lines = [number for number, word in enumerate(self.vocabulary) if word in ("<eos>", "\n")]
        return self.end if self.end is not None else lines[0] if lines else min(START, len(self.vocabulary) - 1)


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
