"""Statistics of gates: how open they are, how often they are saturated, and units that do nothing.

A gate is *saturated* within a tenth of an end: below 0.1 or above 0.9 of a sigmoid (Karpathy et al. 2016, section 4.2), beyond 0.9 in size
of a tanh. There its slope is small and no gradient moves it. Of what has no ends nothing is said.

A unit is *dead* where its output is the same at every step of every sequence looked at: a rectified linear unit that never fires, a tanh
that is stuck at an end.
"""

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells.base import Cell
from rnnlab.cells.mingru import MinGRUCell
from rnnlab.cells.srnn import SRNNCell
from rnnlab.insight.replay import Trace

SIGMOID_ENDS, TANH_ENDS = (0.1, 0.9), (-0.9, 0.9)
DEAD = 1e-5
"""Largest standard deviation of a dead unit, as a fraction of the largest output of its layer."""
CANDIDATE, HIDDEN = "candidate", "hidden"


@torch.no_grad()
def gate_values(trace: Trace) -> dict[str, Tensor]:
    """Return each gate's values at the valid steps, (N, H); of a cell without gates its hidden state."""
    cell, is_valid_BT = trace.cell, trace.is_valid
    if not cell.gate_names:
        return {HIDDEN: trace.hidden[is_valid_BT]}
    before = trace.before()
    values = cell.gates(cell.project(trace.inputs_BTF[is_valid_BT]), before, before[0])
    return dict(zip(cell.gate_names, values, strict=True))


def saturated(cell: Cell, gate: str, values_NH: Tensor) -> float | None:
    """Return the fraction of a gate's values that are near an end; None where it has none."""
    ends = _ends(cell, gate)
    return None if ends is None else float(((values_NH < ends[0]) | (values_NH > ends[1])).double().mean())


def _ends(cell: Cell, gate: str) -> tuple[float, float] | None:
    """Return below and above what a gate is saturated."""
    if gate not in (CANDIDATE, HIDDEN):
        return SIGMOID_ENDS
    if isinstance(cell, SRNNCell):
        return {"tanh": TANH_ENDS, "sigmoid": SIGMOID_ENDS}.get(cell.activation)
    return None if isinstance(cell, MinGRUCell) else TANH_ENDS


def gate_numbers(trace: Trace) -> dict[str, float]:
    """Return `gate_mean/<layer>.<gate>`, `gate_saturated/<layer>.<gate>` and `dead_units/<layer>` (a fraction)."""
    numbers = {f"dead_units/{trace.name}": dead_share(trace)}
    for gate, values_NH in gate_values(trace).items():
        numbers[f"gate_mean/{trace.name}.{gate}"] = float(values_NH.mean())
        fraction = saturated(trace.cell, gate, values_NH)
        if fraction is not None:
            numbers[f"gate_saturated/{trace.name}.{gate}"] = fraction
    return numbers


@torch.no_grad()
def dead_share(trace: Trace) -> float:
    """Return the fraction of units whose output never changes."""
    outputs_NH = trace.hidden[trace.is_valid].double()
    return float((outputs_NH.std(0, correction=0) <= DEAD * outputs_NH.abs().max()).double().mean())


@torch.no_grad()
def gates_by_step(trace: Trace) -> dict[str, np.ndarray]:
    """Return each gate's mean over units and over the sequences that are that long, by step, `<layer>.<gate>` to (T,)."""
    is_valid_BT = trace.is_valid
    counts_T = is_valid_BT.sum(0)
    found = {}
    for gate, values_NH in gate_values(trace).items():
        means_BT = torch.zeros(is_valid_BT.shape, dtype=torch.double, device=values_NH.device)
        means_BT[is_valid_BT] = values_NH.double().mean(-1)
        found[f"{trace.name}.{gate}"] = (means_BT.sum(0) / counts_T)[counts_T > 0].cpu().numpy()
    return found
