"""The head that says of a sentence as a whole what its speaker wants, beside that which tags its words."""

from typing import cast

from torch import Tensor, nn

from rnnlab.config import Fraction
from rnnlab.layers.pooling import Pooling, PoolingKind


class IntentHead(nn.Module):
    """Map all steps, (B, T, H), to log-odds of the intents, (B, K): pooling, dropout, a linear layer.

    Args:
        pooling: from all steps to one vector.
        size: H, all directions together.
        num_directions: 1 or 2.
        dropout: before the linear layer.
        num_intents: K.
    """

    def __init__(self, pooling: PoolingKind, size: int, num_directions: int, dropout: Fraction, num_intents: int) -> None:
        super().__init__()
        self.pooling = Pooling(pooling, size, num_directions)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(self.pooling.output_size, num_intents)

    def forward(self, values_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        return cast(Tensor, self.output(self.dropout(self.pooling(values_BTH, lengths_B))))
