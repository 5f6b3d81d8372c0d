"""The recurrent stack equals PyTorch's own layers, packed where sequences are padded."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.srnn import SRNNCell
from rnnlab.layers.recurrent import Recurrence, RecurrentStack, reverse_within_length

B, T, F, H = 2, 5, 3, 4
LENGTHS = torch.tensor([3, 5])
FULL = torch.tensor([5, 5])
CELLS: dict[str, Callable[..., Cell]] = {
    "srnn": lambda input_size, hidden_size: SRNNCell(input_size, hidden_size, "tanh"),
    "gru": GRUCell,
    "lstm": LSTMCell,
}
THEIRS: dict[str, type[nn.RNNBase]] = {"srnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def recurrence(num_layers: int = 1, dropout: float = 0.0, has_layer_norm: bool = False) -> Recurrence:
    return Recurrence(H, num_layers, dropout, has_layer_norm, "uniform")


def make_stack(cell: str, settings: Recurrence, is_bidirectional: bool) -> RecurrentStack:
    torch.manual_seed(1)
    return RecurrentStack(F, CELLS[cell], settings, is_bidirectional).double()


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
    torch.testing.assert_close(dropped, second(functional.dropout(first(inputs).contiguous(), 0.4)))
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
