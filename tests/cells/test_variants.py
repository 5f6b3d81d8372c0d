"""Every cell in conf/cell equals a plain loop in NumPy that was written from its paper's equations, unit by unit."""

from collections.abc import Callable
from math import e, erfc, exp, pi, sqrt, tanh
from typing import get_args

import numpy as np
import pytest
import torch
import yaml

from rnnlab.cells.srnn import Activation
from rnnlab.config import recipe
from rnnlab.paths import CONF

CELLS = sorted(file.stem for file in (CONF / "cell").glob("*.yaml"))
T, F, H = 5, 3, 4
Array = np.ndarray
Weights = dict[str, Array]
Hidden = Array | list[float]
Step = Callable[[Weights, Array, Hidden, Hidden], tuple[Hidden, Hidden]]
"""From weights, input, hidden state and memory to hidden state and memory."""


def sigmoid(a: float) -> float:
    return 1 / (1 + exp(-a))


def total(row: Array, vector: Hidden) -> float:
    return sum(float(a) * float(b) for a, b in zip(row, vector, strict=True))


def sums(w: Weights, x: Array, h: Hidden) -> list[list[float]]:
    """Return W_i x + b_i + W_h h + b_h, a list of H numbers for each gate."""
    flat = [
        total(w["weight_ih"][row], x) + w["bias_ih"][row] + total(w["weight_hh"][row], h) + w["bias_hh"][row]
        for row in range(len(w["weight_ih"]))
    ]
    return [flat[start : start + H] for start in range(0, len(flat), H)]


def simple(function: Callable[[float], float]) -> Step:
    return lambda w, x, h, c: ([function(a) for a in sums(w, x, h)[0]], c)


def lstm(w: Weights, x: Array, h: Hidden, c: Hidden) -> tuple[Hidden, Hidden]:
    i, f, g, o = sums(w, x, h)
    memory = [sigmoid(f[u]) * c[u] + sigmoid(i[u]) * tanh(g[u]) for u in range(H)]
    return [sigmoid(o[u]) * tanh(memory[u]) for u in range(H)], memory


def peephole(w: Weights, x: Array, h: Hidden, c: Hidden) -> tuple[Hidden, Hidden]:
    hidden, memory = [], []
    for u, (i, f, g, o) in enumerate(zip(*sums(w, x, h), strict=True)):
        kept = sigmoid(f + w["peephole_f"][u] * c[u]) * c[u]
        memory.append(kept + sigmoid(i + w["peephole_i"][u] * c[u]) * tanh(g))
        hidden.append(sigmoid(o + w["peephole_o"][u] * memory[u]) * tanh(memory[u]))
    return hidden, memory


def coupled(w: Weights, x: Array, h: Hidden, c: Hidden) -> tuple[Hidden, Hidden]:
    hidden, memory = [], []
    for u, (f, g, o) in enumerate(zip(*sums(w, x, h), strict=True)):
        written = 1 / (1 + exp(f))  # sigmoid(-f)
        memory.append((1 - written) * c[u] + written * tanh(g))
        hidden.append(sigmoid(o) * tanh(memory[u]))
    return hidden, memory


def standardised(numbers: list[float]) -> list[float]:
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
    return [(number - mean) / sqrt(variance + 1e-5) for number in numbers]


def layer_norm(w: Weights, x: Array, h: Hidden, c: Hidden) -> tuple[Hidden, Hidden]:
    gates = []
    for gate in range(4):
        rows = range(gate * H, gate * H + H)
        of_x, of_h = standardised([total(w["weight_ih"][r], x) for r in rows]), standardised([total(w["weight_hh"][r], h) for r in rows])
        gates.append([of_x[u] * w["gain_i"][r] + w["bias_ih"][r] + of_h[u] * w["gain_h"][r] + w["bias_hh"][r] for u, r in enumerate(rows)])
    i, f, g, o = gates
    memory = [sigmoid(f[u]) * c[u] + sigmoid(i[u]) * tanh(g[u]) for u in range(H)]
    shown = standardised(memory)
    return [sigmoid(o[u]) * tanh(shown[u] * w["gain_c"][u] + w["bias_c"][u]) for u in range(H)], memory


def gru(w: Weights, x: Array, h: Hidden, is_before: bool) -> list[float]:
    reset, update, _ = sums(w, x, h)
    hidden = []
    for u in range(H):
        row = 2 * H + u
        r = [sigmoid(a) for a in reset]
        from_hidden = total(w["weight_hh"][row], np.multiply(r, h)) + w["bias_hh"][row]
        if not is_before:
            from_hidden = r[u] * (total(w["weight_hh"][row], h) + w["bias_hh"][row])
        candidate = tanh(total(w["weight_ih"][row], x) + w["bias_ih"][row] + from_hidden)
        z = sigmoid(update[u])
        hidden.append(z * h[u] + (1 - z) * candidate)
    return hidden


def mingru(w: Weights, x: Array, h: Hidden, c: Hidden) -> tuple[Hidden, Hidden]:
    rows = [total(w["weight_ih"][row], x) + w["bias_ih"][row] for row in range(2 * H)]
    return [(1 - sigmoid(rows[u])) * h[u] + sigmoid(rows[u]) * rows[H + u] for u in range(H)], c


def prelu(w: Weights, x: Array, h: Hidden, c: Hidden) -> tuple[Hidden, Hidden]:
    return [a if a > 0 else float(w["slope"][0]) * a for a in sums(w, x, h)[0]], c


def selu_constants() -> tuple[float, float]:
    """Return alpha and scale in closed form, as Klambauer et al. (2017) derive them: zero mean and unit variance stay as they are."""
    a, b = erfc(1 / sqrt(2)), erfc(sqrt(2))
    alpha = -sqrt(2 / pi) / (exp(0.5) * a - 1)
    return alpha, (1 - a * sqrt(e)) * sqrt(2 * pi) / sqrt(2 * b * e**2 + pi * a**2 * e - 2 * (2 + pi) * a * sqrt(e) + pi + 2)


def selu(a: float) -> float:
    alpha, scale = selu_constants()
    return scale * (a if a > 0 else alpha * (exp(a) - 1))


STEPS: dict[str, Step] = {
    "srnn": simple(tanh),
    "srnn activation=relu": simple(lambda a: max(a, 0.0)),
    "srnn activation=sigmoid": simple(sigmoid),
    "srnn activation=leaky_relu": simple(lambda a: max(a, 0.01 * a)),
    "srnn activation=prelu": prelu,
    "srnn activation=selu": simple(selu),
    "srnn activation=identity": simple(lambda a: a),
    "irnn": simple(lambda a: max(a, 0.0)),
    "gru": lambda w, x, h, c: (gru(w, x, h, is_before=False), c),
    "gru reset=before": lambda w, x, h, c: (gru(w, x, h, is_before=True), c),
    "lstm": lstm,
    "lstm_coupled": coupled,
    "lstm_layer_norm": layer_norm,
    "lstm_peephole": peephole,
    "mingru": mingru,
}


def test_every_cell_and_every_activation_has_a_loop_of_its_own() -> None:
    assert {name.split()[0] for name in STEPS} == set(CELLS)
    named = {name.partition("activation=")[2] for name in STEPS if "activation=" in name}
    assert named | {"tanh"} == set(get_args(Activation))


@pytest.mark.parametrize("name", STEPS)
def test_a_cell_equals_the_loop_that_its_paper_describes(name: str) -> None:
    kind, *changes = name.split()
    node = yaml.safe_load((CONF / "cell" / f"{kind}.yaml").read_text(encoding="utf-8"))
    node |= {key: value for key, _, value in (change.partition("=") for change in changes)}
    cell = recipe(node, "cell")(input_size=F, hidden_size=H).double()
    random = np.random.default_rng(4)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.from_numpy(random.normal(size=parameter.shape)))
    weights = {key.removeprefix("kernel.").removesuffix("_l0"): value.numpy() for key, value in cell.state_dict().items()}
    inputs_TF, (hidden, memory) = random.normal(size=(T, F)), random.normal(size=(2, H))
    state = tuple(torch.from_numpy(part)[None] for part in (hidden, memory)[: cell.num_states])
    found = cell(torch.from_numpy(inputs_TF)[None], state)[0]
    for step, x in enumerate(inputs_TF):
        hidden, memory = STEPS[name](weights, x, hidden, memory)
        assert found[step].tolist() == pytest.approx(list(hidden), rel=1e-10, abs=1e-12)
