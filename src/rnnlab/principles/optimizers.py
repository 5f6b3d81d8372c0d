"""Optimizers written out: from weights, gradients and what is remembered to new weights, in place, in NumPy.

With g the gradient of a weight w and lr the learning rate, at step t = 1, 2, ...:

    gradient descent   w -= lr g
    momentum           v  = mu v + g                                     w -= lr v            (Polyak 1964; first step v = g)
    RMSprop            s  = rho s + (1 - rho) g^2                        w -= lr g / (sqrt(s) + eps)      (Tieleman & Hinton 2012)
    Adam               m  = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
                       w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)               (Kingma & Ba 2015, algorithm 1)

Defaults are PyTorch's, with which each agrees to the last bits.
"""

from abc import ABC, abstractmethod
from typing import final

import numpy as np

Arrays = dict[str, np.ndarray]


class Optimizer(ABC):
    """Change weights by their gradients, at a positive learning rate."""

    def __init__(self, lr: float) -> None:
        if not lr > 0:
            raise ValueError(f"lr={lr} is not allowed: a learning rate is positive")
        self.lr = lr

    @abstractmethod
    def step(self, weights: Arrays, gradients: Arrays) -> None:
        """Change weights in place by their gradients of the same names and shapes."""


@final
class GradientDescent(Optimizer):
    """Go down the gradient; with `momentum` mu > 0 go on in the direction of earlier steps, too."""

    def __init__(self, lr: float, momentum: float = 0.0) -> None:
        super().__init__(lr)
        self.momentum = momentum
        self.velocity: Arrays = {}

    def step(self, weights: Arrays, gradients: Arrays) -> None:
        for name, gradient in gradients.items():
            self.velocity[name] = self.momentum * self.velocity.get(name, 0) + gradient
            weights[name] -= self.lr * self.velocity[name]


@final
class RMSprop(Optimizer):
    """Divide each gradient by its recent size."""

    def __init__(self, lr: float, rho: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.rho, self.eps = rho, eps
        self.squares: Arrays = {}

    def step(self, weights: Arrays, gradients: Arrays) -> None:
        for name, gradient in gradients.items():
            self.squares[name] = self.rho * self.squares.get(name, 0) + (1 - self.rho) * gradient**2
            weights[name] -= self.lr * gradient / (np.sqrt(self.squares[name]) + self.eps)


@final
class Adam(Optimizer):
    """Divide the mean of recent gradients by their recent size, both corrected for having begun at zero."""

    def __init__(self, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.betas, self.eps = betas, eps
        self.means: Arrays = {}
        self.squares: Arrays = {}
        self.num_steps = 0

    def step(self, weights: Arrays, gradients: Arrays) -> None:
        self.num_steps += 1
        first, second = self.betas
        for name, gradient in gradients.items():
            self.means[name] = first * self.means.get(name, 0) + (1 - first) * gradient
            self.squares[name] = second * self.squares.get(name, 0) + (1 - second) * gradient**2
            mean = self.means[name] / (1 - first**self.num_steps)
            size = np.sqrt(self.squares[name] / (1 - second**self.num_steps))
            weights[name] -= self.lr * mean / (size + self.eps)


def clip(gradients: Arrays, max_norm: float) -> float:
    """Scale all gradients, in place, so that their joint norm is at most `max_norm`; return the norm before (Pascanu et al. 2013)."""
    norm = float(np.sqrt(sum((gradient**2).sum() for gradient in gradients.values())))
    if norm > max_norm:
        for gradient in gradients.values():
            gradient *= max_norm / norm
    return norm
