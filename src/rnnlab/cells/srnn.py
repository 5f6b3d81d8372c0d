"""The simple recurrent network of Elman (1990), "Finding structure in time".

    p_t = W_i x_t + b_i
    a_t = p_t + W_h h_{t-1} + b_h
    h_t = f(a_t)                        f: see `activations`; of tanh and relu PyTorch has kernels

Gradient of a step, from dh_t = dL/dh_t (total: see `base`), sums over the batch:

    da_t     = dh_t * f'(a_t)
    dp_t     = da_t                     whence dx_t = W_i^T dp_t, dW_i = dp_t x_t^T, db_i = dp_t
    dh_{t-1} = W_h^T da_t
    dW_h     = da_t h_{t-1}^T
    db_h     = da_t                     the same as db_i: one of the two biases is superfluous
    dslope   = sum of dh_t * min(a_t, 0)        of the parametric ReLU

Over k steps a gradient is multiplied by W_h^T diag(f') k times: it vanishes or explodes with their product.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.cells.base import Cell, State, StepGradient
from rnnlab.cells.packed_srnn import PackedSRNN
from rnnlab.cells.weights import Initialisation, Weights

Activation = Literal["tanh", "relu", "sigmoid", "leaky_relu", "prelu", "selu", "identity"]
FIRST_SLOPE = 0.25
"""He et al. (2015), section 2.1."""
SINGLE_STEPS = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}


class SRNNCell(Cell):
    """Advance a simple recurrent network.

    Args:
        activation: f.
    """

    def __init__(self, input_size: int, hidden_size: int, activation: Activation) -> None:
        single_step = SINGLE_STEPS.get(activation)
        if single_step is None:
            kernel: nn.RNNBase | Weights = Weights(input_size, hidden_size, 1)
        else:
            kernel = nn.RNN(input_size, hidden_size, nonlinearity=activation, batch_first=True)
        super().__init__(kernel, 1, 1, single_step)
        self.activation = activation
        self.slope = nn.Parameter(torch.tensor([FIRST_SLOPE])) if activation == "prelu" else None

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        return ()

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        return (self._activated(projected_BP + self.recur(entering_BH)),)

    def _activated(self, sums_BH: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation].function(sums_BH) if self.slope is None else F.prelu(sums_BH, self.slope)

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        a = projected_BP + self.recur(state[0])
        if self.slope is None:
            da = after[0] * ACTIVATIONS[self.activation].derivative(a, self._activated(a))
            own = {}
        else:
            da = after[0] * torch.where(a > 0, 1.0, self.slope)
            own = {"slope": (after[0] * a.clamp(max=0)).sum()[None]}
        dh, weights = self.recur_backward(state[0], da)
        return StepGradient(da, (dh,), weights | own)

    def own_packed_kernel(self) -> type[torch.autograd.Function] | None:
        return PackedSRNN if self.activation == "tanh" else None

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew; the learned slope begins where He et al. began it."""
        super().initialise(initialisation)
        if self.slope is not None:
            nn.init.constant_(self.slope, FIRST_SLOPE)
