"""The recurrent stacks of several networks, run at once: each member has its own weights, sequences and random numbers.

What a member gets is what its own stack would give it, up to the order of roundings: where its cell has a packed kernel all members go
through that together, else each through its own. Whatever stands between layers (norm, dropout, residual) is the member's own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from rnnlab.cells.base import Cell
from rnnlab.cells.packing import Extent
from rnnlab.layers.recurrent import RecurrentStack, reverse_within_length

ALIGNED = 16
"""Numbers of float32 in the widest vector of a processor."""


class Draws:
    """The random numbers of several members, which take turns at torch's generator: each draws what it would draw alone."""

    def __init__(self, num_members: int) -> None:
        self.states: list[Tensor | None] = [None] * num_members
        self.turn: int | None = None

    def seed(self, member: int, seed: int) -> None:
        """Let a member begin anew, and give it its turn."""
        self._leave(member)
        torch.default_generator.manual_seed(seed)

    def give(self, member: int) -> None:
        """Let a member go on where it was."""
        if self.turn == member:
            return
        self._leave(member)
        state = self.states[member]
        assert state is not None, "seed a member before its turn"
        torch.default_generator.set_state(state)

    def _leave(self, member: int) -> None:
        if self.turn is not None:
            self.states[self.turn] = torch.default_generator.get_state()
        self.turn = member


@dataclass(frozen=True)
class Entering:
    """What enters the stack of one member: (B, T, F) and lengths (B,)."""

    values_BTF: Tensor
    lengths_B: Tensor


def run_stacks(stacks: Sequence[RecurrentStack], entering: Sequence[Entering], draws: Draws) -> list[Tensor]:
    """Return what each stack gives, (B, T, D*H), zero beyond a length; sizes B and T may differ between members."""
    values, lengths = [each.values_BTF for each in entering], [each.lengths_B for each in entering]
    for index in range(len(stacks[0].layers)):
        inputs = values
        if index:
            inputs = []
            for member, stack in enumerate(stacks):
                draws.give(member)
                inputs.append(stack.dropout(values[member]))
        outputs = _run_layer([list(stack.layers[index].children()) for stack in stacks], inputs, lengths, draws)  # type: ignore[arg-type]
        values = [stack.leaving(index, *each) for stack, *each in zip(stacks, outputs, values, lengths, strict=True)]
    return values


def _run_layer(cells: Sequence[Sequence[Cell]], inputs: Sequence[Tensor], lengths: Sequence[Tensor], draws: Draws) -> list[Tensor]:
    """Run one layer of all members, both directions at once where there are two."""
    if len(cells[0]) == 1:
        return run_cells([each for (each,) in cells], inputs, draws)
    mirrored = [reverse_within_length(*each) for each in zip(inputs, lengths, strict=True)]
    found = run_cells([cell for direction in zip(*cells, strict=True) for cell in direction], [*inputs, *mirrored], draws)
    backwards = (reverse_within_length(*each) for each in zip(found[len(cells) :], lengths, strict=True))
    return [torch.cat(each, -1) for each in zip(found[: len(cells)], backwards, strict=True)]


def run_cells(cells: Sequence[Cell], inputs: Sequence[Tensor], draws: Draws) -> list[Tensor]:
    """Run each cell over its own sequences, (B, T, F): at once where cells have a packed kernel; return the hidden states, (B, T, H)."""
    kernel = cells[0].packed_kernel
    if kernel is None:
        return list(_run_apart(cells, inputs, draws))
    order = sorted(range(len(cells)), key=lambda member: -inputs[member].shape[1])
    sizes = Extent(tuple(inputs[member].shape[1] for member in order), tuple(len(inputs[member]) for member in order))
    weights = (torch.stack([cells[member].weight(name) for member in order]) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    hidden = kernel.apply(_together([inputs[member] for member in order]), *weights, sizes).unbind(0)
    found: list[Tensor] = [hidden[0]] * len(cells)
    for place, member in enumerate(order):
        batch, steps = inputs[member].shape[:2]
        found[member] = hidden[place][:steps, :batch].transpose(0, 1)
    return found


def _run_apart(cells: Sequence[Cell], inputs: Sequence[Tensor], draws: Draws) -> Iterable[Tensor]:
    num_members = len(draws.states)
    for place, (cell, values_BTF) in enumerate(zip(cells, inputs, strict=True)):
        draws.give(place % num_members)
        yield cell(values_BTF)


def _together(inputs: Sequence[Tensor]) -> Tensor:
    """Put (B, T, F) of all members into one (N, T, B, F), padded with zeros; the first has most steps.

    Each member and each step begins where the processor's vectors do, so that products have the same bits wherever they stand.
    """
    steps, batch = inputs[0].shape[1], max(len(values_BTF) for values_BTF in inputs)
    batch += -batch % 4
    if steps * batch * inputs[0].shape[2] % ALIGNED:
        steps += -steps % ALIGNED
    return torch.stack([_padded(values_BTF.transpose(0, 1), steps, batch) for values_BTF in inputs])


def _padded(values_TBF: Tensor, steps: int, batch: int) -> Tensor:
    missing = (steps - len(values_TBF), batch - values_TBF.shape[1])
    return pad(values_TBF, (0, 0, 0, missing[1], 0, missing[0])) if any(missing) else values_TBF
