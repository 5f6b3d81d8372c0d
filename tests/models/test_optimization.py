"""Clipping is PyTorch's, to the last bit, also where a pass over the gradients is left out."""

import pytest
import torch
from torch import nn

from rnnlab.models.optimization import clip


@pytest.mark.parametrize("is_known", [False, True], ids=["norm to be computed", "norm known"])
@pytest.mark.parametrize("most", [0.01, 1.0, 5.0, 5.0000005, 5.000002, 100.0])
def test_clipping_by_norm_is_pytorchs(most: float, is_known: bool) -> None:
    ours, theirs = nn.Linear(2, 1), nn.Linear(2, 1)
    for model in (ours, theirs):
        model.weight.grad, model.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])  # a norm of 5
    norm = torch.tensor(5.0) if is_known else None
    clip(torch.optim.SGD(ours.parameters(), lr=1.0), most, is_by_value=False, norm=norm)
    nn.utils.clip_grad_norm_(theirs.parameters(), most)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert own.grad is not None and other.grad is not None
        assert torch.equal(own.grad, other.grad)
    assert ours.weight.grad is not None
    assert ours.weight.grad[0, 0] == pytest.approx(min(3.0, 3.0 * most / 5))


def test_clipping_by_value_leaves_out_what_has_no_gradient() -> None:
    model = nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[3.0, -0.1]])
    clip(torch.optim.SGD(model.parameters(), lr=1.0), 0.5, is_by_value=True, norm=None)
    assert model.weight.grad.tolist() == [[0.5, pytest.approx(-0.1)]]
    assert model.bias.grad is None
