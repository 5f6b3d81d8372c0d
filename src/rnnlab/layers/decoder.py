"""The recurrent decoder: layers of one cell that look at an encoder's steps through attention.

At each step, from the input x_s (the vector of the token before), the state and the memory:

    bahdanau    c_s = attend(h_{s-1});  h_s = cell([x_s; c_s], h_{s-1});  r_s = tanh(W [h_s; c_s; x_s])    Bahdanau et al. (2015), A.2.2
    luong_*     h_s = cell([x_s; r_{s-1}], h_{s-1});  c_s = attend(h_s);  r_s = tanh(W [h_s; c_s])         Luong et al. (2015), eq. 5
    none        h_s = cell(x_s, h_{s-1});  r_s = tanh(W h_s)                                              Sutskever et al. (2014)

r_{s-1} enters only with input feeding (Luong et al., section 3.3); without it, and with `none`, a whole target runs on the fused kernel.

With copying the decoder also says how far it trusts its own vocabulary at a step, rather than what it looks at (`layers/copying.py`):

    p_s = sigmoid(w . [c_s; h_s; x_s] + b)                                                                 See et al. (2017), eq. 8
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State
from rnnlab.cells.weights import Initialisation
from rnnlab.config import Fraction, NonNegativeFloat, PositiveInt
from rnnlab.layers.attention import Attention, AttentionKind, Memory


@dataclass(frozen=True)
class DecoderSettings:
    """Settings of the decoder (`model.decoder`).

    Args:
        hidden_size: H of each layer.
        num_layers: how many.
        embedding_size: of the vector of the token (or number) before.
        dropout: on what enters each layer.
        has_input_feeding: whether the last readout enters the next step.
        attention_size: A of `bahdanau`.
        initialisation: see `cells.weights.draw`.
        has_copying: whether it may say words of the input, unknown ones too (See et al. 2017: pointer-generator).
        coverage_weight: None, or attention knows where it has looked, and looking there again costs so many nats (See et al.: 1).
    """

    hidden_size: PositiveInt
    num_layers: PositiveInt
    embedding_size: PositiveInt
    dropout: Fraction
    has_input_feeding: bool
    attention_size: PositiveInt
    initialisation: Initialisation
    has_copying: bool = False  # bundles made before there was copying have neither of these
    coverage_weight: NonNegativeFloat | None = None


class Looked(NamedTuple):
    """What the decoder looked at: weights (..., T), and with copying the log-odds (...) of saying a word of its own vocabulary."""

    weights: Tensor
    gate: Tensor | None


@dataclass
class DecoderState:
    """The state of the decoder between steps, N = B * W sequences of the memory's B, those of one neighbours.

    Args:
        memory: of the B inputs.
        parts: tensors of (N, ...): each layer's cell state in turn, last the readout.
        coverage: (N, T), the sum of all weights so far, where attention knows it.
    """

    memory: Memory
    parts: tuple[Tensor, ...]
    coverage: Tensor | None = None

    def select(self, rows_N: Tensor, inputs_B: Tensor | None = None) -> "DecoderState":
        """Return the state of these sequences, and of these inputs where some have left."""
        memory = self.memory if inputs_B is None else self.memory.select(inputs_B)
        coverage = None if self.coverage is None else self.coverage[rows_N]
        return DecoderState(memory, tuple(part[rows_N] for part in self.parts), coverage)


class Decoder(nn.Module):
    """Turn what was said so far into what is needed to say the next (readouts).

    Args:
        memory_size: M of the encoder's steps.
        cell: makes a cell from (input_size, hidden_size).
        attention: which kind.
        settings: sizes.
        readout_size: R.

    Raises:
        ValueError: for copying and coverage without the attention that they need.
    """

    def __init__(
        self, memory_size: int, cell: Callable[..., Cell], attention: AttentionKind, settings: DecoderSettings, readout_size: int
    ) -> None:
        super().__init__()
        refuse_unattended(attention, settings)
        self.kind, self.settings, self.readout_size = attention, settings, readout_size
        hidden, self.has_coverage = settings.hidden_size, settings.coverage_weight is not None
        sizes = (hidden, memory_size, settings.attention_size)
        self.attention = None if attention == "none" else Attention(attention, *sizes, self.has_coverage)
        context_size = 0 if attention == "none" else memory_size
        first = settings.embedding_size + (context_size if attention == "bahdanau" else 0)
        first += readout_size if settings.has_input_feeding else 0
        entering = [first] + [hidden] * (settings.num_layers - 1)
        self.layers = nn.ModuleList(cell(input_size=size, hidden_size=hidden) for size in entering)
        for layer in self.cells:
            layer.initialise(settings.initialisation)
        self.readout = nn.Linear(hidden + context_size + (settings.embedding_size if attention == "bahdanau" else 0), readout_size)
        self.gate = nn.Linear(context_size + hidden + settings.embedding_size, 1) if settings.has_copying else None
        self.dropout = nn.Dropout(settings.dropout)

    @property
    def cells(self) -> list[Cell]:
        """One a layer, the lowest first."""
        return [layer for layer in self.layers if isinstance(layer, Cell)]

    @property
    def is_sequential(self) -> bool:
        """Whether a step needs the one before to be done: else a whole target runs at once."""
        return self.kind == "bahdanau" or self.settings.has_input_feeding

    def begin(self, values_BTM: Tensor, lengths_B: Tensor, states: list[State]) -> DecoderState:
        """Return the state before the first step.

        Args:
            values_BTM: the encoder's steps.
            lengths_B: how many of them are valid.
            states: each layer's first state, the lowest first.
        """
        if self.attention is None:
            memory = Memory(values_BTM[:, :0], values_BTM[:, :0], values_BTM.new_zeros(values_BTM.shape[0], 0, dtype=torch.bool))
        else:
            memory = self.attention.remember(values_BTM, lengths_B)
        fed_BR = values_BTM.new_zeros(values_BTM.shape[0], self.readout_size)
        coverage_BT = torch.zeros_like(values_BTM[..., 0]) if self.has_coverage else None
        return DecoderState(memory, (*(part for state in states for part in state), fed_BR), coverage_BT)

    def step(self, input_NE: Tensor, state: DecoderState) -> tuple[Tensor, Looked | None, DecoderState]:
        """Advance one step.

        Returns:
            Readouts (N, R), what was looked at where there is attention, and the next state.
        """
        *parts, fed_NR = state.parts
        entering, seen, weights = [self.dropout(input_NE)], [], None
        if self.kind == "bahdanau":
            top = len(parts) - self.cells[-1].num_states
            context, weights = self._attend(parts[top], state)
            entering, seen = [*entering, context], [context, entering[0]]
        if self.settings.has_input_feeding:
            entering.append(fed_NR)
        value = torch.cat(entering, -1)
        states: list[Tensor] = []
        for index, cell in enumerate(self.cells):
            before = tuple(parts[index * cell.num_states : (index + 1) * cell.num_states])
            states += cell.advance(self.dropout(value) if index else value, before)
            value = states[-cell.num_states]
        if self.kind.startswith("luong"):
            context, weights = self._attend(value, state)
            seen = [context]
        readout_NR = torch.tanh(self.readout(torch.cat([value, *seen], -1)))
        looked = None if weights is None else Looked(weights, self._gate(seen[0], value, entering[0]))
        coverage_NT = state.coverage if state.coverage is None or weights is None else state.coverage + weights
        return readout_NR, looked, DecoderState(state.memory, (*states, readout_NR), coverage_NT)

    def _attend(self, query_NH: Tensor, state: DecoderState) -> tuple[Tensor, Tensor]:
        assert self.attention is not None
        num = state.memory.size
        coverage_BWT = None if state.coverage is None else state.coverage.reshape(num, -1, state.coverage.shape[1])
        context_BWM, weights_BWT = self.attention(query_NH.reshape(num, -1, query_NH.shape[1]), state.memory, coverage_BWT)
        return context_BWM.reshape(-1, context_BWM.shape[2]), weights_BWT.reshape(-1, weights_BWT.shape[2])

    def _gate(self, context: Tensor, hidden: Tensor, entering: Tensor) -> Tensor | None:
        if self.gate is None:
            return None
        gate: Tensor = self.gate(torch.cat([context, hidden, entering], -1))
        return gate[..., 0]

    def run(self, inputs_BSE: Tensor, state: DecoderState) -> tuple[Tensor, Looked | None]:
        """Advance through whole targets that are known.

        Returns:
            Readouts (B, S, R), and what was looked at, (B, S, ...), where there is attention.
        """
        if self.is_sequential:
            readouts, looks = [], []
            for input_BE in inputs_BSE.unbind(1):
                readout_BR, looked, state = self.step(input_BE, state)
                readouts.append(readout_BR)
                looks.append(looked)
            return torch.stack(readouts, 1), together(looks)
        entering_BSE = values = self.dropout(inputs_BSE)
        for index, cell in enumerate(self.cells):
            before = tuple(state.parts[index * cell.num_states : (index + 1) * cell.num_states])
            values = cell(self.dropout(values) if index else values, before)
        seen, looked = [values], None
        if self.attention is not None:
            context_BSM, weights_BST = self.attention(values, state.memory)
            looked = Looked(weights_BST, self._gate(context_BSM, values, entering_BSE))
            seen.append(context_BSM)
        return torch.tanh(self.readout(torch.cat(seen, -1))), looked


def together(looks: list[Looked | None]) -> Looked | None:
    """Put what was looked at step by step, (B, ...), together: (B, S, ...)."""
    known = [looked for looked in looks if looked is not None]
    if not known:
        return None
    gates = [looked.gate for looked in known if looked.gate is not None]
    return Looked(torch.stack([looked.weights for looked in known], 1), torch.stack(gates, 1) if gates else None)


def refuse_unattended(attention: AttentionKind, settings: DecoderSettings) -> None:
    """Raise ValueError for copying and coverage without the attention that they need."""
    if settings.has_copying and attention == "none":
        raise ValueError(
            "model.decoder.has_copying=true copies the words that attention looks at, but model.attention=none: set model.attention to "
            "bahdanau or luong_general"
        )
    if settings.coverage_weight is not None and attention != "bahdanau":
        raise ValueError(
            f"model.decoder.coverage_weight={settings.coverage_weight:g} is for attention that knows where it has looked, which "
            f"model.attention={attention} does not: set model.attention=bahdanau, or model.decoder.coverage_weight=null"
        )


class Bridge(nn.Module):
    """Make a decoder's first states from an encoder's final ones, whatever the sizes.

        h_0 = tanh(W h_T)   Bahdanau et al. (2015), A.2.2; h_T of both directions side by side
        c_0 = W' h_T        the further states of a cell, such as an LSTM's memory

    Decoder layer l begins from encoder layer l (those above the encoder's last from the last). Where one direction of the same size feeds
    a cell with one state, h_0 = h_T.
    """

    def __init__(self, encoder_size: int, num_encoder_layers: int, num_directions: int, decoder: Decoder) -> None:
        super().__init__()
        cells = decoder.cells
        self.sources = [min(index, num_encoder_layers - 1) for index in range(len(cells))]
        self.is_plain = num_directions == 1 and all(cell.hidden_size == encoder_size and cell.num_states == 1 for cell in cells)
        self.maps = nn.ModuleList(
            nn.ModuleList(nn.Linear(encoder_size, cell.hidden_size) for _ in range(0 if self.is_plain else cell.num_states))
            for cell in cells
        )

    def forward(self, finals: list[Tensor]) -> list[State]:
        """Map each encoder layer's final states, (B, D*H), to each decoder layer's first state."""
        if self.is_plain:
            return [(finals[source],) for source in self.sources]
        states = []
        for source, maps in zip(self.sources, self.maps, strict=True):
            hidden, *others = (layer(finals[source]) for layer in maps.children())
            states.append((torch.tanh(hidden), *others))
        return states
