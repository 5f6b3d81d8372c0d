"""What the rooms of rnnlab say to each other: one batch, and what a data set is.

Axis letters that end tensor names:

    B batch   T time   F features   H hidden   C classes   S target time   V vocabulary   D dimensions of a real target

Padding convention: a sequence of length n fills positions 0..n-1 of the time axis; positions from n on hold zeros and never
change a result.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

InputKind = Literal["features", "tokens"]
TargetKind = Literal["class", "class_per_step", "real"]
Link = Literal["identity", "exp"]

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
        feature_names: one name per input feature, where they have names.
        link: how a forecast is read (`real` only): `identity`, or `exp` for targets that are positive.
        unit: of the target, e.g. `%`.
    """

    name: str
    input_kind: InputKind
    input_size: int
    target_kind: TargetKind
    target_size: int
    label_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    step_ms: float | None = None
    feature_names: tuple[str, ...] = ()
    link: Link = "identity"
    unit: str = ""


@dataclass
class Reference:
    """Say for each example how a standardised output becomes a forecast, and what is forecast without any model.

    forecast = link(offset + scale * output); offset and scale come from the past and from training statistics alone.

    Args:
        offset: (B, D) float32.
        scale: (B, D) float32, positive.
        persistence: (B, D) float32, in the target's unit: the forecast that the last value goes on.
    """

    offset: Tensor
    scale: Tensor
    persistence: Tensor


@dataclass
class Batch:
    """Hold one padded batch.

    Args:
        inputs: (B, T, F) float32 or (B, T) int64.
        input_lengths: (B,) int64, each 1..T.
        targets: see `DataSpec.target_kind`.
        target_lengths: (B,) int64; 1 for one target per sequence.
        example_ids: (B,) int64, row in the data module's table of examples.
        reference: of real targets, see `Reference`.
    """

    inputs: Tensor
    input_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    example_ids: Tensor
    reference: Reference | None = None

    @property
    def size(self) -> int:
        """Number of sequences."""
        return len(self.input_lengths)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        parts = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        reference = self.reference
        moved = None if reference is None else Reference(*(value.to(device) for value in vars(reference).values()))
        return replace(self, **parts, reference=moved)


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
