"""What the packed kernels share: several networks of one size, each with its own weights and sequences, run as one batched recurrence.

Axis N is the member. Members are sorted by their number of steps, the longest first, so that `counts[t]`, how many of them have a step t
(see `Extent`), never rises: what a shorter member would do beyond its end is not computed. Arrays are (N, T, B, X), of which one step is a
view (k, B, X) whose rows lie together. The product with the inputs and the gradients of weights are taken for `STEPS_AT_ONCE` steps at
once, while these are in the cache, and over a member's own steps and sequences alone, so that no bit of its gradient depends on its
company; only what depends on the step before is done step by step, in place, into arrays made once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

STEPS_AT_ONCE = 8


@dataclass(frozen=True)
class Extent:
    """Hold how many steps and sequences each member has, the longest first."""

    steps: tuple[int, ...]
    batches: tuple[int, ...]

    @cached_property
    def counts(self) -> list[int]:
        """How many members have each step."""
        return [sum(length > step for length in self.steps) for step in range(self.steps[0])]

    def are_whole(self, steps: range, batch: int) -> bool:
        """Say whether all members that have the first of these steps have all of them, and so many sequences."""
        count = self.counts[steps.start]
        return self.counts[steps[-1]] == count and min(self.batches[:count]) == batch


def stretches(num_steps: int) -> list[range]:
    """Return the steps in stretches that are worked on together."""
    return [range(first, min(first + STEPS_AT_ONCE, num_steps)) for first in range(0, num_steps, STEPS_AT_ONCE)]


def steps_of(values_NTBX: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Return a view of each step, (k, B, X), of the members that have it."""
    num_members = len(values_NTBX)
    return [step if count == num_members else step[:count] for step, count in zip(values_NTBX.unbind(1), counts, strict=True)]


def rows_of(values_NTBX: Tensor, steps: range, count: int) -> Tensor:
    """Return a view of some steps of the first members as rows, (count, len(steps) * B, X)."""
    num_members, _, batch, size = values_NTBX.shape
    return values_NTBX.view(num_members, -1, size)[:count, steps.start * batch : steps.stop * batch]


def members(count: int, *tensors: Tensor) -> Iterator[Tensor]:
    """Yield of each tensor the first members."""
    yield from tensors if count == len(tensors[0]) else (tensor[:count] for tensor in tensors)


def doubled(values: Tensor, rows: slice) -> Tensor:
    """Return weights or biases, (N, G*H, ...), with some rows times 2: tanh(a) = 2 sigmoid(2a) - 1 is several times faster than tanh."""
    result = values.clone()
    result[:, rows].mul_(2)
    return result


class Gradients:
    """Sum the gradients of W_i, W_h and the biases, and write that of the inputs, stretch by stretch.

    Args:
        inputs_NTBF: what entered.
        hidden_NTBH: the hidden state before each step; more steps may follow.
        weight_ih_NPF: W_i; P is G*H.
        sizes: of the members.
        needs_inputs: whether the gradient of the inputs is asked for.
    """

    def __init__(self, inputs_NTBF: Tensor, hidden_NTBH: Tensor, weight_ih_NPF: Tensor, sizes: Extent, needs_inputs: bool) -> None:
        num_members, size, _ = weight_ih_NPF.shape
        self.inputs, self.hidden, self.weight_ih, self.sizes = inputs_NTBF, hidden_NTBH, weight_ih_NPF, sizes
        self.of_inputs = torch.zeros_like(inputs_NTBF) if needs_inputs else None
        self.of_weight_ih = torch.zeros_like(weight_ih_NPF)
        self.of_weight_hh = weight_ih_NPF.new_zeros(num_members, size, hidden_NTBH.shape[-1])
        self.of_bias_ih, self.of_bias_hh = (weight_ih_NPF.new_zeros(num_members, size) for _ in range(2))

    def add(self, steps: range, entering_NRP: Tensor, recurrent_NRP: Tensor) -> None:
        """Add what some steps of the first members give, from the gradients of W_i x + b_i and of W_h h + b_h, (N, len(steps) * B, P)."""
        count = len(entering_NRP)
        inputs, hidden = rows_of(self.inputs, steps, count), rows_of(self.hidden, steps, count)
        if self.of_inputs is not None:
            torch.bmm(entering_NRP, self.weight_ih[:count], out=rows_of(self.of_inputs, steps, count))
        if self.sizes.are_whole(steps, self.inputs.shape[2]):
            self._add(slice(0, count), entering_NRP, recurrent_NRP, inputs, hidden)
            return
        for member in range(count):
            parts = (self._own(member, steps, part) for part in (entering_NRP, recurrent_NRP, inputs, hidden))
            self._add(slice(member, member + 1), *parts)

    def _own(self, member: int, steps: range, rows_NRX: Tensor) -> Tensor:
        """Return a member's own rows, (1, steps * sequences, X)."""
        num_steps, batch = min(len(steps), self.sizes.steps[member] - steps.start), self.sizes.batches[member]
        by_step = rows_NRX[member].view(len(steps), -1, rows_NRX.shape[-1])
        return by_step[:num_steps, :batch].reshape(1, num_steps * batch, -1)

    def _add(self, place: slice, entering: Tensor, recurrent: Tensor, inputs: Tensor, hidden: Tensor) -> None:
        self.of_weight_hh[place].baddbmm_(recurrent.transpose(1, 2), hidden)
        self.of_weight_ih[place].baddbmm_(entering.transpose(1, 2), inputs)
        self.of_bias_ih[place] += entering.sum(1)
        self.of_bias_hh[place] += recurrent.sum(1)
