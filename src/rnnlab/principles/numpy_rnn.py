"""Recurrent networks in NumPy alone: three cells, backpropagation through time by hand, and a forecaster that learns.

    python -m rnnlab.principles.numpy_rnn
    python -m rnnlab.principles.numpy_rnn --cell lstm --hidden-size 32 --steps 400

Axis letters: B batch, T time, F features, H hidden. Each cell is two functions: `step`, its equations, and `step_backward`, their
gradient, which takes D = dL/d(state after), *total* (through the output and through all later steps), and returns the gradient of the
input, of the state before, and of the weights. Weights are named and stacked as PyTorch's: weight_ih (G*H, F), weight_hh (G*H, H),
bias_ih, bias_hh (G*H).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnlab.principles.losses import sigmoid, squared_error
from rnnlab.principles.optimizers import Adam, Arrays, clip

NumpyState = tuple[np.ndarray, ...]
"""(h,) or (h, c), each (B, H)."""


def products(x_BF: np.ndarray, h_BH: np.ndarray, w: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Return W_i x + b_i and W_h h + b_h, all gates side by side, (B, G*H)."""
    return x_BF @ w["weight_ih"].T + w["bias_ih"], h_BH @ w["weight_hh"].T + w["bias_hh"]


def products_backward(
    x_BF: np.ndarray, h_BH: np.ndarray, w: Arrays, of_input: np.ndarray, of_hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Return the gradients of x, of h and of the weights from those of the two products, (B, G*H) each."""
    gradients = {"weight_ih": of_input.T @ x_BF, "bias_ih": of_input.sum(0), "weight_hh": of_hidden.T @ h_BH, "bias_hh": of_hidden.sum(0)}
    return of_input @ w["weight_ih"], of_hidden @ w["weight_hh"], gradients


def srnn_step(x_BF: np.ndarray, state: NumpyState, w: Arrays) -> NumpyState:
    """h' = tanh(W_i x + b_i + W_h h + b_h)        Elman (1990)"""
    a, u = products(x_BF, state[0], w)
    return (np.tanh(a + u),)


def srnn_step_backward(x_BF: np.ndarray, state: NumpyState, w: Arrays, after: NumpyState) -> tuple[np.ndarray, NumpyState, Arrays]:
    """da = dh' (1 - h'^2), for both products alike."""
    (h_next,) = srnn_step(x_BF, state, w)
    da = after[0] * (1 - h_next**2)
    dx, dh, gradients = products_backward(x_BF, state[0], w, da, da)
    return dx, (dh,), gradients


def lstm_gates(x_BF: np.ndarray, state: NumpyState, w: Arrays) -> tuple[np.ndarray, ...]:
    """i, f, o = sigmoid, g = tanh, of W_i x + b_i + W_h h + b_h        Hochreiter & Schmidhuber (1997), Gers et al. (2000)"""
    a, u = products(x_BF, state[0], w)
    i, f, g, o = np.split(a + u, 4, axis=1)
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def lstm_step(x_BF: np.ndarray, state: NumpyState, w: Arrays) -> NumpyState:
    """c' = f c + i g,  h' = o tanh(c')"""
    i, f, g, o = lstm_gates(x_BF, state, w)
    c_next = f * state[1] + i * g
    return o * np.tanh(c_next), c_next


def lstm_step_backward(x_BF: np.ndarray, state: NumpyState, w: Arrays, after: NumpyState) -> tuple[np.ndarray, NumpyState, Arrays]:
    """dc' += dh' o (1 - tanh(c')^2), then through each gate; the memory before gets dc' f."""
    h, c = state
    i, f, g, o = lstm_gates(x_BF, state, w)
    shown = np.tanh(f * c + i * g)
    dh_next, dc_next = after
    dc = dc_next + dh_next * o * (1 - shown**2)
    da = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh_next * shown * o * (1 - o)], axis=1)
    dx, dh, gradients = products_backward(x_BF, h, w, da, da)
    return dx, (dh, dc * f), gradients


def gru_gates(x_BF: np.ndarray, state: NumpyState, w: Arrays) -> tuple[np.ndarray, ...]:
    """r, z = sigmoid, n = tanh(a_n + r u_n); the reset gate acts after the product, as in PyTorch        Cho et al. (2014)"""
    (a_r, a_z, a_n), (u_r, u_z, u_n) = (np.split(part, 3, axis=1) for part in products(x_BF, state[0], w))
    r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
    return r, z, np.tanh(a_n + r * u_n), u_n


def gru_step(x_BF: np.ndarray, state: NumpyState, w: Arrays) -> NumpyState:
    """h' = (1 - z) n + z h"""
    _, z, n, _ = gru_gates(x_BF, state, w)
    return ((1 - z) * n + z * state[0],)


def gru_step_backward(x_BF: np.ndarray, state: NumpyState, w: Arrays, after: NumpyState) -> tuple[np.ndarray, NumpyState, Arrays]:
    """Through n, z and r; W_h's candidate block sees r da_n where W_i's sees da_n."""
    (h,), (dh_next,) = state, after
    r, z, n, u_n = gru_gates(x_BF, state, w)
    da_n = dh_next * (1 - z) * (1 - n**2)
    da_z = dh_next * (h - n) * z * (1 - z)
    da_r = da_n * u_n * r * (1 - r)
    dx, dh, gradients = products_backward(
        x_BF, h, w, np.concatenate([da_r, da_z, da_n], axis=1), np.concatenate([da_r, da_z, da_n * r], axis=1)
    )
    return dx, (dh + dh_next * z,), gradients


@dataclass(frozen=True)
class NumpyCell:
    """A cell's two functions, and how many gates and tensors of state it has."""

    step: Callable[[np.ndarray, NumpyState, Arrays], NumpyState]
    step_backward: Callable[[np.ndarray, NumpyState, Arrays, NumpyState], tuple[np.ndarray, NumpyState, Arrays]]
    num_gates: int
    num_states: int


CELLS = {
    "srnn": NumpyCell(srnn_step, srnn_step_backward, 1, 1),
    "lstm": NumpyCell(lstm_step, lstm_step_backward, 4, 2),
    "gru": NumpyCell(gru_step, gru_step_backward, 3, 1),
}


def run(cell: NumpyCell, w: Arrays, inputs_BTF: np.ndarray) -> tuple[np.ndarray, list[NumpyState]]:
    """Return the hidden states of all steps, (B, T, H), and the states before each step and after the last; the first is zero."""
    zeros = np.zeros((len(inputs_BTF), w["weight_hh"].shape[1]))
    states: list[NumpyState] = [(zeros,) * cell.num_states]
    for step in range(inputs_BTF.shape[1]):
        states.append(cell.step(inputs_BTF[:, step], states[-1], w))
    return np.stack([state[0] for state in states[1:]], axis=1), states


def run_backward(
    cell: NumpyCell, w: Arrays, inputs_BTF: np.ndarray, states: list[NumpyState], outputs_BTH: np.ndarray
) -> tuple[np.ndarray, Arrays, np.ndarray]:
    """Backpropagate through time: from the gradient of each step's output to those of inputs and weights.

    Args:
        cell: which.
        w: its weights.
        inputs_BTF: what it read.
        states: what `run` returned.
        outputs_BTH: dL/dh_t through the output at t alone.

    Returns:
        dL/dx (B, T, F); dL/dw, summed over steps, since all steps share the weights; and the total dL/dh_t, (B, T, H).
    """
    gradients = {name: np.zeros_like(value) for name, value in w.items()}
    inputs, totals = np.zeros_like(inputs_BTF), np.zeros_like(outputs_BTH)
    carry: NumpyState = tuple(np.zeros_like(part) for part in states[0])
    for step in reversed(range(inputs_BTF.shape[1])):
        totals[:, step] = outputs_BTH[:, step] + carry[0]
        inputs[:, step], carry, found = cell.step_backward(inputs_BTF[:, step], states[step], w, (totals[:, step], *carry[1:]))
        for name, gradient in found.items():
            gradients[name] += gradient
    return inputs, gradients, totals


def draw_weights(cell: NumpyCell, input_size: int, hidden_size: int, random: np.random.Generator) -> Arrays:
    """Draw weights and biases from U(-1/sqrt(H), 1/sqrt(H)), as PyTorch does."""
    rows, bound = cell.num_gates * hidden_size, hidden_size**-0.5
    shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {name: random.uniform(-bound, bound, shape) for name, shape in shapes.items()}


def noisy_sines(num: int, num_steps: int, random: np.random.Generator) -> np.ndarray:
    """Return sines of period 20 with a random phase and noise of 0.1, (num, num_steps + 1, 1)."""
    phase_B1 = random.uniform(0, 2 * np.pi, (num, 1))
    sines_BT = np.sin(phase_B1 + 2 * np.pi * np.arange(num_steps + 1) / 20)
    return np.asarray((sines_BT + 0.1 * random.standard_normal(sines_BT.shape))[..., None])


def loss_and_gradients(cell: NumpyCell, w: Arrays, readout: Arrays, series_BTF: np.ndarray) -> tuple[float, Arrays, Arrays]:
    """Return the mean squared error of forecasting every next value by W_o h_t + b_o, and the gradients of both sets of weights."""
    inputs_BTF, targets_BTF = series_BTF[:, :-1], series_BTF[:, 1:]
    hidden_BTH, states = run(cell, w, inputs_BTF)
    loss, of_outputs = squared_error(hidden_BTH @ readout["weight"].T + readout["bias"], targets_BTF)
    of_readout = {"weight": np.einsum("btf,bth->fh", of_outputs, hidden_BTH), "bias": of_outputs.sum((0, 1))}
    _, of_cell, _ = run_backward(cell, w, inputs_BTF, states, of_outputs @ readout["weight"])
    return loss, of_cell, of_readout


def train(name: str, hidden_size: int = 16, num_steps: int = 200, seed: int = 0, is_shown: bool = False) -> tuple[float, float]:
    """Train a forecaster of noisy sines with Adam.

    Returns:
        Mean squared errors on sines never seen: the network's, and persistence's (the last value goes on).
    """
    random = np.random.default_rng(seed)
    cell = CELLS[name]
    w = draw_weights(cell, 1, hidden_size, random)
    readout = {"weight": random.uniform(-1, 1, (1, hidden_size)) * hidden_size**-0.5, "bias": np.zeros(1)}
    of_cell, of_readout = Adam(0.01), Adam(0.01)
    for step in range(num_steps):
        loss, gradients, gradients_out = loss_and_gradients(cell, w, readout, noisy_sines(32, 40, random))
        norm = clip(gradients, 1.0)
        of_cell.step(w, gradients)
        of_readout.step(readout, gradients_out)
        if is_shown and (step + 1) % max(1, num_steps // 8) == 0:
            print(f"step {step + 1:4}  loss {loss:.4f}  gradient norm {norm:.3f}")
    unseen = noisy_sines(256, 40, np.random.default_rng(seed + 1))
    return loss_and_gradients(cell, w, readout, unseen)[0], float(np.mean((unseen[:, 1:] - unseen[:, :-1]) ** 2))


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", choices=list(CELLS), default="gru")
    parser.add_argument("--hidden-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200, help="of Adam, 32 fresh series each")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    error, persistence = train(given.cell, given.hidden_size, given.steps, given.seed, is_shown=True)
    print(f"mean squared error on new series: {given.cell} {error:.4f}, persistence {persistence:.4f}; the noise alone is 0.01")


if __name__ == "__main__":
    main()
