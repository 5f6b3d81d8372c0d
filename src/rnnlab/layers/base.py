"""Base class of the layers between front end and head, recurrent or not."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class SequenceLayer(nn.Module, ABC):
    """Map (values, lengths) to (values, lengths): as many steps, `output_size` numbers each, zero beyond a length.

    `num_directions` is 2 where the second half of the numbers is read from the end; `is_causal` says that no step depends on later ones.
    """

    output_size: int
    num_directions: int
    is_causal: bool

    @abstractmethod
    def forward(self, values_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T, output_size) and the lengths."""
