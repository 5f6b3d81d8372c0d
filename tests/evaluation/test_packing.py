"""Claims about weights in few bytes: what is read again is what was rounded, nothing is far from what it was, and damage is refused."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from rnnlab.evaluation.packing import SMALLEST_SCALE, pack, quantised, restored, round_weights, scales, unpack


def state(sparsity: float = 0.0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(3)
    found = {"table.weight": torch.randn(41, 30, generator=random) * 0.1, "bias": torch.randn(7, generator=random)}
    found["conv.weight"] = torch.randn(5, 2, 3, 3, generator=random) * 20
    found["ngrams"] = torch.arange(12).view(3, 4)
    for name in ("table.weight", "conv.weight"):
        found[name][torch.rand(found[name].shape, generator=random) < sparsity] = 0
    return found


def shapes(of: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in of.items()}


@pytest.mark.parametrize("is_int8", [True, False])
@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_rounded_weights_come_back_to_the_bit_and_are_packed_to_the_same_bytes(is_int8: bool, sparsity: float) -> None:
    given = state(sparsity)
    if is_int8:
        round_weights(given)
    stored = pack(given, is_int8)
    found = unpack(load(save(stored)), shapes(given))
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) for name in given)
    again = pack(found, is_int8)
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[name], stored[name]) for name in stored)


def test_a_weight_moves_by_half_a_step_of_its_row_at_most_and_zero_stays() -> None:
    value = state(0.3)["table.weight"]
    whole, scale_N = quantised(value)
    moved = (restored(whole, scale_N) - value).abs()
    assert bool((moved <= scale_N[:, None] * (0.5 + 1e-5)).all())
    assert bool((whole[value == 0] == 0).all())
    exact_N = value.abs().amax(1) / 127
    assert bool((scale_N >= exact_N).all())
    assert bool((scale_N <= exact_N * (1 + 2**-9)).all())
    assert torch.equal(scale_N.half().float(), scale_N)


def test_rows_of_tiny_weights_and_of_none_have_the_smallest_scale() -> None:
    value = torch.tensor([[0.0, 0.0], [1e-5, -3e-5], [0.01, 0.0]])
    assert scales(value)[:2].tolist() == [SMALLEST_SCALE] * 2
    rounded = restored(*quantised(value))
    assert rounded.tolist()[:2] == [[0.0, 0.0], [0.0, -0.0]]


def test_bytes_are_those_that_the_page_says() -> None:
    def size(stored: dict[str, Tensor]) -> int:
        return sum(value.numel() * value.element_size() for value in stored.values())

    plain, others = 41 * 30 + 5 * 18, 7 * 4 + 12 * 8
    assert size(pack(state(), is_int8=True)) == plain + 2 * (41 + 5) + others
    sparse = state(0.8)
    num_kept = int((quantised(sparse["table.weight"])[0] != 0).sum())
    # of 90 weights of a byte each a bitmap is not worth its entry in the file's head
    assert size(pack(sparse, is_int8=True)) == num_kept + -(-41 * 30 // 8) + 5 * 18 + 2 * (41 + 5) + others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored.pop("table.weight:scale"), r"table.weight has no scale for each of its rows"),
        (lambda stored: stored.update({"table.weight:bitmap": torch.zeros(3, dtype=torch.uint8)}), r"bitmap does not fit the shape"),
        (lambda stored: stored.update({"table.weight:int8": torch.ones(9, dtype=torch.int8)}), r"9 weights that are not zero, and its bit"),
        (lambda stored: stored.update({"else:scale": torch.ones(3)}), r"else:scale belongs to no weights"),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    given = state(0.8)
    stored = pack(given, is_int8=True)
    change(stored)
    with pytest.raises(ValueError, match=message):
        unpack(stored, shapes(given))


def test_weights_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match=r"compression.int8: a matrix has weights that are not finite or larger than 8 million"):
        quantised(torch.tensor([[1.0, float("inf")]]))
