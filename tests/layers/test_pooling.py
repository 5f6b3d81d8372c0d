"""Each pooling on numbers worked out by hand: two sequences, of two and three steps, with rubbish beyond the first's end."""

from math import exp, tanh
from typing import get_args

import pytest
import torch
from torch import Tensor

from rnnlab.layers.pooling import Pooling, PoolingKind

VALUES = torch.tensor(
    [
        [[1.0, -4.0], [3.0, -6.0], [99.0, 99.0]],
        [[0.0, 5.0], [2.0, 1.0], [7.0, -3.0]],
    ]
)
LENGTHS = torch.tensor([2, 3])


def pooled(kind: PoolingKind, num_directions: int = 1) -> Tensor:
    pooling = Pooling(kind, 2, num_directions)
    result: Tensor = pooling(VALUES, LENGTHS)
    assert result.shape == (2, pooling.output_size)
    return result


def test_last_takes_each_sequences_own_final_step() -> None:
    assert pooled("last").tolist() == [[3, -6], [7, -3]]


def test_last_of_both_directions_takes_the_backward_half_where_it_ends_at_the_first_step() -> None:
    assert pooled("last", num_directions=2).tolist() == [[3, -4], [7, 5]]


@pytest.mark.parametrize("num_directions", [1, 2])
def test_mean_divides_by_each_sequences_own_length(num_directions: int) -> None:
    assert pooled("mean", num_directions).tolist() == [[2, -5], [3, 1]]


def test_max_never_takes_padding_not_even_where_all_is_negative() -> None:
    assert pooled("max").tolist() == [[3, -4], [7, 5]]
    zeroed = VALUES.masked_fill(VALUES == 99, 0)
    assert Pooling("max", 2, 1)(zeroed, LENGTHS).tolist() == [[3, -4], [7, 5]]


def test_mean_max_puts_both_side_by_side() -> None:
    assert pooled("mean_max").tolist() == [[2, -5, 3, -4], [3, 1, 7, 5]]


def test_attention_weighs_valid_steps_by_a_softmax_of_their_scores() -> None:
    pooling = Pooling("attention", 2, 1)
    with torch.no_grad():
        pooling.project.weight.copy_(torch.tensor([[0.2, 0.0], [0.1, -0.1]]))
        pooling.project.bias.copy_(torch.tensor([0.05, 0.0]))
        pooling.score.weight.copy_(torch.tensor([[1.5, -0.5]]))

    def score(a: float, b: float) -> float:
        return 1.5 * tanh(0.2 * a + 0.05) - 0.5 * tanh(0.1 * a - 0.1 * b)

    for row, steps in zip(pooling(VALUES, LENGTHS), [[(1, -4), (3, -6)], [(0, 5), (2, 1), (7, -3)]], strict=True):
        weights = [exp(score(*step)) for step in steps]
        expected = [sum(w * step[i] for w, step in zip(weights, steps, strict=True)) / sum(weights) for i in (0, 1)]
        assert row.tolist() == pytest.approx(expected, rel=1e-5)


def test_attention_weights_sum_to_one_over_valid_steps() -> None:
    torch.manual_seed(0)
    pooling = Pooling("attention", 3, 1)
    values = torch.randn(2, 3, 3)
    values[..., 0] = 1.0  # what is constant over valid steps comes out as it is
    values[0, 2] = 1000.0
    assert pooling(values, LENGTHS)[:, 0].tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("kind", get_args(PoolingKind))
def test_a_sequence_of_one_step_pools_to_that_step(kind: PoolingKind) -> None:
    torch.manual_seed(0)
    result = Pooling(kind, 2, 1)(VALUES[:, :2], torch.tensor([1, 1]))
    assert result[0].tolist() == pytest.approx([1, -4] * (len(result[0]) // 2))


def test_an_unknown_kind_is_refused_with_those_that_exist() -> None:
    pooling = Pooling("median", 2, 1)  # type: ignore[arg-type]  # a wrong value, on purpose
    with pytest.raises(ValueError, match=r"pooling='median' is not one of last, mean, max, mean_max, attention"):
        pooling(VALUES, LENGTHS)
