"""Gradients as printed, against finite differences of the loss they are said to be of. A simple recurrent network in NumPy."""

from collections.abc import Callable

import numpy as np

Weights = dict[str, np.ndarray]
STEPS, INPUTS, HIDDEN, OUTPUTS, SEEDS = 6, 3, 5, 4, 10


def drawn(seed: int) -> tuple[Weights, np.ndarray, np.ndarray]:
    """Return weights, inputs (T, F) and one-hot labels (T, C)."""
    generator = np.random.default_rng(seed)
    sizes = {"W_xh": (HIDDEN, INPUTS), "W_hh": (HIDDEN, HIDDEN), "W_hy": (OUTPUTS, HIDDEN), "b_h": (HIDDEN,), "b_y": (OUTPUTS,)}
    weights = {name: generator.normal(0, 0.5, size) for name, size in sizes.items()}
    labels = np.eye(OUTPUTS)[generator.integers(OUTPUTS, size=STEPS)]
    return weights, generator.normal(size=(STEPS, INPUTS)), labels


def forward(weights: Weights, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden states (T + 1, H), the first of them zero, and softmax outputs (T, C)."""
    hidden, outputs = [np.zeros(HIDDEN)], []
    for x in inputs:
        hidden.append(np.tanh(weights["W_xh"] @ x + weights["W_hh"] @ hidden[-1] + weights["b_h"]))
        scores = np.exp(weights["W_hy"] @ hidden[-1] + weights["b_y"])
        outputs.append(scores / scores.sum())
    return np.array(hidden), np.array(outputs)


def squared_error(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return half the sum of squares."""
    return float(((outputs - labels) ** 2).sum() / 2)


def cross_entropy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the sum over steps."""
    return float(-(labels * np.log(outputs)).sum())


def backward(
    weights: Weights, inputs: np.ndarray, labels: np.ndarray, *, has_jacobian: bool = False, is_counted_twice: bool = False
) -> Weights:
    """Return gradients by backpropagation through time.

    Args:
        weights, inputs, labels: see `drawn`.
        has_jacobian: multiply y - label by the softmax's Jacobian, as the squared error wants it.
        is_counted_twice: what comes from the next step is multiplied by its (1 - h^2) once more, as printed.
    """
    hidden, outputs = forward(weights, inputs)
    found = {name: np.zeros_like(value) for name, value in weights.items()}
    dz_after = np.zeros(HIDDEN)
    for t in range(STEPS - 1, -1, -1):
        y = outputs[t]
        d_scores = y - labels[t]
        if has_jacobian:
            d_scores = (np.diag(y) - np.outer(y, y)) @ d_scores
        h, before = hidden[t + 1], hidden[t]
        carried = weights["W_hh"].T @ dz_after
        if is_counted_twice and t + 2 < len(hidden):
            carried = weights["W_hh"].T @ (dz_after * (1 - hidden[t + 2] ** 2))
        dz_after = (weights["W_hy"].T @ d_scores + carried) * (1 - h**2)
        gradients = (np.outer(dz_after, inputs[t]), np.outer(dz_after, before), np.outer(d_scores, h), dz_after, d_scores)
        for name, gradient in zip(("W_xh", "W_hh", "W_hy", "b_h", "b_y"), gradients, strict=True):
            found[name] += gradient
    return found


def finite_differences(weights: Weights, loss: Callable[[Weights], float]) -> Weights:
    """Return central differences of a loss with respect to every weight."""
    step, found = 1e-6, {name: np.zeros_like(value) for name, value in weights.items()}
    for name, value in weights.items():
        for place in np.ndindex(value.shape):
            kept = value[place]
            value[place] = kept + step
            above = loss(weights)
            value[place] = kept - step
            found[name][place] = (above - loss(weights)) / (2 * step)
            value[place] = kept
    return found


def relative_errors(loss: Callable[[np.ndarray, np.ndarray], float], **as_printed: bool) -> dict[str, list[float]]:
    """Return for each weight |gradient - finite difference| / |finite difference| over the seeds."""
    errors: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        weights, inputs, labels = drawn(seed)

        def loss_of(changed: Weights, inputs: np.ndarray = inputs, labels: np.ndarray = labels) -> float:
            return loss(forward(changed, inputs)[1], labels)

        true = finite_differences(weights, loss_of)
        said = backward(weights, inputs, labels, **as_printed)
        for name in weights:
            errors.setdefault(name, []).append(float(np.linalg.norm(said[name] - true[name]) / np.linalg.norm(true[name])))
    return errors


def in_words(errors: dict[str, list[float]], start: str) -> dict[str, object]:
    """Return mean, smallest and largest error of each weight."""
    return {f"{start} {name}": [float(np.mean(found)), min(found), max(found)] for name, found in errors.items()}


def softmax_squared_error() -> dict[str, object]:
    """y - label is not the gradient of softmax with squared error; relative errors: mean, least, largest of 10 networks."""
    right = relative_errors(squared_error, has_jacobian=True)
    return {
        **in_words(relative_errors(squared_error), "as printed,"),
        "with (diag(y) - y y'), largest of all": max(max(found) for found in right.values()),
    }


def counted_twice() -> dict[str, object]:
    """dL/dz_{t+1} already holds (1 - h^2); with cross entropy, relative errors where it is multiplied once more."""
    wrong, right = relative_errors(cross_entropy, is_counted_twice=True), relative_errors(cross_entropy)
    return {
        **in_words({name: wrong[name] for name in ("W_hh", "W_xh", "b_h")}, "as printed,"),
        "counted once, largest of all": max(max(found) for found in right.values()),
    }


def ascent() -> dict[str, object]:
    """d_output = 2 (y - output) with `-=` climbs: the loss of the text's network, its shapes repaired, over 60 steps; 10 seeds."""
    losses = {sign: np.array([regressor(seed, sign) for seed in range(SEEDS)]) for sign in (-1.0, 1.0)}
    return {
        "loss before, median": float(np.median(losses[1.0][:, 0])),
        "after 60 steps with 2 (y - output), median": float(np.median(losses[-1.0][:, 1])),
        "after 60 steps with 2 (output - y), median": float(np.median(losses[1.0][:, 1])),
        "seeds in which the printed sign made it worse": f"{int((losses[-1.0][:, 1] > losses[-1.0][:, 0]).sum())} of {SEEDS}",
    }


def regressor(seed: int, sign: float) -> tuple[float, float]:
    """Train the text's feed-forward network (1 input, 100 hidden sigmoids, N(0, 1) weights) and return its loss before and after."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (20, 1))
    y = np.sin(3 * x)
    w_in, w_out = generator.normal(size=(2, 100)), generator.normal(size=(101, 1))
    with_one = np.hstack([x, np.ones_like(x)])

    def run() -> tuple[np.ndarray, np.ndarray]:
        hidden = 1 / (1 + np.exp(-(with_one @ w_in)))
        return hidden, np.hstack([hidden, np.ones_like(x)]) @ w_out

    before = float(np.mean((run()[1] - y) ** 2))
    for _ in range(60):
        hidden, output = run()
        d_output = sign * 2 * (output - y) / len(x)
        d_hidden = d_output @ w_out[:-1].T * hidden * (1 - hidden)
        w_out -= 0.002 * np.hstack([hidden, np.ones_like(x)]).T @ d_output
        w_in -= 0.002 * with_one.T @ d_hidden
    return before, float(np.mean((run()[1] - y) ** 2))


CHECKS = (softmax_squared_error, counted_twice, ascent)
