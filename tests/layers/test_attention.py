"""Claims about attention: it is what its equations say, and padding has no weight."""

import math

import pytest
import torch
from torch import Tensor

from rnnlab.layers.attention import Attention, AttentionKind, coverage, sharpness

LENGTHS_B = torch.tensor([5, 2])
KINDS: tuple[AttentionKind, ...] = ("bahdanau", "luong_dot", "luong_general")


def make(kind: AttentionKind) -> Attention:
    torch.manual_seed(3)
    return Attention(kind, 4, 4, 6)


@torch.no_grad()
def by_hand(attention: Attention, query: Tensor, step: Tensor) -> float:
    """Score one query against one step, number by number."""
    weights = dict(attention.named_parameters())
    if attention.kind == "luong_dot":
        return sum(float(query[i] * step[i]) for i in range(4))
    if attention.kind == "luong_general":
        matrix = weights["from_memory.weight"]
        return sum(float(query[i] * matrix[i, j] * step[j]) for i in range(4) for j in range(4))
    total = 0.0
    for a in range(6):
        inner = float(weights["from_query.bias"][a])
        inner += sum(float(weights["from_query.weight"][a, i] * query[i]) for i in range(4))
        inner += sum(float(weights["from_memory.weight"][a, j] * step[j]) for j in range(4))
        total += float(weights["score.weight"][0, a]) * math.tanh(inner)
    return total


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_contexts_are_those_of_the_equations(kind: AttentionKind) -> None:
    attention = make(kind)
    values, queries = torch.randn(2, 5, 4), torch.randn(2, 3, 4)
    contexts, weights = attention(queries, attention.remember(values, LENGTHS_B))
    assert contexts.shape == (2, 3, 4) and weights.shape == (2, 3, 5)
    for row, length in enumerate(LENGTHS_B.tolist()):
        for place in range(3):
            scores = [math.exp(by_hand(attention, queries[row, place], values[row, step])) for step in range(length)]
            wanted = [score / sum(scores) for score in scores] + [0.0] * (5 - length)
            assert weights[row, place].tolist() == pytest.approx(wanted, abs=1e-6)
            context = sum(wanted[step] * values[row, step] for step in range(length))
            assert contexts[row, place].tolist() == pytest.approx(context.tolist(), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_beyond_a_length_has_no_weight_and_changes_nothing(kind: AttentionKind) -> None:
    attention = make(kind)
    values, queries = torch.randn(2, 5, 4), torch.randn(2, 3, 4)
    other = values.clone()
    other[1, 2:] = 1e6
    one, other_weights = (attention(queries, attention.remember(part, LENGTHS_B)) for part in (values, other))
    assert (one[1][1, :, 2:] == 0).all()
    assert torch.equal(one[0], other_weights[0]) and torch.equal(one[1], other_weights[1])


def test_dot_products_of_states_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"decoder's have 4 numbers and the encoder's 6: set model.decoder.hidden_size=6, or take"):
        Attention("luong_dot", 4, 6, 2)


def test_a_memory_of_some_sequences_is_that_of_them_alone() -> None:
    attention = make("luong_general")
    values, queries = torch.randn(2, 5, 4), torch.randn(2, 3, 4)
    whole = attention(queries, attention.remember(values, LENGTHS_B))
    part = attention(queries[1:], attention.remember(values, LENGTHS_B).select(torch.tensor([1])))
    assert torch.allclose(whole[0][1:], part[0]) and torch.allclose(whole[1][1:], part[1])


def test_sharpness_and_coverage_by_hand() -> None:
    weights_BST = torch.tensor([[[1.0, 0, 0], [0.5, 0.5, 0], [9, 9, 9]], [[0.2, 0.8, 0], [0.1, 0.9, 0], [0.5, 0.5, 0]]])
    target_lengths_B, source_lengths_B = torch.tensor([2, 3]), torch.tensor([3, 2])
    assert float(sharpness(weights_BST, target_lengths_B)) == pytest.approx((1 + 0.5 + 0.8 + 0.9 + 0.5) / 5)
    # first: steps seen 1.5 -> 1, 0.5, 0 of min(2, 3) = 2; second: 0.8, 2.2 -> 1 of min(3, 2) = 2
    assert float(coverage(weights_BST, target_lengths_B, source_lengths_B)) == pytest.approx(((1 + 0.5) / 2 + (0.8 + 1) / 2) / 2)
