"""Dilated convolutions against hand-worked numbers, PyTorch's own layers, and what they claim to see."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from rnnlab.layers.tcn import Block, Convolutions, ConvolutionStack, DilatedConvolution

B, T, F, H = 2, 9, 3, 4


def settings(num_layers: int = 2, kernel_size: int = 2, has_weight_norm: bool = True, is_causal: bool = True) -> Convolutions:
    return Convolutions(H, num_layers, kernel_size, 0.0, has_weight_norm, is_causal)


def make_stack(given: Convolutions) -> ConvolutionStack:
    torch.manual_seed(1)
    return ConvolutionStack(F, given).double()


def drawn(num_steps: int = T) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(B, num_steps, F, dtype=torch.float64)


def test_one_unit_with_two_taps_and_dilation_two_equals_numbers_worked_out_by_hand() -> None:
    convolution = DilatedConvolution(1, Convolutions(1, 1, 2, 0.0, True, True), dilation=2)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[[3.0, 4.0]]]))  # direction (0.6, 0.8)
        convolution.gain.copy_(torch.tensor([10.0]))
        convolution.bias.copy_(torch.tensor([1.0]))
    found = convolution(torch.tensor([[[1.0, 2.0, 3.0, 5.0]]]))
    # 6 x_{t-2} + 8 x_t + 1
    torch.testing.assert_close(found, torch.tensor([[[9.0, 17.0, 31.0, 53.0]]]))


@pytest.mark.parametrize("has_weight_norm", [True, False])
def test_the_stack_equals_pytorchs_convolutions_cut_at_the_end(has_weight_norm: bool) -> None:
    """Written as the paper's figure 1: padded on both sides, the end cut off again."""
    stack, values = make_stack(settings(num_layers=3, kernel_size=3, has_weight_norm=has_weight_norm)), drawn()
    expected = values.transpose(1, 2)
    for level, block in enumerate(stack.blocks):
        assert isinstance(block, Block)
        inner = expected
        for ours in block.convolutions:
            theirs = nn.Conv1d(inner.shape[1], H, 3, padding=2 * 2**level, dilation=2**level).double()
            theirs.load_state_dict({"weight": ours.weight, "bias": ours.bias})
            if has_weight_norm:
                theirs = weight_norm(theirs)
                theirs.parametrizations.weight.original0.data.copy_(ours.gain[:, None, None])
            inner = torch.relu(theirs(inner)[..., :T])
        through = nn.functional.conv1d(expected, block.shortcut.weight, block.shortcut.bias) if level == 0 else expected  # type: ignore[arg-type]  # tensors
        expected = torch.relu(inner + through)
    found, lengths = stack(values, torch.tensor([T, T]))
    torch.testing.assert_close(found, expected.transpose(1, 2))
    assert lengths.tolist() == [T, T]


def test_weight_normalisation_changes_no_first_answer_and_makes_the_length_a_number_of_its_own() -> None:
    with_norm, without = make_stack(settings()), make_stack(settings(has_weight_norm=False))
    lengths = torch.tensor([T, T])
    torch.testing.assert_close(with_norm(drawn(), lengths)[0], without(drawn(), lengths)[0])
    before = with_norm(drawn(), lengths)[0]
    for part in with_norm.modules():
        if isinstance(part, DilatedConvolution):
            part.weight.data *= 7
    torch.testing.assert_close(with_norm(drawn(), lengths)[0], before)


@pytest.mark.parametrize(("num_layers", "kernel_size", "field"), [(1, 2, 3), (2, 3, 13), (3, 2, 15)])
def test_a_step_sees_as_far_back_as_the_formula_says_and_not_ahead(num_layers: int, kernel_size: int, field: int) -> None:
    stack = make_stack(settings(num_layers, kernel_size))
    assert stack.receptive_field == field
    values = drawn(num_steps=20).requires_grad_()
    # A unit at rest passes no gradient: the sum over units and sequences has some that don't.
    stack(values, torch.tensor([20, 20]))[0][:, 16].sum().backward()
    assert values.grad is not None
    seen = values.grad.abs().sum((0, 2)).nonzero().flatten().tolist()
    assert (seen[0], seen[-1]) == (16 - field + 1, 16)


def test_taps_that_look_ahead_see_as_far_on_both_sides() -> None:
    stack = make_stack(settings(2, 3, is_causal=False))
    values = drawn(num_steps=20).requires_grad_()
    stack(values, torch.tensor([20, 20]))[0][:, 9].sum().backward()
    assert values.grad is not None
    seen = values.grad.abs().sum((0, 2)).nonzero().flatten().tolist()
    assert (seen[0], seen[-1]) == (9 - 6, 9 + 6)


def test_what_lies_beyond_a_length_is_zero() -> None:
    found, lengths = make_stack(settings())(drawn(), torch.tensor([T, 4]))
    assert lengths.tolist() == [T, 4]
    assert found[1, 4:].abs().sum() == 0
    assert found[1, :4].abs().sum() > 0


def test_dropout_takes_whole_units_at_all_steps() -> None:
    torch.manual_seed(3)
    block = Block(H, Convolutions(H, 1, 2, 0.5, True, True), dilation=1)
    kept = block.dropout(torch.ones(50, H, T)).ne(0)
    assert torch.equal(kept, kept[..., :1].expand_as(kept))
    assert 0.3 < kept.float().mean() < 0.7
