"""A network of dilated causal convolutions, the contrast to recurrence of Bai et al. (2018); equations in `layers/tcn.py`."""

from collections.abc import Callable
from typing import final

from rnnlab.contracts import DataSpec
from rnnlab.layers.beam_search import Decoding
from rnnlab.layers.frontends import Frontend
from rnnlab.layers.tcn import Convolutions, ConvolutionStack
from rnnlab.models.base import Head, SequenceModule
from rnnlab.tasks import TASKS_OWN, Loss, Regularisation


@final
class TCN(SequenceModule):
    """A temporal convolutional network.

    Args:
        spec: what the data are.
        convolutions: the stack.
        frontend: makes a front end from (input_size).
        head: pooling and dropout.
        regularisation: what is added to the plain loss.
        decoding: how sequences of tokens are searched for (unused elsewhere).
        loss: what is minimised.

    Raises:
        ValueError: where the front end does not fit, or CTC cannot train such targets.
    """

    def __init__(
        self,
        spec: DataSpec,
        convolutions: Convolutions,
        frontend: Callable[..., Frontend],
        head: Head,
        regularisation: Regularisation,
        decoding: Decoding,
        loss: Loss = TASKS_OWN,
    ) -> None:
        super().__init__(spec, frontend, head, regularisation, decoding, loss)
        self.convolutions = ConvolutionStack(self.frontend.output_size, convolutions)
        self.end_with(self.convolutions, head)

    @property
    def layer(self) -> ConvolutionStack:
        """The convolutions."""
        return self.convolutions
