"""Layer-normalised LSTM: Ba, Kiros and Hinton (2016), "Layer normalization", as in its supplement, each gate normalised
on its own.

    N(a) = (a - mean(a)) / sqrt(var(a) + 1e-5)      over the H units of one gate
    p_t  = s_i * N(W_i x_t) + b_i                   four blocks: i, f, g, o; gains s and shifts b are learned
    u_t  = s_h * N(W_h h_{t-1}) + b_h
    i_t, f_t, o_t = sigmoid(p + u) of each block;  g_t = tanh(p_g + u_g)
    c_t = f_t * c_{t-1} + i_t * g_t
    m_t = s_c * N(c_t) + b_c
    h_t = o_t * tanh(m_t)

The paper's one further bias is the sum of b_i and b_h. Gradient of y = s * N(a), from dy, with d the square root:

    ds = dy * N(a),  e = dy * s,   da = (e - mean(e) - N(a) * mean(e * N(a))) / d

Gradient of a step, where it differs from that of `lstm`:

    dm_t = dh * o * (1 - tanh(m_t)^2)               whence ds_c, db_c = dm_t, and through N the part of c_t
    dm   = dc + that part                           all that reaches c_t
    du   = dp = [da_i, da_f, da_g, da_o]            whence ds_h, db_h = du, and through N the gradient of W_h h_{t-1}
    dp                                              whence ds_i, db_i = dp, and through N the gradient of W_i x_t
"""

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import functional as F

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.weights import Initialisation, Timescale, Weights, refuse_two_memories, remember

INPUT, FORGET = 0, 1
EPSILON = 1e-5


class LayerNormLSTMCell(Cell):
    """Advance an LSTM whose sums and memory are normalised; its state is (h, c), its arguments are those of `lstm`."""

    gate_names = ("input", "forget", "candidate", "output")

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float | None, chrono: Timescale | None) -> None:
        super().__init__(Weights(input_size, hidden_size, 4), 4, 2)
        refuse_two_memories(forget_bias, chrono)
        self.forget_bias, self.chrono = forget_bias, chrono
        self.gain_i, self.gain_h = (nn.Parameter(torch.ones(4 * hidden_size)) for _ in range(2))
        self.gain_c, self.bias_c = nn.Parameter(torch.ones(hidden_size)), nn.Parameter(torch.zeros(hidden_size))

    def project(self, inputs_XF: Tensor) -> Tensor:
        """Return s_i * N(W_i x) + b_i."""
        return self._normalised(F.linear(inputs_XF, self.weight("weight_ih"))) * self.gain_i + self.weight("bias_ih")

    def recur(self, entering_BH: Tensor) -> Tensor:
        """Return s_h * N(W_h h) + b_h."""
        return self._normalised(F.linear(entering_BH, self.weight("weight_hh"))) * self.gain_h + self.weight("bias_hh")

    def _normalised(self, sums_XG: Tensor) -> Tensor:
        """Return N of each block of H."""
        blocks = sums_XG.reshape(*sums_XG.shape[:-1], -1, self.hidden_size)
        return F.layer_norm(blocks, (self.hidden_size,), eps=EPSILON).reshape(sums_XG.shape)

    def _normalised_backward(self, sums_XG: Tensor, scaled_XG: Tensor) -> Tensor:
        """Return the gradient of the sums from e, that of their N."""
        sums, e = (values.unflatten(-1, (-1, self.hidden_size)) for values in (sums_XG, scaled_XG))
        centred = sums - sums.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + EPSILON).sqrt()
        n = centred / deviation
        return ((e - e.mean(-1, keepdim=True) - n * (e * n).mean(-1, keepdim=True)) / deviation).flatten(-2)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (projected_BP + self.recur(entering_BH)).chunk(4, -1)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        i, f, g, o = self.gates(projected_BP, state, entering_BH)
        memory_BH = f * state[1] + i * g
        return o * tanh(self._normalised(memory_BH) * self.gain_c + self.bias_c), memory_BH

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        (h, c), (dh, dc) = state, after
        i, f, g, o = self.gates(projected_BP, state, h)
        memory = f * c + i * g
        shown = tanh(self._normalised(memory) * self.gain_c + self.bias_c)
        dm_t = dh * o * (1 - shown * shown)
        dm = dc + self._normalised_backward(memory, dm_t * self.gain_c)
        da_i, da_f = dm * g * i * (1 - i), dm * c * f * (1 - f)
        da_g, da_o = dm * i * (1 - g * g), dh * shown * o * (1 - o)
        dp = torch.cat([da_i, da_f, da_g, da_o], -1)
        entering, weights = self.recur_backward(h, dp)
        weights |= {"gain_c": (dm_t * self._normalised(memory)).sum(0), "bias_c": dm_t.sum(0)}
        return StepGradient(dp, (entering, dm * f), weights)

    def recur_backward(self, entering_BH: Tensor, recurrent_BG: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        sums_BG = F.linear(entering_BH, self.weight("weight_hh"))
        inner, weights = super().recur_backward(entering_BH, self._normalised_backward(sums_BG, recurrent_BG * self.gain_h))
        gain = {"gain_h": (recurrent_BG * self._normalised(sums_BG)).sum(0)}
        return inner, weights | {"kernel.bias_hh_l0": recurrent_BG.sum(0)} | gain

    def project_backward(self, inputs_XF: Tensor, projected_XP: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        sums_XP = F.linear(inputs_XF, self.weight("weight_ih"))
        inner, weights = super().project_backward(inputs_XF, self._normalised_backward(sums_XP, projected_XP * self.gain_i))
        gain = {"gain_i": (projected_XP * self._normalised(sums_XP)).flatten(0, -2).sum(0)}
        return inner, weights | {"kernel.bias_ih_l0": projected_XP.flatten(0, -2).sum(0)} | gain

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew; gains are one, and the memory's shift zero."""
        super().initialise(initialisation)
        remember(self.kernel, self.forget_bias, self.chrono, FORGET, INPUT)
        for gain in (self.gain_i, self.gain_h, self.gain_c):
            nn.init.ones_(gain)
        nn.init.zeros_(self.bias_c)
