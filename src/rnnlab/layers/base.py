"""Base class of the layers between front end and head, recurrent or not."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

LayerState = tuple[Tensor, ...]
"""What a layer carries from one part of its sequences to the next; the first axis of each tensor is B."""


class SequenceLayer(nn.Module, ABC):
    """Map (values, lengths) to (values, lengths): as many steps, `output_size` numbers each, zero beyond a length.

    `num_directions` is 2 where the second half of the numbers is read from the end; `is_causal` says that no step depends on later ones,
    `runs_in_parts` that `run` can go on from a state, `carries_state` that this state stays small, so that endless streams are read so.
    """

    output_size: int
    num_directions: int
    is_causal: bool
    runs_in_parts: bool = False
    carries_state: bool = False

    @property
    @abstractmethod
    def levels(self) -> Sequence[Sequence[nn.Module]]:
        """What is run one after another, from the input up: of each level its parts."""

    @abstractmethod
    def forward(self, values_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T, output_size) and the lengths."""

    def run(self, values_BTF: Tensor, lengths_B: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Run sequences on from the state that a run of their earlier steps left.

        Args:
            values_BTF: the next T steps.
            lengths_B: how many of them are valid; only a sequence of T valid steps can be run on further.
            state: what the last call returned; None at the beginning of the sequences.

        Returns:
            (B, T, output_size), and the state after these steps.

        Raises:
            NotImplementedError: if the layer cannot be run in parts.
        """
        raise NotImplementedError(f"{type(self).__name__} reads whole sequences and cannot be run in parts")
