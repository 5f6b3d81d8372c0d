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
"""

from typing import Literal

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import functional as F

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.packed_gru import PackedGRU
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
