"""Losses and their gradients by hand, in NumPy; each returns (mean over the batch, gradient of that mean).

Axis letters: B batch, C classes, D dimensions of a real target.

    squared error            L = mean_bd (y - t)^2                        dL/dy = 2 (y - t) / (B D)
    softmax, cross entropy   p = softmax(a), L = mean_b -ln p_b,t_b       dL/da = (p - onehot(t)) / B
    softmax, squared error   p = softmax(a), L = mean_b sum_c (p - e)^2   dL/da = J (2 (p - e)) / B, J = diag(p) - p p^T

The simple difference p - e belongs to the cross entropy. With the squared error the softmax's own derivative J stays in the product;
texts that print p - e there are wrong by a factor that depends on p (see the errata).
"""

import numpy as np

LossAndGradient = tuple[float, np.ndarray]


def softmax(logits_BC: np.ndarray) -> np.ndarray:
    """Return exp(a) / sum exp(a) of each row; the largest is taken off first, which changes nothing but keeps exp finite."""
    exponentials = np.exp(logits_BC - logits_BC.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-a)), written with tanh so that no exponential overflows."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))


def squared_error(outputs_BD: np.ndarray, targets_BD: np.ndarray) -> LossAndGradient:
    """Return the mean squared error of forecasts and its gradient; see the equations at the top."""
    differences = outputs_BD - targets_BD
    return float(np.mean(differences**2)), 2 * differences / differences.size


def softmax_cross_entropy(logits_BC: np.ndarray, targets_B: np.ndarray) -> LossAndGradient:
    """Return the mean cross entropy (nats) of classes and its gradient; see the equations at the top."""
    rows = np.arange(len(targets_B))
    shifted = logits_BC - logits_BC.max(-1, keepdims=True)
    losses_B = np.log(np.exp(shifted).sum(-1)) - shifted[rows, targets_B]
    gradient_BC = softmax(logits_BC)
    gradient_BC[rows, targets_B] -= 1
    return float(losses_B.mean()), gradient_BC / len(targets_B)


def softmax_squared_error(logits_BC: np.ndarray, targets_B: np.ndarray) -> LossAndGradient:
    """Return the mean squared distance of probabilities from the one-hot target (Brier's score) and its gradient."""
    p_BC = softmax(logits_BC)
    wanted_BC = np.eye(logits_BC.shape[1])[targets_B]
    of_p_BC = 2 * (p_BC - wanted_BC)
    of_logits_BC = p_BC * (of_p_BC - (of_p_BC * p_BC).sum(-1, keepdims=True))  # J v = p * v - p (p . v)
    return float(((p_BC - wanted_BC) ** 2).sum(-1).mean()), of_logits_BC / len(targets_B)
