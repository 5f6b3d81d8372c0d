"""A small encoder of self-attention, the contrast to recurrence of Vaswani et al. (2017); equations in `layers/transformer.py`."""

from collections.abc import Callable
from functools import partial
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
        encoder: settings of the stack; the others are those of `SequenceModule`.
    """

    layer_name = "encoder"
    encoder: TransformerEncoder

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
        make_layer = partial(TransformerEncoder, encoder=encoder, data_are_causal=spec.is_causal)
        super().__init__(spec, make_layer, frontend, head, regularisation, decoding, loss)
