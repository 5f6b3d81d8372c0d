"""minGRU: Feng et al. (2024), "Were RNNs all we needed?", section 3.1: gates that do not look at the state, so that time is parallel.

    p_t = W_i x_t + b_i                             two blocks: z, n
    z_t = sigmoid(p_z)                              update gate, here letting the new in, as the paper writes it
    n_t = p_n                                       candidate, no tanh
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t

Gradient of a step, from dh = dL/dh_t (total: see `base`):

    da_z     = dh * (n - h_{t-1}) * z * (1 - z)
    dp       = [da_z, dh * z]
    dh_{t-1} = dh * (1 - z)

A step is h -> k * h + v, and two of them in a row are one again: (k_2 k_1, k_2 v_1 + v_2); so any stretch of steps is one pair, whatever
it begins from, and stretches can be run side by side (a parallel scan, Blelloch 1990). Here sqrt(T) stretches of sqrt(T) steps: two
sqrt(T) rounds in place of T. Since every k lies between 0 and 1 and nothing is divided, no length makes it inexact; the paper's way
through logarithms would need positive states.
"""

import math

import torch
from torch import Tensor, sigmoid
from torch.nn import functional as F

from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.weights import Weights


class MinGRUCell(Cell):
    """Advance a minimal GRU."""

    gate_names = ("update", "candidate")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(Weights(input_size, hidden_size, 2, is_recurrent=False), 2, 1)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        update, candidate = projected_BP.chunk(2, -1)
        return sigmoid(update), candidate

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        update, candidate = self.gates(projected_BP, state, entering_BH)
        return ((1 - update) * state[0] + update * candidate,)

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        (h,), (dh,) = state, after
        z, n = self.gates(projected_BP, state, h)
        return StepGradient(torch.cat([dh * (n - h) * z * (1 - z), dh * z], -1), (dh * (1 - z),), {})

    @property
    def has_kernel(self) -> bool:
        return True

    def run_fused(self, inputs_BTF: Tensor, state: State | None) -> tuple[Tensor, State]:
        update, candidate = self.project(inputs_BTF).chunk(2, -1)
        (first_BH,) = self.initial_state(inputs_BTF.shape[0]) if state is None else state
        hidden_BTH = scan(sigmoid(-update), sigmoid(update) * candidate, first_BH)
        return hidden_BTH, (hidden_BTH[:, -1],)


def scan(keep_BTH: Tensor, value_BTH: Tensor, first_BH: Tensor) -> Tensor:
    """Return all h_t = k_t * h_{t-1} + v_t, (B, T, H), k_t within [0, 1], h_0 first, in 2 sqrt(T) rounds."""
    num_steps = keep_BTH.shape[1]
    length = math.isqrt(num_steps - 1) + 1
    missing = -num_steps % length
    keep_BCLH, value_BCLH = (F.pad(part, (0, 0, 0, missing)).unflatten(1, (-1, length)) for part in (keep_BTH, value_BTH))
    keeps, values = [keep_BCLH[:, :, 0]], [value_BCLH[:, :, 0]]  # of each stretch, the pair of its steps so far
    for keep_BCH, value_BCH in zip(keep_BCLH.unbind(2)[1:], value_BCLH.unbind(2)[1:], strict=True):
        values.append(torch.addcmul(value_BCH, keep_BCH, values[-1]))
        keeps.append(keep_BCH * keeps[-1])
    begins = [first_BH]
    for keep_BH, value_BH in zip(keeps[-1].unbind(1)[:-1], values[-1].unbind(1)[:-1], strict=True):
        begins.append(torch.addcmul(value_BH, keep_BH, begins[-1]))
    hidden_BCLH = torch.addcmul(torch.stack(values, 2), torch.stack(keeps, 2), torch.stack(begins, 1)[:, :, None])
    return hidden_BCLH.flatten(1, 2)[:, :num_steps]
