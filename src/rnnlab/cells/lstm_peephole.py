"""LSTM with peepholes: Gers and Schmidhuber (2000), "Recurrent nets that time and count".

The gates look at the memory, each unit at its own: input and forget gate at the old one, the output gate at the new.

    p_t = W_i x_t + b_i,  u_t = W_h h_{t-1} + b_h   four blocks each: i, f, g, o
    i_t = sigmoid(p_i + u_i + v_i * c_{t-1})
    f_t = sigmoid(p_f + u_f + v_f * c_{t-1})
    g_t = tanh(p_g + u_g)
    c_t = f_t * c_{t-1} + i_t * g_t
    o_t = sigmoid(p_o + u_o + v_o * c_t)
    h_t = o_t * tanh(c_t)

Gradient of a step, where it differs from that of `lstm`:

    da_o     = dh * tanh(c_t) * o * (1 - o)
    dm       = dc + dh * o * (1 - tanh(c_t)^2) + v_o * da_o
    dc_{t-1} = dm * f + v_i * da_i + v_f * da_f
    dv_i     = da_i * c_{t-1},   dv_f = da_f * c_{t-1},   dv_o = da_o * c_t
"""

import torch
from torch import Tensor, nn, sigmoid, tanh

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.weights import Initialisation, Timescale, Weights, refuse_two_memories, remember

INPUT, FORGET = 0, 1


class PeepholeLSTMCell(Cell):
    """Advance an LSTM whose gates see the memory; its state is (h, c), its arguments are those of `lstm`."""

    gate_names = ("input", "forget", "candidate", "output")

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float | None, chrono: Timescale | None) -> None:
        super().__init__(Weights(input_size, hidden_size, 4), 4, 2)
        refuse_two_memories(forget_bias, chrono)
        self.forget_bias, self.chrono = forget_bias, chrono
        self.peephole_i, self.peephole_f, self.peephole_o = (nn.Parameter(torch.zeros(hidden_size)) for _ in range(3))
        self._draw_peepholes("uniform")

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        a_i, a_f, a_g, a_o = (projected_BP + self.recur(entering_BH)).chunk(4, -1)
        i, f = sigmoid(a_i + self.peephole_i * state[1]), sigmoid(a_f + self.peephole_f * state[1])
        g = tanh(a_g)
        return i, f, g, sigmoid(a_o + self.peephole_o * (f * state[1] + i * g))

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        i, f, g, o = self.gates(projected_BP, state, entering_BH)
        memory_BH = f * state[1] + i * g
        return o * tanh(memory_BH), memory_BH

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        (h, c), (dh, dc) = state, after
        i, f, g, o = self.gates(projected_BP, state, h)
        memory = f * c + i * g
        shown = tanh(memory)
        da_o = dh * shown * o * (1 - o)
        dm = dc + dh * o * (1 - shown * shown) + self.peephole_o * da_o
        da_i, da_f, da_g = dm * g * i * (1 - i), dm * c * f * (1 - f), dm * i * (1 - g * g)
        dp = torch.cat([da_i, da_f, da_g, da_o], -1)
        entering, weights = self.recur_backward(h, dp)
        weights |= {"peephole_i": (da_i * c).sum(0), "peephole_f": (da_f * c).sum(0), "peephole_o": (da_o * memory).sum(0)}
        return StepGradient(dp, (entering, dm * f + self.peephole_i * da_i + self.peephole_f * da_f), weights)

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew; peepholes as the matrices with `uniform`, else zero: an LSTM without."""
        super().initialise(initialisation)
        remember(self.kernel, self.forget_bias, self.chrono, FORGET, INPUT)
        self._draw_peepholes(initialisation)

    def _draw_peepholes(self, initialisation: Initialisation) -> None:
        bound = self.hidden_size**-0.5 if initialisation == "uniform" else 0.0
        for peephole in (self.peephole_i, self.peephole_f, self.peephole_o):
            nn.init.uniform_(peephole, -bound, bound)
