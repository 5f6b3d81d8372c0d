"""Replay a few sequences on the written-out cells: what the fused kernel hides, each layer's state at each step, in one graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State
from rnnlab.contracts import Batch, valid_mask
from rnnlab.data.base import SequenceDataModule
from rnnlab.layers.recurrent import RecurrentStack
from rnnlab.models.base import Network, Outputs


@dataclass(frozen=True)
class Trace:
    """The states and gradients of one layer in one direction; steps are in the order in which the layer takes them.

    Args:
        name: `layer1`, `layer1_backward`, `layer2`, ...
        cell: that did it.
        inputs_BTF: what entered it.
        states: after each of the T steps; in the graph, so that gradients with respect to them can be asked for.
        lengths_B: valid steps of each sequence, behind the front end.
    """

    name: str
    cell: Cell
    inputs_BTF: Tensor
    states: tuple[State, ...]
    lengths_B: Tensor

    @property
    def hidden(self) -> Tensor:
        """Hidden states after each step, also beyond a sequence's length."""
        return torch.stack([state[0] for state in self.states], 1)

    @property
    def is_valid(self) -> Tensor:
        """Which steps are a sequence's own."""
        return valid_mask(self.lengths_B, len(self.states))

    def before(self) -> State:
        """Return the states before each valid step, (N, H) each, and in that order."""
        batch_size = len(self.lengths_B)
        earlier = [self.cell.initial_state(batch_size), *self.states[:-1]]
        return tuple(torch.stack(parts, 1)[self.is_valid] for parts in zip(*earlier, strict=True))


@dataclass(frozen=True)
class Replay:
    """One pass over a batch.

    Args:
        loss: the mean over the batch, as it is measured on validation: no dropout, no smoothing, no class weights.
        outputs: what was answered.
        traces: of all layers and directions, the lowest first; empty where a model has no recurrent stack.
    """

    loss: Tensor
    outputs: Outputs
    traces: tuple[Trace, ...]


def fixed_batch(data: SequenceDataModule, num_sequences: int) -> Batch:
    """Return validation sequences, always the same: of all lengths above the median, evenly spaced, the longest included."""
    rows = data.rows["val"]
    by_length = rows[np.argsort(data.lengths[rows], kind="stable")]
    longer = by_length[len(rows) // 2 :]
    places = np.linspace(len(longer) - 1, 0, min(num_sequences, len(longer))).astype(int)
    return data.collate(longer[places], epoch=0, is_training=False)


def stack_of(model: Network) -> RecurrentStack | None:
    """Return a network's recurrent stack, an encoder-decoder's encoder; None where it has none."""
    return next((part for part in model.modules() if isinstance(part, RecurrentStack)), None)


def cells_of(model: Network) -> dict[str, Cell]:
    """Return each layer's cells by name, the lowest first."""
    stack = stack_of(model)
    found: dict[str, Cell] = {}
    for number, layer in enumerate(stack.layers if stack else (), start=1):
        cells = [part for part in layer.children() if isinstance(part, Cell)]
        found |= {f"layer{number}{'_backward' if place else ''}": cell for place, cell in enumerate(cells)}
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off for a while."""
    was_training = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, is_training in was_training.items():
            part.training = is_training


def replay(model: Network, batch: Batch) -> Replay:
    """Answer a batch with each cell's written-out step; neither weights nor their gradients nor generators are touched."""
    lengths: list[Tensor] = []
    traced: dict[str, tuple[Tensor, tuple[State, ...]]] = {}

    def note_lengths(module: nn.Module, given: tuple[Tensor, ...], found: tuple[Tensor, Tensor]) -> None:
        lengths.append(found[1])

    def unrolled(name: str, cell: Cell, inputs_BTF: Tensor) -> Tensor:
        first = tuple(part.requires_grad_() for part in cell.initial_state(len(inputs_BTF)))  # gradients are asked of all states
        traced[name] = (inputs_BTF, tuple(cell.states(inputs_BTF, first)))
        return torch.stack([state[0] for state in traced[name][1]], 1)

    cells = cells_of(model)
    handles = [model.frontend.register_forward_hook(note_lengths)]
    handles += [
        cell.register_forward_hook(lambda module, given, _, name=name, cell=cell: unrolled(name, cell, given[0]))
        for name, cell in cells.items()
    ]
    try:
        with evaluating(model), torch.enable_grad():
            outputs = model.predict_greedy(batch)
            loss = model.task.loss(outputs, batch, is_training=False)
    finally:
        for handle in handles:
            handle.remove()
    return Replay(loss, outputs, tuple(Trace(name, cells[name], *found, lengths[0]) for name, found in traced.items()))
