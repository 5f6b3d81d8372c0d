"""The weights of a cell: their names, how they are drawn, and the biases that say how long a gated cell remembers at first."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

Initialisation = Literal["uniform", "xavier", "orthogonal", "identity", "kaiming"]
Timescale = Annotated[int, Field(ge=3)]
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
"""PyTorch's names of W_i, W_h, b_i, b_h of one layer in one direction."""


def _identity(weight: Tensor) -> Tensor:
    return nn.init.eye_(weight)


def _kaiming(weight: Tensor) -> Tensor:
    return nn.init.kaiming_uniform_(weight, nonlinearity="relu")


DRAWN: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "xavier": (nn.init.xavier_uniform_, nn.init.xavier_uniform_),
    "orthogonal": (nn.init.xavier_uniform_, nn.init.orthogonal_),
    "identity": (nn.init.xavier_uniform_, _identity),
    "kaiming": (_kaiming, _kaiming),
}
"""How each gate's input matrix and recurrent matrix are drawn."""


class Weights(nn.Module):
    """The weights of a cell that PyTorch has no kernel for: W_i, W_h, b_i, b_h under PyTorch's names, gates stacked.

    Args:
        num_gates: blocks of H rows.
        is_recurrent: whether there are W_h and b_h.
    """

    def __init__(self, input_size: int, hidden_size: int, num_gates: int, is_recurrent: bool = True) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        rows = num_gates * hidden_size
        for name, shape in zip(NAMES, [(rows, input_size), (rows, hidden_size), (rows,), (rows,)], strict=True):
            if is_recurrent or "ih" in name:
                self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all of them from U(-1/sqrt(H), 1/sqrt(H)), as PyTorch does, in its order."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)


def draw(kernel: nn.RNNBase | Weights, num_gates: int, initialisation: Initialisation) -> None:
    """Draw weights anew.

    `uniform` is PyTorch's own U(-1/sqrt(H), 1/sqrt(H)). The others set biases to zero and draw each gate's matrices alone: input
    matrices from Glorot's uniform, recurrent ones from Glorot's uniform (`xavier`), as orthogonal matrices (Saxe et al. 2014) or as
    the identity (Le et al. 2015); `kaiming` draws both from He's uniform, U(-sqrt(6/n), sqrt(6/n)) of n inputs (He et al. 2015).
    """
    if initialisation == "uniform":
        kernel.reset_parameters()
        return
    of_input, of_hidden = DRAWN[initialisation]
    for name, parameter in kernel.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            continue
        for block in parameter.data.chunk(num_gates):
            (of_hidden if name.startswith("weight_hh") else of_input)(block)


def refuse_two_memories(forget_bias: float | None, chrono: int | None) -> None:
    """Refuse two answers to one question.

    Raises:
        ValueError: where both are given.
    """
    if forget_bias is not None and chrono is not None:
        raise ValueError(f"cell.forget_bias={forget_bias} and cell.chrono={chrono} both set the forget gate's bias: give one of them")


def remember(kernel: nn.RNNBase | Weights, forget_bias: float | None, chrono: int | None, keeps: int, admits: int | None) -> None:
    """Set the biases that decide how long a gated cell remembers before it has learned anything.

    A gate that keeps a fraction f of the state forgets within about 1 / (1 - f) steps. A `forget_bias` b keeps sigmoid(b) (Gers et al.
    2000; 1 in Jozefowicz et al. 2015); `chrono` spreads these times evenly over units up to T (Tallec and Ollivier 2018, section 2):

        b_keep = log u,  u ~ U(1, T - 1);   b_admit = -b_keep

    PyTorch's two biases of a gate are added: b_i is what is said here, b_h zero.

    Args:
        kernel: whose biases.
        forget_bias: b, or None to leave what was drawn.
        chrono: T in steps, or None.
        keeps: number of the gate that keeps the state.
        admits: number of the gate that lets the new in, where that is another gate.
    """
    if forget_bias is not None:
        _set_bias(kernel, keeps, torch.tensor(forget_bias))
    if chrono is not None:
        keeping_H = torch.empty(kernel.hidden_size).uniform_(1, chrono - 1).log()
        _set_bias(kernel, keeps, keeping_H)
        if admits is not None:
            _set_bias(kernel, admits, -keeping_H)


@torch.no_grad()
def _set_bias(kernel: nn.RNNBase | Weights, gate: int, value: Tensor) -> None:
    block = slice(gate * kernel.hidden_size, (gate + 1) * kernel.hidden_size)
    kernel.get_parameter("bias_ih_l0")[block] = value
    kernel.get_parameter("bias_hh_l0")[block] = 0
