"""LSTM with coupled gates: what is forgotten is what is written; Greff et al. (2017), "LSTM: a search space odyssey"
(a preprint since 2015), variant CIFG.

    p_t = W_i x_t + b_i                             three blocks: f, g, o
    f_t = sigmoid(p_f + W_hf h_{t-1} + b_hf)        forget gate; the input gate is 1 - f_t
    g_t = tanh(p_g + W_hg h_{t-1} + b_hg)           candidate
    o_t = sigmoid(p_o + W_ho h_{t-1} + b_ho)        output gate
    c_t = f_t * c_{t-1} + (1 - f_t) * g_t           memory: a mean of the old and the new, within [-1, 1]
    h_t = o_t * tanh(c_t)

Gradient of a step, where it differs from that of `lstm`:

    df = dm * (c_{t-1} - g)                         da_f = df * f * (1 - f)
    dg = dm * (1 - f)                               da_g = dg * (1 - g^2)
    dp = [da_f, da_g, da_o]
"""

import torch
from torch import Tensor, sigmoid, tanh

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.weights import Initialisation, Timescale, Weights, refuse_two_memories, remember

FORGET = 0


class CoupledLSTMCell(Cell):
    """Advance an LSTM without an input gate of its own; its state is (h, c), its arguments are those of `lstm`."""

    gate_names = ("forget", "candidate", "output")

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float | None, chrono: Timescale | None) -> None:
        super().__init__(Weights(input_size, hidden_size, 3), 3, 2)
        refuse_two_memories(forget_bias, chrono)
        self.forget_bias, self.chrono = forget_bias, chrono

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        f, g, o = (projected_BP + self.recur(entering_BH)).chunk(3, -1)
        return sigmoid(f), tanh(g), sigmoid(o)

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        f, g, o = self.gates(projected_BP, state, entering_BH)
        memory_BH = f * state[1] + (1 - f) * g
        return o * tanh(memory_BH), memory_BH

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        (h, c), (dh, dc) = state, after
        f, g, o = self.gates(projected_BP, state, h)
        shown = tanh(f * c + (1 - f) * g)
        dm = dc + dh * o * (1 - shown * shown)
        da_f, da_g, da_o = dm * (c - g) * f * (1 - f), dm * (1 - f) * (1 - g * g), dh * shown * o * (1 - o)
        dp = torch.cat([da_f, da_g, da_o], -1)
        entering, weights = self.recur_backward(h, dp)
        return StepGradient(dp, (entering, dm * f), weights)

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew, then the biases that `forget_bias` or `chrono` ask for."""
        super().initialise(initialisation)
        remember(self.kernel, self.forget_bias, self.chrono, FORGET, None)
