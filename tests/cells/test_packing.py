"""Packed cells: each member gets the outputs and gradients that its own cell gives it, whatever the others' lengths."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.srnn import SRNNCell
from rnnlab.layers.packed import Draws, run_cells

LENGTHS = {"all alike": (5, 5, 5), "beyond a stretch": (19, 8, 11), "one alone": (9,)}
BATCHES = (4, 2, 3)
KINDS: dict[str, Callable[[int, int], Cell]] = {"gru": GRUCell, "srnn": partial(SRNNCell, activation="tanh")}


def gradients(cells: list[Cell], inputs: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
    """Return the gradients of inputs and weights where the loss weighs all outputs apart."""
    loss = sum(((place + 1) * output.square()).sum() + output.sin().sum() for place, output in enumerate(outputs))
    assert isinstance(loss, Tensor)
    return list(torch.autograd.grad(loss, [*inputs, *(weight for cell in cells for weight in cell.parameters())]))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_packed_cells_give_the_outputs_and_gradients_of_each_alone(kind: str, lengths: str) -> None:
    torch.manual_seed(0)
    steps = LENGTHS[lengths]
    cells = [KINDS[kind](3, 6).double() for _ in steps]
    assert cells[0].packed_kernel is not None
    inputs = [torch.randn(batch, length, 3).double().requires_grad_() for batch, length in zip(BATCHES, steps, strict=False)]
    packed = run_cells(cells, inputs, Draws(len(cells)))
    alone = [cell(values) for cell, values in zip(cells, inputs, strict=True)]
    for ours, theirs in zip(packed, alone, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, other in zip(gradients(cells, inputs, packed), gradients(cells, inputs, alone), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_a_packed_gru_has_no_other_bits_in_other_company() -> None:
    torch.manual_seed(0)
    cells: list[Cell] = [GRUCell(5, 16) for _ in range(4)]
    inputs = [torch.randn(8, length, 5) for length in (12, 12, 7, 12)]
    together = run_cells(cells, inputs, Draws(4))[0]
    assert torch.equal(together, run_cells(cells[:1], inputs[:1], Draws(1))[0])
    assert torch.equal(together, run_cells(cells[:3], inputs[:3], Draws(3))[0])


def test_only_cells_that_gain_by_it_have_a_packed_kernel() -> None:
    plain, before, dropping = GRUCell(3, 4), GRUCell(3, 4, reset="before"), GRUCell(3, 4)
    rectified = SRNNCell(3, 4, activation="relu")
    dropping.run_with("fused", recurrent_dropout=0.0, zoneout=0.0, weight_dropout=0.1)
    found = [cell.packed_kernel is not None for cell in (plain, before, dropping, rectified, LSTMCell(3, 4))]
    assert found == [True, False, False, False, False]
    plain.run_with("reference", recurrent_dropout=0.0, zoneout=0.0)
    assert plain.packed_kernel is None
