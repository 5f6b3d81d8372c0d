"""A network of dilated causal convolutions, the contrast to recurrence of Bai et al. (2018); equations in `layers/tcn.py`."""

from collections.abc import Callable
from functools import partial
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
        convolutions: settings of the stack; the others are those of `SequenceModule`.
    """

    layer_name = "convolutions"
    convolutions: ConvolutionStack

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
        make_layer = partial(ConvolutionStack, convolutions=convolutions)
        super().__init__(spec, make_layer, frontend, head, regularisation, decoding, loss)
