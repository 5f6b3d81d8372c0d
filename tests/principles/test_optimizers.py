"""Optimizers by hand walk where PyTorch's walk."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.principles.optimizers import Adam, GradientDescent, Optimizer, RMSprop, clip

NUM_STEPS = 20
CASES: dict[str, tuple[Callable[[], Optimizer], Callable[[Iterable[Tensor]], torch.optim.Optimizer]]] = {
    "gradient descent": (lambda: GradientDescent(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (lambda: GradientDescent(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9)),
    "rmsprop": (lambda: RMSprop(0.01), lambda p: torch.optim.RMSprop(p, 0.01)),
    "adam": (lambda: Adam(0.05), lambda p: torch.optim.Adam(p, 0.05)),
}


@pytest.mark.parametrize("name", CASES)
def test_twenty_steps_down_a_valley_end_where_pytorchs_end(name: str) -> None:
    random = np.random.default_rng(1)
    start, slopes = random.standard_normal((3, 2)), random.uniform(0.1, 3, (3, 2))
    ours, theirs = CASES[name]
    weights, optimizer = {"w": start.copy()}, ours()
    parameter = torch.tensor(start.copy(), requires_grad=True)
    reference = theirs([parameter])
    for _ in range(NUM_STEPS):
        optimizer.step(weights, {"w": slopes * np.sin(weights["w"])})
        parameter.grad = torch.tensor(slopes) * parameter.detach().sin()
        reference.step()
    np.testing.assert_allclose(weights["w"], parameter.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert np.abs(weights["w"] - start).max() > 0.1


def test_clipping_scales_all_gradients_by_one_factor_and_says_the_norm_before() -> None:
    gradients = {"a": np.array([3.0]), "b": np.array([[0.0, 4.0]])}
    assert clip(gradients, 10.0) == 5.0
    assert gradients["a"][0] == 3.0
    assert clip(gradients, 1.0) == 5.0
    np.testing.assert_allclose([gradients["a"][0], gradients["b"][0, 1]], [0.6, 0.8])


def test_a_learning_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lr=0 is not allowed: a learning rate is positive"):
        GradientDescent(0)
