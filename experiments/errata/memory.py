"""What reaches the far end of a sequence: spectra, gradients through time, and what memoryless solutions give."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.srnn import Activation, SRNNCell
from rnnlab.cells.weights import Initialisation

HIDDEN, INPUTS, BATCH, SEEDS = 64, 2, 4, 10
Make = Callable[[], Cell]


def gradients_through_time(make: Make, seed: int, num_steps: int) -> np.ndarray:
    """Return the norm of the total derivative of a loss on the last output with respect to the hidden state at each step.

    Args:
        make: draws a cell.
        seed: of weights and of inputs, which are N(0, 1).
        num_steps: T.

    Returns:
        (T, 2): of the hidden state alone, and of all that the cell carries (an LSTM's memory too).
    """
    torch.manual_seed(seed)
    cell = make().double()
    inputs_BTF = torch.randn(BATCH, num_steps, INPUTS, dtype=torch.float64)
    state = cell.initial_state(BATCH)
    states: list[tuple[Tensor, ...]] = []
    for input_BF in inputs_BTF.unbind(1):
        state = cell.step(input_BF, state)
        states.append(state)
    loss = (states[-1][0] @ torch.randn(HIDDEN, dtype=torch.float64)).sum()
    flat = [part for parts in states for part in parts]
    found = torch.autograd.grad(loss, flat, allow_unused=True)
    norms = [0.0 if gradient is None else float(gradient.norm()) for gradient in found]
    per_step = np.array(norms).reshape(num_steps, -1)
    return np.stack([per_step[:, 0], np.sqrt((per_step**2).sum(1))], 1)


def ratios(make: Make, num_steps: int) -> np.ndarray:
    """Return first / last norm for each seed, (seeds, 2)."""
    found = [gradients_through_time(make, seed, num_steps) for seed in range(SEEDS)]
    return np.array([norms[0] / norms[-1] for norms in found])


def simple(activation: Activation, initialisation: Initialisation | Literal["he"], gain: float = 1.0) -> Make:
    """Return what draws a simple recurrent network; `he`: N(0, 2 / H) for its recurrent matrix."""

    def make() -> Cell:
        cell = SRNNCell(INPUTS, HIDDEN, activation)
        cell.initialise("xavier" if initialisation == "he" else initialisation)
        with torch.no_grad():
            if initialisation == "he":
                cell.kernel.get_parameter("weight_hh_l0").normal_(0, math.sqrt(2 / HIDDEN))
            cell.kernel.get_parameter("weight_hh_l0").mul_(gain)
        return cell

    return make


def lstm(forget_bias: float | None) -> Make:
    """Return what draws an LSTM, by default as PyTorch does."""

    def make() -> Cell:
        cell = LSTMCell(INPUTS, HIDDEN)
        if forget_bias is not None:
            with torch.no_grad():
                cell.kernel.get_parameter("bias_ih_l0")[HIDDEN : 2 * HIDDEN] = forget_bias
                cell.kernel.get_parameter("bias_hh_l0")[HIDDEN : 2 * HIDDEN] = 0
        return cell

    return make


def spread(values: np.ndarray) -> list[float]:
    """Return median, smallest, largest."""
    return [float(np.median(values)), float(values.min()), float(values.max())]


def gradient_ratio() -> dict[str, object]:
    """How much of the gradient is left after 50 steps at initialisation, H = 64: median, least, most of 10 seeds."""
    cells: dict[str, Make] = {
        "lstm, PyTorch's initialisation": lstm(None),
        "gru, PyTorch's initialisation": lambda: GRUCell(INPUTS, HIDDEN),
        "srnn, PyTorch's initialisation": simple("tanh", "uniform"),
        "srnn, xavier": simple("tanh", "xavier"),
        "srnn, orthogonal": simple("tanh", "orthogonal"),
        "lstm, forget bias 1": lstm(1.0),
        "lstm, forget bias 3": lstm(3.0),
    }
    found = {name: ratios(make, 50) for name, make in cells.items()}
    answer: dict[str, object] = {name: spread(values[:, 0]) for name, values in found.items()}
    return answer | {"lstm, forget bias 3, h and c together": spread(found["lstm, forget bias 3"][:, 1])}


def relu() -> dict[str, object]:
    """What a rectifier does to the gradient over 100 steps, by initialisation: median, least, most of 10 seeds."""
    cells = {
        "relu, PyTorch's initialisation": simple("relu", "uniform"),
        "relu, orthogonal": simple("relu", "orthogonal"),
        "relu, He's N(0, 2 / H)": simple("relu", "he"),
        "relu, He's, 1.3 times as large": simple("relu", "he", 1.3),
        "relu, identity (Le et al. 2015)": simple("relu", "identity"),
        "tanh, orthogonal": simple("tanh", "orthogonal"),
    }
    return {name: spread(ratios(make, 100)[:, 0]) for name, make in cells.items()}


def clipping() -> dict[str, object]:
    """Clipping scales the whole gradient: what the far past has in it stays what it was. 100 steps; median, least, most of 10 seeds."""
    clips: dict[str, Callable[[Tensor], Tensor]] = {
        "not clipped": lambda gradient: gradient,
        "norm clipped to 0.1": lambda gradient: gradient * min(1.0, 0.1 / float(gradient.norm())),
        "values clipped to 0.01": lambda gradient: gradient.clamp(-0.01, 0.01),
    }
    shares: dict[str, list[float]] = {name: [] for name in clips}
    norms = []
    for seed in range(SEEDS):
        whole, recent = (recurrent_gradient(simple("tanh", "uniform"), seed, num_recent) for num_recent in (100, 50))
        for name, clip in clips.items():
            shares[name].append(float((clip(whole) - clip(recent)).norm() / clip(whole).norm()))
        norms.append(float(recurrent_gradient(simple("relu", "he", 1.3), seed, 100).norm()))
    answer: dict[str, object] = {f"share of steps more than 50 back, {name}": spread(np.array(found)) for name, found in shares.items()}
    exploding = spread(np.array(norms))
    return answer | {
        "norm of an exploding gradient (relu, 1.3 times He's)": exploding,
        "the same, clipped to 1": spread(np.minimum(1.0, np.array(norms))),
    }


def recurrent_gradient(make: Make, seed: int, num_recent: int) -> Tensor:
    """Return the gradient of a loss on the last of 100 outputs with respect to W_h, through the last `num_recent` steps alone."""
    torch.manual_seed(seed)
    cell = make().double()
    inputs_BTF = torch.randn(BATCH, 100, INPUTS, dtype=torch.float64)
    state = cell.initial_state(BATCH)
    for step, input_BF in enumerate(inputs_BTF.unbind(1)):
        if step == 100 - num_recent:
            state = tuple(part.detach() for part in state)
        state = cell.step(input_BF, state)
    loss = (state[0] @ torch.randn(HIDDEN, dtype=torch.float64)).sum()
    (found,) = torch.autograd.grad(loss, [cell.kernel.get_parameter("weight_hh_l0")])
    return found


def random_matrix() -> dict[str, object]:
    """np.random.randn without a scale, 50 units: spectral radius of the recurrent matrix, and units that are saturated; 20 seeds."""
    radii, saturated = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        w, u = generator.normal(size=(10, 50)), generator.normal(size=(50, 50))
        radii.append(float(np.abs(np.linalg.eigvals(u)).max()))
        hidden, states = np.zeros(50), []
        for x in generator.normal(size=(100, 10)):
            hidden = np.tanh(x @ w + hidden @ u)
            states.append(hidden)
        saturated.append(float((np.abs(states) > 0.99).mean()))
    return {
        "spectral radius: mean, least, most": [float(np.mean(radii)), min(radii), max(radii)],
        "share of |h| > 0.99: mean, least, most": [float(np.mean(saturated)), min(saturated), max(saturated)],
    }


def adding_baseline() -> dict[str, object]:
    """The adding problem's best constant is 1, and its squared error the variance of a sum of two uniforms, 2/12."""
    generator = np.random.default_rng(0)
    sums = generator.uniform(size=(4_000_000, 2)).sum(1)
    return {
        "exact": 1 / 6,
        "4,000,000 sums, squared error of always saying 1": float(np.mean((sums - 1) ** 2)),
        "its standard error": float(np.std((sums - 1) ** 2) / np.sqrt(len(sums))),
        "often printed": 0.1767,
    }


def copying_baseline() -> dict[str, object]:
    """Copying 10 symbols of 8 without memory: 10 ln 8 / (T + 20) nats a step."""
    return {f"T = {steps}": 10 * math.log(8) / (steps + 20) for steps in (200, 1000)}


CHECKS = (gradient_ratio, relu, clipping, random_matrix, adding_baseline, copying_baseline)
