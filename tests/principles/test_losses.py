"""Losses by hand equal PyTorch's, and so do their gradients."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rnnlab.principles.losses import (
    LossAndGradient,
    sigmoid,
    softmax_cross_entropy,
    softmax_squared_error,
    squared_error,
)

B, C = 5, 4
RANDOM = np.random.default_rng(0)
OUTPUTS, REAL = 3 * RANDOM.standard_normal((B, C)), RANDOM.standard_normal((B, C))
CLASSES = RANDOM.integers(0, C, B)


def brier(logits: Tensor, targets: Tensor) -> Tensor:
    return ((logits.softmax(-1) - F.one_hot(targets, C)) ** 2).sum(-1).mean()


CASES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], LossAndGradient], Callable[[Tensor, Tensor], Tensor], np.ndarray]] = {
    "squared error": (squared_error, F.mse_loss, REAL),
    "softmax, cross entropy": (softmax_cross_entropy, F.cross_entropy, CLASSES),
    "softmax, squared error": (softmax_squared_error, brier, CLASSES),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_and_its_gradient_by_hand_are_pytorchs(name: str) -> None:
    ours, theirs, targets = CASES[name]
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    expected = theirs(outputs, torch.tensor(targets))
    expected.backward()
    loss, gradient = ours(OUTPUTS, targets)
    assert outputs.grad is not None
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, outputs.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_the_difference_alone_is_no_gradient_of_a_squared_error_behind_a_softmax() -> None:
    _, right = softmax_squared_error(OUTPUTS, CLASSES)
    _, often_printed = softmax_cross_entropy(OUTPUTS, CLASSES)
    assert np.linalg.norm(often_printed - right) > np.linalg.norm(right)


def test_large_outputs_stay_finite() -> None:
    far = np.array([[800.0, -800.0]])
    assert softmax_cross_entropy(far, np.array([1]))[0] == pytest.approx(1600)
    np.testing.assert_allclose(sigmoid(far), [[1, 0]])
