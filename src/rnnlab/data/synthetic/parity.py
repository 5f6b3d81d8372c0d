"""`data=parity`: T random bits; the target is whether the number of ones is odd."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import IGNORED_TARGET, DataSpec
from rnnlab.data.batches import ExampleRandom
from rnnlab.data.synthetic.base import MemoryData, MemoryReader

SOLVED_ACCURACY = 0.99


def draw(random: ExampleRandom, num_steps: int) -> np.ndarray:
    """Draw (B, T) uint8 bits."""
    bits_BT: np.ndarray = (random.uniform(num_steps).numpy() >= 0.5).astype(np.uint8)
    return bits_BT


@dataclass(frozen=True)
class ParityReader(MemoryReader):
    """Read bits, 0 or 1."""

    kind = "parity"
    example = 'text="01101"'

    def parse(self, text: str) -> np.ndarray:
        """Read one sequence, (T, 1) float32."""
        if not set(text) <= set("01"):
            raise ValueError(f"{text[:40]!r} is no parity problem: wanted bits, such as 01101")
        return np.array([[float(bit)] for bit in text], dtype=np.float32)

    def unknown_targets(self, num_sequences: int, num_steps: int) -> Tensor:
        return torch.full((num_sequences,), IGNORED_TARGET)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class ParityData(MemoryData):
    """Ask whether the number of ones is odd; see the top of this file."""

    least_steps, why_least = 2, "the parity of one bit is that bit"

    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw (B, T) uint8 bits."""
        return draw(random, self.num_steps)

    def inputs_of(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[..., None].astype(np.float32))

    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Want 1 where the number of ones is odd, (B,)."""
        odd_B: np.ndarray = values.sum(1, dtype=np.int64) % 2
        return odd_B

    def written(self, values: np.ndarray) -> str:
        return "".join(map(str, values))

    @property
    def verdict(self) -> str:
        return f"accuracy above {100 * SOLVED_ACCURACY:g} %; guessing has 50 %"

    def make_spec(self) -> DataSpec:
        return DataSpec(
            self.name,
            "features",
            1,
            "class",
            2,
            ("even", "odd"),
            self.class_counts(2),
            feature_names=("bit",),
            solved_at=SOLVED_ACCURACY,
            memoryless=((1, (0.5, 0.5)),),
        )

    def reader(self) -> ParityReader:
        return ParityReader()
