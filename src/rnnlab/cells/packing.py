"""What the packed kernels share: several networks of one size, each with its own weights and sequences, run as one batched recurrence.

Axis N is the member. Members are sorted by their number of steps, the longest first, so that `counts[t]`, how many of them have a step t,
never rises: what a shorter member would do beyond its end is not computed. Arrays are (N, T, B, X), of which one step is a view (k, B, X)
whose rows lie together. The product with the inputs and the gradients of weights are taken for `STEPS_AT_ONCE` steps at once, while these
are in the cache; only what depends on the step before is done step by step, in place, into arrays made once.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

STEPS_AT_ONCE = 8


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
        needs_inputs: whether the gradient of the inputs is asked for.
    """

    def __init__(self, inputs_NTBF: Tensor, hidden_NTBH: Tensor, weight_ih_NPF: Tensor, needs_inputs: bool) -> None:
        num_members, size, _ = weight_ih_NPF.shape
        self.inputs, self.hidden, self.weight_ih = inputs_NTBF, hidden_NTBH, weight_ih_NPF
        self.of_inputs = torch.zeros_like(inputs_NTBF) if needs_inputs else None
        self.of_weight_ih = torch.zeros_like(weight_ih_NPF)
        self.of_weight_hh = weight_ih_NPF.new_zeros(num_members, size, hidden_NTBH.shape[-1])
        self.ones = weight_ih_NPF.new_ones(num_members, 1, STEPS_AT_ONCE * inputs_NTBF.shape[2])

    def add(self, steps: range, entering_NRP: Tensor, recurrent_NRP: Tensor) -> None:
        """Add what some steps of the first members give, from the gradients of W_i x + b_i and of W_h h + b_h, (N, len(steps) * B, P)."""
        count = len(entering_NRP)
        of_weight_hh, of_weight_ih, weight_ih = members(count, self.of_weight_hh, self.of_weight_ih, self.weight_ih)
        of_weight_hh.baddbmm_(recurrent_NRP.transpose(1, 2), rows_of(self.hidden, steps, count))
        of_weight_ih.baddbmm_(entering_NRP.transpose(1, 2), rows_of(self.inputs, steps, count))
        if self.of_inputs is not None:
            torch.bmm(entering_NRP, weight_ih, out=rows_of(self.of_inputs, steps, count))

    def summed(self, gradients_NRX: Tensor) -> Tensor:
        """Return the sum over rows, (N, X): as a product, which is faster."""
        return torch.bmm(self.ones[: len(gradients_NRX), :, : gradients_NRX.shape[1]], gradients_NRX)[:, 0]
