"""Several GRUs of one size at once: the equations and the gradient of `cells/gru.py` (reset=after), batched over members.

What is kept of a step are r, z, n, and v = 2 u_n, u_n = W_hn h_{t-1} + b_hn. With e = dh * (1 - z):

    da_n = e - e * n^2        du_n = da_n * r
    da_z = e * z * (h_{t-1} - n)
    da_r = du_n * u_n * (1 - r)
    dh_{t-1} = dh * z + W_h^T [da_r, da_z, du_n]

An array of four blocks, [du_n, da_r, da_z, da_n], holds both gradients that products need: the first three blocks are that of W_h h + b_h
(its rows in another order), the last three that of W_i x + b_i.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.packing import STEPS_AT_ONCE, Gradients, doubled, members, rows_of, steps_of, stretches


class PackedGRU(torch.autograd.Function):
    """Map inputs (N, T, B, F), weights and biases with a leading N, and `counts` (see `packing`) to hidden states (N, T, B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs_NTBF: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, counts: Sequence[int]
    ) -> Tensor:
        num_members, num_steps, batch, _ = inputs_NTBF.shape
        size = weight_hh.shape[2]
        both, last = slice(0, 2 * size), slice(2 * size, 3 * size)
        gates = inputs_NTBF.new_empty(num_members, num_steps, batch, 2 * size)  # r, z
        candidate = inputs_NTBF.new_empty(num_members, num_steps, batch, size)
        recurrent = torch.empty_like(candidate)
        hidden = inputs_NTBF.new_zeros(num_members, num_steps + 1, batch, size)
        bias = bias_ih.clone()
        bias[:, both] += bias_hh[:, both]
        bias, bias_n = doubled(bias, last)[:, None], 2 * bias_hh[:, None, last]
        into = doubled(weight_ih, last).transpose(1, 2)
        over = doubled(weight_hh, last).transpose(1, 2)
        over_both, over_last = over[..., both].contiguous(), over[..., last].contiguous()
        arrays = (gates, gates[..., :size], gates[..., size:], candidate, recurrent, hidden[:, :-1], hidden[:, 1:])
        views = [steps_of(array, counts) for array in arrays]
        minus_one = inputs_NTBF.new_tensor(-1.0)
        for steps in stretches(num_steps):
            count = counts[steps.start]
            rows, offset, matrix = rows_of(inputs_NTBF, steps, count), bias[:count], into[:count]
            torch.baddbmm(offset[..., both], rows, matrix[..., both], out=rows_of(gates, steps, count))
            torch.baddbmm(offset[..., last], rows, matrix[..., last], out=rows_of(candidate, steps, count))
            for step in steps:
                rz, r, z, n, v, before, after = (view[step] for view in views)
                to_both, to_last, offset = members(counts[step], over_both, over_last, bias_n)
                torch.baddbmm(rz, before, to_both, out=rz).sigmoid_()
                torch.baddbmm(offset, before, to_last, out=v)
                n.addcmul_(r, v).sigmoid_()
                torch.add(minus_one, n, alpha=2, out=n)
                torch.lerp(n, before, z, out=after)
        ctx.save_for_backward(inputs_NTBF, weight_ih, weight_hh, gates, candidate, recurrent, hidden)
        ctx.counts = counts
        return hidden[:, 1:]

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, *kept, hidden = ctx.saved_tensors
        size = weight_hh.shape[2]
        over = torch.cat([weight_hh[:, 2 * size :], weight_hh[:, : 2 * size]], 1)
        sums = Gradients(inputs, hidden, weight_ih, ctx.needs_input_grad[0])
        biases = weight_ih.new_zeros(len(weight_ih), 4 * size)
        walk = _Backward(outputs[0], kept, hidden, over, ctx.counts)
        for steps in reversed(stretches(inputs.shape[1])):
            rows = walk.through(steps)
            sums.add(steps, rows[..., size:], rows[..., : 3 * size])
            biases[: len(rows)] += sums.summed(rows)
        of_weight_hh = torch.cat([sums.of_weight_hh[:, size:], sums.of_weight_hh[:, :size]], 1)
        of_bias_hh = torch.cat([biases[:, size : 3 * size], biases[:, :size]], 1)
        return sums.of_inputs, sums.of_weight_ih, of_weight_hh, biases[:, size:].contiguous(), of_bias_hh, None


class _Backward:
    """Walk back from the last step to the first."""

    def __init__(self, outputs_NTBH: Tensor, kept: Sequence[Tensor], hidden: Tensor, over: Tensor, counts: Sequence[int]) -> None:
        gates, candidate, recurrent = kept
        num_members, _, batch, size = candidate.shape
        self.over, self.counts = over, counts
        arrays = (outputs_NTBH, gates[..., :size], gates[..., size:], candidate, recurrent, hidden[:, :-1])
        self.views = [steps_of(array, counts) for array in arrays]
        self.blocks = candidate.new_empty(num_members, STEPS_AT_ONCE, batch, 4 * size)
        parts = (*self.blocks.split(size, -1), self.blocks[..., : 3 * size])
        self.places = list(zip(*(part.unbind(1) for part in parts), strict=True))
        self.total = candidate.new_zeros(num_members, batch, size)  # dL/dh of the step, and of the one before
        self.spare = [torch.empty_like(self.total) for _ in range(3)]

    def through(self, steps: range) -> Tensor:
        """Walk through some steps.

        Returns:
            The four blocks of the members that have any of them, (k, len(steps) * B, 4H); the next call overwrites them.
        """
        largest = self.counts[steps.start]
        if self.counts[steps[-1]] < largest:
            self.blocks.zero_()
        for step in reversed(steps):
            count = self.counts[step]
            outputs, r, z, n, v, before = (view[step] for view in self.views)
            du_n, da_r, da_z, da_n, to_hidden = members(count, *self.places[step - steps.start])
            total, carry, e, spare, over = members(count, self.total, *self.spare, self.over)
            torch.mul(total.add_(outputs), z, out=carry)
            torch.sub(total, carry, out=e)
            torch.mul(torch.sub(before, n, out=spare).mul_(z), e, out=da_z)
            torch.addcmul(e, torch.mul(e, n, out=spare), n, value=-1, out=da_n)
            torch.mul(da_n, r, out=du_n)
            torch.mul(du_n, v, out=spare).mul_(0.5)
            torch.addcmul(spare, spare, r, value=-1, out=da_r)
            torch.baddbmm(carry, to_hidden, over, out=total)
        return rows_of(self.blocks, range(len(steps)), largest)
