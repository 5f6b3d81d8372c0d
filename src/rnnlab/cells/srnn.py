"""The simple recurrent network of Elman (1990), "Finding structure in time".

h_t = f(W_i x_t + b_i + W_h h_{t-1} + b_h)        f = tanh, or relu (Le et al. 2015)
"""

from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State

Activation = Literal["tanh", "relu"]


class SRNNCell(Cell):
    """Advance a simple recurrent network.

    Args:
        input_size: F.
        hidden_size: H.
        activation: f.
    """

    def __init__(self, input_size: int, hidden_size: int, activation: Activation) -> None:
        super().__init__(nn.RNN(input_size, hidden_size, nonlinearity=activation, batch_first=True), 1, 1)
        self.activation = {"tanh": torch.tanh, "relu": torch.relu}[activation]
        self.single_step = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}[activation]

    def step(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step; see the equation at the top."""
        (from_input,), (from_hidden,) = self.gate_inputs(input_BF, state[0])
        return (self.activation(from_input + from_hidden),)

    def advance(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step on the kernel's single step."""
        return (self.single_step(input_BF, state[0], *self.kernel_weights),)
