"""The simple recurrent network of Elman (1990), "Finding structure in time".

    p_t = W_i x_t + b_i
    a_t = p_t + W_h h_{t-1} + b_h
    h_t = f(a_t)                        f: see `activations`; of tanh and relu PyTorch has kernels

Gradient of a step, from dh_t = dL/dh_t (total: see `base`), sums over the batch:

    da_t     = dh_t * f'(a_t)
    dp_t     = da_t                     whence dx_t = W_i^T dp_t, dW_i = dp_t x_t^T, db_i = dp_t
    dh_{t-1} = W_h^T da_t
    dW_h     = da_t h_{t-1}^T
    db_h     = da_t                     the same as db_i: one of the two biases is superfluous
    dslope   = sum of dh_t * min(a_t, 0)        of the parametric ReLU

Over k steps a gradient is multiplied by W_h^T diag(f') k times: it vanishes or explodes with their product.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.packing import STEPS_AT_ONCE, Extent, Gradients, doubled, members, rows_of, steps_of, stretches
from rnnlab.cells.scan import can_scan, scan_simple
from rnnlab.cells.weights import Initialisation, Weights

Activation = Literal["tanh", "relu", "sigmoid", "leaky_relu", "prelu", "selu", "identity"]
FIRST_SLOPE = 0.25
"""He et al. (2015), section 2.1."""
SINGLE_STEPS = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}


class SRNNCell(Cell):
    """Advance a simple recurrent network.

    Args:
        activation: f.
    """

    def __init__(self, input_size: int, hidden_size: int, activation: Activation) -> None:
        single_step = SINGLE_STEPS.get(activation)
        if single_step is None:
            kernel: nn.RNNBase | Weights = Weights(input_size, hidden_size, 1)
        else:
            kernel = nn.RNN(input_size, hidden_size, nonlinearity=activation, batch_first=True)
        super().__init__(kernel, 1, 1, single_step)
        self.activation = activation
        self.slope = nn.Parameter(torch.tensor([FIRST_SLOPE])) if activation == "prelu" else None

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        return ()

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        return (self._activated(projected_BP + self.recur(entering_BH)),)

    def run_fused(self, inputs_BTF: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run a whole sequence at once: on a processor by our own scan, elsewhere on PyTorch's kernel."""
        if not can_scan(inputs_BTF):
            return super().run_fused(inputs_BTF, state)
        first_BH = self.initial_state(len(inputs_BTF))[0] if state is None else state[0]
        projected_TBH = self.project(inputs_BTF.transpose(0, 1).contiguous())
        states_TBH = scan_simple(projected_TBH, first_BH, self.weight("weight_hh"), self.weight("bias_hh"), self.activation)
        return states_TBH.transpose(0, 1), (states_TBH[-1],)

    def _activated(self, sums_BH: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation].function(sums_BH) if self.slope is None else F.prelu(sums_BH, self.slope)

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        a = projected_BP + self.recur(state[0])
        if self.slope is None:
            da = after[0] * ACTIVATIONS[self.activation].derivative(a, self._activated(a))
            own = {}
        else:
            da = after[0] * torch.where(a > 0, 1.0, self.slope)
            own = {"slope": (after[0] * a.clamp(max=0)).sum()[None]}
        dh, weights = self.recur_backward(state[0], da)
        return StepGradient(da, (dh,), weights | own)

    def own_packed_kernel(self) -> type[torch.autograd.Function] | None:
        return PackedSRNN if self.activation == "tanh" else None

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew; the learned slope begins where He et al. began it."""
        super().initialise(initialisation)
        if self.slope is not None:
            nn.init.constant_(self.slope, FIRST_SLOPE)


class PackedSRNN(torch.autograd.Function):
    """Run several networks with f = tanh at once, by the gradient above: da = dh * (1 - h_t^2).

    Maps inputs (N, T, B, F), weights and biases with a leading N, and the members' sizes to hidden states (N, T, B, H).
    """

    @staticmethod
    def forward(
        ctx: Any, inputs_NTBF: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, sizes: Extent
    ) -> Tensor:
        num_members, _, batch, _ = inputs_NTBF.shape
        num_steps = sizes.steps[0]
        size, counts = weight_hh.shape[2], sizes.counts
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
        ctx.sizes = sizes
        return hidden[:, 1:]

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, hidden = ctx.saved_tensors
        num_members, _, batch, _ = inputs.shape
        size, counts = weight_hh.shape[2], ctx.sizes.counts
        sums = Gradients(inputs, hidden, weight_ih, ctx.sizes, ctx.needs_input_grad[0])
        views = [steps_of(array, counts) for array in (outputs[0], hidden[:, 1:])]
        block = inputs.new_empty(num_members, STEPS_AT_ONCE, batch, size)
        total = inputs.new_zeros(num_members, batch, size)  # dL/dh of the step, and of the one before
        spare = torch.empty_like(total)
        for steps in reversed(stretches(ctx.sizes.steps[0])):
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
        return sums.of_inputs, sums.of_weight_ih, sums.of_weight_hh, sums.of_bias_ih, sums.of_bias_hh, None
