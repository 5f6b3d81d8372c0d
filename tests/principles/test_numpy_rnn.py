"""The cells in NumPy are the cells of PyTorch, backwards, too; and they learn."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from rnnlab.paths import HOME
from rnnlab.principles.numpy_rnn import CELLS, draw_weights, run, run_backward, train
from rnnlab.principles.worked_example import INPUTS, READOUT, TARGETS, WEIGHTS, shown, work

B, T, F, H = 2, 5, 3, 4
SOURCE = HOME / "src"


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_and_its_backpropagation_through_time_are_pytorchs(name: str) -> None:
    random = np.random.default_rng(2)
    cell = CELLS[name]
    w = draw_weights(cell, F, H, random)
    inputs, of_outputs = random.standard_normal((B, T, F)), random.standard_normal((B, T, H))
    kernel = {"srnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[name](F, H, batch_first=True).double()
    kernel.load_state_dict({f"{key}_l0": torch.tensor(value) for key, value in w.items()})
    leaf = torch.tensor(inputs, requires_grad=True)
    expected, _ = kernel(leaf)
    (expected * torch.tensor(of_outputs)).sum().backward()

    hidden, states = run(cell, w, inputs)
    of_inputs, gradients, _ = run_backward(cell, w, inputs, states, of_outputs)
    assert leaf.grad is not None
    np.testing.assert_allclose(hidden, expected.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(of_inputs, leaf.grad.numpy(), rtol=0, atol=1e-12)
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, kernel.get_parameter(f"{key}_l0").grad.numpy(), rtol=0, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", CELLS)
def test_a_forecaster_of_noisy_sines_ends_far_below_persistence(name: str) -> None:
    error, persistence = train(name, hidden_size=8, num_steps=60)
    assert error < 0.6 * persistence
    assert error > 0.01  # the noise of what comes next, which nobody can know


def test_the_worked_example_is_what_autograd_says() -> None:
    kernel = nn.RNN(2, 3, batch_first=True).double()
    kernel.load_state_dict({f"{key}_l0": torch.tensor(value) for key, value in WEIGHTS.items()})
    readout = nn.Linear(3, 1).double()
    readout.load_state_dict({key: torch.tensor(value) for key, value in READOUT.items()})
    leaf = torch.tensor(INPUTS[None], requires_grad=True)
    hidden = kernel(leaf)[0]
    hidden.retain_grad()
    loss = nn.functional.mse_loss(readout(hidden), torch.tensor(TARGETS[None]))
    loss.backward()
    found = work()
    assert found.loss == pytest.approx(loss.item(), abs=1e-14)
    np.testing.assert_allclose(found.hidden_TH, hidden[0].detach().numpy(), atol=1e-14)
    assert leaf.grad is not None
    np.testing.assert_allclose(found.of_inputs_TF, leaf.grad[0].numpy(), atol=1e-14)
    for key in WEIGHTS:
        np.testing.assert_allclose(found.gradients[key], kernel.get_parameter(f"{key}_l0").grad.numpy(), atol=1e-14)
    for key in READOUT:
        np.testing.assert_allclose(found.gradients[key], readout.get_parameter(key).grad.numpy(), atol=1e-14)
    # the last step's total derivative goes through its output alone; autograd's of earlier steps, on a fused kernel, never does more
    np.testing.assert_allclose(found.totals_TH[2], hidden.grad[0, 2].numpy(), atol=1e-14)
    assert np.abs(found.totals_TH[0] - hidden.grad[0, 0].numpy()).max() > 0.01


def test_the_worked_example_by_pocket_calculator() -> None:
    h_1 = np.tanh([0.1 * 1 + 0.2 * 0.5 + 0.1, -0.3 * 1 + 0.4 * 0.5, 0.5 * 1 - 0.6 * 0.5 - 0.1])
    np.testing.assert_allclose(work().hidden_TH[0], h_1, atol=1e-15)
    np.testing.assert_allclose(h_1, [0.291313, -0.099668, 0.099668], atol=1e-6)
    assert "t=1  x_t     1.000000   0.500000\n     h_t     0.291313  -0.099668   0.099668" in shown()


def test_the_lecture_needs_no_pytorch() -> None:
    code = "import sys; import rnnlab.principles.worked_example; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
