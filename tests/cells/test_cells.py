"""Every cell in conf/cell: the fused kernel, the written-out step and the equations on paper say the same."""

from collections.abc import Callable
from math import exp, sqrt, tanh
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State
from rnnlab.cells.srnn import SRNNCell
from rnnlab.config import recipe

CONF = Path(__file__).resolve().parents[2] / "conf"
CELLS = sorted(file.stem for file in (CONF / "cell").glob("*.yaml"))
B, T, F, H = 2, 5, 3, 4


def make_cell(name: str, input_size: int = F, hidden_size: int = H) -> Cell:
    """Build a cell as its file in conf/cell says, in float64, from a fixed seed."""
    node = yaml.safe_load((CONF / "cell" / f"{name}.yaml").read_text(encoding="utf-8"))
    torch.manual_seed(3)
    cell: Cell = recipe(node, "cell")(input_size=input_size, hidden_size=hidden_size)
    return cell.double()


def outputs_and_gradients(run: Callable[[Tensor], Tensor], cell: Cell, inputs_BTF: Tensor) -> dict[str, Tensor]:
    """Return the outputs, and the gradients of all weights and of the inputs for a loss that weighs every output differently."""
    inputs_BTF = inputs_BTF.clone().requires_grad_()
    outputs_BTH = run(inputs_BTF)
    weights = torch.linspace(-1, 2, outputs_BTH.numel(), dtype=torch.float64).view_as(outputs_BTH)
    names = [name for name, _ in cell.named_parameters()]
    gradients = torch.autograd.grad((weights * outputs_BTH).sum(), [*cell.parameters(), inputs_BTF])
    return {"outputs": outputs_BTH.detach(), **dict(zip([*names, "inputs"], gradients, strict=True))}


def test_there_are_cells() -> None:
    assert {"gru", "lstm", "srnn"} <= set(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_the_fused_kernel_equals_the_written_out_step_and_so_do_all_gradients(name: str) -> None:
    cell = make_cell(name)
    inputs_BTF = 2 * torch.randn(B, T, F, dtype=torch.float64)
    fused = outputs_and_gradients(cell.forward, cell, inputs_BTF)
    written = outputs_and_gradients(cell.unroll, cell, inputs_BTF)
    assert fused["outputs"].shape == (B, T, H)
    assert len(fused) == 2 + len(list(cell.kernel.parameters()))
    for key, expected in written.items():
        torch.testing.assert_close(fused[key], expected, rtol=0, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


def test_the_relu_variant_of_the_simple_cell_agrees_with_its_kernel() -> None:
    torch.manual_seed(3)
    cell = SRNNCell(F, H, "relu").double()
    inputs_BTF = 2 * torch.randn(B, T, F, dtype=torch.float64)
    fused = outputs_and_gradients(cell.forward, cell, inputs_BTF)
    for key, expected in outputs_and_gradients(cell.unroll, cell, inputs_BTF).items():
        torch.testing.assert_close(fused[key], expected, rtol=0, atol=1e-12)
    assert (fused["outputs"] >= 0).all()
    assert (fused["outputs"] > 1).any()  # tanh could not


def after_one_step(advance: Callable[..., State], cell: Cell) -> dict[str, Tensor]:
    """Return the state after one step, and the gradients of all weights, of the input and of the state before."""
    torch.manual_seed(5)
    inputs = [(2 * torch.randn(B, size, dtype=torch.float64)).requires_grad_() for size in [F] + [H] * cell.num_states]
    after = advance(inputs[0], tuple(inputs[1:]))
    weighed = [(part * torch.linspace(-1, 2, part.numel(), dtype=torch.float64).view_as(part)).sum() for part in after]
    names = [*(name for name, _ in cell.named_parameters()), "input", *(f"state {number} before" for number in range(cell.num_states))]
    gradients = torch.autograd.grad(torch.stack(weighed).sum(), [*cell.parameters(), *inputs])
    states = {f"state {number}": part.detach() for number, part in enumerate(after)}
    return {**states, **dict(zip(names, gradients, strict=True))}


def assert_a_step_of_the_kernel_is_the_written_one(cell: Cell) -> None:
    advanced, written = after_one_step(cell.advance, cell), after_one_step(cell.step, cell)
    assert len(advanced) == 2 * cell.num_states + 5  # states before and after, four weights, the input
    for key, expected in written.items():
        assert expected.any(), key
        torch.testing.assert_close(advanced[key], expected, rtol=0, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", CELLS)
def test_a_single_step_of_the_kernel_equals_the_written_out_one_and_so_do_all_gradients(name: str) -> None:
    assert_a_step_of_the_kernel_is_the_written_one(make_cell(name))


def test_a_single_step_of_the_relu_variant_equals_the_written_out_one() -> None:
    torch.manual_seed(3)
    assert_a_step_of_the_kernel_is_the_written_one(SRNNCell(F, H, "relu").double())


@pytest.mark.parametrize("name", [*CELLS, "relu"])
def test_a_sequence_that_begins_with_a_state_is_the_same_on_the_kernel_and_step_by_step(name: str) -> None:
    torch.manual_seed(3)
    cell = SRNNCell(F, H, "relu").double() if name == "relu" else make_cell(name)
    inputs_BTF = 2 * torch.randn(B, T, F, dtype=torch.float64)
    state = tuple(torch.randn(B, H, dtype=torch.float64) for _ in range(cell.num_states))
    fused = outputs_and_gradients(lambda values: cell.forward(values, state), cell, inputs_BTF)
    for key, expected in outputs_and_gradients(lambda values: cell.unroll(values, state), cell, inputs_BTF).items():
        torch.testing.assert_close(fused[key], expected, rtol=0, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")
    assert not torch.allclose(fused["outputs"], cell.forward(inputs_BTF))


@pytest.mark.parametrize("name", CELLS)
def test_a_sequence_in_two_parts_is_the_sequence_where_the_second_begins_with_the_state_after_the_first(name: str) -> None:
    cell = make_cell(name)
    inputs_BTF = torch.randn(B, T, F, dtype=torch.float64)
    state = cell.initial_state(B)
    for input_BF in inputs_BTF[:, :2].unbind(1):
        state = cell.advance(input_BF, state)
    torch.testing.assert_close(cell(inputs_BTF[:, 2:], state), cell(inputs_BTF)[:, 2:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_the_written_out_step_has_the_gradient_of_finite_differences(name: str) -> None:
    cell = make_cell(name)
    torch.manual_seed(5)
    arguments = [torch.randn(B, size, dtype=torch.float64, requires_grad=True) for size in [F] + [H] * cell.num_states]
    assert torch.autograd.gradcheck(lambda x, *state: cell.step(x, state), arguments)


def sigmoid(a: float) -> float:
    return 1 / (1 + exp(-a))


def srnn_by_hand(x: float, h: float, c: float) -> list[float]:
    return [tanh(0.5 * x + 0.1 + 0.4 * h - 0.2)]


def gru_by_hand(x: float, h: float, c: float) -> list[float]:
    reset = sigmoid(0.5 * x + 0.1 + 0.4 * h - 0.2)
    update = sigmoid(-0.3 * x + 0.2 + 0.7 * h + 0.05)
    candidate = tanh(0.8 * x - 0.1 + reset * (-0.6 * h + 0.3))
    return [(1 - update) * candidate + update * h]


def lstm_by_hand(x: float, h: float, c: float) -> list[float]:
    write = sigmoid(0.5 * x + 0.1 + 0.4 * h - 0.2)
    keep = sigmoid(-0.3 * x + 0.2 + 0.7 * h + 0.05)
    candidate = tanh(0.8 * x - 0.1 - 0.6 * h + 0.3)
    show = sigmoid(1.1 * x + 0.6 - 0.9 * h - 0.4)
    memory = keep * c + write * candidate
    return [show * tanh(memory), memory]


BY_HAND = {"srnn": srnn_by_hand, "gru": gru_by_hand, "lstm": lstm_by_hand}
INPUT_WEIGHTS, INPUT_BIASES = [0.5, -0.3, 0.8, 1.1], [0.1, 0.2, -0.1, 0.6]
HIDDEN_WEIGHTS, HIDDEN_BIASES = [0.4, 0.7, -0.6, -0.9], [-0.2, 0.05, 0.3, -0.4]


@pytest.mark.parametrize("name", CELLS)
def test_one_step_of_one_unit_equals_the_equations_on_paper(name: str) -> None:
    cell = make_cell(name, input_size=1, hidden_size=1)
    values = {"weight_ih_l0": INPUT_WEIGHTS, "bias_ih_l0": INPUT_BIASES, "weight_hh_l0": HIDDEN_WEIGHTS, "bias_hh_l0": HIDDEN_BIASES}
    with torch.no_grad():
        for key, parameter in cell.kernel.named_parameters():
            parameter.copy_(torch.tensor(values[key][: cell.num_gates]).view_as(parameter))
    x, h, c = 1.5, 0.25, -0.5
    state = tuple(torch.tensor([[value]], dtype=torch.float64) for value in [h, c][: cell.num_states])
    after = cell.step(torch.tensor([[x]], dtype=torch.float64), state)
    assert [value.item() for value in after] == pytest.approx(BY_HAND[name](x, h, c), abs=1e-7)


@pytest.mark.parametrize("name", CELLS)
def test_the_state_before_the_first_step_is_zero(name: str) -> None:
    state = make_cell(name).initial_state(B)
    assert [value.shape for value in state] == [(B, H)] * len(state)
    assert all(value.dtype == torch.float64 and not value.any() for value in state)


def blocks(cell: Cell, start: str) -> list[Tensor]:
    """Return the weight matrices of each gate."""
    return [block for name, p in cell.kernel.named_parameters() if name.startswith(start) for block in p.detach().chunk(cell.num_gates)]


def biases(cell: Cell) -> Tensor:
    return torch.cat([p.detach() for name, p in cell.kernel.named_parameters() if name.startswith("bias")])


@pytest.mark.parametrize("name", CELLS)
def test_orthogonal_gives_each_gate_a_recurrent_matrix_of_its_own_that_keeps_lengths(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("orthogonal")
    matrices = blocks(cell, "weight_hh")
    assert len(matrices) == cell.num_gates
    for matrix in matrices:
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(H, dtype=torch.float64))
    assert all(not torch.equal(matrices[0], matrix) for matrix in matrices[1:])


@pytest.mark.parametrize("name", CELLS)
def test_identity_gives_each_gate_the_identity_as_recurrent_matrix(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("identity")
    for matrix in blocks(cell, "weight_hh"):
        assert torch.equal(matrix, torch.eye(H, dtype=torch.float64))


@pytest.mark.parametrize("initialisation", ["xavier", "orthogonal", "identity"])
@pytest.mark.parametrize("name", CELLS)
def test_all_but_uniform_begin_with_zero_biases_and_input_matrices_within_glorots_bound(name: str, initialisation: str) -> None:
    cell = make_cell(name)
    cell.initialise(initialisation)  # type: ignore[arg-type]
    assert not biases(cell).any()
    bound = sqrt(6 / (F + H))
    largest = max(matrix.abs().max().item() for matrix in blocks(cell, "weight_ih"))
    assert 0.8 * bound < largest <= bound  # a bound taken over all gates at once would be smaller


@pytest.mark.parametrize("name", CELLS)
def test_xavier_draws_each_gates_recurrent_matrix_within_glorots_bound(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("xavier")
    bound = sqrt(6 / (H + H))
    largest = max(matrix.abs().max().item() for matrix in blocks(cell, "weight_hh"))
    assert 0.8 * bound < largest <= bound


@pytest.mark.parametrize("name", CELLS)
def test_uniform_is_what_pytorch_draws_itself(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("identity")
    torch.manual_seed(7)
    cell.initialise("uniform")
    kernel = {"srnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[name](F, H).double()
    torch.manual_seed(7)
    kernel.reset_parameters()
    for ours, theirs in zip(cell.kernel.parameters(), kernel.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert biases(cell).abs().max() <= 1 / sqrt(H)
