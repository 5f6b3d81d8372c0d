"""Base class of all recurrent cells: one step and its gradient written out from the equations, and both over whole sequences.

A step has two parts, so that what needs nothing of the step before is computed for all steps at once:

    p_t = project(x_t)               of most cells W_i x_t + b_i
    s_t = transition(p_t, s_{t-1})   the equations in the cell's own file

So has its gradient. Let D_t = dL/ds_t be the *total* derivative of a loss L: how L changes with the state at t through the output
there and through all later steps. Backpropagation through time (Werbos 1990) is

    D_t = [dL/dh_t of the output, 0, ...] + carry_t          carry_T = 0
    dL/dp_t, carry_{t-1}, dL/dw_t = transition_backward(p_t, s_{t-1}, D_t)
    dL/dw = sum_t dL/dw_t                                    the same weights at every step
    dL/dx, dL/dW_i, dL/db_i = project_backward(x, dL/dp)     for all steps at once

Where PyTorch has a fused kernel for a cell, it does the same faster; autograd and finite differences say the same as the gradients
written here (tests/cells). In float32 two paths that agree to the last bits drift apart within some hundred steps of training, as two
orders of adding numbers do: compare their outputs and gradients, not their trained weights.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.weights import NAMES, Initialisation, Weights, draw
from rnnlab.contracts import zero_padding

State = tuple[Tensor, ...]
"""The tensors a cell carries from step to step, each (B, H); the first is the hidden state, which is also the output."""

Backend = Literal["fused", "reference"]
"""How a sequence is run: `fused` at once, where a cell can be (elsewhere step by step), or `reference`, always step by step."""


@dataclass(frozen=True)
class StepGradient:
    """The gradient of one step.

    Args:
        entering: of what entered the step: x_t (B, F), or p_t (B, P).
        state: of each tensor of the state before, (B, H).
        weights: of each parameter that the step used, by name.
    """

    entering: Tensor
    state: State
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class SequenceGradient:
    """The gradient of a whole sequence.

    Args:
        inputs: (B, T, F), zero beyond a length.
        first_state: of each tensor of the state before the first step, (B, H).
        weights: of each parameter, by name.
        states: the total derivative D_t of each tensor of the state, (B, T, H), zero beyond a length.
    """

    inputs: Tensor
    first_state: State
    weights: dict[str, Tensor]
    states: State


class Cell(nn.Module, ABC):
    """One layer's weights in one direction.

    Args:
        kernel: who owns the weights: PyTorch's single-layer recurrent module where it computes this cell, else `Weights`.
        num_gates: how many blocks of H rows its matrices stack.
        num_states: how many tensors `State` has.
        single_step: PyTorch's fused single step, where `kernel` is PyTorch's.
    """

    gate_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, kernel: nn.RNNBase | Weights, num_gates: int, num_states: int, single_step: Callable[..., Tensor | State] | None = None
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.num_gates = num_gates
        self.num_states = num_states
        self.single_step = single_step
        self.backend: Backend = "fused"
        self.recurrent_dropout = 0.0
        self.zoneout = 0.0
        self.weight_dropout = 0.0
        self.predictor: Callable[[Tensor, State], tuple[Tensor, State]] | None = None  # runs sequences while predicting, see `int8`
        self._recurrent: Tensor | None = None  # W_h of the running pass, where some of its numbers are dropped

    # -- the equations -------------------------------------------------------------------------------------------------

    def project(self, inputs_XF: Tensor) -> Tensor:
        """Return what of a step needs no state, W_i x + b_i, for one step (B, F) or for all (B, T, F)."""
        return F.linear(inputs_XF, self.weight("weight_ih"), self.weight("bias_ih"))

    @abstractmethod
    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        """Return the gates' values in the order of `gate_names`, (B, H) each; see `transition`."""

    @abstractmethod
    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        """Return the state after a step.

        Args:
            projected_BP: p_t.
            state: before the step.
            entering_BH: the hidden state as it enters the products with W_h: `state[0]`, recurrent dropout aside.
        """

    def transition_backward(self, projected_BP: Tensor, state: State, after: State) -> StepGradient:
        """Return the gradient of `transition` by the chain rule, written out; optional, since training uses autograd.

        Args:
            projected_BP: p_t.
            state: before the step.
            after: D_t, the gradient of each tensor of the state after the step.

        Raises:
            NotImplementedError: if the cell does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no hand-derived gradient: define transition_backward, or use autograd")

    @classmethod
    def has_hand_gradient(cls) -> bool:
        """Say whether the cell defines `transition_backward`."""
        return cls.transition_backward is not Cell.transition_backward

    def project_backward(self, inputs_XF: Tensor, projected_XP: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the gradient of `project`, from that of what it returned: of its inputs, and of its weights by name."""
        flat_NP, flat_NF = projected_XP.reshape(-1, projected_XP.shape[-1]), inputs_XF.reshape(-1, inputs_XF.shape[-1])
        weights = {"kernel.weight_ih_l0": flat_NP.T @ flat_NF, "kernel.bias_ih_l0": flat_NP.sum(0)}
        return projected_XP @ self.weight("weight_ih"), weights

    def recur(self, entering_BH: Tensor) -> Tensor:
        """Return W_h h + b_h, (B, G*H)."""
        return F.linear(entering_BH, self.weight("weight_hh"), self.weight("bias_hh"))

    def recur_backward(self, entering_BH: Tensor, recurrent_BG: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the gradient of `recur`: of the hidden state, and of its weights by name."""
        weights = {"kernel.weight_hh_l0": recurrent_BG.T @ entering_BH, "kernel.bias_hh_l0": recurrent_BG.sum(0)}
        return recurrent_BG @ self.weight("weight_hh"), weights

    def weight(self, name: str) -> Tensor:
        """Return one of weight_ih, weight_hh, bias_ih, bias_hh."""
        if name == "weight_hh" and self._recurrent is not None:
            return self._recurrent
        return self.kernel.get_parameter(f"{name}_l0")

    # -- one step ------------------------------------------------------------------------------------------------------

    def step(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step, written out from the equations (the reference)."""
        return self.transition(self.project(input_BF), state, state[0])

    @torch.no_grad()
    def step_backward(self, input_BF: Tensor, state: State, after: State) -> StepGradient:
        """Return the gradient of `step`, by hand, from that of each tensor of the state after it."""
        found = self.transition_backward(self.project(input_BF), state, after)
        input_gradient_BF, weights = self.project_backward(input_BF, found.entering)
        return StepGradient(input_gradient_BF, found.state, weights | found.weights)

    def advance(self, input_BF: Tensor, state: State) -> State:
        """Advance one time step on the fused kernel's own single step where there is one: what `step` computes, faster."""
        if self.single_step is None or self.backend == "reference":
            return self.step(input_BF, state)
        after = self.single_step(input_BF, state if self.num_states > 1 else state[0], *(self.kernel.get_parameter(name) for name in NAMES))
        return (after,) if isinstance(after, Tensor) else after

    # -- a whole sequence ----------------------------------------------------------------------------------------------

    def forward(self, inputs_BTF: Tensor, state: State | None = None) -> Tensor:
        """Run a whole sequence, fused where the cell has a kernel and `backend` asks for it, else step by step.

        Args:
            inputs_BTF: (B, T, F); steps beyond a sequence's length are computed too and are the caller's to drop.
            state: before the first step (None: zeros).

        Returns:
            Hidden states of all steps, (B, T, H).
        """
        return self.run(inputs_BTF, state)[0]

    def run(self, inputs_BTF: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run a whole sequence as `forward` does; return also the state after its last step, from which another call goes on."""
        if self.predictor is not None and not self.training:
            return self.predictor(inputs_BTF, self.initial_state(len(inputs_BTF)) if state is None else state)
        with self._weights_dropped():
            if self.has_kernel and self.backend == "fused":
                return self.run_fused(inputs_BTF, state)
            states = self.states(inputs_BTF, state)
        return torch.stack([after[0] for after in states], 1), states[-1]

    @property
    def packed_kernel(self) -> "type[torch.autograd.Function] | None":
        """What runs this cell of several networks at once (see `packing`); None where each is better run by itself."""
        is_plain = self.backend == "fused" and not (self.recurrent_dropout or self.zoneout or self.weight_dropout)
        return self.own_packed_kernel() if is_plain else None

    def own_packed_kernel(self) -> "type[torch.autograd.Function] | None":
        """Return the packed kernel of these equations, if there is one that is worth its while."""
        return None

    @property
    def has_kernel(self) -> bool:
        """Whether a whole sequence can run at once."""
        return self.single_step is not None

    def run_fused(self, inputs_BTF: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run a whole sequence on the fused kernel; see `run`."""
        before = None
        if state is not None:
            parts = tuple(part[None].contiguous() for part in state)  # the kernel's state has a layer axis
            before = parts if self.num_states > 1 else parts[0]
        outputs_BTH, after = self.kernel(inputs_BTF, before)
        return outputs_BTH, tuple(part[0] for part in after) if self.num_states > 1 else (after[0],)

    def unroll(self, inputs_BTF: Tensor, state: State | None = None) -> Tensor:
        """Run a whole sequence by `transition`: the same result as `run_fused`, slower, with nothing hidden."""
        return torch.stack([after[0] for after in self.states(inputs_BTF, state)], 1)

    def states(self, inputs_BTF: Tensor, state: State | None = None) -> list[State]:
        """Return the state after each step of `unroll`."""
        state = self.initial_state(inputs_BTF.shape[0]) if state is None else state
        kept_BH = self._kept(state[0])
        random = self._zoneout_generator(inputs_BTF.device)
        states = []
        for projected_BP in self.project(inputs_BTF).unbind(1):
            entering_BH = state[0] if kept_BH is None else state[0] * kept_BH
            after = self.transition(projected_BP, state, entering_BH)
            state = self._zoned_out(state, after, random) if self.zoneout else after
            states.append(state)
        return states

    @torch.no_grad()
    def unroll_backward(self, inputs_BTF: Tensor, lengths_B: Tensor, outputs_BTH: Tensor, state: State | None = None) -> SequenceGradient:
        """Return the gradient of `unroll` by backpropagation through time, by hand (dropout and zoneout aside).

        Args:
            inputs_BTF: (B, T, F).
            lengths_B: (B,) int64; what lies beyond a length is neither read nor counted.
            outputs_BTH: the gradient of each step's output, (B, T, H).
            state: before the first step (None: zeros).
        """
        inputs_BTF, outputs_BTH = zero_padding(inputs_BTF, lengths_B), zero_padding(outputs_BTH, lengths_B)
        projected_BTP = self.project(inputs_BTF)
        before = [self.initial_state(inputs_BTF.shape[0]) if state is None else state]
        for projected_BP in projected_BTP[:, :-1].unbind(1):
            before.append(self.transition(projected_BP, before[-1], before[-1][0]))
        carry = tuple(torch.zeros_like(part) for part in before[0])
        weights: dict[str, Tensor] = {}
        totals, entering = [], []
        for step in reversed(range(len(before))):
            total = (outputs_BTH[:, step] + carry[0], *carry[1:])
            found = self.transition_backward(projected_BTP[:, step], before[step], total)
            weights = {name: weights.get(name, 0) + gradient for name, gradient in found.weights.items()}
            carry = found.state
            totals.append(total)
            entering.append(found.entering)
        inputs, of_projection = self.project_backward(inputs_BTF, torch.stack(entering[::-1], 1))
        states = tuple(torch.stack(parts[::-1], 1) for parts in zip(*totals, strict=True))
        return SequenceGradient(inputs, carry, of_projection | weights, states)

    @contextlib.contextmanager
    def _weights_dropped(self) -> Iterator[None]:
        """Drop single numbers of W_h while training, the same at all steps of a pass."""
        if not (self.training and self.weight_dropout):
            yield
            return
        self._recurrent = F.dropout(self.kernel.get_parameter("weight_hh_l0"), self.weight_dropout)
        whole = self.kernel._flat_weights if isinstance(self.kernel, nn.RNNBase) else []  # what PyTorch's kernel reads
        try:
            if isinstance(self.kernel, nn.RNNBase):
                names = self.kernel._flat_weights_names
                self.kernel._flat_weights = [
                    self._recurrent if name == "weight_hh_l0" else part for name, part in zip(names, whole, strict=True)
                ]
            yield
        finally:
            self._recurrent = None
            if isinstance(self.kernel, nn.RNNBase):
                self.kernel._flat_weights = whole

    def _kept(self, hidden_BH: Tensor) -> Tensor | None:
        """Draw what recurrent dropout keeps, one mask for all steps of a sequence; None where it drops nothing."""
        is_dropping = self.training and self.recurrent_dropout > 0
        return F.dropout(torch.ones_like(hidden_BH), self.recurrent_dropout) if is_dropping else None

    def _zoneout_generator(self, device: torch.device) -> torch.Generator | None:
        """Return a generator of this pass alone: steps of padding draw from it, too, and must not move what others draw."""
        if not (self.training and self.zoneout):
            return None
        return torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))

    def _zoned_out(self, before: State, after: State, random: torch.Generator | None) -> State:
        """Let each number keep its value of the step before with probability `zoneout`; without a generator, the expectation."""
        pairs = zip(before, after, strict=True)
        if random is None:
            return tuple(new.lerp(old, self.zoneout) for old, new in pairs)
        return tuple(torch.where(torch.rand(new.shape, generator=random, device=new.device) < self.zoneout, old, new) for old, new in pairs)

    # -- before the first step -----------------------------------------------------------------------------------------

    def run_with(self, backend: Backend, recurrent_dropout: float, zoneout: float, weight_dropout: float = 0.0) -> None:
        """Choose how sequences are run.

        Args:
            backend: see `Backend`.
            recurrent_dropout: fraction of the hidden state that does not enter the products with W_h, the same at all steps of a sequence
                (Gal and Ghahramani 2016, one mask for all gates).
            zoneout: probability that a number of the state keeps its value at a step (Krueger et al. 2017); the expectation while testing.
            weight_dropout: fraction of the numbers of W_h that are dropped while training, the same at all steps of a pass (DropConnect,
                Merity et al. 2018, section 2).

        Raises:
            ValueError: if a kernel would have to act within its steps, or there is nothing to drop.
        """
        name = type(self).__module__.rpartition(".")[2]
        for key, fraction in (("recurrent_dropout", recurrent_dropout), ("zoneout", zoneout)):
            if fraction and self.has_kernel and backend == "fused":
                raise ValueError(
                    f"model.recurrence.{key}={fraction} acts within each step, and cell={name} runs a whole sequence at once: set "
                    "model.recurrence.backend=reference, which goes step by step (slower)"
                )
        for key, fraction in (("recurrent_dropout", recurrent_dropout), ("weight_dropout", weight_dropout)):
            if fraction and "weight_hh_l0" not in dict(self.kernel.named_parameters()):
                raise ValueError(
                    f"model.recurrence.{key}={fraction}: in cell={name} the hidden state enters no product that could be "
                    "dropped: set it to 0, or use model.recurrence.zoneout"
                )
        self.backend, self.recurrent_dropout, self.zoneout = backend, recurrent_dropout, zoneout
        self.weight_dropout = weight_dropout

    def initialise(self, initialisation: Initialisation) -> None:
        """Draw the weights anew; see `weights.draw`."""
        draw(self.kernel, self.num_gates, initialisation)

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step: zeros, (B, H) each."""
        weight = next(self.kernel.parameters())
        return tuple(weight.new_zeros(batch_size, self.hidden_size) for _ in range(self.num_states))

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.kernel.hidden_size
