"""`data=adding`: T pairs of a value and a mark; the target is the sum of the two marked values.

The values are from U(0, 1), one is marked in each half: Hochreiter & Schmidhuber (1997, section 5.4) as Le et al. (2015, section 4.1) and
Bai et al. (2018, section 4.1) pose it.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import DataSpec
from rnnlab.data.batches import ExampleRandom
from rnnlab.data.synthetic.base import MemoryData, MemoryReader

SOLVED_MSE = 0.01


def draw(random: ExampleRandom, num_steps: int) -> np.ndarray:
    """Draw (B, T, 2) float32: values, and marks of which one lies in the first T // 2 steps and one behind them."""
    half = num_steps // 2
    values_BT = random.uniform(num_steps).numpy()
    first_B, second_B = (random.uniform(2).numpy() * [half, num_steps - half]).astype(np.int64).T
    steps_T = np.arange(num_steps)
    marks_BT = (steps_T == first_B[:, None]) | (steps_T == half + second_B[:, None])
    return np.stack([values_BT, marks_BT.astype(np.float32)], axis=-1)


@dataclass(frozen=True)
class AddingReader(MemoryReader):
    """Read values one after another, a star behind two of them."""

    kind = "adding"
    example = 'text="0.2 0.7* 0.1 0.4*"'

    def parse(self, text: str) -> np.ndarray:
        """Read one sequence, (T, 2) float32."""
        words = text.split()
        try:
            values = [float(word.removesuffix("*")) for word in words]
        except ValueError:
            values = [math.nan]
        marks = [float(word.endswith("*")) for word in words]
        if not np.isfinite(values).all() or sum(marks) != 2:
            raise ValueError(f"{text[:40]!r} is no adding problem: wanted numbers, two of them with a star, such as 0.2 0.7* 0.1 0.4*")
        return np.stack([values, marks], axis=-1).astype(np.float32)

    def unknown_targets(self, num_sequences: int, num_steps: int) -> Tensor:
        return torch.full((num_sequences, 1), torch.nan)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class AddingData(MemoryData):
    """Ask for the sum of two marked values; see the top of this file."""

    least_steps, why_least = 2, "the adding problem marks one value in each half of a sequence"

    def draw(self, random: ExampleRandom) -> np.ndarray:
        """Draw values and marks, (B, T, 2) float32."""
        return draw(random, self.num_steps)

    def inputs_of(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    def targets_of(self, values: np.ndarray) -> np.ndarray:
        """Add the marked values, (B, 1)."""
        sums: np.ndarray = (values[..., 0] * values[..., 1]).sum(1, dtype=np.float32, keepdims=True)
        return sums

    def written(self, values: np.ndarray) -> str:
        """Write values one after another, a star behind those that are marked."""
        return " ".join(f"{value:.9g}{'*' if is_marked else ''}" for value, is_marked in values)

    @property
    def verdict(self) -> str:
        return f"mse below {SOLVED_MSE:g}; the constant 1 has 1/6 = 0.1667"

    def make_spec(self) -> DataSpec:
        return DataSpec(
            self.name, "features", 2, "real", 1, ("sum",), feature_names=("value", "mark"), solved_at=SOLVED_MSE, memoryless=((1, (1.0,)),)
        )

    def reader(self) -> AddingReader:
        return AddingReader()
