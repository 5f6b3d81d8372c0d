"""A small encoder of self-attention, the contrast to recurrence of Vaswani et al. (2017); equations in `layers/transformer.py`."""

from collections.abc import Callable
from typing import final

from rnnlab.contracts import DataSpec
from rnnlab.layers.beam_search import Decoding
from rnnlab.layers.frontends import Frontend
from rnnlab.layers.transformer import Encoder, TransformerEncoder
from rnnlab.models.base import Head, SequenceModule
from rnnlab.tasks import TASKS_OWN, Loss, Regularisation


@final
class Transformer(SequenceModule):
    """A transformer encoder.

    Args:
        spec: what the data are.
        encoder: the stack.
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
        encoder: Encoder,
        frontend: Callable[..., Frontend],
        head: Head,
        regularisation: Regularisation,
        decoding: Decoding,
        loss: Loss = TASKS_OWN,
    ) -> None:
        super().__init__(spec, frontend, head, regularisation, decoding, loss)
        self.encoder = TransformerEncoder(self.frontend.output_size, encoder, spec.is_causal)
        self.end_with(self.encoder, head)

    @property
    def layer(self) -> TransformerEncoder:
        """The encoder."""
        return self.encoder
