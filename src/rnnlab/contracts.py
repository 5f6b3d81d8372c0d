"""What the rooms of rnnlab say to each other: one batch, and what a data set is.

Axis letters that end tensor names:

    B batch   T time   F features   H hidden   C classes   S target time   V vocabulary   D dimensions of a real target

Padding convention: a sequence of length n fills positions 0..n-1 of the time axis; positions from n on hold zeros and never
change a result.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

InputKind = Literal["features", "tokens"]
TargetKind = Literal["class", "class_per_step", "real"]

# The ranges that signatures state; a config's values are checked against them before anything is loaded.
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class DataSpec:
    """Describe a data set to whoever builds a model for it.

    Args:
        name: the data's name, as in `data=NAME`.
        input_kind: `features` (float, B T F) or `tokens` (int64, B T).
        input_size: F, or the size of the vocabulary.
        target_kind: `class` (int64, B), `class_per_step` (int64, B T, padded with -1) or `real` (float, B D).
        target_size: number of classes, or D.
        label_names: one name per class, in order; for `real` one name per dimension.
        class_counts: examples per class in the training split (empty for `real`).
        step_ms: duration of one input step in milliseconds, where steps are time.
    """

    name: str
    input_kind: InputKind
    input_size: int
    target_kind: TargetKind
    target_size: int
    label_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    step_ms: float | None = None


@dataclass
class Batch:
    """Hold one padded batch.

    Args:
        inputs: (B, T, F) float32 or (B, T) int64.
        input_lengths: (B,) int64, each 1..T.
        targets: see `DataSpec.target_kind`.
        target_lengths: (B,) int64; 1 for one target per sequence.
        example_ids: (B,) int64, row in the prepared data's table of examples.
    """

    inputs: Tensor
    input_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    example_ids: Tensor

    @property
    def size(self) -> int:
        """Number of sequences."""
        return len(self.input_lengths)


IGNORED_TARGET = -1


def valid_mask(lengths_B: Tensor, num_steps: int) -> Tensor:
    """Mark the steps that belong to each sequence.

    Args:
        lengths_B: (B,) int64.
        num_steps: T.

    Returns:
        (B, T) bool, true at positions before the sequence's length.
    """
    return torch.arange(num_steps, device=lengths_B.device)[None, :] < lengths_B[:, None]


def zero_padding(values_BTX: Tensor, lengths_B: Tensor) -> Tensor:
    """Zero what lies beyond each sequence's length (also NaN and infinity there)."""
    mask_BT1 = valid_mask(lengths_B, values_BTX.shape[1])[..., None]
    return values_BTX.masked_fill(~mask_BT1, 0)
