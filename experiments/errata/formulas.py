"""Worked examples and single formulas, in NumPy."""

import numpy as np

W_H = np.array([[0.1, 0.2], [0.3, 0.4]])
B_H = np.array([0.5, 0.6])
W_O, B_O = np.array([0.7, 0.8]), 0.9
H_0, X_1 = 0.0, 1.0


def sigmoid(z: np.ndarray | float) -> np.ndarray:
    """Return 1 / (1 + exp(-z))."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(z))))


def worked_example() -> dict[str, object]:
    """W_h = [[0.1, 0.2], [0.3, 0.4]], b_h = [0.5, 0.6], W_o = [0.7, 0.8], b_o = 0.9, h_0 = 0, x_1 = 1, all sigmoid."""
    z = W_H @ np.array([H_0, X_1]) + B_H
    h = sigmoid(z)
    printed_h = np.array([0.71, 0.86])
    return {
        "W_h [h_0, x_1] + b_h (printed 0.65, 0.85)": z.tolist(),
        "h_1 (printed 0.71, 0.86)": h.tolist(),
        "sigmoid of the printed 0.65, 0.85": sigmoid(np.array([0.65, 0.85])).tolist(),
        "W_o h_1 + b_o (printed 1.49)": float(W_O @ h + B_O),
        "the same sum from the printed h_1": float(W_O @ printed_h + B_O),
        "y_1 (printed 0.92)": float(sigmoid(W_O @ h + B_O)),
        "sigmoid of the printed 1.49": float(sigmoid(1.49)),
    }


def worked_example_second_step() -> dict[str, object]:
    """With the 2 x 2 matrix of the example, step 2 cannot be formed: [h_1, x_2] has three entries."""
    h_1 = sigmoid(W_H @ np.array([H_0, X_1]) + B_H)
    try:
        W_H @ np.array([*h_1, 1.0])
    except ValueError as error:
        return {"[h_1, x_2] has entries": 3, "NumPy says": str(error)}
    raise AssertionError("the product was formed")


def input_gradient() -> dict[str, object]:
    """The printed factor (1 - x^2) makes the gradient of every input of 1 vanish; it is the activation's derivative that belongs there."""
    w_x, w_h = W_H[:, 1], W_H[:, 0]

    def output(x: float) -> float:
        return float(sigmoid(W_O @ sigmoid(w_h * H_0 + w_x * x + B_H) + B_O))

    h = sigmoid(w_h * H_0 + w_x * X_1 + B_H)
    y = output(X_1)
    by_hand = w_x @ (W_O * y * (1 - y) * h * (1 - h))
    step = 1e-6
    return {
        "dy_1/dx_1, printed: (1 - x_1^2) ...": 0.0,
        "dy_1/dx_1, by hand": float(by_hand),
        "dy_1/dx_1, finite difference": (output(X_1 + step) - output(X_1 - step)) / (2 * step),
    }


def sigmoid_derivative() -> dict[str, object]:
    """The derivative of the sigmoid at y_1 is y (1 - y); 1 - y^2 is that of tanh."""
    z = float(W_O @ sigmoid(W_H @ np.array([H_0, X_1]) + B_H) + B_O)
    y, step = float(sigmoid(z)), 1e-6
    return {
        "printed: 1 - y^2": 1 - y**2,
        "y (1 - y)": y * (1 - y),
        "finite difference": float(sigmoid(z + step) - sigmoid(z - step)) / (2 * step),
    }


def softmax_of_one() -> dict[str, object]:
    """A softmax over a single output is 1 whatever the network says."""
    return {"softmax of -5, 0, 5, each alone": [float(np.exp(z)[0] / np.exp(z).sum()) for z in np.array([[-5.0], [0.0], [5.0]])]}


def binary_cross_entropy() -> dict[str, object]:
    """-1/n sum y log p, as printed for labels 0 and 1, is best at p = 1 whatever the label."""
    y = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    p, right = np.full(5, 0.999), np.clip(y, 0.001, 0.999)

    def whole(p: np.ndarray) -> float:
        return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))

    return {
        "printed loss, p = 0.999 everywhere": float(-np.mean(y * np.log(p))),
        "with (1 - y) log(1 - p): p = 0.999 everywhere": whole(p),
        "with (1 - y) log(1 - p): p right to 0.001": whole(right),
    }


def adam_as_printed() -> dict[str, object]:
    """theta - alpha m / (1 - beta1^t) grad, as printed, has no v and multiplies by the gradient once more."""
    import torch

    alpha, beta1, beta2, eps = 0.1, 0.9, 0.999, 1e-8
    scales = np.array([1.0, 100.0])

    def run(is_printed: bool) -> np.ndarray:
        theta, m, v = np.ones(2), np.zeros(2), np.zeros(2)
        for t in range(1, 31):
            grad = np.clip(scales * theta, -1e100, 1e100)  # the printed rule leaves what numbers can hold
            m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad**2
            mean, square = m / (1 - beta1**t), v / (1 - beta2**t)
            theta = theta - alpha * (mean * grad if is_printed else mean / (np.sqrt(square) + eps))
        return theta

    by_torch = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([by_torch], lr=alpha, betas=(beta1, beta2), eps=eps)
    for _ in range(30):
        optimizer.zero_grad()
        (0.5 * torch.tensor(scales) * by_torch**2).sum().backward()
        optimizer.step()
    return {
        "minimised": "(x^2 + 100 y^2) / 2 from (1, 1), 30 steps of 0.1",
        "as printed": run(True).tolist(),
        "m / (sqrt(v) + eps)": run(False).tolist(),
        "torch.optim.Adam": by_torch.detach().tolist(),
    }


def sigmoid_everywhere() -> dict[str, object]:
    """An LSTM whose candidate and output are squashed by a sigmoid has a memory that never shrinks below 0, and outputs of one sign."""
    generator = np.random.default_rng(0)
    size, steps = 16, 200
    lowest_c, lowest_share, highest_share = np.inf, np.inf, -np.inf
    for _ in range(10):
        weights = generator.normal(0, 1, (4, size, size + 4))
        h, c = np.zeros(size), np.zeros(size)
        for _ in range(steps):
            i, f, o, g = (sigmoid(w @ np.concatenate([h, generator.normal(0, 1, 4)])) for w in weights)
            c = f * c + i * g
            h = o * sigmoid(c)
            lowest_c = min(lowest_c, c.min())
            lowest_share, highest_share = min(lowest_share, (h / o).min()), max(highest_share, (h / o).max())
    return {
        "lowest memory in 10 networks of 200 steps": float(lowest_c),
        "h / o, lowest and highest (tanh: -1 to 1)": [float(lowest_share), float(highest_share)],
    }


def matrix_product() -> dict[str, object]:
    """sum of A_i . B_i, row i of A with column i of B, is no product of matrices; sums of outer products are."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(3, 4)), generator.normal(size=(4, 5))
    try:
        said = str(sum(a[i] @ b[:, i] for i in range(4)))
    except IndexError as error:
        said = f"IndexError: {error}"
    outer = sum(np.outer(a[:, k], b[k]) for k in range(4))
    return {
        "row i of A with column i of B, 3 x 4 by 4 x 5": said,
        "largest difference of summed outer products": float(np.abs(outer - a @ b).max()),
    }


CHECKS = (
    worked_example,
    worked_example_second_step,
    input_gradient,
    sigmoid_derivative,
    softmax_of_one,
    binary_cross_entropy,
    adam_as_printed,
    sigmoid_everywhere,
    matrix_product,
)
