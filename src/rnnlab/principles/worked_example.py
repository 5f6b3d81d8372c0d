"""Three steps of a simple recurrent network by hand: two inputs, three hidden units, one output, forward and backward.

    python -m rnnlab.principles.worked_example

    h_t = tanh(W_i x_t + b_i + W_h h_{t-1} + b_h)    y_t = W_o h_t + b_o    L = (1/3) sum_t (y_t - target_t)^2

Backwards, from the last step to the first, with D_t = dL/dh_t *total*: through y_t and through all later steps:

    dL/dy_t = (2/3) (y_t - target_t)
    D_t     = W_o^T dL/dy_t + W_h^T da_{t+1}         nothing comes after the last step: da_4 = 0
    da_t    = D_t * (1 - h_t^2)
    dL/dW_i = sum_t da_t x_t^T    dL/dW_h = sum_t da_t h_{t-1}^T    dL/dW_o = sum_t dL/dy_t h_t^T
"""

from dataclasses import dataclass

import numpy as np

from rnnlab.principles.losses import squared_error
from rnnlab.principles.numpy_rnn import CELLS, run, run_backward
from rnnlab.principles.optimizers import Arrays

INPUTS = np.array([[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
TARGETS = np.array([[0.5], [0.0], [-0.5]])
WEIGHTS: Arrays = {
    "weight_ih": np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]]),
    "weight_hh": np.array([[0.2, -0.1, 0.3], [0.1, 0.4, -0.2], [-0.3, 0.2, 0.1]]),
    "bias_ih": np.array([0.1, 0.0, -0.1]),
    "bias_hh": np.zeros(3),
}
READOUT: Arrays = {"weight": np.array([[0.7, -0.4, 0.2]]), "bias": np.array([0.1])}


@dataclass(frozen=True)
class Worked:
    """Every number of the example.

    Args:
        hidden_TH: h_1, h_2, h_3.
        outputs_T1: y_1, y_2, y_3.
        loss: L.
        of_outputs_T1: dL/dy_t.
        totals_TH: D_t.
        gradients: of each weight, by name; those of the readout are `weight` and `bias`.
        of_inputs_TF: dL/dx_t.
    """

    hidden_TH: np.ndarray
    outputs_T1: np.ndarray
    loss: float
    of_outputs_T1: np.ndarray
    totals_TH: np.ndarray
    gradients: Arrays
    of_inputs_TF: np.ndarray


def work() -> Worked:
    """Run forward and backward."""
    cell, inputs_BTF = CELLS["srnn"], INPUTS[None]
    hidden_BTH, states = run(cell, WEIGHTS, inputs_BTF)
    outputs_BT1 = hidden_BTH @ READOUT["weight"].T + READOUT["bias"]
    loss, of_outputs_BT1 = squared_error(outputs_BT1, TARGETS[None])
    inputs, gradients, totals = run_backward(cell, WEIGHTS, inputs_BTF, states, of_outputs_BT1 @ READOUT["weight"])
    of_readout = {"weight": of_outputs_BT1[0].T @ hidden_BTH[0], "bias": of_outputs_BT1[0].sum(0)}
    return Worked(hidden_BTH[0], outputs_BT1[0], loss, of_outputs_BT1[0], totals[0], gradients | of_readout, inputs[0])


def _row(values: np.ndarray) -> str:
    return "  ".join(f"{value:9.6f}" for value in np.atleast_1d(values))


def _matrix(name: str, values: np.ndarray) -> list[str]:
    rows = np.atleast_2d(values)
    return [f"{name if number == 0 else '':12}{_row(row)}" for number, row in enumerate(rows)]


def shown() -> str:
    """Return the example as a table to read beside the equations."""
    found = work()
    lines = ["given"]
    for name, value in {"W_i": WEIGHTS["weight_ih"], "b_i": WEIGHTS["bias_ih"], "W_h": WEIGHTS["weight_hh"]}.items():
        lines += _matrix(name, value)
    lines += [*_matrix("W_o", READOUT["weight"]), *_matrix("b_o", READOUT["bias"]), "", "forward"]
    for step in range(len(INPUTS)):
        lines += [f"t={step + 1}  x_t    {_row(INPUTS[step])}", f"     h_t    {_row(found.hidden_TH[step])}"]
        lines += [f"     y_t    {_row(found.outputs_T1[step])}   target {TARGETS[step, 0]:4.1f}"]
    lines += [f"     L      {found.loss:9.6f}", "", "backward"]
    for step in reversed(range(len(INPUTS))):
        slope = 1 - found.hidden_TH[step] ** 2
        lines += [f"t={step + 1}  dL/dy  {_row(found.of_outputs_T1[step])}", f"     D_t    {_row(found.totals_TH[step])}"]
        lines += [f"     da_t   {_row(found.totals_TH[step] * slope)}", f"     dL/dx  {_row(found.of_inputs_TF[step])}"]
    lines.append("")
    for name, key in {"dL/dW_i": "weight_ih", "dL/db": "bias_ih", "dL/dW_h": "weight_hh", "dL/dW_o": "weight", "dL/db_o": "bias"}.items():
        lines += _matrix(name, found.gradients[key])
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    print(shown())
