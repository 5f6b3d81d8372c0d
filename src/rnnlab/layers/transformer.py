"""A small encoder of self-attention: Vaswani et al. (2017), normalised before each part (Xiong et al. 2020, figure 1b).

    x_t = N(W f_t + b) + p_t              f_t from the front end; p_{t,2i} = sin(t / 10000^(2i/H)), p_{t,2i+1} = cos(same), section 3.5
    x   = x + O [a_1 .. a_A] + o          a_j = softmax(Q_j K_j' / sqrt(H / A)) V_j; Q, K, V from N(x); section 3.2
    x   = x + W_2 relu(W_1 N(x) + b_1) + b_2                                                            section 3.3
    y   = N(x)                            after the last layer

N normalises each step over H (Ba et al. 2016). It stands behind the first matrix, too, since front ends differ in scale: word vectors that
begin ten times smaller than the sines would not be heard. Weights of steps beyond a sequence's length are zero, exactly, and with
`is_causal` those of later steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.config import Fraction, PositiveInt
from rnnlab.contracts import valid_mask, zero_padding
from rnnlab.layers.base import LayerState, SequenceLayer


@dataclass(frozen=True)
class Encoder:
    """Settings of the stack of self-attention (`model.encoder`).

    Args:
        hidden_size: H.
        num_layers: how many.
        num_heads: A, a divisor of H.
        expansion: units between W_1 and W_2, as a multiple of H.
        dropout: on the first sum, attention's weights, what is added to x, and between W_1 and W_2.
        is_causal: whether a step sees nothing that comes later; None: where its targets are later inputs.
    """

    hidden_size: PositiveInt
    num_layers: PositiveInt
    num_heads: PositiveInt
    expansion: PositiveInt
    dropout: Fraction
    is_causal: bool | None

    def __post_init__(self) -> None:
        """Refuse heads that do not share H evenly."""
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"model.encoder.num_heads={self.num_heads} does not divide model.encoder.hidden_size={self.hidden_size}: each head has as "
                "many of its units"
            )


class TransformerEncoder(SequenceLayer):
    """Map (values, lengths) to (values, lengths): (B, T, F) to (B, T, H); causal as `encoder` says, or else as the data ask for."""

    def __init__(self, input_size: int, encoder: Encoder, data_are_causal: bool) -> None:
        super().__init__()
        self.output_size, self.num_directions = encoder.hidden_size, 1
        self.is_causal = data_are_causal if encoder.is_causal is None else encoder.is_causal
        self.runs_in_parts = self.is_causal
        self.entry = nn.Linear(input_size, encoder.hidden_size)
        self.entry_norm = nn.LayerNorm(encoder.hidden_size)
        self.layers = nn.ModuleList(EncoderLayer(encoder) for _ in range(encoder.num_layers))
        self.norm = nn.LayerNorm(encoder.hidden_size)
        self.dropout = nn.Dropout(encoder.dropout)

    @property
    def levels(self) -> list[list[nn.Module]]:
        """Each layer, the first behind what enters it, the last before its norm."""
        levels: list[list[nn.Module]] = [[layer] for layer in self.layers]
        levels[0] = [self.entry, self.entry_norm, *levels[0]]
        levels[-1] = [*levels[-1], self.norm]
        return levels

    def forward(self, values_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers; what lies beyond a length is zero in the result."""
        num_steps = values_BTF.shape[1]
        seen_B1TT = valid_mask(lengths_B, num_steps)[:, None, None, :].expand(-1, 1, num_steps, -1)
        if self.is_causal:
            seen_B1TT = seen_B1TT & torch.ones(num_steps, num_steps, dtype=torch.bool, device=values_BTF.device).tril()
        values_BTH = self.entry_norm(self.entry(values_BTF))
        values_BTH = self.dropout(values_BTH + positions(num_steps, self.output_size).to(values_BTH))
        for layer in self.layers:
            values_BTH = layer(values_BTH, seen_B1TT)
        return zero_padding(self.norm(values_BTH), lengths_B), lengths_B

    def run(self, values_BTF: Tensor, lengths_B: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Run sequences on from the keys and values of all earlier steps, which grow with each; see `SequenceLayer.run`."""
        if not self.is_causal:
            raise NotImplementedError("attention that looks ahead cannot be run in parts")
        num_before = 0 if state is None else state[0].shape[2]
        num_steps = values_BTF.shape[1]
        seen_TT = torch.ones(num_steps, num_before + num_steps, dtype=torch.bool, device=values_BTF.device).tril(num_before)
        values_BTH = self.entry_norm(self.entry(values_BTF))
        values_BTH = self.dropout(values_BTH + positions(num_before + num_steps, self.output_size)[num_before:].to(values_BTH))
        after: list[Tensor] = []
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            values_BTH = layer.run(values_BTH, seen_TT, None if state is None else state[2 * place : 2 * place + 2], after)
        return zero_padding(self.norm(values_BTH), lengths_B), tuple(after)


class EncoderLayer(nn.Module):
    """Look at all steps, then at each alone; see the equations at the top."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        size = encoder.hidden_size
        self.num_heads, self.attention_dropout = encoder.num_heads, encoder.dropout
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.queries_keys_values = nn.Linear(size, 3 * size)
        self.heads_out = nn.Linear(size, size)
        self.widen, self.narrow = nn.Linear(size, encoder.expansion * size), nn.Linear(encoder.expansion * size, size)
        self.dropout = nn.Dropout(encoder.dropout)

    def forward(self, values_BTH: Tensor, seen_B1TT: Tensor) -> Tensor:
        """Map (B, T, H) to (B, T, H); (B, 1, T, T) says whether a step (first T) looks at another (second T)."""
        queries, keys, values = self._heads(values_BTH)
        return self._after(values_BTH, self._attend(queries, keys, values, seen_B1TT))

    def run(self, values_BTH: Tensor, seen_TT: Tensor, before: LayerState | None, after: list[Tensor]) -> Tensor:
        """Run on from earlier keys and values, (B, A, T', H / A) each; put them and the new ones into `after`."""
        queries, keys, values = self._heads(values_BTH)
        if before is not None:
            keys, values = (torch.cat([earlier, new], 2) for earlier, new in zip(before, (keys, values), strict=True))
        after += [keys, values]
        return self._after(values_BTH, self._attend(queries, keys, values, seen_TT))

    def _after(self, values_BTH: Tensor, attended_BTH: Tensor) -> Tensor:
        """Add what was looked at, then what each step makes of it alone."""
        values_BTH = values_BTH + self.dropout(self.heads_out(attended_BTH))
        inner = torch.relu(self.widen(self.feedforward_norm(values_BTH)))
        return values_BTH + self.dropout(self.narrow(self.dropout(inner)))

    def _heads(self, values_BTH: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values of normalised steps, (B, A, T, H / A) each."""
        parts = self.queries_keys_values(self.attention_norm(values_BTH)).chunk(3, -1)
        return tuple(part.reshape(*part.shape[:2], self.num_heads, -1).transpose(1, 2) for part in parts)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        return F.scaled_dot_product_attention(queries, keys, values, seen, dropout).transpose(1, 2).flatten(2)


def positions(num_steps: int, size: int) -> Tensor:
    """Return p, (T, H) float64: sines of wave lengths from 2 pi to 10000 times that, and their cosines between them."""
    steps_T1 = torch.arange(num_steps, dtype=torch.double)[:, None]
    units_H = torch.arange(size)
    angles_TH = steps_T1 / 10_000 ** ((units_H - units_H % 2) / size)
    return torch.where(units_H % 2 == 0, angles_TH.sin(), angles_TH.cos())
