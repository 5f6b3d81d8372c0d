"""Gradients by hand, of a step and through time, equal autograd's and finite differences, for every cell that conf/cell offers."""

from collections.abc import Callable
from typing import TypeVar, get_args

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from rnnlab.cells.base import Cell, State
from rnnlab.cells.srnn import Activation
from rnnlab.cells.weights import Weights
from rnnlab.config import recipe
from rnnlab.contracts import valid_mask
from rnnlab.layers.recurrent import Recurrence, RecurrentStack, reverse_within_length
from rnnlab.paths import CONF
from rnnlab.principles import numpy_rnn

CELLS = sorted(file.stem for file in (CONF / "cell").glob("*.yaml"))
SHIPPED = {"gru", "irnn", "lstm", "lstm_coupled", "lstm_layer_norm", "lstm_peephole", "mingru", "srnn"}
VARIANTS = [*CELLS, "gru reset=before", *(f"srnn activation={name}" for name in get_args(Activation) if name != "tanh")]
B, T, F, H = 3, 6, 4, 5
LENGTHS = torch.tensor([6, 2, 4])
Gradients = dict[str, Tensor]
Kind = TypeVar("Kind", bound=torch.nn.Module)


def factory(words: str) -> Callable[..., Cell]:
    """Return what builds a cell as its file in conf/cell says, but for KEY=VALUE words."""
    name, *changes = words.split()
    node = yaml.safe_load((CONF / "cell" / f"{name}.yaml").read_text(encoding="utf-8"))
    return recipe(node | {key: value for key, _, value in (change.partition("=") for change in changes)}, "cell")


def make_cell(words: str) -> Cell:
    """Build a cell in float64 whose weights are all different from one, zero and each other."""
    torch.manual_seed(3)
    cell: Cell = factory(words)(input_size=F, hidden_size=H)
    return stirred(cell)


def test_every_cell_that_comes_with_the_package_has_a_gradient_by_hand() -> None:
    assert {name.split()[0] for name in VARIANTS} >= SHIPPED


class Leaky(Cell):
    """A cell of one's own, without a gradient by hand: h_t = (h_{t-1} + tanh(p_t)) / 2."""

    def __init__(self) -> None:
        super().__init__(Weights(F, H, 1, is_recurrent=False), 1, 1)

    def gates(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> tuple[Tensor, ...]:
        return ()

    def transition(self, projected_BP: Tensor, state: State, entering_BH: Tensor) -> State:
        return ((state[0] + projected_BP.tanh()) / 2,)


def test_a_cell_without_a_gradient_by_hand_is_trained_by_autograd_and_says_what_it_lacks() -> None:
    cell = Leaky().double()
    inputs_BTF = normal(B, T, F).requires_grad_()
    (gradient,) = torch.autograd.grad(cell(inputs_BTF)[:, -1].sum(), [inputs_BTF])
    assert gradient[:, -1].abs().min() > 0
    with pytest.raises(NotImplementedError, match="Leaky has no hand-derived gradient: define transition_backward"):
        cell.unroll_backward(inputs_BTF.detach(), LENGTHS, normal(B, T, H))


def stirred(module: Kind) -> Kind:
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module


VARIANTS = [name for name in VARIANTS if make_cell(name).has_hand_gradient()]  # optional for a cell of one's own


def normal(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def given(cell: Cell) -> tuple[Tensor, State, State]:
    """Return an input, a state before the step, and the loss's gradient with respect to the state after it."""
    states = [normal(B, H, seed=seed) for seed in range(2 * cell.num_states)]
    return 2 * normal(B, F, seed=9), tuple(states[: cell.num_states]), tuple(states[cell.num_states :])


def assert_equal(found: Gradients, expected: Gradients, relative: float = 1e-10) -> None:
    """Compare with the largest number of each tensor as the measure."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert value.abs().max() > 1e-3, name
        error = (found[name] - value).abs().max() / value.abs().max()
        assert error < relative, f"{name}: {error:.1e}"


def of_step(cell: Cell) -> Gradients:
    input_BF, state, after = given(cell)
    hand = cell.step_backward(input_BF, state, after)
    return {"input": hand.entering, **{f"state {number}": part for number, part in enumerate(hand.state)}, **hand.weights}


def loss_of_step(cell: Cell, input_BF: Tensor, state: State) -> Tensor:
    _, _, after = given(cell)
    return torch.stack([(gradient * part).sum() for gradient, part in zip(after, cell.step(input_BF, state), strict=True)]).sum()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_hand_gradient_of_a_step_is_autograds(name: str) -> None:
    cell = make_cell(name)
    input_BF, state, _ = given(cell)
    leaves = {"input": input_BF, **{f"state {number}": part for number, part in enumerate(state)}}
    for part in leaves.values():
        part.requires_grad_()
    wanted = {**leaves, **dict(cell.named_parameters())}
    gradients = torch.autograd.grad(loss_of_step(cell, input_BF, state), list(wanted.values()))
    assert_equal(of_step(cell), dict(zip(wanted, gradients, strict=True)))


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_hand_gradient_of_a_step_is_that_of_finite_differences(name: str) -> None:
    cell = make_cell(name)
    input_BF, state, _ = given(cell)
    wanted = {"input": input_BF, **{f"state {number}": part for number, part in enumerate(state)}, **dict(cell.named_parameters())}
    found = {key: differences(lambda: loss_of_step(cell, input_BF, state), part) for key, part in wanted.items()}
    assert_equal(of_step(cell), found, relative=1e-7)


def differences(loss: Callable[[], Tensor], values: Tensor, size: float = 1e-5) -> Tensor:
    """Return central differences of a loss by each number, whose error is of the order of size^2 and 1e-16 / size."""
    found = torch.empty_like(values)
    for place in range(values.numel()):
        number = values.view(-1)[place].item()
        ends = []
        for moved in (number + size, number - size):
            values.view(-1)[place] = moved
            ends.append(loss())
        values.view(-1)[place] = number
        found.view(-1)[place] = (ends[0] - ends[1]) / (2 * size)
    return found


# Through time -----------------------------------------------------------------------------------------------------------------------


def of_sequence(cell: Cell, run: Callable[[Tensor, State], Tensor]) -> Gradients:
    """Return autograd's gradients for a loss on valid steps only."""
    inputs_BTF, gradients_BTH = 2 * normal(B, T, F), normal(B, T, H, seed=6)
    _, state, _ = given(cell)
    leaves = {"inputs": inputs_BTF, **{f"first state {number}": part for number, part in enumerate(state)}}
    for part in leaves.values():
        part.requires_grad_()
    loss = (run(inputs_BTF, state) * gradients_BTH)[valid_mask(LENGTHS, T)].sum()
    wanted = {**leaves, **dict(cell.named_parameters())}
    return dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True))


def by_hand(cell: Cell, padding: float = 0.0) -> Gradients:
    is_padding = ~valid_mask(LENGTHS, T)[..., None]
    inputs_BTF, gradients_BTH = (part.masked_fill(is_padding, padding) for part in (2 * normal(B, T, F), normal(B, T, H, seed=6)))
    hand = cell.unroll_backward(inputs_BTF, LENGTHS, gradients_BTH, given(cell)[1])
    return {"inputs": hand.inputs, **{f"first state {number}": part for number, part in enumerate(hand.first_state)}, **hand.weights}


@pytest.mark.parametrize("name", VARIANTS)
def test_backpropagation_through_time_by_hand_is_autograds_written_out_or_fused_whatever_the_padding(name: str) -> None:
    cell = make_cell(name)
    hand = by_hand(cell)
    assert_equal(hand, of_sequence(cell, cell.unroll))
    assert_equal(hand, of_sequence(cell, cell.forward))
    for found, expected in zip(by_hand(cell, torch.nan).values(), hand.values(), strict=True):
        assert torch.equal(found, expected)
    assert not hand["inputs"][~valid_mask(LENGTHS, T)].any()


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_backpropagation_through_time_by_hand_is_that_of_finite_differences(name: str) -> None:
    cell = make_cell(name)
    inputs_BTF, gradients_BTH, (_, state, _) = 2 * normal(B, T, F), normal(B, T, H, seed=6), given(cell)
    leaves = {"inputs": inputs_BTF, **{f"first state {number}": part for number, part in enumerate(state)}}
    hand = by_hand(cell)
    for number, (key, values) in enumerate({**leaves, **dict(cell.named_parameters())}.items()):
        direction, ends = normal(*values.shape, seed=20 + number), []
        for size in (1e-5, -2e-5, 1e-5):  # there, back beyond, and home
            values.add_(direction, alpha=size)
            ends.append((cell.unroll(inputs_BTF, state) * gradients_BTH)[valid_mask(LENGTHS, T)].sum())
        assert (hand[key] * direction).sum().item() == pytest.approx((ends[0] - ends[1]).item() / 2e-5, rel=1e-6, abs=1e-7), key


@pytest.mark.parametrize("name", VARIANTS)
def test_the_total_derivative_of_each_state_is_that_of_a_sequence_begun_there(name: str) -> None:
    cell = make_cell(name)
    inputs_BTF, gradients_BTH = 2 * normal(B, T, F), normal(B, T, H, seed=6)
    full = torch.full((B,), T)
    found = cell.unroll_backward(inputs_BTF, full, gradients_BTH).states
    state = cell.initial_state(B)
    for step in range(T - 1):
        state = tuple(part.detach().requires_grad_() for part in cell.step(inputs_BTF[:, step], state))
        rest = cell.unroll(inputs_BTF[:, step + 1 :], state) * gradients_BTH[:, step + 1 :]
        expected = torch.autograd.grad((state[0] * gradients_BTH[:, step]).sum() + rest.sum(), state)
        for total_BTH, part in zip(found, expected, strict=True):
            torch.testing.assert_close(total_BTH[:, step], part, rtol=1e-10, atol=1e-12)
    assert torch.equal(found[0][:, -1], gradients_BTH[:, -1])


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("name", VARIANTS)
def test_within_a_stack_over_ragged_sequences_too_the_gradient_by_hand_is_autograds(
    name: str, is_bidirectional: bool, num_layers: int
) -> None:
    torch.manual_seed(3)
    recurrence = Recurrence(H, num_layers, 0.0, False, "uniform")
    stack = stirred(RecurrentStack(F, factory(name), recurrence, is_bidirectional))
    values, gradients = normal(B, T, F).requires_grad_(), normal(B, T, stack.output_size, seed=6)
    outputs, _ = stack(values, LENGTHS)
    wanted = {"inputs": values, **dict(stack.named_parameters())}
    expected = dict(zip(wanted, torch.autograd.grad((outputs * gradients).sum(), list(wanted.values())), strict=True))
    assert_equal(stack_by_hand(stack, values.detach(), gradients), expected)


@torch.no_grad()
def stack_by_hand(stack: RecurrentStack, values: Tensor, gradients: Tensor) -> Gradients:
    """Go through the layers backwards, each direction on its own, with the gradients of each."""
    entering = [values]
    for layer in list(stack.layers)[:-1]:
        outputs = [cell.unroll(turned(entering[-1], way)) for way, cell in enumerate(layer.children())]
        entering.append(torch.cat([turned(part, way) for way, part in enumerate(outputs)], -1) * valid_mask(LENGTHS, T)[..., None])
    found: Gradients = {}
    for index in reversed(range(len(entering))):
        parts = []
        for way, (cell, own) in enumerate(zip(stack.layers[index].children(), gradients.split(H, -1), strict=True)):
            hand = cell.unroll_backward(turned(entering[index], way), LENGTHS, turned(own, way))
            found |= {f"layers.{index}.{way}.{name}": gradient for name, gradient in hand.weights.items()}
            parts.append(turned(hand.inputs, way))
        gradients = torch.stack(parts).sum(0)
    return found | {"inputs": gradients}


def turned(values: Tensor, way: int) -> Tensor:
    return reverse_within_length(values, LENGTHS) if way else values


# What tells variants apart ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("mingru", "gru")])
def test_the_gradients_of_both_biases_are_equal(name: str) -> None:
    hand = by_hand(make_cell(name))
    torch.testing.assert_close(hand["kernel.bias_ih_l0"], hand["kernel.bias_hh_l0"], rtol=1e-12, atol=1e-12)


def test_of_the_gru_they_are_equal_for_the_gates_but_not_for_the_candidate_whose_second_bias_is_reset() -> None:
    hand = by_hand(make_cell("gru"))
    for_input, for_hidden = hand["kernel.bias_ih_l0"], hand["kernel.bias_hh_l0"]
    torch.testing.assert_close(for_input[: 2 * H], for_hidden[: 2 * H], rtol=1e-12, atol=1e-12)
    assert (for_input[2 * H :] - for_hidden[2 * H :]).abs().min() > 1e-3


def twins() -> tuple[Cell, Cell]:
    """Return GRUs with the same weights, the reset gate after and before the product."""
    after, before = make_cell("gru reset=after"), make_cell("gru reset=before")
    before.load_state_dict(after.state_dict())
    return after, before


def test_a_reset_gate_after_the_product_is_not_one_before_it_unless_it_is_open() -> None:
    after, before = twins()
    inputs_BTF = normal(B, T, F)
    assert (after(inputs_BTF) - before(inputs_BTF)).abs().max() > 0.1
    with torch.no_grad():
        for cell in (after, before):
            cell.weight("bias_ih")[:H] = 60  # sigmoid(60) is 1 to the last bit
    torch.testing.assert_close(after(inputs_BTF), before(inputs_BTF), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_an_update_gate_that_lets_the_new_in_is_one_that_keeps_the_old_with_its_weights_negated(reset: str) -> None:
    cell = make_cell(f"gru reset={reset}")
    inputs_BTF = normal(B, T, F)
    expected = cell(inputs_BTF)
    update = slice(H, 2 * H)
    with torch.no_grad():
        for parameter in cell.kernel.parameters():
            parameter[update] *= -1
    state = cell.initial_state(B)
    for step in range(T):
        _, admits, candidate = cell.gates(cell.project(inputs_BTF[:, step]), state, state[0])
        state = ((1 - admits) * state[0] + admits * candidate,)  # Chung et al. (2014), equation 5
        torch.testing.assert_close(state[0], expected[:, step], rtol=0, atol=1e-12)
    assert (cell(inputs_BTF) - expected).abs().max() > 0.1  # read in the other way, they are another network


@pytest.mark.parametrize("name", numpy_rnn.CELLS)
def test_the_cells_in_numpy_are_these_gradients_by_hand_included(name: str) -> None:
    cell, random = make_cell(name), np.random.default_rng(2)
    inputs_BTF, gradients_BTH = random.normal(size=(B, T, F)), random.normal(size=(B, T, H))
    weights = {key: cell.weight(key).detach().numpy() for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    hidden_BTH, states = numpy_rnn.run(numpy_rnn.CELLS[name], weights, inputs_BTF)
    of_inputs, of_weights, totals = numpy_rnn.run_backward(numpy_rnn.CELLS[name], weights, inputs_BTF, states, gradients_BTH)
    hand = cell.unroll_backward(torch.tensor(inputs_BTF), torch.full((B,), T), torch.tensor(gradients_BTH))
    found = {"inputs": hand.inputs, "totals": hand.states[0], **hand.weights}
    expected = {"inputs": of_inputs, "totals": totals, **{f"kernel.{key}_l0": value for key, value in of_weights.items()}}
    torch.testing.assert_close(cell(torch.tensor(inputs_BTF)), torch.tensor(hidden_BTH), rtol=0, atol=1e-12)
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], torch.tensor(value), rtol=0, atol=1e-12)
