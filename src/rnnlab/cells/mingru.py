"""minGRU: Feng et al. (2024), "Were RNNs all we needed?", section 3.1: gates that do not look at the state, so that time is parallel.

    p_t = W_i x_t + b_i                             two blocks: z, n
    z_t = sigmoid(p_z)                              update gate, here letting the new in, as the paper writes it
    n_t = p_n                                       candidate, no tanh
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t

Gradient of a step, from dh = dL/dh_t (total: see `base`):

    da_z     = dh * (n - h_{t-1}) * z * (1 - z)
    dp       = [da_z, dh * z]
    dh_{t-1} = dh * (1 - z)

A step is h -> k * h + v, and two of them in a row are one again: (k_2 k_1, k_2 v_1 + v_2). So all T steps are had in log2(T) rounds
(Hillis and Steele 1986), in each of which what covers the last s steps becomes what covers the last 2 s. Since every k lies between 0 and
1 and nothing is divided, no length makes it inexact; the paper's way through logarithms would need positive states.
"""

import torch
from torch import Tensor, sigmoid

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.weights import Weights


class MinGRUCell(Cell):
    """Advance a minimal GRU.

    Args:
        input_size: F.
        hidden_size: H.
    """

    gate_names = ("update", "candidate")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(Weights(input_size, hidden_size, 2, is_recurrent=False), 2, 1)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        """Return z, n."""
        update, candidate = projected_BP.chunk(2, -1)
        return sigmoid(update), candidate

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        """Return the state after a step; see the equations at the top."""
        update, candidate = self.gates(projected_BP, state, entering_BH)
        return ((1 - update) * state[0] + update * candidate,)

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        """Return the gradient of a step; see the equations at the top."""
        (h,), (dh,) = state, after
        z, n = self.gates(projected_BP, state, h)
        return StepGradient(torch.cat([dh * (n - h) * z * (1 - z), dh * z], -1), (dh * (1 - z),), {})

    @property
    def has_kernel(self) -> bool:
        """Whether a whole sequence can run at once: by the scan."""
        return True

    def run_fused(self, inputs_BTF: Tensor, state: State | None) -> Tensor:
        """Run a whole sequence by a parallel scan; see `forward`."""
        update, candidate = self.project(inputs_BTF).chunk(2, -1)
        keep_BTH, value_BTH = sigmoid(-update), sigmoid(update) * candidate
        if state is not None:
            value_BTH = torch.cat([value_BTH[:, :1] + keep_BTH[:, :1] * state[0][:, None], value_BTH[:, 1:]], 1)
        span = 1
        while span < inputs_BTF.shape[1]:
            later, earlier = slice(span, None), slice(None, -span)
            value_BTH = torch.cat([value_BTH[:, :span], value_BTH[:, later] + keep_BTH[:, later] * value_BTH[:, earlier]], 1)
            keep_BTH = torch.cat([keep_BTH[:, :span], keep_BTH[:, later] * keep_BTH[:, earlier]], 1)
            span *= 2
        return value_BTH
