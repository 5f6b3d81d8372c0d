"""Gated recurrent unit, Cho et al. (2014), with the update gate z keeping the old state, as there and in PyTorch.

    p_t = W_i x_t + b_i                                         three blocks: r, z, n
    r_t = sigmoid(p_r + W_hr h_{t-1} + b_hr)                    reset gate
    z_t = sigmoid(p_z + W_hz h_{t-1} + b_hz)                    update gate
    n_t = tanh(p_n + r_t * (W_hn h_{t-1} + b_hn))               candidate; reset=after (the product): cuDNN, PyTorch, Cho's first version
    n_t = tanh(p_n + W_hn (r_t * h_{t-1}) + b_hn)               candidate; reset=before: as published
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Chung et al. (2014) and many texts write h_t = (1 - z') h_{t-1} + z' n_t: their z' lets the new in. It is the same network with
W_iz, W_hz, b_iz, b_hz negated, since sigmoid(-a) = 1 - sigmoid(a); weights carried over without that swap keeping and renewing. Between
before and after nothing carries over: r scales rows of a product in one, its columns in the other.

Gradient of a step, from dh = dL/dh_t (total: see `base`), u = W_h h_{t-1} + b_h:

    dn   = dh * (1 - z)              da_n = dn * (1 - n^2)
    dz   = dh * (h_{t-1} - n)        da_z = dz * z * (1 - z)
    reset=after                                          reset=before
    dr   = da_n * u_n                                    dv = W_hn^T da_n             v = r * h_{t-1}
    du_n = da_n * r                                      dr = dv * h_{t-1}
    da_r = dr * r * (1 - r)
    dp       = [da_r, da_z, da_n]
    dh_{t-1} = dh * z + W_h^T [da_r, da_z, du_n]         dh * z + dv * r + W_hr^T da_r + W_hz^T da_z
    dW_h     = [da_r, da_z, du_n] h_{t-1}^T              dW_hn = da_n v^T, the others alike
    db_h     = [da_r, da_z, du_n]                        [da_r, da_z, da_n]
    db_i     = [da_r, da_z, da_n]

The two biases of a gate have equal gradients; of the candidate, where the reset acts after the product, they have not: b_hn is reset,
b_in is not, so that no single bias can stand for both.

Several GRUs of one size at once (`PackedGRU`, see `packing`; reset=after) keep of a step r, z, n, and v = 2 u_n. All that follows from dh
in a step is dh times a factor that is known before:

    da_n = dh * (1 - z) * (1 - n^2)        du_n = da_n * r
    da_z = dh * (h_{t-1} - n) * z * (1 - z)
    da_r = du_n * u_n * (1 - r)

and an array of four blocks, [du_n, da_r, da_z, da_n], holds both gradients that products need: the first three blocks are that of
W_h h + b_h (its rows in another order), the last three that of W_i x + b_i.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import functional as F

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.packing import STEPS_AT_ONCE, Extent, Gradients, doubled, members, rows_of, steps_of, stretches
from rnnlab.cells.scan import can_scan, scan_gru
from rnnlab.cells.weights import Initialisation, Timescale, Weights, remember

Reset = Literal["after", "before"]
UPDATE = 1


class GRUCell(Cell):
    """Advance a GRU.

    Args:
        reset: whether the reset gate acts after or before the product with the recurrent matrix; only `after` has a kernel.
        chrono: longest time in steps that the update gate's first biases spread over, or None for biases as drawn.
    """

    gate_names = ("reset", "update", "candidate")

    def __init__(self, input_size: int, hidden_size: int, reset: Reset = "after", chrono: Timescale | None = None) -> None:
        is_after = reset == "after"
        kernel = nn.GRU(input_size, hidden_size, batch_first=True) if is_after else Weights(input_size, hidden_size, 3)
        super().__init__(kernel, 3, 1, torch.gru_cell if is_after else None)
        self.reset, self.chrono = reset, chrono

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        p_r, p_z, p_n = projected_BP.chunk(3, -1)
        if self.reset == "after":
            u_r, u_z, u_n = self.recur(entering_BH).chunk(3, -1)
            reset, update = sigmoid(p_r + u_r), sigmoid(p_z + u_z)
            return reset, update, tanh(p_n + reset * u_n)
        weight_rz, weight_n = self._split(self.weight("weight_hh"))
        bias_rz, bias_n = self._split(self.weight("bias_hh"))
        u_r, u_z = F.linear(entering_BH, weight_rz, bias_rz).chunk(2, -1)
        reset, update = sigmoid(p_r + u_r), sigmoid(p_z + u_z)
        return reset, update, tanh(p_n + F.linear(reset * entering_BH, weight_n, bias_n))

    def _split(self, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of both gates, and those of the candidate."""
        return stacked[: 2 * self.hidden_size], stacked[2 * self.hidden_size :]

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        _, update, candidate = self.gates(projected_BP, state, entering_BH)
        return ((1 - update) * candidate + update * state[0],)

    def run_fused(self, inputs_BTF: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run a whole sequence at once: on a processor by our own scan, elsewhere on PyTorch's kernel."""
        if not can_scan(inputs_BTF):
            return super().run_fused(inputs_BTF, state)
        first_BH = self.initial_state(len(inputs_BTF))[0] if state is None else state[0]
        projected_TBP = self.project(inputs_BTF.transpose(0, 1).contiguous())
        states_TBH = scan_gru(projected_TBP, first_BH, self.weight("weight_hh"), self.weight("bias_hh"))
        return states_TBH.transpose(0, 1), (states_TBH[-1],)

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        (h,), (dh,) = state, after
        r, z, n = self.gates(projected_BP, state, h)
        da_n = dh * (1 - z) * (1 - n * n)
        da_z = dh * (h - n) * z * (1 - z)
        if self.reset == "after":
            u_n = self.recur(h).chunk(3, -1)[2]
            da_r = da_n * u_n * r * (1 - r)
            entering, weights = self.recur_backward(h, torch.cat([da_r, da_z, da_n * r], -1))
        else:
            weight_rz, weight_n = self._split(self.weight("weight_hh"))
            dv = da_n @ weight_n
            da_r = dv * h * r * (1 - r)
            da_rz = torch.cat([da_r, da_z], -1)
            entering = da_rz @ weight_rz + dv * r
            weights = {
                "kernel.weight_hh_l0": torch.cat([da_rz.T @ h, da_n.T @ (r * h)]),
                "kernel.bias_hh_l0": torch.cat([da_rz, da_n], -1).sum(0),
            }
        return StepGradient(torch.cat([da_r, da_z, da_n], -1), (dh * z + entering,), weights)

    def own_packed_kernel(self) -> type[torch.autograd.Function] | None:
        return PackedGRU if self.reset == "after" else None

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew, then the update gate's biases where `chrono` asks for it."""
        super().initialise(initialisation)
        remember(self.kernel, None, self.chrono, UPDATE, None)


class PackedGRU(torch.autograd.Function):
    """Map inputs (N, T, B, F), weights and biases with a leading N, and the members' sizes to hidden states (N, T, B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs_NTBF: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, sizes: Extent
    ) -> Tensor:
        num_members, _, batch, _ = inputs_NTBF.shape
        num_steps = sizes.steps[0]
        size, counts = weight_hh.shape[2], sizes.counts
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
        ctx.sizes = sizes
        return hidden[:, 1:]

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, *kept, hidden = ctx.saved_tensors
        size = weight_hh.shape[2]
        over = torch.cat([weight_hh[:, 2 * size :], weight_hh[:, : 2 * size]], 1)
        sums = Gradients(inputs, hidden, weight_ih, ctx.sizes, ctx.needs_input_grad[0])
        walk = _Backward(outputs[0], kept, hidden, over, ctx.sizes.counts)
        for steps in reversed(stretches(ctx.sizes.steps[0])):
            rows = walk.through(steps)
            sums.add(steps, rows[..., size:], rows[..., : 3 * size])
        of_weight_hh = torch.cat([sums.of_weight_hh[:, size:], sums.of_weight_hh[:, :size]], 1)
        of_bias_hh = torch.cat([sums.of_bias_hh[:, size:], sums.of_bias_hh[:, :size]], 1)
        return sums.of_inputs, sums.of_weight_ih, of_weight_hh, sums.of_bias_ih, of_bias_hh, None


class _Backward:
    """Walk back from the last step to the first.

    Everything within a step is dh, the total derivative, times a factor that is known before: factors of a stretch are made at once.
    """

    def __init__(self, outputs_NTBH: Tensor, kept: Sequence[Tensor], hidden: Tensor, over: Tensor, counts: Sequence[int]) -> None:
        self.gates, self.candidate, self.recurrent = kept
        self.hidden, self.over, self.counts = hidden, over, counts
        num_members, _, batch, self.size = self.candidate.shape
        self.outputs, self.update = steps_of(outputs_NTBH, counts), steps_of(self.gates[..., self.size :], counts)
        self.blocks = self.candidate.new_empty(num_members, STEPS_AT_ONCE, batch, 4 * self.size)
        self.factors = torch.empty_like(self.blocks)
        self.total = self.candidate.new_zeros(num_members, batch, self.size)  # dL/dh of the step, and of the one before
        self.carry = torch.empty_like(self.total)

    def through(self, steps: range) -> Tensor:
        """Walk through some steps.

        Returns:
            The four blocks of the members that have any of them, (k, len(steps) * B, 4H); the next call overwrites them.
        """
        largest = self.counts[steps.start]
        if self.counts[steps[-1]] < largest:
            self.blocks.zero_()
        self._make_factors(steps, largest)
        apart = (*self.blocks.shape[:3], 4, self.size)
        blocks, factors = self.blocks.view(apart).unbind(1), self.factors.view(apart).unbind(1)
        to_hidden = self.blocks[..., : 3 * self.size].unbind(1)
        for step in reversed(steps):
            count, place = self.counts[step], step - steps.start
            total, carry, over, block, factor, entering = members(
                count, self.total, self.carry, self.over, blocks[place], factors[place], to_hidden[place]
            )
            torch.mul(total.add_(self.outputs[step]).unsqueeze(2), factor, out=block)
            torch.mul(total, self.update[step], out=carry)
            torch.baddbmm(carry, entering, over, out=total)
        return rows_of(self.blocks, range(len(steps)), largest)

    def _make_factors(self, steps: range, count: int) -> None:
        """Make c in [du_n, da_r, da_z, da_n] = dh * c; of members that lack a step they mean nothing, and nobody reads them."""
        part = slice(steps.start, steps.stop)
        gates, n, v, before = (each[:count, part] for each in (self.gates, self.candidate, self.recurrent, self.hidden))
        r, z = gates[..., : self.size], gates[..., self.size :]
        du_n, da_r, da_z, da_n = self.factors[:count, : len(steps)].split(self.size, -1)
        torch.mul(1 - z, 1 - n * n, out=da_n)
        torch.mul(da_n, r, out=du_n)
        torch.mul(du_n, (1 - r).mul_(v).mul_(0.5), out=da_r)
        torch.mul((before - n).mul_(z), 1 - z, out=da_z)
