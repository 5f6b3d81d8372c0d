"""`data=copying`: ten of eight symbols, T - 1 blanks, a delimiter, ten blanks; a class is wanted at each of the T + 20 steps.

The targets are blank until behind the delimiter the ten symbols are asked for in order (Arjovsky et al. 2016, section 4.1).
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import IGNORED_TARGET, DataSpec
from rnnlab.data.batches import ExampleRandom
from rnnlab.data.synthetic.base import MemoryData, MemoryReader

NUM_COPIED, NUM_SYMBOLS = 10, 8
BLANK, DELIMITER = 0, NUM_SYMBOLS + 1
LETTERS = "-abcdefgh>"
"""How the ten inputs are written: the blank, the symbols, the delimiter."""
SOLVED_FRACTION = 0.1
"""The task counts as solved below this fraction of the loss without memory."""


def draw(random: ExampleRandom, num_steps: int) -> np.ndarray:
    """Draw (B, T + 20) uint8, places in `LETTERS`."""
    symbols_B = (random.uniform(NUM_COPIED) * NUM_SYMBOLS).numpy().astype(np.uint8) + 1
    values_BT = np.full((len(symbols_B), num_steps + 2 * NUM_COPIED), BLANK, dtype=np.uint8)
    values_BT[:, :NUM_COPIED] = symbols_B
    values_BT[:, NUM_COPIED + num_steps - 1] = DELIMITER
    return values_BT


@dataclass(frozen=True)
class CopyingReader(MemoryReader):
    """Read one letter a step."""

    kind = "copying"
    example = 'text="abcdefghab--->----------"'

    def parse(self, text: str) -> np.ndarray:
        """Read one sequence, (T, 10) float32."""
        if not set(text) <= set(LETTERS):
            raise ValueError(f"{text[:40]!r} is no copying problem: wanted letters of {LETTERS}, such as abcdefghab--->----------")
        return np.eye(len(LETTERS), dtype=np.float32)[[LETTERS.index(letter) for letter in text]]

    def unknown_targets(self, num_sequences: int, num_steps: int) -> Tensor:
        return torch.full((num_sequences, num_steps), IGNORED_TARGET)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class CopyingData(MemoryData):
    """Ask for ten symbols after T blanks; see the top of this file."""

    least_steps, why_least = 1, "the copying problem needs a step for its delimiter"

    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw (B, T + 20) uint8, places in `LETTERS`."""
        return draw(random, self.num_steps)

    def inputs_of(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.eye(len(LETTERS), dtype=np.float32)[values])

    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Want blanks, and at the last ten steps the first ten symbols, (B, T + 20)."""
        targets_BT = np.full(values.shape, BLANK, dtype=np.int64)
        targets_BT[:, -NUM_COPIED:] = values[:, :NUM_COPIED]
        return targets_BT

    def written(self, values: np.ndarray) -> str:
        """Write a letter a step: - is a blank, > the delimiter."""
        return "".join(LETTERS[value] for value in values)

    @property
    def baseline(self) -> float:
        """Cross entropy, in nats per step, of saying blank until symbols are due and then each of the eight alike: 10 ln 8 / (T + 20)."""
        return NUM_COPIED * math.log(NUM_SYMBOLS) / (self.num_steps + 2 * NUM_COPIED)

    @property
    def verdict(self) -> str:
        return f"loss below {SOLVED_FRACTION * self.baseline:.4g}, a tenth of 10 ln 8 / (T + 20) = {self.baseline:.4g}, had without memory"

    def make_spec(self) -> DataSpec:
        size = NUM_SYMBOLS + 1  # the delimiter is never wanted
        blank, any_symbol = (1.0, *[0.0] * NUM_SYMBOLS), (0.0, *[1 / NUM_SYMBOLS] * NUM_SYMBOLS)
        return DataSpec(
            self.name,
            "features",
            len(LETTERS),
            "class_per_step",
            size,
            tuple(LETTERS[:size]),
            self.class_counts(size),
            feature_names=tuple(LETTERS),
            metric="loss",
            solved_at=SOLVED_FRACTION * self.baseline,
            memoryless=((self.num_steps + NUM_COPIED, blank), (NUM_COPIED, any_symbol)),
        )

    def reader(self) -> CopyingReader:
        return CopyingReader()
