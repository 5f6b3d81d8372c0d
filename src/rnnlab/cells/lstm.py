"""Long short-term memory: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), no peepholes.

i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)        input gate
f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)        forget gate
g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)           candidate
o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)        output gate
c_t = f_t * c_{t-1} + i_t * g_t
h_t = o_t * tanh(c_t)
"""

from torch import Tensor, lstm_cell, nn, sigmoid, tanh

from rnnlab.cells.base import Cell, State


class LSTMCell(Cell):
    """Advance an LSTM; its state is (h, c).

    Args:
        input_size: F.
        hidden_size: H.
    """

    gate_names = ("input", "forget", "candidate", "output")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(nn.LSTM(input_size, hidden_size, batch_first=True), 4, 2)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        """Return i, f, g, o."""
        i, f, g, o = (projected_BP + self.recur(entering_BH)).chunk(4, -1)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def step(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step; see the equations at the top."""
        hidden_BH, memory_BH = state
        from_input, from_hidden = self.gate_inputs(input_BF, hidden_BH)
        i, f, g, o = (a + b for a, b in zip(from_input, from_hidden, strict=True))
        memory_BH = sigmoid(f) * memory_BH + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(memory_BH), memory_BH

    def advance(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step on the kernel's single step."""
        hidden_BH, memory_BH = lstm_cell(input_BF, state, *self.kernel_weights)
        return hidden_BH, memory_BH
