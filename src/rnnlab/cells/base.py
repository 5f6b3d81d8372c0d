"""What every recurrent cell is: one step written out from its equations, and the same over a whole sequence at kernel speed."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]
"""The tensors a cell carries from step to step, each (B, H); the first is the hidden state, which is also the output."""

_OF_KERNEL = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
Initialisation = Literal["uniform", "xavier", "orthogonal", "identity"]


class Cell(nn.Module, ABC):
    """Hold one layer's weights in one direction.

    Args:
        kernel: PyTorch's single-layer recurrent module; it owns the weights, and both paths below read them.
        num_gates: how many blocks of H rows its matrices stack.
        num_states: how many tensors `State` has.
    """

    gate_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, kernel: nn.RNNBase, num_gates: int, num_states: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.num_gates = num_gates
        self.num_states = num_states

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.kernel.hidden_size

    def project(self, inputs_XF: Tensor) -> Tensor:
        """Return what of a step needs no state, W_i x + b_i, for one step (B, F) or for all (B, T, F)."""
        return F.linear(inputs_XF, self.kernel.get_parameter("weight_ih_l0"), self.kernel.get_parameter("bias_ih_l0"))

    def recur(self, entering_BH: Tensor) -> Tensor:
        """Return W_h h + b_h, (B, G*H)."""
        return F.linear(entering_BH, self.kernel.get_parameter("weight_hh_l0"), self.kernel.get_parameter("bias_hh_l0"))

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        """Return the gates' values in the order of `gate_names`, (B, H) each, from `project`, the state and the hidden state in it."""
        return ()

    @abstractmethod
    def step(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step, written out from the equations (the reference)."""

    @abstractmethod
    def advance(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step on the fused kernel's own single step: what `step` computes, faster."""

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step: zeros, (B, H) each."""
        weight = next(self.kernel.parameters())
        return tuple(weight.new_zeros(batch_size, self.hidden_size) for _ in range(self.num_states))

    def forward(self, inputs_BTF: Tensor, state: State | None = None) -> Tensor:
        """Run a whole sequence on the fused kernel.

        Args:
            inputs_BTF: (B, T, F); steps beyond a sequence's length are computed too and are the caller's to drop.
            state: before the first step (None: zeros).

        Returns:
            Hidden states of all steps, (B, T, H).
        """
        before = None
        if state is not None:
            parts = tuple(part[None].contiguous() for part in state)  # the kernel's state has a layer axis
            before = parts if self.num_states > 1 else parts[0]
        outputs_BTH, _ = self.kernel(inputs_BTF, before)
        return outputs_BTH

    @property
    def kernel_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_i, W_h, b_i, b_h, gates stacked, as single-step kernels take them."""
        weight_i, weight_h, bias_i, bias_h = (self.kernel.get_parameter(f"{name}_l0") for name in _OF_KERNEL)
        return weight_i, weight_h, bias_i, bias_h

    def unroll(self, inputs_BTF: Tensor, state: State | None = None) -> Tensor:
        """Run a whole sequence by `step`: the same result as `forward`, slower, with nothing hidden."""
        state = self.initial_state(inputs_BTF.shape[0]) if state is None else state
        outputs = []
        for input_BF in inputs_BTF.unbind(1):
            state = self.step(input_BF, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew.

        `uniform` is PyTorch's own U(-1/sqrt(H), 1/sqrt(H)); the others set biases to zero, input matrices to Glorot's uniform,
        and each gate's recurrent matrix to Glorot's uniform (`xavier`), an orthogonal one (Saxe et al. 2014) or the identity
        (Le et al. 2015).
        """
        if initialisation == "uniform":
            self.kernel.reset_parameters()
            return
        draw = {
            "xavier": nn.init.xavier_uniform_,
            "orthogonal": nn.init.orthogonal_,
            "identity": nn.init.eye_,
        }[initialisation]
        for name, parameter in self.kernel.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
                continue
            for block in parameter.data.chunk(self.num_gates):
                (draw if name.startswith("weight_hh") else nn.init.xavier_uniform_)(block)

    def gate_inputs(self, input_BF: Tensor, hidden_BH: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return W_i x + b_i and W_h h + b_h, each split by gate."""
        weights = dict(self.kernel.named_parameters())
        from_input = input_BF @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        from_hidden = hidden_BH @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        return from_input.chunk(self.num_gates, -1), from_hidden.chunk(self.num_gates, -1)
