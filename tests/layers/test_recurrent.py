"""The recurrent stack equals PyTorch's own layers, packed where sequences are padded; what it can do besides equals its equations."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import get_args

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlab.cells.base import Backend, Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.srnn import SRNNCell
from rnnlab.config import recipe
from rnnlab.contracts import valid_mask
from rnnlab.layers.recurrent import Recurrence, RecurrentStack, reverse_within_length
from rnnlab.paths import CONF

BACKENDS = get_args(Backend)
B, T, F, H = 2, 5, 3, 4
LENGTHS = torch.tensor([3, 5])
FULL = torch.tensor([5, 5])
CELLS: dict[str, Callable[..., Cell]] = {
    "srnn": lambda input_size, hidden_size: SRNNCell(input_size, hidden_size, "tanh"),
    "gru": GRUCell,
    "lstm": LSTMCell,
}
THEIRS: dict[str, Callable[..., nn.RNNBase]] = {"srnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def recurrence(num_layers: int = 1, dropout: float = 0.0, has_layer_norm: bool = False) -> Recurrence:
    return Recurrence(H, num_layers, dropout, has_layer_norm, "uniform")


def any_cell(name: str) -> Callable[..., Cell]:
    """Return what builds a cell as its file in conf/cell says."""
    return CELLS.get(name) or recipe(yaml.safe_load((CONF / "cell" / f"{name}.yaml").read_text(encoding="utf-8")), "cell")


def make_stack(cell: str, settings: Recurrence, is_bidirectional: bool) -> RecurrentStack:
    torch.manual_seed(1)
    return RecurrentStack(F, any_cell(cell), settings, is_bidirectional).double()


def torch_twin(cell: str, stack: RecurrentStack, num_layers: int) -> nn.RNNBase:
    """Build PyTorch's layer with the stack's weights."""
    twin = THEIRS[cell](F, H, num_layers, batch_first=True, bidirectional=stack.num_directions == 2).double()
    with torch.no_grad():
        for index, layer in enumerate(stack.layers):
            for ours, suffix in zip(layer.children(), ("", "_reverse"), strict=False):
                for name, weight in ours.kernel.named_parameters():
                    twin.get_parameter(f"{name.removesuffix('l0')}l{index}{suffix}").copy_(weight)
    return twin


def draw() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(B, T, F, dtype=torch.float64)


def test_reversing_turns_each_sequence_around_within_its_length_and_leaves_padding() -> None:
    values = torch.tensor([[1.0, 2, 3, 8, 9], [1, 2, 3, 4, 5]])[..., None]
    expected = torch.tensor([[3.0, 2, 1, 8, 9], [5, 4, 3, 2, 1]])[..., None]
    assert torch.equal(reverse_within_length(values, LENGTHS), expected)


def test_reversing_twice_changes_nothing() -> None:
    values = draw()
    assert torch.equal(reverse_within_length(reverse_within_length(values, LENGTHS), LENGTHS), values)


def reversed_by_indexing(values_BTF: Tensor) -> Tensor:
    return torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(values_BTF, LENGTHS.tolist(), strict=True)])


def test_the_gradient_of_reversing_is_that_of_plain_indexing() -> None:
    values, weights = draw().requires_grad_(), torch.randn(B, T, F, dtype=torch.float64)
    ours = torch.autograd.grad((weights * reverse_within_length(values, LENGTHS)).sum(), values)
    theirs = torch.autograd.grad((weights * reversed_by_indexing(values)).sum(), values)
    assert torch.equal(ours[0], theirs[0])
    assert torch.autograd.gradcheck(lambda v: reverse_within_length(v, LENGTHS) ** 2, values)
    assert torch.autograd.gradgradcheck(lambda v: reverse_within_length(v, LENGTHS) ** 2, values)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("cell", CELLS)
def test_without_padding_the_stack_equals_pytorchs_layer(cell: str, is_bidirectional: bool, num_layers: int) -> None:
    stack = make_stack(cell, recurrence(num_layers), is_bidirectional)
    outputs, lengths = stack(draw(), FULL)
    expected, _ = torch_twin(cell, stack, num_layers)(draw())
    assert outputs.shape == (B, T, stack.output_size) == (B, T, H * (1 + is_bidirectional))
    assert torch.equal(lengths, FULL)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("cell", CELLS)
def test_with_padding_the_stack_and_its_gradients_equal_pytorchs_layer_on_packed_sequences(
    cell: str, is_bidirectional: bool, num_layers: int
) -> None:
    stack = make_stack(cell, recurrence(num_layers), is_bidirectional)
    twin = torch_twin(cell, stack, num_layers)
    ours, theirs = draw().requires_grad_(), draw().requires_grad_()
    outputs, _ = stack(ours, LENGTHS)
    packed, _ = twin(pack_padded_sequence(theirs, LENGTHS, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(outputs)
    ours_gradient = torch.autograd.grad((weights * outputs).sum(), ours)[0]
    torch.testing.assert_close(ours_gradient, torch.autograd.grad((weights * expected).sum(), theirs)[0], rtol=0, atol=1e-12)


def test_dropout_acts_between_layers_while_training_and_nowhere_else() -> None:
    stack = make_stack("gru", recurrence(2, dropout=0.4), is_bidirectional=False)
    first, second = (next(layer.children()) for layer in stack.layers)
    inputs = draw()
    plain = stack.eval()(inputs, FULL)[0]
    torch.testing.assert_close(plain, second(first(inputs)))
    torch.manual_seed(9)
    dropped = stack.train()(inputs, FULL)[0]
    torch.manual_seed(9)
    torch.testing.assert_close(dropped, second(functional.dropout(first(inputs), 0.4)))
    assert not torch.allclose(dropped, plain)


def test_one_layer_has_nothing_between_layers_to_drop() -> None:
    stack = make_stack("gru", recurrence(1, dropout=0.9), is_bidirectional=False)
    assert torch.equal(stack.train()(draw(), FULL)[0], stack.eval()(draw(), FULL)[0])


def test_layer_norm_normalises_each_valid_step_over_both_directions_and_padding_stays_zero() -> None:
    stack = make_stack("gru", recurrence(has_layer_norm=True), is_bidirectional=True)
    gain, shift = torch.rand(2 * H, dtype=torch.float64), torch.rand(2 * H, dtype=torch.float64)
    with torch.no_grad():
        stack.norms[0].weight.copy_(gain)
        stack.norms[0].bias.copy_(shift)
    outputs, _ = stack(draw(), LENGTHS)
    packed, _ = torch_twin("gru", stack, 1)(pack_padded_sequence(draw(), LENGTHS, batch_first=True, enforce_sorted=False))
    plain, _ = pad_packed_sequence(packed, batch_first=True)
    mean, deviation = plain.mean(-1, keepdim=True), (plain.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (plain - mean) / deviation * gain + shift
    torch.testing.assert_close(outputs[0, :3], expected[0, :3])
    torch.testing.assert_close(outputs[1], expected[1])
    assert not outputs[0, 3:].any()


def test_the_initialisation_reaches_every_layer_and_direction() -> None:
    stack = RecurrentStack(F, GRUCell, Recurrence(H, 2, 0.0, False, "identity"), True)
    matrices = [block for name, p in stack.named_parameters() if "weight_hh" in name for block in p.chunk(3)]
    assert len(matrices) == 2 * 2 * 3
    assert all(torch.equal(matrix, torch.eye(H)) for matrix in matrices)


def test_what_runs_recorded_before_a_key_had_is_what_the_configuration_says() -> None:
    node = yaml.safe_load((CONF / "model/stack/default.yaml").read_text(encoding="utf-8"))["recurrence"]
    assert set(node) == {field.name for field in fields(Recurrence)}
    before = ("hidden_size", "num_layers", "dropout", "has_layer_norm", "initialisation")
    assert Recurrence(**node) == Recurrence(**{key: node[key] for key in before})


EVERYTHING = Recurrence(H, 3, 0.3, False, "xavier", True, True, 0.3, 0.2, "reference")
ALL_CELLS = sorted(file.stem for file in (CONF / "cell").glob("*.yaml"))


# Residuals --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
def test_a_residual_adds_what_entered_each_layer_but_the_first(is_bidirectional: bool) -> None:
    settings = recurrence(3)
    plain, residual = (make_stack("gru", replace(settings, has_residual=flag), is_bidirectional) for flag in (False, True))
    assert list(plain.state_dict()) == list(residual.state_dict())
    values = draw()
    for index in range(3):
        single = make_stack("gru", recurrence(1), is_bidirectional)
        single.layers = nn.ModuleList([plain.layers[index]])
        outputs, _ = single(values, LENGTHS)
        values = outputs + values if index else outputs
    found, finals = residual.with_final_states(draw(), LENGTHS)
    torch.testing.assert_close(found, values)
    assert not found[0, 3:].any()
    torch.testing.assert_close(finals[-1][1, :H], outputs[1, 4, :H])  # the state itself, which the decoder begins from


def test_one_layer_has_nothing_to_add() -> None:
    plain, residual = (make_stack("gru", replace(recurrence(1), has_residual=flag), False)(draw(), LENGTHS)[0] for flag in (False, True))
    assert torch.equal(plain, residual)


def test_what_is_added_is_not_dropped() -> None:
    stack = make_stack("gru", replace(recurrence(2, dropout=0.9), has_residual=True), is_bidirectional=False).train()
    first, second = (next(layer.children()) for layer in stack.layers)
    torch.manual_seed(9)
    found, _ = stack(draw(), FULL)
    torch.manual_seed(9)
    below = first(draw())
    torch.testing.assert_close(found, below + second(functional.dropout(below, 0.9)))


# Batch normalisation ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
def test_batch_norm_normalises_each_number_over_all_valid_steps_of_the_batch_as_pytorch_does(is_bidirectional: bool) -> None:
    stack = make_stack("gru", replace(recurrence(), has_batch_norm=True), is_bidirectional)
    plain, _ = make_stack("gru", recurrence(), is_bidirectional)(draw(), LENGTHS)
    theirs = nn.BatchNorm1d(stack.output_size).double()
    with torch.no_grad():
        for name in ("weight", "bias"):
            drawn = torch.rand(stack.output_size, dtype=torch.float64)
            stack.norms[0].get_parameter(name).copy_(drawn)
            theirs.get_parameter(name).copy_(drawn)
    is_valid_BT = valid_mask(LENGTHS, T)
    for _ in range(2):
        found, _ = stack(draw(), LENGTHS)
        torch.testing.assert_close(found[is_valid_BT], theirs(plain[is_valid_BT]))
        assert not found[~is_valid_BT].any()
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(stack.norms[0].get_buffer(name), theirs.get_buffer(name))
    tested, _ = stack.eval()(draw(), LENGTHS)
    torch.testing.assert_close(tested[is_valid_BT], theirs.eval()(plain[is_valid_BT]))


def test_two_norms_at_one_place_are_refused() -> None:
    message = r"^model.recurrence.has_layer_norm and has_batch_norm normalise the same numbers: set one of them to false$"
    with pytest.raises(ValueError, match=message):
        replace(recurrence(has_layer_norm=True), has_batch_norm=True)


# Step by step -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("cell", ALL_CELLS)
def test_the_reference_backend_gives_the_same_outputs_and_gradients(cell: str, is_bidirectional: bool) -> None:
    results = []
    for backend in BACKENDS:
        stack = make_stack(cell, replace(recurrence(2), backend=backend), is_bidirectional)
        values = draw().requires_grad_()
        outputs, _ = stack(values, LENGTHS)
        results.append([outputs, *torch.autograd.grad((outputs * outputs.cos()).sum(), [values, *stack.parameters()])])
    for fused, written in zip(*results, strict=True):
        torch.testing.assert_close(fused, written, rtol=0, atol=1e-12)


WITHIN_STEPS = [Recurrence(H, 1, 0.0, False, "uniform", recurrent_dropout=0.2), Recurrence(H, 1, 0.0, False, "uniform", zoneout=0.2)]


@pytest.mark.parametrize("settings", WITHIN_STEPS)
def test_a_kernel_cannot_do_what_acts_within_a_step_and_says_what_to_type(settings: Recurrence) -> None:
    message = r"^model.recurrence.\w+=0.2 acts within each step, and cell=gru runs .*: set model.recurrence.backend=reference"
    with pytest.raises(ValueError, match=message):
        make_stack("gru", settings, is_bidirectional=False)


@pytest.mark.parametrize("settings", WITHIN_STEPS)
def test_a_cell_without_a_kernel_does_it_on_either_backend(settings: Recurrence) -> None:
    results = []
    for backend in BACKENDS:
        stack = make_stack("lstm_peephole", replace(settings, backend=backend), is_bidirectional=True)
        torch.manual_seed(4)
        results.append(stack.train()(draw(), LENGTHS)[0])
        assert not torch.allclose(results[-1], stack.eval()(draw(), LENGTHS)[0])
    assert torch.equal(*results)


# Padding ----------------------------------------------------------------------------------------------------------------------------


def on_more_padding(stack: RecurrentStack, num_steps: int) -> list[Tensor]:
    """Return outputs at valid steps, gradients and statistics, of sequences padded to so many steps."""
    values = torch.zeros(B, num_steps, F, dtype=torch.float64)
    values[:, :T] = draw() * valid_mask(LENGTHS, T)[..., None]
    torch.manual_seed(6)
    outputs, _ = stack(values, LENGTHS)
    assert not outputs[~valid_mask(LENGTHS, num_steps)].any()
    gradients = torch.autograd.grad(outputs.square().sum(), list(stack.parameters()))
    return [outputs[valid_mask(LENGTHS, num_steps)], *gradients, *(value.clone() for value in stack.buffers())]


@pytest.mark.parametrize("is_bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("cell", [name for name in ALL_CELLS if name != "mingru"])
def test_more_padding_changes_nothing_whatever_the_stack_can_do_is_switched_on(cell: str, is_bidirectional: bool) -> None:
    settings = replace(EVERYTHING, dropout=0.0)  # dropout between layers draws for padding, too
    expected = on_more_padding(make_stack(cell, settings, is_bidirectional).train(), T)
    for found, value in zip(on_more_padding(make_stack(cell, settings, is_bidirectional).train(), 4 * T), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", [name for name in ALL_CELLS if name != "mingru"])
def test_tested_each_sequence_is_as_if_alone_whatever_the_stack_can_do_is_switched_on(cell: str) -> None:
    stack = make_stack(cell, EVERYTHING, is_bidirectional=True).train()
    for _ in range(3):
        stack(draw(), LENGTHS)
    together, _ = stack.eval()(draw(), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, _ = stack(draw()[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=1e-10)
