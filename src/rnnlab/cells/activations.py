"""Activation functions of the simple cell, each with its derivative.

    tanh        (e^a - e^-a) / (e^a + e^-a)     1 - f^2
    sigmoid     1 / (1 + e^-a)                  f (1 - f)
    relu        max(a, 0)                       1 where a > 0, else 0          (at 0: 0, as PyTorch takes it)
    leaky_relu  a, or a / 100 where a <= 0      1 or 1/100                     Maas et al. (2013)
    selu        s a, or s m (e^a - 1)           s or s m e^a                   Klambauer et al. (2017), m = 1.6733, s = 1.0507
    identity    a                               1

The parametric ReLU (He et al. 2015) is a leaky one whose slope is learned; that weight belongs to the cell.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEAK = 0.01
SELU_MINUS, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class Activation:
    """A function of the sum a, and its derivative, from a and f(a)."""

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS = {
    "tanh": Activation(torch.tanh, lambda a, f: 1 - f * f),
    "sigmoid": Activation(torch.sigmoid, lambda a, f: f * (1 - f)),
    "relu": Activation(torch.relu, lambda a, f: (a > 0).to(a)),
    "leaky_relu": Activation(lambda a: F.leaky_relu(a, LEAK), lambda a, f: torch.ones_like(a).where(a > 0, LEAK)),
    "selu": Activation(torch.selu, lambda a, f: SELU_SCALE * torch.where(a > 0, 1.0, SELU_MINUS * a.exp())),
    "identity": Activation(lambda a: a, lambda a, f: torch.ones_like(a)),
}
