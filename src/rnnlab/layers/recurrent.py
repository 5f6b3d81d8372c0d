"""Layers of one cell, in one direction or two, over padded sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.cells.base import Backend, Cell, State
from rnnlab.cells.weights import Initialisation
from rnnlab.config import Fraction, PositiveInt
from rnnlab.contracts import is_full, valid_mask, zero_padding
from rnnlab.layers.base import LayerState, SequenceLayer
from rnnlab.layers.dropout import dropouts
from rnnlab.layers.norms import MaskedBatchNorm


@dataclass(frozen=True)
class Recurrence:
    """Settings of the stack of recurrent layers (`model.recurrence`).

    What stands here as a default is what runs have that were recorded before there was such a key; conf/model/stack says the same.

    Args:
        hidden_size: H of each layer and direction.
        num_layers: how many.
        dropout: on what passes from one layer to the next.
        has_layer_norm: normalise each layer's output over H (Ba et al. 2016).
        initialisation: see `cells.weights.draw`.
        has_batch_norm: normalise each number of a layer's output over the batch and its valid steps instead (Ioffe and Szegedy 2015).
        has_residual: add what enters each layer but the first to what it gives (He et al. 2016; Wu et al. 2016, section 3.1).
        recurrent_dropout, zoneout, weight_dropout: see `Cell.run_with`.
        variational_dropout: on what passes from one layer to the next, of whole features, the same at all steps of a sequence.
        backend: `fused` (at once, where the cell has a kernel) or `reference` (step by step), of all cells of the model: the same outputs
            and gradients up to rounding, by which two trainings in float32 drift apart.
    """

    hidden_size: PositiveInt
    num_layers: PositiveInt
    dropout: Fraction
    has_layer_norm: bool
    initialisation: Initialisation
    has_batch_norm: bool = False
    has_residual: bool = False
    recurrent_dropout: Fraction = 0.0
    zoneout: Fraction = 0.0
    backend: Backend = "fused"
    weight_dropout: Fraction = 0.0
    variational_dropout: Fraction = 0.0

    def __post_init__(self) -> None:
        """Refuse two norms at one place, which would undo each other."""
        if self.has_layer_norm and self.has_batch_norm:
            raise ValueError("model.recurrence.has_layer_norm and has_batch_norm normalise the same numbers: set one of them to false")


class RecurrentStack(SequenceLayer):
    """Map (values, lengths) to (values, lengths): (B, T, F) to (B, T, D*H), D directions.

    A bidirectional layer is two one-way passes, the second over each sequence reversed within its own length, so that padding never
    enters: no packing, and no result that depends on longer neighbours.

    Layer l: `x_l = norm([forwards; backwards](dropout(x_{l-1}))) + x_{l-1}`, the norm, dropout (l > 1) and residual (l > 1) where asked.
    """

    def __init__(self, input_size: int, cell: Callable[..., Cell], recurrence: Recurrence, is_bidirectional: bool) -> None:
        super().__init__()
        self.num_directions, self.is_causal = (2, False) if is_bidirectional else (1, True)
        self.runs_in_parts = self.carries_state = not is_bidirectional
        self.output_size = self.num_directions * recurrence.hidden_size
        self.has_residual = recurrence.has_residual
        sizes = [input_size] + [self.output_size] * (recurrence.num_layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(cell(input_size=size, hidden_size=recurrence.hidden_size) for _ in range(self.num_directions)) for size in sizes
        )
        self.norms = nn.ModuleList(_norm(recurrence, self.output_size) for _ in sizes)
        self.dropout = dropouts(recurrence.dropout, recurrence.variational_dropout)
        for part in self.layers.modules():
            if isinstance(part, Cell):
                part.initialise(recurrence.initialisation)
                part.run_with(recurrence.backend, recurrence.recurrent_dropout, recurrence.zoneout, recurrence.weight_dropout)

    @property
    def levels(self) -> list[list[nn.Module]]:
        """Each layer with its norm."""
        return [[layer, norm] for layer, norm in zip(self.layers, self.norms, strict=True)]

    def forward(self, values_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers; what lies beyond a length is zero in the result."""
        values = values_BTF
        for index, layer in enumerate(self.layers):
            outputs = self._directions(layer, self.dropout(values) if index else values, lengths_B)
            values = self.leaving(index, outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1), values, lengths_B)
        return values, lengths_B

    def with_final_states(self, values_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run all layers.

        Returns:
            (B, T, D*H), zero beyond a length; and of each layer the hidden state behind each direction's last step, (B, D*H).
        """
        values, finals = values_BTF, []
        rows_B = torch.arange(lengths_B.shape[0], device=lengths_B.device)
        for index, layer in enumerate(self.layers):
            outputs = self._directions(layer, self.dropout(values) if index else values, lengths_B)
            last = [outputs[0][rows_B, lengths_B - 1], *(backward[:, 0] for backward in outputs[1:])]
            finals.append(torch.cat(last, -1))
            values = self.leaving(index, torch.cat(outputs, -1), values, lengths_B)
        return values, finals

    def _directions(self, layer: nn.Module, entering: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """Run the cells of a layer: forwards, and of two directions also from each sequence's end."""
        cells = list(layer.children())
        outputs: list[Tensor] = [cells[0](entering)]
        if self.num_directions == 2:
            backward = cells[1](reverse_within_length(entering, lengths_B))
            outputs.append(reverse_within_length(backward, lengths_B))
        return outputs

    def run(self, values_BTF: Tensor, lengths_B: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Run sequences on from the states of all cells, layer by layer; see `SequenceLayer.run`."""
        if self.num_directions == 2:
            raise NotImplementedError("a bidirectional layer reads each sequence from its end and cannot be run in parts")
        values, left = values_BTF, state
        after: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            (cell,) = layer.children()
            assert isinstance(cell, Cell)
            before: State | None = None
            if left is not None:
                before, left = left[: cell.num_states], left[cell.num_states :]
            outputs, now = cell.run(self.dropout(values) if index else values, before)
            after += now
            values = self.leaving(index, outputs, values, lengths_B)
        return values, tuple(after)

    def leaving(self, index: int, outputs: Tensor, values: Tensor, lengths_B: Tensor) -> Tensor:
        """Normalise what the cells of a layer gave, and add what entered the layer where that is asked."""
        normalised = _normalised(self.norms[index], outputs, lengths_B)
        return normalised + values if index and self.has_residual else normalised


def _norm(recurrence: Recurrence, size: int) -> nn.Module:
    if recurrence.has_batch_norm:
        return MaskedBatchNorm(size)
    return nn.LayerNorm(size) if recurrence.has_layer_norm else nn.Identity()


def _normalised(norm: nn.Module, values_BTX: Tensor, lengths_B: Tensor) -> Tensor:
    """Normalise, and zero what lies beyond a length."""
    if not isinstance(norm, MaskedBatchNorm):
        return zero_padding(norm(values_BTX), lengths_B)
    mask_BT = valid_mask(lengths_B, values_BTX.shape[1])
    channels_first = zero_padding(values_BTX, lengths_B).transpose(1, 2)[..., None]
    normalised = norm(channels_first, mask_BT[:, None, :, None].to(values_BTX))
    return zero_padding(normalised[..., 0].transpose(1, 2), lengths_B)


def reverse_within_length(values_BTX: Tensor, lengths_B: Tensor) -> Tensor:
    """Reverse each sequence of (B, T, X) in time within its own length; padding stays where it is."""
    num_steps, device = values_BTX.shape[1], values_BTX.device
    if is_full(lengths_B, num_steps):
        return values_BTX.flip(1)
    steps_T = torch.arange(num_steps, device=device)
    mirrored_BT = lengths_B[:, None] - 1 - steps_T
    index_BT = torch.where(mirrored_BT >= 0, mirrored_BT, steps_T)
    rows_N = (index_BT + torch.arange(lengths_B.shape[0], device=device)[:, None] * num_steps).flatten()
    if not torch.is_grad_enabled():  # a program that leaves Python behind has no functions of ours
        return _ordered(values_BTX, rows_N)
    result: Tensor = _Permute.apply(values_BTX, rows_N)
    return result


class _Permute(torch.autograd.Function):
    """Reorder the B*T steps by an order that is its own inverse, so that the gradient is the same reordering (exact, no scatter)."""

    @staticmethod
    def forward(ctx: Any, values_BTX: Tensor, rows_N: Tensor) -> Tensor:
        ctx.save_for_backward(rows_N)
        return _ordered(values_BTX, rows_N)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _ordered(gradients[0], *ctx.saved_tensors), None


def _ordered(values_BTX: Tensor, rows_N: Tensor) -> Tensor:
    """Copy whole rows: several times faster than `gather`, which looks each number up."""
    return values_BTX.flatten(0, 1).index_select(0, rows_N).view_as(values_BTX)
