"""Several simple recurrent networks of one size at once: h_t = tanh(W_i x_t + b_i + W_h h_{t-1} + b_h), batched over members.

The gradient of a step, from dh = dL/dh_t: da = dh * (1 - h_t^2) is that of both products; dh_{t-1} = W_h^T da.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.packing import STEPS_AT_ONCE, Gradients, doubled, members, rows_of, steps_of, stretches


class PackedSRNN(torch.autograd.Function):
    """Map inputs (N, T, B, F), weights and biases with a leading N, and `counts` (see `packing`) to hidden states (N, T, B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs_NTBF: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, counts: Sequence[int]
    ) -> Tensor:
        num_members, num_steps, batch, _ = inputs_NTBF.shape
        size = weight_hh.shape[2]
        everything = slice(None)
        sums = inputs_NTBF.new_empty(num_members, num_steps, batch, size)
        hidden = inputs_NTBF.new_zeros(num_members, num_steps + 1, batch, size)
        bias = doubled(bias_ih + bias_hh, everything)[:, None]
        into, over = (doubled(weight, everything).transpose(1, 2) for weight in (weight_ih, weight_hh))
        over = over.contiguous()
        views = [steps_of(array, counts) for array in (sums, hidden[:, :-1], hidden[:, 1:])]
        minus_one = inputs_NTBF.new_tensor(-1.0)
        for steps in stretches(num_steps):
            count = counts[steps.start]
            torch.baddbmm(bias[:count], rows_of(inputs_NTBF, steps, count), into[:count], out=rows_of(sums, steps, count))
            for step in steps:
                a, before, after = (view[step] for view in views)
                torch.baddbmm(a, before, *members(counts[step], over), out=a).sigmoid_()
                torch.add(minus_one, a, alpha=2, out=after)
        ctx.save_for_backward(inputs_NTBF, weight_ih, weight_hh, hidden)
        ctx.counts = counts
        return hidden[:, 1:]

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, hidden = ctx.saved_tensors
        num_members, num_steps, batch, _ = inputs.shape
        size, counts = weight_hh.shape[2], ctx.counts
        sums = Gradients(inputs, hidden, weight_ih, ctx.needs_input_grad[0])
        bias = weight_ih.new_zeros(num_members, size)
        views = [steps_of(array, counts) for array in (outputs[0], hidden[:, 1:])]
        block = inputs.new_empty(num_members, STEPS_AT_ONCE, batch, size)
        total = inputs.new_zeros(num_members, batch, size)  # dL/dh of the step, and of the one before
        spare = torch.empty_like(total)
        for steps in reversed(stretches(num_steps)):
            largest = counts[steps.start]
            if counts[steps[-1]] < largest:
                block.zero_()
            for step in reversed(steps):
                output, after = (view[step] for view in views)
                dh, kept, da, over = members(counts[step], total, spare, block[:, step - steps.start], weight_hh)
                dh.add_(output)
                torch.addcmul(dh, torch.mul(dh, after, out=kept), after, value=-1, out=da)
                torch.bmm(da, over, out=dh)
            rows = rows_of(block, range(len(steps)), largest)
            sums.add(steps, rows, rows)
            bias[:largest] += sums.summed(rows)
        return sums.of_inputs, sums.of_weight_ih, sums.of_weight_hh, bias, bias.clone(), None
