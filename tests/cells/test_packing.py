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


@pytest.mark.parametrize("others", [[(6, 20), (6, 20)], [(6, 23), (6, 9)], [(9, 20), (2, 20)], [(9, 31), (1, 3), (6, 20)]])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_have_the_same_bits_in_any_company(kind: str, others: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    shapes = [(6, 20), *others]
    cells = [KINDS[kind](14, 12) for _ in shapes]
    inputs = [torch.randn(batch, steps, 14, requires_grad=True) for batch, steps in shapes]
    found = []
    for number in (1, len(shapes)):
        outputs = run_cells(cells[:number], inputs[:number], Draws(number))
        loss = torch.stack([output.sin().sum() for output in outputs]).sum()
        found.append([outputs[0], *torch.autograd.grad(loss, [inputs[0], *cells[0].parameters()])])
    for alone, together in zip(*found, strict=True):
        assert torch.equal(alone, together)


def test_only_cells_that_gain_by_it_have_a_packed_kernel() -> None:
    plain, before, dropping = GRUCell(3, 4), GRUCell(3, 4, reset="before"), GRUCell(3, 4)
    rectified = SRNNCell(3, 4, activation="relu")
    dropping.run_with("fused", recurrent_dropout=0.0, zoneout=0.0, weight_dropout=0.1)
    found = [cell.packed_kernel is not None for cell in (plain, before, dropping, rectified, LSTMCell(3, 4))]
    assert found == [True, False, False, False, False]
    plain.run_with("reference", recurrent_dropout=0.0, zoneout=0.0)
    assert plain.packed_kernel is None
