"""Gated recurrent unit: Cho et al. (2014), in the variant of Cho's first version that multiplies the reset gate after the product
with the recurrent matrix (what cuDNN and PyTorch compute), with the update gate z keeping the old state.

    r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)        reset gate
    z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)        update gate
    n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))   candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}
"""

from torch import Tensor, gru_cell, nn, sigmoid, tanh

from rnnlab.cells.base import Cell, State


class GRUCell(Cell):
    """Advance a GRU.

    Args:
        input_size: F.
        hidden_size: H.
    """

    gate_names = ("reset", "update", "candidate")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(nn.GRU(input_size, hidden_size, batch_first=True), 3, 1)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        """Return r, z, n."""
        p_r, p_z, p_n = projected_BP.chunk(3, -1)
        u_r, u_z, u_n = self.recur(entering_BH).chunk(3, -1)
        reset, update = sigmoid(p_r + u_r), sigmoid(p_z + u_z)
        return reset, update, tanh(p_n + reset * u_n)

    def step(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step; see the equations at the top."""
        (hidden_BH,) = state
        (r_i, z_i, n_i), (r_h, z_h, n_h) = self.gate_inputs(input_BF, hidden_BH)
        reset, update = sigmoid(r_i + r_h), sigmoid(z_i + z_h)
        candidate = tanh(n_i + reset * n_h)
        return ((1 - update) * candidate + update * hidden_BH,)

    def advance(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step on the kernel's single step."""
        return (gru_cell(input_BF, state[0], *self.kernel_weights),)
