"""Packed stacks: each member gets what its own stack gives it, dropout and padding included."""

from functools import partial

import pytest
import torch

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.layers.packed import Draws, Entering, run_stacks
from rnnlab.layers.recurrent import Recurrence, RecurrentStack

KINDS: dict[str, tuple[type[Cell], bool, dict[str, object]]] = {
    "one layer": (GRUCell, False, {"num_layers": 1}),
    "two layers, normalised and dropped": (GRUCell, False, {"has_layer_norm": True, "dropout": 0.3, "has_residual": True}),
    "both directions": (GRUCell, True, {"variational_dropout": 0.4}),
    "on kernels of their own": (LSTMCell, True, {"dropout": 0.3, "has_batch_norm": True}),
    "states that are kept": (LSTMCell, False, {"zoneout": 0.2, "backend": "reference"}),
}


def made(kind: str) -> tuple[list[RecurrentStack], list[Entering]]:
    """Return stacks of three members, and what enters each."""
    cell, is_bidirectional, settings = KINDS[kind]
    values: dict[str, object] = {"hidden_size": 4, "num_layers": 2, "dropout": 0.0, "has_layer_norm": False, "initialisation": "uniform"}
    recurrence = Recurrence(**(values | settings))  # type: ignore[arg-type]  # by name
    torch.manual_seed(0)
    stacks = [RecurrentStack(3, partial(cell), recurrence, is_bidirectional) for _ in range(3)]
    lengths = [torch.tensor(part) for part in ([9, 5, 2], [4, 11], [6, 6, 1])]
    return stacks, [Entering(torch.randn(len(part), int(part.max()), 3), part) for part in lengths]


@pytest.mark.parametrize("kind", KINDS)
def test_each_member_gets_what_its_own_stack_gives_it(kind: str) -> None:
    stacks, entering = made(kind)
    draws = Draws(len(stacks))
    for member in range(len(stacks)):
        draws.seed(member, 70 + member)
    packed = run_stacks(stacks, entering, draws)
    for member, (stack, part) in enumerate(zip(stacks, entering, strict=True)):
        torch.manual_seed(70 + member)
        torch.testing.assert_close(packed[member], stack(part.values_BTF, part.lengths_B)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["two layers, normalised and dropped", "both directions"])
def test_what_lies_beyond_a_length_never_changes_a_packed_result(kind: str) -> None:
    stacks, entering = made(kind)
    spoilt = []
    for part in entering:
        is_beyond = torch.arange(part.values_BTF.shape[1]) >= part.lengths_B[:, None]
        longer = torch.cat([part.values_BTF.masked_fill(is_beyond[..., None], 1e6), torch.full_like(part.values_BTF, 1e6)], 1)
        spoilt.append(Entering(longer, part.lengths_B))
    found = []
    for given in (entering, spoilt):
        draws = Draws(len(stacks))
        for member in range(len(stacks)):
            draws.seed(member, 5)
        found.append(run_stacks([stack.eval() for stack in stacks], given, draws))
    for plain, other in zip(*found, strict=True):
        steps = plain.shape[1]
        torch.testing.assert_close(other[:, :steps], plain, rtol=1e-5, atol=1e-6)
        assert not other[:, steps:].any()


def test_members_take_turns_at_random_numbers_without_changing_each_others() -> None:
    draws, found = Draws(2), {}
    for member, seed in enumerate((3, 9)):
        draws.seed(member, seed)
        found[member] = [torch.rand(2)]
    for member in (0, 1, 1, 0):
        draws.give(member)
        found[member].append(torch.rand(2))
    for member, seed in enumerate((3, 9)):
        torch.manual_seed(seed)
        assert torch.equal(torch.cat(found[member]), torch.cat([torch.rand(2) for _ in range(3)]))
