"""Long short-term memory: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), no peepholes.

    p_t = W_i x_t + b_i                             four blocks: i, f, g, o
    i_t = sigmoid(p_i + W_hi h_{t-1} + b_hi)        input gate
    f_t = sigmoid(p_f + W_hf h_{t-1} + b_hf)        forget gate
    g_t = tanh(p_g + W_hg h_{t-1} + b_hg)           candidate
    o_t = sigmoid(p_o + W_ho h_{t-1} + b_ho)        output gate
    c_t = f_t * c_{t-1} + i_t * g_t                 memory
    h_t = o_t * tanh(c_t)

Gradient of a step, from dh = dL/dh_t and dc = dL/dc_t (total: see `base`):

    do       = dh * tanh(c_t)                       da_o = do * o * (1 - o)
    dm       = dc + dh * o * (1 - tanh(c_t)^2)      all that reaches c_t
    di       = dm * g                               da_i = di * i * (1 - i)
    df       = dm * c_{t-1}                         da_f = df * f * (1 - f)
    dg       = dm * i                               da_g = dg * (1 - g^2)
    dp       = [da_i, da_f, da_g, da_o]             whence dW_i = dp x_t^T, db_i = dp
    dc_{t-1} = dm * f
    dh_{t-1} = W_h^T dp
    dW_h     = dp h_{t-1}^T,  db_h = dp = db_i

Through the memory alone a gradient is multiplied by f at each step, by no matrix: it lasts as long as f stays near 1. At PyTorch's
first weights f is about 1/2, hence `forget_bias` and `chrono`.
"""

import torch
from torch import Tensor, nn, sigmoid, tanh

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.weights import Initialisation, Timescale, refuse_two_memories, remember

INPUT, FORGET = 0, 1


class LSTMCell(Cell):
    """Advance an LSTM; its state is (h, c).

    Args:
        forget_bias: first bias of the forget gate (the sum of PyTorch's two), or None for biases as drawn.
        chrono: longest time in steps that the first biases of forget and input gate spread over, or None for biases as drawn.
    """

    gate_names = ("input", "forget", "candidate", "output")

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float | None = None, chrono: Timescale | None = None) -> None:
        super().__init__(nn.LSTM(input_size, hidden_size, batch_first=True), 4, 2, torch.lstm_cell)
        refuse_two_memories(forget_bias, chrono)
        self.forget_bias, self.chrono = forget_bias, chrono

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (projected_BP + self.recur(entering_BH)).chunk(4, -1)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        i, f, g, o = self.gates(projected_BP, state, entering_BH)
        memory_BH = f * state[1] + i * g
        return o * tanh(memory_BH), memory_BH

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        (h, c), (dh, dc) = state, after
        i, f, g, o = self.gates(projected_BP, state, h)
        shown = tanh(f * c + i * g)
        dm = dc + dh * o * (1 - shown * shown)
        da_i, da_f = dm * g * i * (1 - i), dm * c * f * (1 - f)
        da_g, da_o = dm * i * (1 - g * g), dh * shown * o * (1 - o)
        dp = torch.cat([da_i, da_f, da_g, da_o], -1)
        entering, weights = self.recur_backward(h, dp)
        return StepGradient(dp, (entering, dm * f), weights)

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew, then the biases that `forget_bias` or `chrono` ask for."""
        super().initialise(initialisation)
        remember(self.kernel, self.forget_bias, self.chrono, FORGET, INPUT)
