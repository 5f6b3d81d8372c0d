"""Loops over time that a program counts by itself: Python's would be cut to the length of the example that a program is traced with."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State
from rnnlab.layers.crf import LinearChainCRF
from rnnlab.layers.frontends import SortedSearch
from rnnlab.layers.pooling import RunningMax
from rnnlab.models.base import Network


@contextmanager
def tracing() -> Iterator[None]:
    """Let TorchScript work without a word: it is deprecated, but what takes its place cuts a recurrence to one length (see decisions)."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def with_own_loops(network: Network) -> Network:
    """Return a copy of a network whose loops over time can be traced: cells run on PyTorch's kernel or in a loop of the program."""
    copied = deepcopy(network).eval()
    copied._jit_is_scripting = True  # else Lightning raises where TorchScript looks at what a module has
    del copied.metrics
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LinearChainCRF):
                module.add_module(name, LoopedCRF(child))
            elif isinstance(child, RunningMax):
                with tracing():
                    module.add_module(name, torch.jit.script(_RunningMax()))
            elif isinstance(child, SortedSearch):
                module.add_module(name, _Bisection())
            elif isinstance(child, Cell) and isinstance(child.kernel, nn.RNNBase) and not child.zoneout:
                child.run_with("fused", 0.0, 0.0)
            elif isinstance(child, Cell) and not isinstance(module, LoopedCell):
                module.add_module(name, LoopedCell(child))
    return copied


class LoopedCell(Cell):
    """Run a cell's own steps in a loop of the program; a single step is the cell's own, written out.

    Args:
        cell: whose steps.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.kernel, cell.num_gates, cell.num_states)
        self.cell = cell
        size = cell.hidden_size
        with tracing():
            first = torch.zeros(cell.num_states, 2, size)
            projected_BP = cell.project(torch.zeros(2, cell.kernel.input_size))
            self.loop = torch.jit.script(_Loop(torch.jit.trace(_Step(cell), (projected_BP, first))))

    def project(self, inputs_XF: Tensor) -> Tensor:
        """Return what the cell returns."""
        return self.cell.project(inputs_XF)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        return self.cell.gates(projected_BP, state, entering_BH)

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        return self.cell.transition(projected_BP, state, entering_BH)

    def run(self, inputs_BTF: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        before = self.initial_state(inputs_BTF.shape[0]) if state is None else state
        outputs_BTH, after_SBH = self.loop(self.project(inputs_BTF).transpose(0, 1), torch.stack(before))
        return outputs_BTH, tuple(after_SBH.unbind(0))


class _Step(nn.Module):
    """Advance a cell by one step, its S states in one tensor; zoneout by its expectation."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, projected_BP: Tensor, state_SBH: Tensor) -> Tensor:
        state = tuple(state_SBH.unbind(0))
        after = self.cell.transition(projected_BP, state, state[0])
        if self.cell.zoneout:
            after = tuple(new.lerp(old, self.cell.zoneout) for old, new in zip(state, after, strict=True))
        return torch.stack(after)


class _Loop(nn.Module):
    """Advance through all steps; compiled, not run as Python."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, projected_TBP: Tensor, state_SBH: Tensor) -> tuple[Tensor, Tensor]:
        outputs: list[Tensor] = []
        for step in range(projected_TBP.shape[0]):
            state_SBH = self.step(projected_TBP[step], state_SBH)
            outputs.append(state_SBH[0])
        return torch.stack(outputs, 1), state_SBH


class _RunningMax(nn.Module):
    """See `RunningMax`; compiled, not run as Python."""

    def forward(self, values_BTH: Tensor) -> Tensor:
        largest_BH = values_BTH[:, 0]
        found: list[Tensor] = [largest_BH]
        for step in range(1, values_BTH.shape[1]):
            largest_BH = torch.maximum(largest_BH, values_BTH[:, step])
            found.append(largest_BH)
        return torch.stack(found, 1)


class _Bisection(nn.Module):
    """See `SortedSearch`; by steps of halved size, of which there are as many for all numbers."""

    def forward(self, known_K: Tensor, keys_BT: Tensor) -> Tensor:
        num, places_BT = len(known_K), torch.zeros_like(keys_BT)
        for power in reversed(range(num.bit_length())):
            tried_BT = places_BT + 2**power
            is_less_BT = known_K[tried_BT.clamp(max=num) - 1] < keys_BT
            places_BT = torch.where(is_less_BT & (tried_BT <= num), tried_BT, places_BT)
        return places_BT


class LoopedCRF(nn.Module):
    """Search the best tags as `LinearChainCRF.viterbi` does, in loops of the program."""

    def __init__(self, crf: LinearChainCRF) -> None:
        super().__init__()
        self.crf = crf
        with tracing():
            self.search = torch.jit.script(_Viterbi())

    def forward(self, scores_BTC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the best tags, (B, T) int64; 0 beyond a length."""
        found_BT: Tensor = self.search(scores_BTC, lengths_B, self.crf.transitions_CC, self.crf.first_C, self.crf.last_C)
        return found_BT


class _Viterbi(nn.Module):
    """See `LinearChainCRF.viterbi`; compiled, not run as Python."""

    def forward(self, scores_BTC: Tensor, lengths_B: Tensor, transitions_CC: Tensor, first_C: Tensor, last_C: Tensor) -> Tensor:
        best_BC = first_C + scores_BTC[:, 0]
        same_BC = torch.arange(scores_BTC.shape[2]).expand_as(best_BC)
        before: list[Tensor] = [same_BC]  # of the first step: nothing is before it
        for step in range(1, scores_BTC.shape[1]):
            values_BC, tags_BC = (best_BC[:, :, None] + transitions_CC).max(1)
            is_valid_B1 = (step < lengths_B)[:, None]
            best_BC = torch.where(is_valid_B1, values_BC + scores_BTC[:, step], best_BC)
            before.append(torch.where(is_valid_B1, tags_BC, same_BC))
        before_TBC = torch.stack(before)
        tag_B = (best_BC + last_C).argmax(-1)
        path: list[Tensor] = [tag_B]
        for step in range(1, scores_BTC.shape[1]):
            tag_B = before_TBC[scores_BTC.shape[1] - step].gather(1, tag_B[:, None])[:, 0]
            path.append(tag_B)
        path_BT = torch.stack(path, 1).flip(1)
        is_padding_BT = torch.arange(scores_BTC.shape[1]) >= lengths_B[:, None]
        return path_BT.masked_fill(is_padding_BT, 0)
